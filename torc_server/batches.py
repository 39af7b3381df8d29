"""Small calls that arrive together are served together: one thread serves them over one connection to PostgreSQL, and
what they changed becomes durable by one write of its log instead of one for each call. When PostgreSQL takes long, the
thread serves those that have arrived meanwhile: it has two batches under way.

Each call is a greenlet. It runs the application as any other thread would, until that asks for the value of a statement
(Batch.first). The statement is sent at once: PostgreSQL works on it while the thread begins the next call. When all
have begun, each goes on with its outcome as soon as that is there; the answer to a change waits until that is durable.
The thread does not wait before it has begun all that it has found. So views and WSGI classes know nothing of batches.
Each statement stays a separate transaction: it succeeds or fails whatever the others do.

A call that would take long leaves its batch (errors.Later) and is run again alone: it has to wait for a locked
workflow, to try again after a deadlock, or to verify a password.
"""

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import greenlet

from torc_server import current
from torc_server.errors import OWN_FAULT, ApiError, Later

log = logging.getLogger("torc_server")


MOST_IDLE = 16  # greenlets that a thread keeps
MOST_UNDER_WAY = 2  # batches of a thread
EARLY_MS = 1  # that a thread waits for PostgreSQL before it begins another batch: it would be a small one
PATIENCE_MS = 5  # that it waits then, for PostgreSQL or clients, before it lets another one lead (see worker)
LONG_MS = 20  # that it waits in all since it began a batch, a little for each outcome, before it does so


class _Task(greenlet.greenlet):
    """It calls one function after the other: to make a greenlet takes 40 µs, because Python maps memory for its frames.

    batch: that for which it works, or None. may_have_written: its call has sent a statement that may write.
    """

    batch: "Batch | None" = None
    may_have_written = False

    def run(self) -> None:
        """Do what each switch() of the parent brings: function(argument)."""
        while True:
            function, argument = self.parent.switch()
            try:
                function(argument)
            except Exception:
                log.exception("a call of a batch failed")
            self.batch = None
            if len(_idle.tasks) == MOST_IDLE:
                return
            _idle.tasks.append(self)
            del function, argument  # so that they are not kept


class _Idle(threading.local):
    """The greenlets of a thread that do nothing now, and one that makes further ones.

    Python counts the frames below a greenlet from where that was begun. Begun by each other, greenlets that are used
    again would be at ever greater depths, up to a RecursionError.
    """

    def __init__(self):
        self.tasks = []
        self._maker = greenlet.greenlet(_make_tasks)

    def take(self) -> _Task:
        """A greenlet that waits for its function."""
        if self.tasks:
            return self.tasks.pop()
        self._maker.parent = greenlet.getcurrent()
        return self._maker.switch()


def _make_tasks():
    maker = greenlet.getcurrent()
    while True:
        task = _Task()
        task.switch()
        maker.parent.switch(task)


_idle = _Idle()


def _begin(batch, function, argument):
    """Run function(argument) in a greenlet until it ends or switches back."""
    task = _idle.take()
    task.batch, task.may_have_written = batch, False
    task.parent = greenlet.getcurrent()
    task.switch(function, argument)


class Batches:
    """The batches that a thread has under way: when PostgreSQL takes long for one, it begins the next.

    clients: a descriptor that is readable when clients have sent something. may_begin: whether the thread may begin a
    batch. give_way: lets another thread lead, before this one waits; may_begin() is false afterwards.
    """

    def __init__(self, database: Any, clients: int, may_begin: Callable[[], bool], give_way: Callable[[], None]):
        self._database = database
        self._clients = clients
        self._may_begin = may_begin
        self.give_way = give_way
        self._hub = greenlet.getcurrent()
        self._waiting = {}  # descriptor of a connection to PostgreSQL: the greenlet that waits for it
        self._poll = select.poll()
        self._waited = 0.0  # seconds, since a batch was begun

    def are_under_way(self) -> bool:
        """Whether batches wait."""
        return bool(self._waiting)

    def serve(self, fill: Callable[["Batch"], None]) -> None:
        """Call fill(batch), which serves a batch, and again when clients have sent something, until all batches have
        ended."""
        self._begin_batch(fill)
        while self._waiting:
            may_begin = len(self._waiting) < MOST_UNDER_WAY and self._may_begin()
            for descriptor in self._ready(may_begin):
                if descriptor != self._clients:
                    self._waiting.pop(descriptor).switch()
                elif self._may_begin():  # still, after what has been done for another descriptor
                    self._begin_batch(fill)

    def _begin_batch(self, fill):
        self._waited = 0.0
        batch = Batch(self._database, self)
        _begin(batch, fill, batch)

    def _ready(self, may_begin):
        """The descriptors that have become readable, that of the clients only if a batch may be begun."""
        started = time.monotonic()
        ready = self._poll.poll(EARLY_MS)
        if not ready:
            ready = self._ready_late() if may_begin else self._poll.poll(PATIENCE_MS)
        self._waited += time.monotonic() - started
        if not ready or 1000 * self._waited > LONG_MS:
            self.give_way()
            ready = ready or self._poll.poll()
        return [descriptor for descriptor, _ in ready]

    def _ready_late(self):
        self._poll.register(self._clients, select.POLLIN)
        try:
            return self._poll.poll(PATIENCE_MS)
        finally:
            self._poll.unregister(self._clients)

    def wait(self, descriptor: int, events: int = select.POLLIN) -> None:
        """Serve other batches until a connection to PostgreSQL has something to read, or what the events say."""
        self._waiting[descriptor] = greenlet.getcurrent()
        self._poll.register(descriptor, events)
        self._hub.switch()
        self._poll.unregister(descriptor)


