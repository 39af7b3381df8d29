"""The gunicorn worker class of torc-server: a thread is taken by a whole request, never by a waiting one.

All connections of a process wait in one epoll object, each with a deadline. A few threads (settings.threads, and one
more) take turns to lead: the leader reads what has arrived. The whole requests of the direct way that it finds at the
same time are one batch (see batches), which it serves, and begins a second one while the first waits; it leaves each
other small request to the next thread that leads. Before it waits for long, it gives way. Of these threads one is
always left that runs no request, so that connections are accepted, read and written to whatever the database does;
requests that find all others busy queue. Calls that walk whole workflows have their own threads (see lanes). Event
streams are sent by the thread that hears the events (see streams), which also resumes claims that wait for jobs (see
waiting_claims). The main thread only looks after deadlines, stopping and gunicorn's heartbeat.

The application stays plain WSGI. What this worker offers it beyond that: it may raise errors.Later or errors.
LaterWithJobs, and a streams.Subscription as its iterable is sent without a thread.

gunicorn parses requests and formats answers (http.message, http.wsgi); these are not documented for use by others, so
setup.cfg allows one major version of gunicorn only, and tests/house/test_dependencies.py lists the names that are used.
"""

import contextlib
import errno
import functools
import heapq
import itertools
import logging
import os
import queue
import resource
import select
import signal
import socket
import threading
import time
from collections import deque
from email.utils import formatdate
from typing import Any

from gunicorn import sock as gunicorn_sock
from gunicorn.http import wsgi
from gunicorn.http.errors import ParseException
from gunicorn.workers.base import Worker as BaseWorker

from torc_server import balance
from torc_server.batches import Batches, current_batch, leave_batch, until_durable
from torc_server.bodies import body_limit
from torc_server.client_connection import ClientConnection, ClientGone, StreamSender
from torc_server.errors import OWN_FAULT, ApiError, Later, LaterWithJobs
from torc_server.heads import Heads
from torc_server.lanes import AT_ONCE, DIRECT, LANES
from torc_server.memory import return_free_blocks
from torc_server.polling import readable
from torc_server.request_reader import RequestReader
from torc_server.streams import Subscription

log = logging.getLogger("torc_server")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # blocked until a worker can handle them
TRIM_AFTER = 500  # closed connections
REQUESTS = ("idle", "head", "body")  # what connections wait for that send requests
MOST_EVENTS = 32  # that a thread takes at once
TICK = 1.0  # seconds between two checks of the deadlines
GOODBYE_SECS = 5.0  # how long a client may take to hang up after the last answer
LOCK_SECS = 2.0  # how long a small request may wait for a lock, from when it is whole
LANE_LOCK_SECS = 60.0  # and one of a lane: it waits without a thread
STOP_LINGER = 2.0  # seconds for which a stopping worker still answers requests on idle connections
SPARE_FILES = 128  # open files that are not connections
# Of answers; none is between neighbours only
PLAIN_HEADERS = frozenset(
    ("Content-Type", "Content-Length", "X-Span-ID", "X-Content-Type-Options", "X-Frame-Options", "Vary")
)
PLAIN_STATUSES = ("200", "4")  # of answers with a body
GO_AHEAD = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(wsgi.Response):
    """gunicorn's; but an answer of one piece with plain headers, as nearly all are, is put together in one go."""

    date = (0, "")  # of all answers: (second, words)
    is_plain = False

    def start_response(self, status: str, headers: list, exc_info: Any = None) -> Any:
        if self.status is not None or self.req.method == "HEAD" or not status.startswith(PLAIN_STATUSES):
            return super().start_response(status, headers, exc_info)
        names = [name for name, _ in headers]
        text = "".join([value for _, value in headers])
        if not (PLAIN_HEADERS.issuperset(names) and text.isascii() and text.isprintable()):
            return super().start_response(status, headers, exc_info)
        if "Content-Length" not in names:
            return super().start_response(status, headers, exc_info)
        self.is_plain = True
        self.status, self.status_code, self.headers = status, int(status[:3]), headers
        self.response_length = int(headers[names.index("Content-Length")][1])
        return self.write

    def write(self, arg: bytes) -> None:
        if not self.is_plain or self.headers_sent or len(arg) != self.response_length:
            super().write(arg)
            return
        self.headers_sent, self.sent = True, len(arg)
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        self.sock.sendall(f"{''.join(self.default_headers())}{fields}\r\n".encode("latin-1") + arg)

    def default_headers(self) -> list[str]:
        version, connection = self.req.version, "close" if self.should_close() else "keep-alive"
        headers = [
            f"HTTP/{version[0]}.{version[1]} {self.status}\r\n"
            f"Server: {self.version}\r\nDate: {self._now()}\r\nConnection: {connection}\r\n"
        ]
        if self.chunked:
            headers.append("Transfer-Encoding: chunked\r\n")
        return headers

    @classmethod
    def _now(cls):
        """The date, put into words once a second."""
        second = int(time.time())
        if cls.date[0] != second:
            cls.date = second, formatdate(second, usegmt=True)
        return cls.date[1]


