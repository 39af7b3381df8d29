"""Small calls that arrive together are served together: one thread serves them, sends their statements to PostgreSQL in
one go, and what they changed becomes durable by one write of its log instead of one for each call.

Each call is a greenlet. It runs the application as any other thread would, until that asks for the value of a statement
(Batch.first); it goes on when all calls of the batch have asked and PostgreSQL has answered. So views and WSGI classes
know nothing of batches. Each statement stays a separate transaction: it succeeds or fails whatever the others do.

What would take long is done alone, as without a batch: waiting for a lock, trying again after a deadlock.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import greenlet

from torc_server import current

log = logging.getLogger("torc_server")


MOST_IDLE = 4  # greenlets that a thread keeps


class Alone(Exception):
    """The call must send its statement itself. Nothing of it was done."""


class _Call(greenlet.greenlet):
    """It serves one call after the other: to make a greenlet takes 40 µs, because Python maps memory for its frames."""

    batch: "Batch | None" = None

    def run(self, serve: Callable[[Any], None], connection: Any) -> None:
        """Serve what each switch() from the hub brings: serve(connection)."""
        while True:
            try:
                serve(connection)
            except Exception:
                log.exception("a call of a batch failed")
            if len(_idle.calls) == MOST_IDLE:
                return
            _idle.calls.append(self)
            del serve, connection  # so that they are not kept
            serve, connection = self.parent.switch()


class _Idle(threading.local):
    """The greenlets of a thread that serve nothing now."""

    def __init__(self):
        self.calls = []


_idle = _Idle()


class Batch:
    """The calls that one thread serves together.

    give_way: called before the thread waits for long. connections: those of the calls, for the caller's use.
    """

    def __init__(self, database: Any, give_way: Callable[[], None]):
        self._database = database
        self._give_way = give_way
        self._hub = greenlet.getcurrent()
        self.connections = []
        self._asked = []  # (call, (text, parameters, whether the statement may write))

    def begin(self, serve: Callable[[Any], None], connection: Any) -> None:
        """Run serve(connection) until it asks for a value or ends."""
        call = _idle.calls.pop() if _idle.calls else _Call()
        call.batch = self
        call.switch(serve, connection)

    def first(self, text: str, params: dict[str, Any]) -> Any:
        """The first value of a statement, for the call that asks. Raises Alone, ApiError."""
        may_write = current.environ()["REQUEST_METHOD"] != "GET"
        self._asked.append((greenlet.getcurrent(), (text, params, may_write)))
        return self._hub.switch()

    def finish(self) -> None:
        """Go on with all calls until they have ended."""
        while self._asked:
            calls, statements = zip(*self._asked, strict=True)
            self._asked = []
            alone = []
            for call, outcome in zip(calls, self._database.run_together(statements, self._give_way), strict=True):
                if isinstance(outcome, Alone):
                    alone.append(call)
                elif isinstance(outcome, Exception):
                    call.throw(outcome)
                else:
                    call.switch(outcome)
            for call in alone:  # when all others have their answers
                self._give_way()
                call.throw(Alone())


def current_batch() -> Batch | None:
    """The batch of the call that runs now; None in a thread that serves a request alone."""
    return getattr(greenlet.getcurrent(), "batch", None)
