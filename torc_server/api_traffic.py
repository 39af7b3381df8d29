"""What administrators see of the requests that are answered: counts of the last hour, and a stream of them.

A request leaves one tuple here, in memory. A thread of each process adds those up and, every EXCHANGE_EVERY seconds,
sends the sums to the database, from where GET /admin/api-stats has those of all processes and hosts; the answer says
whether any process has a stream. Only then are requests themselves kept, and sent and heard HEAR_EVERY seconds.
(LISTEN cannot be used here, because a payload is too short for bodies, and a process that listens all the time is woken
by each event of every workflow that somebody watches.)
"""

import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from torc_server.auth import Caller
from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.queues import drained
from torc_server.repository import server_value, sql
from torc_server.streams import LISTENING, RETRY_AFTER, Subscription, without_access

log = logging.getLogger("torc_server")

EXCHANGE_EVERY = 2.0  # seconds
HEAR_EVERY = 0.25  # seconds; while a process has a stream
COMMENT_EVERY = 15.0  # seconds
CHECK_EVERY = 10.0  # seconds, after which streams end whose callers have lost access
LONGEST_WINDOW = 3600  # seconds
PLACES = {2: 3, 4: 4, 5: 5}  # of the classes of status in a list of counts
MOST_STREAMS = 20  # of a process
MOST_WAITING = 100_000  # requests to be counted, of a process whose thread does not get to it
MOST_EVENTS = 1000  # requests that wait to be sent; what comes then is dropped
MOST_EVENT_BYTES = 4 << 20  # of those
MOST_BODY_BYTES = 1 << 20  # of a body of which the beginning is kept


class ApiSubscription(Subscription):
    """One stream of requests."""

    def __init__(self, traffic: Any, caller: Caller, wants_bodies: bool):
        super().__init__(traffic, None, "debug", caller, LISTENING)
        self.wants_bodies = wants_bodies