class Batch:
    """The calls that are served together, by one greenlet that begins and finishes them.

    batches: all that the thread has under way. connections: those of the calls, for the caller's use. is_alone: no
    other call is expected to join the one that is begun.
    """

    def __init__(self, database: Any, batches: Any):
        self._database = database
        self.batches = batches
        self.connections = []
        self.is_alone = False
        self._hub: Any = None
        self._arrivals: Iterator[None] = iter(())
        self._asked = deque()  # (call, (text, parameters, whether the statement may write)), to be sent
        self._sent = deque()  # calls that wait for their outcomes
        self._held = []  # calls that have ended
        self._is_durable = True  # what was written

    def serve(self, arrivals: Iterator[None]) -> None:
        """Serve calls until all have ended. Each next(arrivals) begins some by begin()."""
        self._hub = greenlet.getcurrent()
        self._arrivals = arrivals
        while True:
            for _ in arrivals:
                if self._asked:
                    break
            if not self._asked:
                return
            self._exchange()

    def begin(self, serve: Callable[[Any], None], connection: Any) -> None:
        """Run serve(connection) until it asks for a value or ends."""
        _begin(self, serve, connection)

    def first(self, text: str, params: dict[str, Any]) -> Any:
        """The first value of a statement, for the call that asks. Raises Later, ApiError."""
        call: Any = greenlet.getcurrent()
        call.may_have_written = may_write = current.environ()["REQUEST_METHOD"] != "GET"
        self._asked.append((call, (text, params, may_write)))
        return self._hub.switch()

    def until_durable(self) -> None:
        """Return when the call that has ended may be answered: what it has written cannot be lost any more. Raises
        ApiError if it may be."""
        call: Any = greenlet.getcurrent()
        if call.may_have_written and not self._is_durable:
            self._held.append(call)
            self._hub.switch()

    def wait(self, descriptor: int, events: int = select.POLLIN) -> None:
        """Serve other batches until a connection to PostgreSQL has something to read, or what the events say."""
        self._begin_all()
        self.batches.wait(descriptor, events)

    def give_way(self) -> None:
        """Let another thread lead, before this one waits in another way."""
        self._begin_all()
        self.batches.give_way()

    def _begin_all(self):
        """Begin all calls before the thread waits: those that need no database are answered, and what is left to other
        threads is known when one of them leads."""
        for _ in self._arrivals:
            pass

    def _exchange(self):
        """Send what calls have asked for, begin further ones meanwhile, and let each go on with its outcome."""
        self._is_durable = False
        try:
            self._database.run_together(self._talk, self)
        except ApiError as error:
            self._fail(error)
        except Exception:
            log.exception("a batch failed by our own fault")
            self._fail(ApiError(500, OWN_FAULT))
        self._is_durable = True
        self._resume_held()

    def _talk(self, send, receive, make_durable):
        self._send_asked(send)
        for _ in self._arrivals:
            self._send_asked(send)
        make_durable()  # while calls go on with their outcomes
        while self._sent:
            outcome = receive()
            call = self._sent.popleft()
            if isinstance(outcome, Exception):
                call.throw(outcome)
            else:
                call.switch(outcome)
            self._send_asked(send)

    def _send_asked(self, send):
        while self._asked:
            call, statement = self._asked.popleft()
            self._sent.append(call)
            send(*statement, self.is_alone)

    def _fail(self, error):
        """Have each call raise an error whose statement was sent; or whose was not, if there was no connection."""
        calls = [*self._sent, *self._held]
        if not calls:
            calls = [call for call, _ in self._asked]
            self._asked.clear()
        self._sent.clear()
        self._held.clear()
        for call in calls:
            call.throw(error)

    def _resume_held(self):
        calls, self._held = self._held, []
        for call in calls:
            call.switch()


def current_batch() -> Batch | None:
    """The batch of the call that runs now; None in a thread that serves a request alone."""
    return getattr(greenlet.getcurrent(), "batch", None)


def until_durable() -> None:
    """Return when the call that has ended may be answered, see Batch.until_durable()."""
    if batch := current_batch():
        batch.until_durable()


def leave_batch() -> None:
    """The call of a batch that runs now would wait. Raises Later: it is run again alone."""
    raise Later(0)


def current_server() -> Hashable:
    """What serves requests now: a batch, or a thread (threading.get_ident())."""
    return current_batch() or threading.get_ident()
