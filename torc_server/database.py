"""The connections of a process to PostgreSQL; what is tried again; what happens while the database is away."""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from torc_server import connections, current
from torc_server.batches import current_server
from torc_server.connections import HOT_SECONDS, SESSION
from torc_server.database_errors import LOST, api_error, is_lost, is_useless
from torc_server.errors import ApiError, Later
from torc_server.pipeline import Pipeline

log = logging.getLogger("torc_server")

LONG_SECONDS = 600
LONG_TIMEOUT = f"{LONG_SECONDS}s"
CONNECT_SECONDS = 5.0  # how long after it was lost some requests still wait for the database
CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected)  # after which nothing of a statement was done
ATTEMPTS = 10  # of a statement that deadlocks or cannot be serialized; the client never sees that
MOST_REPLACED = 3  # connections of no use that a call meets, one after the other
PROBE_EVERY = 0.2  # seconds between two attempts to reach a database that is away
SAY_EVERY = 60.0  # seconds between two lines in the log about the same trouble
CANCEL_SECONDS = 5.0

WATCH_EVERY = 0.5  # seconds
SUSPECT_AFTER = 1.0  # seconds that a statement takes before the database is asked whether it still answers
ANSWER_SECONDS = 3.0  # that it has for that
WORN_AFTER = 1.0  # seconds of a long call, after which its connection is closed: PostgreSQL keeps the memory it took
GRACE_SECONDS = 15.0  # after a statement's timeout, until its connection is cut

QUEUE_MS = 2000  # that a thread waits for a workflow's lock, in PostgreSQL's queue
BRIEF_MS = 20  # the same for a lock that is mostly free by then, before the request goes to wait without a thread


