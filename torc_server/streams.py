"""Event streams: one connection of each process listens for all of them, one thread passes on what it hears. It hears
for the claims that wait, too (see waiting_claims).

Transitions notify only while a stream of their workflow is registered in torc.event_stream; each process registers a
workflow once, and renews that while it has a stream of it. A stream takes no thread and no connection: its Subscription
is given what the server shall do with each frame. A server that gives nothing (one without our worker class) iterates
over the Subscription, in a thread.
"""

import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from torc_server.auth import Caller
from torc_server.errors import ApiError
from torc_server.polling import readable
from torc_server.repository import sql
from torc_server.schemas.event_stream import SEVERITIES
from torc_server.waiting_claims import WaitingClaims

log = logging.getLogger("torc_server")

TICK = 1.0  # seconds
COMMENT_EVERY = 15.0  # seconds; keeps proxies and clients from giving up
RENEW_EVERY = 10.0  # seconds; a registration expires 30 s after its last renewal
RETRY_AFTER = "10"  # seconds; for clients beyond the limit
OPEN_SECONDS = 5.0  # how long a new stream waits until the process listens to its workflow
QUEUED_FRAMES = 1000  # of a stream that a thread iterates over

DROPPED = b'event: warning\ndata: {"dropped":null,"message":"events were lost: read the current state"}\n\n'
LISTENING = b": listening\n\n"