class ApiTraffic:
    """The requests of this process, and its streams.

    body_bytes: how much of each body streams get. has_user: as of streams.Streams. is_watched, wants_bodies: whether
    requests, and their bodies, are kept now.
    """

    def __init__(self, database: Database, body_bytes: int, has_user: Callable[[str], bool]):
        self._database = database
        self._body_bytes = body_bytes
        self._has_user = has_user
        self._process = uuid.uuid4().hex
        self._answered = deque(maxlen=MOST_WAITING)  # (second, status, bytes in, bytes out)
        self._counts = {}  # second: [requests, bytes in, bytes out, 2xx, 4xx, 5xx, other]
        self._events = deque()  # JSON texts
        self._event_bytes = self._dropped = self._number = 0
        self._open = set()
        self._was_open = False
        self._seen = None  # {process: number of its last event that is known here}
        self._lock = threading.Lock()  # of the exchange
        self._changes = threading.Lock()  # of what the threads of requests change
        self._woken = threading.Event()
        self._thread = None
        self._stays = self._stopped = False
        self.is_watched = self.wants_bodies = False

    # Requests

    def count(self, status: int, environ: dict[str, Any], headers: Iterable[tuple[str, Any]]) -> None:
        """Count an answer."""
        size = 0
        for name, value in headers:
            if name == "Content-Length":
                size = value
                break
        self._answered.append((int(time.time()), status, environ.get("CONTENT_LENGTH"), size))

    def listen_to_body(self, environ: dict[str, Any]) -> None:
        """Keep the beginning of the request's body while it is read."""
        length = environ.get("CONTENT_LENGTH") or "0"
        if "HTTP_TRANSFER_ENCODING" not in environ and length.isdecimal() and 0 < int(length) <= MOST_BODY_BYTES:
            environ["wsgi.input"] = environ["torc.body"] = _Recorder(environ["wsgi.input"], self._body_bytes)

    def keep(
        self, environ: dict[str, Any], path: str, told: list, since: float, answer: Iterable[bytes]
    ) -> Iterable[bytes]:
        """Keep a request for the streams; return its answer. told: (status line, headers)."""
        event = {
            "timestamp_ms": int(time.time() * 1000),
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ.get("QUERY_STRING") or None,
            "status": int(told[0][:3]),
            "latency_ms": round((time.monotonic() - since) * 1000),
            "request_id": environ.get("torc.span_id"),
            "user": _user(environ),
        }
        if "torc.body" in environ:
            event["request_body"] = self._body(environ["torc.body"].held, int(environ["CONTENT_LENGTH"]))
        if self.wants_bodies and (length := _length(told[1])):
            answer = [*_all_of(answer)]
            event["response_body"] = self._body(b"".join(answer), length)
        self._add(json.dumps({name: value for name, value in event.items() if value is not None}))
        return answer

    def _body(self, data, length):
        kept = data[: self._body_bytes]
        body = {"bytes": length, "truncated": length > len(kept)}
        try:
            # What is cut off may end within a character.
            body["text"] = kept.decode("utf-8", "ignore" if body["truncated"] else "strict")
        except UnicodeDecodeError:
            log.debug("a body that is no text is not shown")
        return body

    def _add(self, text):
        with self._changes:
            if len(self._events) >= MOST_EVENTS or self._event_bytes > MOST_EVENT_BYTES:
                self._dropped += 1
            else:
                self._events.append(text)
                self._event_bytes += len(text)

    # Streams

    def subscribe(self, caller: Caller, wants_bodies: bool) -> ApiSubscription:
        """Return a Subscription that hears of every request from now on. Raises ApiError 503: too many, or the database
        does not answer."""
        with self._changes:
            if len(self._open) >= MOST_STREAMS:
                raise ApiError(503, "All streams of requests are in use", {"Retry-After": RETRY_AFTER})
            subscription = ApiSubscription(self, caller, wants_bodies)
            self._open.add(subscription)
        try:
            self.exchange()
        except ApiError:
            subscription.close()
            raise
        self._start()
        self._woken.set()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Give a place back."""
        with self._changes:
            self._open.discard(subscription)
        self._woken.set()

    def end_all(self) -> None:
        """End every stream: the server stops."""
        self._end(self._subscriptions())

    def _end(self, subscriptions):
        for subscription in subscriptions:
            subscription.end()
            self.leave(subscription)

    def _subscriptions(self):
        with self._changes:
            return list(self._open)

    def _tell(self, frame):
        for subscription in self._subscriptions():
            subscription.hear(frame)

    # The thread

    def open(self) -> None:
        """Exchange from now on. Forgets the process that we were forked from."""
        self.__init__(self._database, self._body_bytes, self._has_user)
        self._stays = True
        self._start()

    def close(self) -> None:
        """Send what is left, and end."""
        self._stopped = True
        self._woken.set()
        if self._thread:
            self._thread.join(EXCHANGE_EVERY)

    def _start(self):
        with self._changes:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="api traffic", daemon=True)
                self._thread.start()

    def _work(self):
        commented = checked = time.monotonic()
        is_over = False
        while not is_over:
            self._woken.wait(HEAR_EVERY if self._open or self.is_watched else EXCHANGE_EVERY)
            self._woken.clear()
            is_over = self._is_over()
            try:
                self.exchange()  # also the last time: what is left
                now = time.monotonic()
                if now - commented > COMMENT_EVERY:
                    commented = now
                    self._tell(b": still here\n\n")
                if now - checked > CHECK_EVERY:
                    checked = now
                    self._check_access()
            except ApiError as error:
                log.debug("the counts of requests wait: %s", error.message)
            except Exception:
                log.exception("the counts of requests failed; they are sent later")

    def _is_over(self):
        with self._changes:
            if self._stopped or not (self._stays or self._open):
                self._thread = None
                return True
            return False

    def exchange(self) -> None:
        """Send counts and events, hear those of others. Raises ApiError."""
        with self._lock:
            self._add_up()
            events = self._take_events()
            streams = self._subscriptions()
            closed_last = self._was_open and not streams
            if not streams:
                self._seen = None
            params = {
                "process": self._process,
                "counts": json.dumps(self._counts),
                "numbers": [number for number, _ in events],
                "events": [text for _, text in events],
                "streams": None if closed_last else bool(streams),
                "wants_bodies": any(stream.wants_bodies for stream in streams),
                "seen": self._seen and json.dumps(self._seen),
            }
            try:
                heard = json.loads(server_value(self._database, sql.admin.exchange_api_traffic, **params))
            except BaseException:
                with self._changes:
                    self._dropped += len(events)
                raise
            self._counts = {}
            self._was_open = bool(streams)
            self.is_watched, self.wants_bodies = heard["watched"], heard["bodies"]
            if streams:
                self._seen = {"": 0} | (self._seen or {}) | (heard["seen"] or {})
            self._pass_on(heard["events"] or (), streams)

    def _add_up(self):
        found, current = [], None
        for second, status, bytes_in, bytes_out in drained(self._answered):
            if second != current:
                current, found = second, self._counts.setdefault(second, [0] * 7)
            found[0] += 1
            if bytes_in and bytes_in.isdecimal():
                found[1] += int(bytes_in)
            found[2] += int(bytes_out)
            found[PLACES.get(status // 100, 6)] += 1
        oldest = time.time() - LONGEST_WINDOW
        for second in [second for second in self._counts if second < oldest]:
            del self._counts[second]

    def _take_events(self):
        """(number, JSON text) of the events to be sent."""
        with self._changes:
            texts, dropped = list(self._events), self._dropped
            self._events.clear()
            self._event_bytes = self._dropped = 0
        if dropped:
            texts.append(json.dumps({"dropped": dropped}))
        first = self._number + 1
        self._number += len(texts)
        return list(enumerate(texts, first))

    def _pass_on(self, texts, streams):
        for text in texts:
            event = json.loads(text)
            full = _frame(event)
            event.pop("request_body", None)
            event.pop("response_body", None)
            short = _frame(event)
            for stream in streams:
                stream.hear(full if stream.wants_bodies else short)

    def _check_access(self):
        streams = self._subscriptions()
        if not streams:
            return
        callers = [stream.caller for stream in streams]
        may = server_value(
            self._database, sql.admin.may_administer,
            names=[each.name for each in callers], enforced=[each.enforced for each in callers],
        )  # fmt: skip
        self._end(without_access(streams, may, self._has_user))


class _Recorder:
    """A body that keeps the first bytes of what is read of it."""

    def __init__(self, body: Any, most: int):
        self._body = body
        self._most = most
        self.held = b""

    def read(self, *size: int) -> bytes:
        data = self._body.read(*size)
        self.held += data[: self._most - len(self.held)]
        return data

    def __getattr__(self, name):
        return getattr(self._body, name)


def _frame(event):
    name = "warning" if "dropped" in event else "api"
    return f"event: {name}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def _user(environ):
    name = environ.get("torc.user", "anonymous")
    return environ.get("HTTP_X_TORC_CLIENT_USER") if name == "anonymous" else name


def _length(headers):
    """The length of an answer that is short enough to be kept, else 0."""
    length = next((int(value) for name, value in headers if name == "Content-Length"), 0)
    return length if length <= MOST_BODY_BYTES else 0


def _all_of(answer):
    try:
        yield from answer
    finally:
        if hasattr(answer, "close"):
            answer.close()