class Database:
    """The connections of this process, in autocommit: a transaction around each request cuts 12.3k statements/s to
    4.2k/s, and psycopg's pool costs a small read a quarter of its speed. There are no more than calls at a time.

    A database that cannot be reached, or does not answer, is away: one thread tries to reach it. In the first
    CONNECT_SECONDS half of the threads at most wait for it; all other requests get 503 at once.

    restart: called while the database is away; brings the embedded PostgreSQL back, if that is what we run on. What it
    raises is logged, once a minute.
    listen_conninfo: for connections that LISTEN, where `conninfo` leads to a pooler.
    threads: how many serve small requests; half as many calls may wait at the same time.
    """

    def __init__(
        self,
        conninfo: str,
        restart: Callable[[], None] | None = None,
        listen_conninfo: str | None = None,
        threads: int = 8,
    ):
        self.conninfo = conninfo
        self.listen_conninfo = listen_conninfo or conninfo
        self._restart = restart
        self._threads = threads
        # The one used last is the next: few are busy, and those find their caches warm, here and in PostgreSQL.
        self._free = []
        self._connections = set()
        self._running = {}  # current_server(): _Call
        self._lock = threading.Lock()
        self._away = None
        self._watching = None
        self._places = threading.BoundedSemaphore(max(1, threads // 2))  # for threads that wait
        self._pooled = {}  # conninfo: whether a pooler in between gives each transaction another session
        self._said = float("-inf")  # when a lost connection was last logged

    def open(self) -> None:
        """Forget the connections of the process that we were forked from; watch that the database answers. Connections
        are made when they are needed."""
        self.__init__(self.conninfo, self._restart, self.listen_conninfo, self._threads)
        self._watching = threading.Event()
        threading.Thread(target=self._watch, args=(self._watching,), daemon=True, name="database-watch").start()

    def close(self) -> None:
        """Close all connections of this process."""
        if self._watching:
            self._watching.set()
        with self._lock:
            if self._away:
                self._away.ended.set()
                self._away = None
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._free.clear()

    def run(self, work: Callable[[connections.Connection], Any], seconds: float = HOT_SECONDS) -> Any:
        """Return work(connection), run again if nothing of it was done: after a deadlock, a serialization failure, or
        on a connection that has become useless. Raises ApiError; Later, if the request may wait without a thread.

        work: sends one statement, or one transaction, and nothing else.
        seconds: the statement timeout. A connection that gives no answer after it is cut.
        """
        current.before_waiting()
        replaced = 0
        for attempt in range(ATTEMPTS):
            try:
                return self._run_once(work, seconds)
            except CONFLICTS as error:
                log.info("attempt %s failed, trying again: %s", attempt + 1, error.diag.message_primary)
                time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 5)))
            except pg.LockNotAvailable as error:
                if not _is_of_workflow(error):  # it has waited in PostgreSQL
                    raise api_error(error) from error
                return self._wait_for_lock(work, seconds, error)
            except psycopg.Error as error:
                if replaced == MOST_REPLACED or not is_useless(error):
                    raise api_error(error) from error
                replaced += 1
        message = "The database connection met too many conflicts with other changes; try again"
        raise ApiError(503, message, {"Retry-After": "1"})

    def run_together(self, talk: Callable[[Callable, Callable, Callable], None], batch: Any) -> None:
        """Call talk(send, receive, make_durable), which sends statements of several calls and receives their outcomes
        by Pipeline's methods; return when what they have written is durable.

        batch: its wait() and give_way() are called before the thread waits, see Pipeline.
        receive: an outcome is a value, or what the call is to raise: ApiError, another exception for a fault of ours,
        or Later, if run() would try again or wait; nothing was done then.

        Raises ApiError; then what was sent may or may not have been done.
        """
        errors = []

        def work(connection):
            pipeline = Pipeline(connection, batch.wait, batch.give_way)

            def send(text, params, *what):
                connection.wear(*params.values())
                pipeline.send(text, params, *what)

            def receive():
                outcome = pipeline.receive()
                connection.wear(outcome)
                if not isinstance(outcome, psycopg.Error):
                    return outcome
                errors.append(outcome)
                return _to_raise(outcome)

            try:
                talk(send, receive, pipeline.make_durable)
                pipeline.end()
            except psycopg.Error as error:
                connection.worn = True
                raise psycopg.OperationalError(f"statements sent together were not completed: {error}") from error
            for error in errors:
                if not self._can_be_used_after(error, connection):
                    connection.worn = True

        try:
            self._run_once(work, HOT_SECONDS, batch.give_way)
        except psycopg.Error as error:
            raise api_error(error) from error

    def _run_once(self, work, seconds, give_way=lambda: None):
        connection = self._take(give_way)
        server = current_server()
        outer = self._running.get(server)
        call = self._running[server] = _Call(connection, time.monotonic(), seconds)
        usable = False
        try:
            answer = work(connection)
            usable = not connection.worn
            if seconds > HOT_SECONDS and time.monotonic() - call.since > WORN_AFTER:
                usable = False
            return answer
        except psycopg.Error as error:
            usable = self._can_be_used_after(error, connection)
            raise
        finally:
            if outer is None:
                del self._running[server]
            else:
                self._running[server] = outer
            if call.canceled is not None:
                give_way()
                usable = _is_settled(call) and usable
            if usable:
                self._free.append(connection)
            else:
                self._discard(connection)

    # Locks of workflows: functions only try to take them, unless they are told to wait

    def _wait_for_lock(self, work, seconds, error):
        """Run the work again so that it waits for the lock, in its thread.

        With a worker that runs a request again (torc.wait_until says how long) half of the threads at most wait at the
        same time; all other calls raise Later. An exclusive lock must be queued for: between calls that share the
        workflow an attempt may fail for ever. A shared one is waited for briefly, and queued for near the end.
        """
        until = (current.environ() or {}).get("torc.wait_until")
        if until is None:
            return self.run(_waiting(work, QUEUE_MS), seconds)
        left = until - time.monotonic()
        if left <= 0:
            raise api_error(error) from error
        queues = error.diag.message_detail == "exclusive" or left < QUEUE_MS / 1000 / 2
        if self._places.acquire(blocking=False):
            try:
                return self.run(_waiting(work, QUEUE_MS if queues else BRIEF_MS), seconds)
            except ApiError as refused:
                if queues or not isinstance(refused.__cause__, pg.LockNotAvailable):
                    raise
            finally:
                self._places.release()
        raise Later(random.uniform(0.02, 0.1)) from error

    # Connections

    def connect(self, listen: bool = False) -> connections.Connection:
        """Return a new connection, the caller's own to close; listen: one that can LISTEN.

        Raises psycopg.OperationalError when the database is away for longer than CONNECT_SECONDS.
        """
        conninfo = self.listen_conninfo if listen else self.conninfo
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return self._open(conninfo)
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise
                if conninfo == self.conninfo and self._is_away_after(error):
                    self._lose(error)
            time.sleep(PROBE_EVERY)

    def _take(self, give_way=lambda: None):
        while True:
            if away := self._away:
                give_way()
                self._wait_for(away)
            try:
                connection = self._free.pop()
            except IndexError:
                give_way()
                if connection := self._connect():
                    return connection
                continue
            if connection.is_alive():
                return connection
            self._say_lost("the server has closed it")
            self._discard(connection)
            self._discard_idle(only_dead=True)

    def _connect(self):
        """Return a new connection, or None after the database was found away."""
        started = time.monotonic()
        try:
            connection = self._open(self.conninfo)
        except psycopg.OperationalError as error:
            if self._is_away_after(error):
                self._lose(error, started)
                return None
            self._say_lost(error)  # it is not away, but has no connection left for us
            message = "No further connection to the database could be opened; try again"
            raise ApiError(503, message, {"Retry-After": "1"}) from error
        with self._lock:
            self._connections.add(connection)
        return connection

    def _open(self, conninfo):
        def is_pooled():
            if conninfo not in self._pooled:
                try:
                    self._pooled[conninfo] = connections.is_pooled_by_transaction(conninfo)
                except connections.PoolerError as error:
                    raise psycopg.OperationalError(str(error)) from error
            return self._pooled[conninfo]

        return connections.connect(conninfo, is_pooled)

    def _can_be_used_after(self, error, connection):
        if connection.closed or is_lost(error) or is_useless(error):
            self._say_lost(error)
            self._discard_idle(only_dead=True)
            return False
        return not connection.worn and connection.pgconn.transaction_status == TransactionStatus.IDLE

    def _is_away_after(self, error):
        """Whether no connection could be opened because the database is away; it may just have too many."""
        with self._lock:
            others = list(self._connections)
        return isinstance(error, pg.ConnectionTimeout) or all(connection.is_hung_up() for connection in others)

    def _discard(self, connection):
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _discard_idle(self, only_dead=False):
        """Close the idle connections; where one was lost, the others may be."""
        idle = []
        with contextlib.suppress(IndexError):
            while True:
                idle.append(self._free.pop())
        for connection in reversed(idle):
            if only_dead and connection.is_alive():
                self._free.append(connection)
            else:
                self._discard(connection)

    def _say_lost(self, error):
        now = time.monotonic()
        if not self._away and now - self._said > SAY_EVERY:
            self._said = now
            log.warning("lost a connection to the database: %s", _one_line(error))
        else:
            log.debug("lost a connection to the database: %s", _one_line(error))

    # A database that is away

    def _lose(self, error, since=None):
        """The database is away, `since` (monotonic) or now: close what is idle, have one thread reach it again."""
        with self._lock:
            if self._away:
                return
            self._away = away = _Away(since or time.monotonic())
        log.warning("the database is away: %s", _one_line(error))
        self._discard_idle()
        threading.Thread(target=self._reach, args=(away,), daemon=True, name="database-reach").start()

    def _reach(self, away):
        """Try to reach the database until it is back."""
        said = time.monotonic()
        while not away.ended.is_set():
            try:
                if self._restart:
                    self._restart()
                connection = self._open(self.conninfo)
                break
            except Exception as error:  # noqa: BLE001 (whatever it is: if this thread ended, nobody would try again)
                if time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()
                    log.warning("the database is still away, after %.0f s: %s", said - away.since, _one_line(error))
            away.ended.wait(PROBE_EVERY)
        else:
            return
        with self._lock:
            if self._away is not away:  # closed meanwhile
                connection.close()
                return
            self._connections.add(connection)
            self._free.append(connection)
            self._away = None
        away.back.set()
        log.warning("the database is back, after %.1f s", time.monotonic() - away.since)

    def _wait_for(self, away):
        """Wait for the database if it is away for a short time only and few wait. Raises ApiError 503."""
        if away.left() > 0 and self._places.acquire(blocking=False):
            try:
                if away.back.wait(away.left()):
                    return
            finally:
                self._places.release()
        raise ApiError(503, LOST, {"Retry-After": "1"})

    def _watch(self, ended):
        """Find out that a database has stopped without closing its connections, as a frozen machine does."""
        while not ended.wait(WATCH_EVERY):
            now = time.monotonic()
            calls = [call for call in self._running.copy().values() if now - call.since > SUSPECT_AFTER]
            for call in calls:
                if now - call.since > call.seconds + GRACE_SECONDS:
                    call.connection.cut()
            if calls and not self._away and not self._answers():
                since = min(call.since for call in calls)
                self._lose(f"it has not answered for {time.monotonic() - since:.0f} s", since)
                for call in self._running.copy().values():
                    call.connection.cut()

    def _answers(self):
        with contextlib.suppress(IndexError):
            connection = self._free.pop()
            if connection.answers(ANSWER_SECONDS):
                self._free.append(connection)
                return True
            self._discard(connection)
        try:
            self._open(self.conninfo).close()
        except pg.ConnectionTimeout:
            return False
        except psycopg.Error:  # it answers no; what it has closed is found without us
            pass
        return True

    # Calls whose client is gone

    def cancel(self, server: Hashable, is_meant: Callable[[], bool] = lambda: True) -> bool:
        """Cancel the statement that a batch or thread (current_server()) is running now; return whether there is one.

        It does not wait. No later statement is hit: the server does not go on before the cancellation has reached
        PostgreSQL. is_meant: asked while it cannot go on to another request, whether this is the one to cancel.
        """
        call = self._running.get(server)
        if call is None or call.canceled is not None:
            return call is not None
        call.canceled = canceled = threading.Event()
        if self._running.get(server) is not call or not is_meant():  # it may have ended before it could see the event
            canceled.set()
            return False
        threading.Thread(target=_cancel, args=(call,), daemon=True, name="database-cancel").start()
        return True


