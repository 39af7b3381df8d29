"""What keeps open pages up to date: each gets a frame when its workflow has changed, twice a second at most.

The event streams of the interface tell of every single transition, and each of those pays for that while somebody
listens. Pages want to know that there is something new. So one thread of each process reads the numbers of the
workflows that are shown, once for all pages; transitions do nothing for it, and a hundred pages cost what one costs.
"""

import json
import logging
import threading
import time
from collections.abc import Callable

import psycopg

from torc_server.auth import Caller
from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.repository import server_value, sql
from torc_server.streams import (
    COMMENT_EVERY,
    RENEW_EVERY,
    RETRY_AFTER,
    Subscription,
    access_parameters,
    without_access,
)

log = logging.getLogger("torc_server")

LEAST_SECONDS = 0.5  # between two readings of a workflow
RATIO = 25  # a reading is followed by at least so many times its own duration: at most 4 % of a core per workflow


class Pulses:
    """The open pages of this process, at most `limit`.

    has_user: (name) -> whether a user of that name may still log in. Together with the access rules it is asked every
    RENEW_EVERY seconds: a page hears nothing more when its caller loses access.
    """

    def __init__(self, database: Database, limit: int, has_user: Callable[[str], bool]):
        self._database = database
        self._limit = limit
        self._has_user = has_user
        self._lock = threading.Lock()
        self._watched = {}  # workflow_id: _Watched
        self._thread = None

    def subscribe(self, workflow_id: int, caller: Caller) -> Subscription:
        """Return a Subscription that hears of changes from now on; its first frame comes within a second. Raises
        ApiError 503 if all places are taken."""
        subscription = Subscription(self, workflow_id, "debug", caller, b": listening\n\n")
        with self._lock:
            if sum(len(watched.pages) for watched in self._watched.values()) >= self._limit:
                raise ApiError(503, "All event streams of this server are in use", {"Retry-After": RETRY_AFTER})
            watched = self._watched.setdefault(workflow_id, _Watched())
            watched.pages.add(subscription)
            watched.said = None  # the new page gets a frame too
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_on, name="dashboard pulses", daemon=True)
                self._thread.start()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Give a place back."""
        with self._lock:
            if watched := self._watched.get(subscription.workflow_id):
                watched.pages.discard(subscription)
                if not watched.pages:
                    del self._watched[subscription.workflow_id]

    def end_all(self) -> None:
        """End every stream: the server stops."""
        self._end(self._pages())

    def _pages(self):
        with self._lock:
            return [page for watched in self._watched.values() for page in watched.pages]

    def _end(self, pages):
        for page in pages:
            page.end()
            self.leave(page)

    def _read_on(self):
        """Read until nobody watches."""
        commented = checked = time.monotonic()
        while True:
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                due = [(id, watched) for id, watched in self._watched.items() if watched.due <= time.monotonic()]
            try:
                for workflow_id, watched in due:
                    self._read(workflow_id, watched)
                if time.monotonic() - checked > RENEW_EVERY:
                    checked = time.monotonic()
                    self._check_access()
            except (ApiError, psycopg.Error) as error:  # the database is away: pages see that when they ask
                log.debug("the pages of the dashboard hear nothing: %s", error)
            except Exception:
                log.exception("the pages of the dashboard hear nothing; the next reading is tried")
            if time.monotonic() - commented > COMMENT_EVERY:
                commented = time.monotonic()
                for page in self._pages():
                    page.hear(b": still here\n\n")
            time.sleep(LEAST_SECONDS / 5)

    def _read(self, workflow_id, watched):
        started = time.monotonic()
        said = server_value(
            self._database, sql.dashboard.pulse, workflow_id=workflow_id, caller=None, enforced=False, dialect=None
        )
        ended = time.monotonic()
        watched.due = ended + max(LEAST_SECONDS, RATIO * (ended - started))
        if said == watched.said:
            return
        with self._lock:
            watched.said = said
            pages = list(watched.pages)
        frame = json.dumps(json.loads(said) | {"pages": len(pages)})
        for page in pages:
            page.hear(f"event: changed\ndata: {frame}\n\n".encode())

    def _check_access(self):
        """End the streams whose callers have lost access, and those of deleted workflows."""
        pages = self._pages()
        may_read = server_value(self._database, sql.event_stream.may_read, **access_parameters(pages))
        self._end(without_access(pages, may_read, self._has_user))


class _Watched:
    """A workflow that pages show: those, what the last reading said, when the next one is due (monotonic)."""

    def __init__(self):
        self.pages = set()
        self.said = None
        self.due = 0.0