class RefusalAsJson:
    """A socket for gunicorn's handle_error(): what gunicorn refuses before the application sees it is sent in the one
    error shape instead of as HTML; the status stays."""

    def __init__(self, outbox: Any, reason: str):
        self._outbox = outbox
        self._reason = reason
        self.status = 500

    def gettimeout(self) -> float:
        return 0.0  # nothing blocks here

    def sendall(self, html: bytes) -> None:
        self.status = status = int(html.split(maxsplit=2)[1])
        is_ours = status >= 500 and status != 501  # Not Implemented: an unknown Transfer-Encoding
        self._outbox.sendall(as_bytes(ApiError(status, OWN_FAULT if is_ours else self._reason)))


def as_bytes(error: ApiError) -> bytes:
    """An ApiError as an HTTP/1.1 answer, the last one on its connection."""
    answer = error.response()
    head = {**answer.headers, "Connection": "close"}
    lines = [f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.get_data()


class Waiting:
    """The connections that wait for their clients, in one epoll object. A connection is either here or a thread's own:
    whichever thread takes it out has it. Each event wakes one thread, once."""

    def __init__(self):
        self._epoll = select.epoll()
        self._connections = {}  # by descriptor

    def fileno(self) -> int:
        """A descriptor that is readable when poll() would find something."""
        return self._epoll.fileno()

    def watch(self, descriptor: int, flags: int) -> None:
        """Report a descriptor that is no connection: poll() returns it."""
        self._epoll.register(descriptor, flags)

    def watch_again(self, descriptor: int) -> None:
        """Report the next event of a descriptor that is watched with EPOLLONESHOT."""
        self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def unwatch(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)

    def put(self, connection: ClientConnection, events: int) -> None:
        """Let a connection wait for events until its deadline."""
        descriptor = connection.sock.fileno()
        connection.events = events
        self._connections[descriptor] = connection  # before the event can come
        arm = self._epoll.modify if connection.is_registered else self._epoll.register
        connection.is_registered = True
        arm(descriptor, events | select.EPOLLONESHOT)

    def rearm(self, connection: ClientConnection) -> None:
        """Report a connection that waits, or will wait, as soon as there is room to send."""
        try:
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLONESHOT)
        except (OSError, ValueError):  # it has just been closed
            log.debug("a stream has just ended")

    def poll(self, seconds: float | None = None) -> list[tuple[int, ClientConnection | None]]:
        """Wait for events, at most so many seconds; return of each its descriptor, and the connection unless it is
        another thing's. None for a connection that its deadline has met."""
        events = self._epoll.poll(seconds, MOST_EVENTS)
        return [(descriptor, self._connections.pop(descriptor, None)) for descriptor, _ in events]

    def take(self, connection: ClientConnection) -> bool:
        """Take a connection out; return whether it was here."""
        found = self._connections.pop(connection.sock.fileno(), None)
        if found is not None and found is not connection:  # another one has its descriptor by now
            self.put(found, found.events)
        return found is connection

    def all(self) -> list[ClientConnection]:
        """A copy of the list of connections."""
        return list(self._connections.values())