class Subscription:
    """One stream: its workflow, the lowest severity that it wants, who asked for it.

    As an iterable it gives the frames as bytes, one by one, until it is closed.
    """

    def __init__(self, streams: Any, workflow_id: int | None, level: str, caller: Caller, first_frame: bytes):
        self.workflow_id = workflow_id
        self.caller = caller
        self._streams = streams
        self._least = SEVERITIES.index(level)
        self._lock = threading.Lock()
        self._queue = queue.Queue(QUEUED_FRAMES)
        self._push = self._enqueue
        self._end = self._enqueue_end
        self._has_dropped = False
        self._enqueue(first_frame)

    def attach(self, push: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Have push(frame) called for each frame from now on, and end() when the server ends the stream."""
        with self._lock:
            for _ in range(self._queue.qsize()):
                push(self._queue.get())
            self._push, self._end = push, end

    def hear(self, frame: bytes, severity: int | None = None) -> None:
        """Pass a frame on if the stream wants events of its severity (an index of SEVERITIES; None: all do)."""
        if severity is None or severity >= self._least:
            with self._lock:
                self._push(frame)

    def end(self) -> None:
        """End the stream: the server stops, or the caller may not read the workflow any more."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """The client is gone, or the stream has ended: give its place back. May be called twice."""
        self._streams.leave(self)

    def _enqueue(self, frame):
        try:
            if self._has_dropped:
                self._queue.put_nowait(DROPPED)
                self._has_dropped = False
            self._queue.put_nowait(frame)
        except queue.Full:
            self._has_dropped = True

    def _enqueue_end(self):
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


def access_parameters(subscriptions: Iterable) -> dict[str, list]:
    """The parameters of event_stream.may_read: which workflow each subscription is of, and who asked for it."""
    callers = [subscription.caller for subscription in subscriptions]
    return {
        "workflow_ids": [subscription.workflow_id for subscription in subscriptions],
        "names": [caller.name for caller in callers],
        "enforced": [caller.enforced for caller in callers],
    }


def without_access(subscriptions: Iterable, may_read: Iterable[bool], has_user: Callable[[str], bool]) -> list:
    """Those whose callers have lost access: may_read has the answers of the rules, has_user says who may log in."""
    return [
        subscription
        for subscription, may in zip(subscriptions, may_read, strict=True)
        if not (may and has_user(subscription.caller.name))
    ]


class Streams:
    """The open streams of this process, at most `limit`; `claims` are its claims that wait.

    has_user: (name) -> whether a user of that name may still log in. Together with the access rules it is asked every
    RENEW_EVERY seconds: a stream ends when its caller loses access.
    """

    def __init__(self, database: Any, limit: int, has_user: Callable[[str], bool], node_watch: Any):
        self.claims = WaitingClaims(self.start_listening, node_watch)
        self._database = database
        self._limit = limit
        self._has_user = has_user
        self._lock = threading.Lock()
        self._open = {}  # workflow_id: set of Subscription
        self._thread = None
        self._changed = threading.Condition(self._lock)
        self._heard = {}  # workflow_id: id of its registration, for the workflows that the connection listens to
        self._wake: Any = None  # a descriptor that ends the listener's wait

    def subscribe(self, workflow_id: int, level: str, caller: Caller, reconnected: bool = False) -> Subscription:
        """Return a Subscription that hears everything from now on. Raises ApiError 503: all places are taken, or the
        database does not answer."""
        subscription = Subscription(self, workflow_id, level, caller, DROPPED if reconnected else LISTENING)
        end = time.monotonic() + OPEN_SECONDS
        with self._changed:
            if sum(map(len, self._open.values())) >= self._limit:
                raise ApiError(503, "All event streams of this server are in use", {"Retry-After": RETRY_AFTER})
            self._open.setdefault(workflow_id, set()).add(subscription)
            self._start_listener()
            while workflow_id not in self._heard:
                if not self._changed.wait(end - time.monotonic()):
                    self._discard(subscription)
                    raise ApiError(503, "The connection to the database was lost; try again", {"Retry-After": "1"})
        return subscription

    def start_listening(self) -> None:
        """Have the process listen, if it does not; if it does, have it see what is new."""
        with self._lock:
            self._start_listener()

    def count(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(map(len, self._open.values()))

    def leave(self, subscription: Subscription) -> None:
        """Give a place back."""
        with self._lock:
            self._discard(subscription)

    def end_all(self) -> None:
        """End every stream: the server stops."""
        self._end(self._subscriptions())

    def _end(self, subscriptions):
        for subscription in subscriptions:
            subscription.end()
            self.leave(subscription)

    def _discard(self, subscription):
        of_workflow = self._open.get(subscription.workflow_id, set())
        of_workflow.discard(subscription)
        if not of_workflow:
            self._open.pop(subscription.workflow_id, None)

    def _subscriptions(self, workflow_id=None):
        with self._lock:
            groups = self._open.values() if workflow_id is None else [self._open.get(workflow_id, ())]
            return [subscription for group in groups for subscription in group]

    def _start_listener(self):
        """Start the thread that listens, or wake it: it has a new workflow."""
        if self._thread is None or not self._thread.is_alive():
            self._wake = self._wake or os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._thread = threading.Thread(target=self._listen_forever, name="event streams", daemon=True)
            self._thread.start()
        os.eventfd_write(self._wake, 1)

    def _listen_forever(self):
        had_connection = False
        while True:
            try:
                with self._database.connect(listen=True) as connection:
                    connection.execute(sql.event_stream.name_connection.sql)
                    if had_connection:
                        self._register(connection)
                        self._tell_all(DROPPED)
                    had_connection = True
                    self._listen(connection)
            except psycopg.OperationalError as error:
                log.debug("the event streams have lost the database: %s", error)
            except Exception:
                log.exception("the event streams failed; they begin again")
            with self._lock:
                self._heard.clear()
            self.claims.forget_registrations()
            time.sleep(TICK)

    def _listen(self, connection):
        commented = renewed = time.monotonic()
        while True:
            self._register(connection)
            patience = min(TICK, self.claims.advance(connection))
            self._hear(connection)  # what came with the answers to these statements; poll() would not tell of it
            readable([connection, self._wake], patience)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            self._hear(connection)
            now = time.monotonic()
            if now - commented > COMMENT_EVERY:
                commented = now
                self._tell_all(b": still here\n\n")
            if now - renewed > RENEW_EVERY:
                renewed = now
                self._renew(connection)

    def _register(self, connection):
        """Listen to the workflows that have a stream, and only to those."""
        with self._lock:
            wanted = set(self._open)
        for workflow_id in wanted - set(self._heard):
            row = connection.execute(sql.event_stream.register.sql, {"workflow_id": workflow_id}).fetchone()
            with self._changed:
                self._heard[workflow_id] = row[0]
                self._changed.notify_all()
        for workflow_id in set(self._heard) - wanted:
            with self._lock:
                if workflow_id in self._open:
                    continue
                registration = self._heard.pop(workflow_id)
            params = {"id": registration, "workflow_id": workflow_id}
            connection.execute(sql.event_stream.unregister.sql, params)

    def _renew(self, connection):
        """Keep the registrations, and end the streams whose callers have lost access."""
        connection.execute(sql.event_stream.renew.sql, {"ids": list(self._heard.values())})
        subscriptions = self._subscriptions()
        may_read = connection.execute(sql.event_stream.may_read.sql, access_parameters(subscriptions)).fetchone()[0]
        self._end(without_access(subscriptions, may_read, self._has_user))

    def _hear(self, connection):
        for notification in connection.notifies(timeout=0):
            if notification.channel == "torc_jobs":
                self.claims.hear(notification.payload)
            else:
                self._pass_on(notification.payload)

    def _pass_on(self, payload):
        event = json.loads(payload)
        frame = f"event: {event['event_type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()
        severity = SEVERITIES.index(event["severity"])
        for subscription in self._subscriptions(event["workflow_id"]):
            subscription.hear(frame, severity)

    def _tell_all(self, frame):
        for subscription in self._subscriptions():
            subscription.hear(frame)