def _waiting(work, milliseconds):
    """The work in a transaction in which locks are waited for."""

    def waiting(connection):
        with connection.transaction():
            connection.execute(SESSION.wait_for_locks.sql, {"milliseconds": str(milliseconds)})
            return work(connection)

    return waiting


def _is_of_workflow(error):
    """Whether a lock that is not available is that of a workflow, for which statements do not wait unless told to."""
    return error.diag.message_detail in ("shared", "exclusive")


def _to_raise(error):
    """What a call of a batch is to raise because of an error of its statement."""
    is_locked = isinstance(error, pg.LockNotAvailable) and _is_of_workflow(error)
    if is_locked or isinstance(error, CONFLICTS) or is_useless(error):
        return Later(0)
    try:
        return api_error(error)
    except Exception as fault:  # noqa: BLE001 - the call raises it
        return fault


class _Call:
    """What a batch or thread is doing: on which connection, since when (monotonic), its statement timeout in seconds;
    canceled is an Event once somebody cancels it, set when PostgreSQL has been told."""

    __slots__ = ("connection", "since", "seconds", "canceled")

    def __init__(self, connection: connections.Connection, since: float, seconds: float):
        self.connection = connection
        self.since = since
        self.seconds = seconds
        self.canceled = None


class _Away:
    """A time without the database: since when (monotonic), the Events that it is back and that nobody tries now."""

    def __init__(self, since: float):
        self.since = since
        self.back = threading.Event()
        self.ended = threading.Event()

    def left(self) -> float:
        """For how many seconds requests may still wait."""
        return max(0, self.since + CONNECT_SECONDS - time.monotonic())


def _cancel(call):
    log.debug("canceling a statement because its client is gone")
    try:
        call.connection.cancel_safe(timeout=CANCEL_SECONDS)
    except psycopg.Error as error:
        log.debug("a statement could not be canceled: %s", _one_line(error))
    finally:
        call.canceled.set()


def _is_settled(call):
    """Wait until the cancellation of a call has reached PostgreSQL and hits nothing more; false if that is unknown."""
    if not call.canceled.wait(2 * CANCEL_SECONDS):
        return False
    try:
        with contextlib.suppress(pg.QueryCanceled):  # it came after the statement had ended
            call.connection.execute(SESSION.backend_pid.sql)
    except psycopg.Error:
        return False
    return True


def _one_line(error):
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