class Lead:
    """The right to wait for events, which one thread of a worker has at a time."""

    def __init__(self):
        self._lock = threading.Lock()
        self._holder = None  # id of the thread

    def take(self) -> None:
        """Wait until no other thread leads."""
        self._lock.acquire()
        self._holder = threading.get_ident()

    def is_held(self) -> bool:
        """Whether the calling thread leads."""
        return self._holder == threading.get_ident()

    def give_way(self) -> None:
        """Let another thread lead, if the calling one does."""
        if self.is_held():
            self._holder = None
            self._lock.release()


class Worker(BaseWorker):
    """Serves the requests of one process; see the module."""

    slot = balance.MOST  # gunicorn_conf.pre_fork() gives it a place

    # Life and death

    def init_process(self) -> None:
        # gunicorn asks for twenty settings a request by __getattr__: as plain attributes 5 % less CPU.
        vars(self.cfg).update((name, setting.get()) for name, setting in self.cfg.settings.items())
        self._tls = gunicorn_sock.ssl_context(self.cfg) if self.cfg.is_ssl else None
        self._listeners = {listener.fileno(): listener for listener in self.sockets}
        self._waiting = Waiting()
        self._connections = set()
        self._heads = Heads(self.cfg)
        self._lock = threading.Lock()
        self._accepting = threading.Lock()  # held until an accepted connection is known, and to close the ports
        self._lead = Lead()
        self._backlog = deque()  # connections with a whole request for which there was no thread
        self._later = deque()  # (function, argument): what a leader has found and left to whichever thread is free
        self._serving = 0  # threads that run a small request
        self._running = {}  # batch, or id of a thread: (connections, since when) of the requests that it runs
        self._parked = []  # heap of (when, number, connection): requests that are to be run again
        self._numbers = itertools.count()
        self._swept = 0.0
        self._closed = 0  # connections, since memory was last given back
        self._has_ended = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # wakes one thread: there is a backlog
        super().init_process()

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._application = self.wsgi.wsgi_app
        self._settings = self.wsgi.settings
        self._lanes = self.wsgi.extensions["lanes"]
        self._claims = self.wsgi.extensions["waiting_claims"]
        self._database = self.wsgi.extensions["database"]
        self._metrics = self.wsgi.extensions["metrics"]
        self._observer = self.wsgi.extensions["observer"]
        self._seconds = {
            "handshake": self._settings.handshake_timeout_secs,
            "head": self._settings.head_timeout_secs,
            "body": self._settings.body_timeout_secs,
            "idle": self._settings.keepalive_secs,
            "reading": self._settings.answer_timeout_secs,
            "goodbye": GOODBYE_SECS,
            "stream": float("inf"),
            "jobs": float("inf"),  # waiting_claims resumes them
        }
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_connections = max(1, min(self._settings.max_connections, files - SPARE_FILES))
        self._balance = balance.Balance(self.slot, self.cfg.workers, self._most_connections)

    def run(self) -> None:
        self._lane_queues = {name: queue.SimpleQueue() for name in LANES}
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._settings.threads + 1)]
        for requests in self._lane_queues.values():
            lane = range(self._settings.lane_threads)
            threads += [threading.Thread(target=self._work_in_lane, args=[requests], daemon=True) for _ in lane]
        self._waiting.watch(self._bell, select.EPOLLIN | select.EPOLLET)
        for descriptor in self._listeners:
            self._waiting.watch(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
        for thread in threads:
            thread.start()
        while self.alive and self.ppid == os.getppid():  # a new server needs the port of a killed master
            self._look_after(TICK)
        self.alive = False
        self._stop()

    def _stop(self):
        """Close the port at once: a client that connects now is refused, and tries again, instead of waiting in vain.
        Requests under way are finished, and idle connections may send one more."""
        self._balance.leave()
        with self._accepting:
            for descriptor, listener in self._listeners.items():
                self._waiting.unwatch(descriptor)
                listener.close()
        self._claims.end_all()
        self.wsgi.extensions["streams"].end_all()
        self.wsgi.extensions["api_traffic"].end_all()
        self.wsgi.extensions["pulses"].end_all()
        linger = time.monotonic() + STOP_LINGER
        end = time.monotonic() + self.cfg.graceful_timeout
        while self._connections and time.monotonic() < end:
            for connection in self._waiting.all():
                if connection.waits_for in ("idle", "head", "handshake", "goodbye"):
                    connection.deadline = min(connection.deadline, linger)
            self._look_after(0.05)
        self._metrics.add_up()
        self._has_ended = True
        self._waiting.watch(os.eventfd(1), select.EPOLLIN)  # stays readable: each thread wakes, and ends

    def _look_after(self, seconds):
        """Do what _tick() does; a failure of ours must not end the process, nor become a busy loop."""
        try:
            self._tick(seconds)
        except Exception:
            log.exception("the main thread of a worker failed")
            time.sleep(TICK)

    def _tick(self, seconds):
        """Sleep, at most until a parked request is due; then do what no event tells to do."""
        self.notify()
        seconds = min(seconds, self._claims.resume_due())
        if self._parked:
            seconds = min(seconds, self._parked[0][0] - time.monotonic())
        if readable([self.PIPE[0]], max(0, seconds)):
            os.read(self.PIPE[0], 4096)
        while self._parked and self._parked[0][0] <= time.monotonic():
            self._run_again(heapq.heappop(self._parked)[2])
        now = time.monotonic()
        if now >= self._swept + TICK or not self.alive:
            self._swept = now
            self._drop_late(now)
            self._cancel_abandoned(now)
            if self._closed >= TRIM_AFTER:
                self._closed = 0
                return_free_blocks()
            self._tell_state()

    def _tell_state(self):
        self._metrics.set_state(
            workers=1,
            connections=len(self._connections),
            streams=self.wsgi.extensions["streams"].count(),
            claims_waiting=self._claims.count(),
            threads=self._settings.all_threads,
            threads_busy=len(self._running),
            requests_queued=len(self._backlog) + sum(requests.qsize() for requests in self._lane_queues.values()),
            requests_parked=len(self._parked),
        )

    def _drop_late(self, now):
        for connection in self._waiting.all():
            if connection.is_late(now, self._settings.answer_timeout_secs) and self._waiting.take(connection):
                log.debug("dropped %s: waited too long for: %s", connection.address, connection.waits_for)
                self._close(connection)

    def _cancel_abandoned(self, now):
        """Cancel the statements of requests whose clients have hung up."""
        for server, request in list(self._running.items()):
            connections, since = request
            if now - since > TICK and all(each.is_gone() for each in connections):
                self._database.cancel(
                    server, lambda server=server, request=request: self._running.get(server) is request
                )

    # Threads

    def _work(self):
        """What each thread of the small requests does: what a leader has left; then lead when its turn comes, which is
        to serve what comes, until it gives way."""
        batches = Batches(self._database, self._waiting.fileno(), self._leads, self._lead.give_way)
        while not self._has_ended:
            try:
                if not self._do_what_was_left(batches):
                    self._lead_until_it_gives_way(batches)
            except Exception:  # of ours; the thread must go on
                log.exception("a thread of a worker failed")

    def _lead_until_it_gives_way(self, batches):
        self._lead.take()
        try:
            while self._leads():
                if not self._do_what_was_left(batches):
                    batches.serve(self._serve_batch)
        finally:
            self._lead.give_way()

    def _leads(self):
        """Whether the calling thread leads, and should go on."""
        return self._lead.is_held() and not self._has_ended

    def _do_what_was_left(self, batches):
        """Take a step that a leader has left, or run requests for which there was no thread; return whether there was
        any."""
        try:
            step, argument = self._later.popleft()
        except IndexError:
            return self._run_from_backlog(batches)
        self._lead.give_way()
        step(argument)
        return True

    def _run_from_backlog(self, batches):
        """Run what waits for a thread, if there may be one more now: calls that may join a batch together, another
        request alone; return whether there was any."""
        with self._lock:
            if not self._backlog or self._serving >= self._settings.threads:
                return False
            connection = None if self._backlog[0].may_join else self._backlog.popleft()
            self._serving += connection is not None
        if connection is None:
            batches.serve(self._serve_batch)
        else:
            self._advance(connection, self._run)
        return True

    def _serve_batch(self, batch):
        """Serve a batch: small calls of the direct way for which there was no thread, and, if this thread leads, those
        that have come. What may take long, such as handshakes and long answers, and other requests are left to the
        threads: whichever is free does not lead."""
        try:
            batch.serve(self._begin_calls(batch))
        finally:
            if batch.connections:
                self._leave_batch(batch)

    def _begin_calls(self, batch):
        """Begin the calls of a batch, and yield after each; give way if another thread could do what was left."""
        others_are_under_way = batch.batches.are_under_way()
        yield from self._join_from_backlog(batch)
        if self._leads():
            yield from self._take_events(batch, may_wait=not (batch.connections or others_are_under_way))
        if self._has_left_something() and (batch.connections or others_are_under_way):
            self._lead.give_way()

    def _take_events(self, batch, may_wait):
        """Begin the calls that have come, and leave what else has."""
        events = self._waiting.poll(None if may_wait else 0)
        batch.is_alone = not batch.connections and len(events) == 1
        while events:
            size = len(batch.connections)
            for descriptor, connection in events:
                if connection is None:
                    if descriptor in self._listeners and self.alive:
                        self._later.append((self._accept, self._listeners[descriptor]))
                elif connection.waits_for in REQUESTS:
                    batch.begin(self._advance, connection)
                    yield
                else:
                    self._later.append((self._advance, connection))
            # What has come meanwhile joins them, as long as the batch grows by it.
            events = self._waiting.poll(0) if size < len(batch.connections) < self._most_calls() else ()

    def _has_left_something(self):
        """Whether another thread could do something of what leaders have left."""
        return bool(self._later or self._backlog and self._serving < self._settings.threads)

    def _most_calls(self):
        """How many calls may be begun before those of the batch go on with their outcomes."""
        return min(len(self._connections), MOST_EVENTS)

    def _enter_batch(self, batch, connection):
        """Let a small request be served in a batch, which counts as one request; return whether there is a thread for
        it."""
        if not batch.connections:
            with self._lock:
                if self._serving >= self._settings.threads:
                    return False
                self._serving += 1
            self._running[batch] = batch.connections, time.monotonic()
        batch.connections.append(connection)
        return True

    def _join_from_backlog(self, batch):
        """Begin the calls for which there was no thread, if there is one now; yield after each."""
        connections = []
        with self._lock:
            if self._serving >= self._settings.threads:
                return
            while self._backlog and self._backlog[0].may_join and len(connections) < MOST_EVENTS:
                connections.append(self._backlog.popleft())
            self._serving += bool(connections)
        if connections:
            self._running[batch] = batch.connections, time.monotonic()
            batch.connections += connections
        batch.is_alone = len(connections) == 1
        for connection in connections:
            batch.begin(functools.partial(self._advance, step=self._answer_in_batch), connection)
            yield

    def _leave_batch(self, batch):
        del self._running[batch]
        with self._lock:
            self._serving -= 1
        if self._backlog and batch.batches.are_under_way():  # otherwise this thread takes from it next
            os.eventfd_write(self._bell, 1)

    def _work_in_lane(self, requests):
        """What each thread of a lane does."""
        while not self._has_ended:
            try:
                self._advance(requests.get(), self._serve)
            except Exception:
                log.exception("a thread of a worker failed")

    def _run_or_queue(self, connection):
        """Run a whole request in this thread, if it is a small one and a thread is left; return whether it is
        answered."""
        if connection.lane in LANES:
            self._lane_queues[connection.lane].put(connection)
            return False
        if connection.lane == AT_ONCE:
            return self._answer_or_park(connection)
        batch = current_batch()
        if batch is not None:
            if connection.may_join and self._enter_batch(batch, connection):
                return self._answer_in_batch(connection)
            self._backlog.append(connection)
            if not self._lead.is_held():  # otherwise the one that leads next knows of it
                os.eventfd_write(self._bell, 1)
            return False
        with self._lock:
            if self._serving >= self._settings.threads:
                self._backlog.append(connection)
                return False
            self._serving += 1
        return self._run(connection)

    def _run(self, connection):
        """Run a small request, which is counted in _serving already; return whether it is answered."""
        try:
            return self._serve(connection)
        finally:
            with self._lock:
                self._serving -= 1

    def _park(self, connection, seconds):
        """Run the request again after that many seconds, alone: it may wait in its thread then."""
        connection.may_join = False
        heapq.heappush(self._parked, (time.monotonic() + seconds, next(self._numbers), connection))
        os.write(self.PIPE[1], b".")

    def _run_again(self, connection):
        if connection.is_gone():
            self._close(connection)
            return
        if connection.waiter is not None:  # the time for which it has waited for jobs does not count
            connection.received = time.monotonic()
            connection.wait_until = connection.received + LOCK_SECS
        if connection.lane in LANES:
            self._lane_queues[connection.lane].put(connection)
            return
        with self._lock:
            self._backlog.append(connection)
        os.eventfd_write(self._bell, 1)

    def _await_jobs(self, connection, waiter):
        """Let a claim wait for jobs; meanwhile only its client can end that, by hanging up."""
        connection.waiter = waiter
        self._wait(connection, "jobs", select.EPOLLRDHUP)
        self._claims.add(waiter, functools.partial(self._resume_claim, connection))
        if waiter.until - time.monotonic() < TICK:
            os.write(self.PIPE[1], b".")  # the main thread may sleep for longer

    def _resume_claim(self, connection):
        if self._waiting.take(connection):  # its client has not just hung up
            self._run_again(connection)

    # Connections

    def _accept(self, listener):
        with contextlib.suppress(ValueError):  # closed: the worker stops
            self._balance.let_others_accept(listener)
        with self._accepting:  # a worker that stops would not wait for a connection that it does not know yet
            connection = self._take_connection(listener)
            are_too_many = len(self._connections) > self._most_connections
        if connection is None:
            return
        if are_too_many and not self._drop_idle():
            self._refuse_connection(connection)
        else:
            self._advance(connection)

    def _take_connection(self, listener):
        """Accept a connection, which is one of ours from now on; None if there is none."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                log.warning("cannot take a connection: %s", error.strerror)
                self._drop_idle()
                time.sleep(0.01)
            return None
        finally:
            with contextlib.suppress(OSError, ValueError):  # closed: the worker stops
                self._waiting.watch_again(listener.fileno())
        try:
            connection = self._new_connection(sock, address, listener.getsockname())
        except OSError:  # the client is gone
            sock.close()
            return None
        self._connections.add(connection)
        self._balance.set(len(self._connections))
        return connection

    def _new_connection(self, sock, address, server_address):
        sock.setblocking(False)
        self._find_dead(sock)
        if self._tls and sock.family != socket.AF_UNIX:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        reader = RequestReader(self.cfg, self._heads, address, self._body_limit)
        connection = ClientConnection(sock, address, server_address, reader)
        connection.deadline = time.monotonic() + self._seconds[connection.waits_for]
        return connection

    def _find_dead(self, sock):
        """Have the kernel end the connection of a client whose machine is gone."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sock.family != socket.AF_UNIX:
            milliseconds = 1000 * self._settings.answer_timeout_secs
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _body_limit(self, method, path):
        return body_limit(method, path, self._settings)

    def _drop_idle(self):
        """Close the connections that have been idle longest; return whether there were any."""
        idle = sorted((c for c in self._waiting.all() if c.waits_for == "idle"), key=lambda c: c.deadline)
        dropped = [c for c in idle[: len(idle) // 50 + 1] if self._waiting.take(c)]
        for connection in dropped:
            log.debug("dropped %s: idle, and there are too many connections", connection.address)
            self._close(connection)
        return bool(dropped)

    def _refuse_connection(self, connection):
        self._metrics.count_refused_connection()
        error = ApiError(503, "This server has too many connections; try again", {"Retry-After": "1"})
        if not self._tls:  # a handshake would take as much as a request
            with contextlib.suppress(OSError):
                connection.sock.send(as_bytes(error))
        self._close(connection)

    def _advance(self, connection, step=None):
        """Go on with a connection, beginning with `step`, until it waits or belongs to another thread."""
        try:
            while (step or self._step)(connection):
                step = None
        except (ClientGone, OSError) as error:  # an error of TLS is an OSError
            log.debug("lost %s: %s", connection.address, error)
            self._close(connection)
        except BaseException:
            self._close(connection)
            raise

    def _step(self, connection):
        """Do what the connection waits for; return whether there is more to do at once."""
        if connection.waits_for == "handshake":
            return self._shake_hands(connection)
        if connection.waits_for == "reading":
            return self._send(connection)
        if connection.waits_for == "stream":
            return self._advance_stream(connection)
        if connection.waits_for == "goodbye":
            return self._await_goodbye(connection)
        if connection.waits_for == "jobs":
            raise ClientGone
        return self._receive(connection)

    def _wait(self, connection, waits_for, events):
        """Let a connection wait. Returns False, for _step()."""
        if waits_for != connection.waits_for or waits_for in ("body", "reading"):  # these get on
            connection.waits_for = waits_for
            connection.deadline = time.monotonic() + self._seconds[waits_for]
        self._waiting.put(connection, events)
        return False

    def _shake_hands(self, connection):
        events = connection.handshake()
        if events:
            return self._wait(connection, "handshake", events)
        connection.waits_for = "head"
        connection.deadline = time.monotonic() + self._seconds["head"]
        return True

    def _receive(self, connection):
        data = connection.receive()
        if data is None:
            return self._await_request(connection)
        try:
            is_whole = connection.reader.feed(data)
        except ParseException as error:
            return self._refuse(connection, error)
        except ApiError as error:  # no room for the body
            return self._answer_error(connection, error)
        if is_whole:
            return self._begin_request(connection)
        if connection.reader.wants_go_ahead:
            connection.sock.send(GO_AHEAD)
        return self._await_request(connection)  # others get their turn

    def _await_request(self, connection):
        if connection.has_received():
            return True
        if connection.reader.is_in_body:
            return self._wait(connection, "body", select.EPOLLIN)
        if connection.reader.has_begun or connection.waits_for == "head":
            return self._wait(connection, "head", select.EPOLLIN)
        return self._wait(connection, "idle", select.EPOLLIN)

    def _begin_request(self, connection):
        request = connection.reader.request
        connection.lane, connection.shape = self._lanes.lane_and_shape(request.method, request.path)
        connection.may_join = connection.lane == DIRECT and connection.reader.is_short
        connection.received = time.monotonic()
        connection.wait_until = connection.received + (LANE_LOCK_SECS if connection.lane in LANES else LOCK_SECS)
        return self._run_or_queue(connection)

    def _send(self, connection):
        """Send what is left of the answer, and then await the next request."""
        if not connection.outbox.flush():
            return self._wait(connection, "reading", select.EPOLLOUT)
        if connection.closes:
            connection.shut_down()
            return self._wait(connection, "goodbye", select.EPOLLIN)
        connection.waits_for = "idle"
        connection.deadline = time.monotonic() + self._seconds["idle"]
        try:
            is_whole = connection.reader.begin_next()
        except ParseException as error:
            return self._refuse(connection, error)
        return self._begin_request(connection) if is_whole else self._await_request(connection)

    def _await_goodbye(self, connection):
        while connection.receive() is not None:
            pass
        return self._wait(connection, "goodbye", select.EPOLLIN)

    def _advance_stream(self, connection):
        stream = connection.stream
        stream.advance()
        if stream.has_ended and stream.stuck_since is None:
            connection.shut_down()
            return self._wait(connection, "goodbye", select.EPOLLIN)
        self._wait(connection, "stream", select.EPOLLIN)
        if stream.has_ended or stream.stuck_since is not None:  # perhaps since a moment ago, by the listener's thread
            self._waiting.rearm(connection)
        return False

    def _close(self, connection):
        self._closed += 1
        self._connections.discard(connection)
        self._balance.set(len(self._connections))
        connection.close()
        self._end_wait(connection)

    # Requests

    def _serve(self, connection):
        """Run the application on a whole request, alone in this thread. Return whether the answer is ready to be
        sent; if not, the request is parked, or the connection has become a stream."""
        thread = threading.get_ident()
        self._running[thread] = [connection], time.monotonic()
        try:
            return self._answer_or_park(connection)
        finally:
            del self._running[thread]

    def _answer_or_park(self, connection):
        """The same for a request that may be one of several of a thread."""
        if connection.waiter is not None and connection.is_gone():  # it must not claim jobs
            raise ClientGone
        try:
            is_answered = self._answer(connection)
            self._end_wait(connection)
            return is_answered
        except LaterWithJobs as later:
            self._await_jobs(connection, later.waiter)
            return False
        except Later as later:
            self._park(connection, later.delay)
            return False
        except Exception as error:  # noqa: BLE001 - it is logged there
            return self._refuse(connection, error)

    def _answer_in_batch(self, connection):
        """The same in a batch: the answer is ready when what the batch has written is durable."""
        if not self._answer_or_park(connection):
            return False
        try:
            until_durable()
        except ApiError as error:
            connection.outbox.close()
            return self._answer_error(connection, error)
        return True

    def _end_wait(self, connection):
        """The request is answered, or its client is gone: if it was a claim that has waited, others are next."""
        if connection.waiter is not None:
            self._claims.leave(connection.waiter)
            connection.waiter = None

    def _answer(self, connection):
        connection.outbox.close()  # of an attempt before
        response, environ = self._heads.answer_and_environ(connection.reader.request, connection, Answer)
        connection.reader.fill(environ)
        environ["wsgi.multithread"] = True
        environ["torc.received"] = connection.received
        environ["torc.wait_until"] = connection.wait_until
        environ["torc.waiter"] = connection.waiter
        if environ["PATH_INFO"] == connection.reader.request.path:  # and not decoded, or without a prefix
            environ["torc.shape"] = connection.shape
        environ["torc.before_waiting"] = leave_batch if current_batch() else self._lead.give_way
        if not (self.alive and connection.reader.ends_cleanly):
            response.force_close()
        answer = self._application(environ, response.start_response)
        if isinstance(answer, Subscription):
            return self._begin_stream(connection, response, answer)
        if isinstance(answer, wsgi.FileWrapper):
            response.send_headers()
            connection.outbox.send_file(answer.filelike, response.response_length)
        else:
            self._write(response, answer)
        connection.closes = response.should_close() or not connection.reader.ends_cleanly
        connection.waits_for = "reading"
        return True

    def _write(self, response, answer):
        try:
            for piece in answer:
                response.write(piece)
            response.close()
        finally:
            if hasattr(answer, "close"):
                answer.close()

    def _begin_stream(self, connection, response, subscription):
        response.send_headers()
        rearm = functools.partial(self._waiting.rearm, connection)
        connection.stream = StreamSender(connection, subscription, response.chunked, rearm)
        subscription.attach(connection.stream.push, connection.stream.end)
        return self._advance_stream(connection)

    def _refuse(self, connection, error):
        """Answer what cannot be read, or the error of an application, as gunicorn does; but in the one error shape."""
        connection.outbox.close()
        client = RefusalAsJson(connection.outbox, f"The request cannot be read: {error}")
        self.handle_error(None, client, connection.address, error)
        if isinstance(error, ParseException):  # the application has not seen it
            self._observer.refuse(connection.address, client.status, str(error))
        return self._end_with_answer(connection)

    def _answer_error(self, connection, error):
        connection.outbox.sendall(as_bytes(error))
        self._observer.refuse(connection.address, error.status, error.message)
        return self._end_with_answer(connection)

    def _end_with_answer(self, connection):
        """Let the answer in the outbox be the connection's last one."""
        self._end_wait(connection)
        connection.closes = True
        connection.waits_for = "reading"
        return True
