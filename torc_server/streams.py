"""Event streams: each one a connection of its own that listens to its workflow, and a thread that waits on it.

Transitions notify only while a stream of their workflow is registered in torc.event_stream; the row expires unless it
is renewed. A stream ends when its client is gone, when the server stops, and when a client does not read.
"""

import contextlib
import json
import select
import socket
import ssl
import threading
import time

import psycopg

from torc_server.errors import ApiError
from torc_server.repository import sql
from torc_server.schemas.event_stream import SEVERITIES

TICK = 0.5  # seconds between looks at whether to stop
COMMENT_EVERY = 15.0  # seconds; keeps proxies and clients from giving up
RENEW_EVERY = 10.0  # seconds; a registration expires 30 s after its last renewal
SEND_TIMEOUT = 30.0  # seconds after which a client that does not read is dropped
RETRY_AFTER = "10"  # seconds; for clients beyond the limit

DROPPED = b'event: warning\ndata: {"dropped":null,"message":"events were lost: read the current state"}\n\n'


class Streams:
    """The open streams of this process, at most `limit`: requests always keep threads of their own."""

    def __init__(self, database, limit):
        self._database = database
        self._places = threading.BoundedSemaphore(limit)
        self.alive = lambda: True  # replaced by the worker that serves: false as soon as it is told to stop

    def open(self, workflow_id, level, reconnected=False, client=None):
        """Return the frames of a stream as bytes, one by one. Raises ApiError 503 when all places are taken."""
        if not self._places.acquire(blocking=False):
            raise ApiError(503, "All event streams of this server are in use", {"Retry-After": RETRY_AFTER})
        return _Place(self._places, self._frames(workflow_id, level, reconnected, client))

    def _frames(self, workflow_id, level, dropped, client):
        if client is not None:
            client.settimeout(SEND_TIMEOUT)
        while self.alive():
            try:
                with self._database.connect() as connection:
                    yield from self._listen(connection, workflow_id, level, dropped, client)
                    return
            except psycopg.OperationalError:
                dropped = True  # back to the top: a new connection, or the end of the stream if there is none to be had

    def _listen(self, connection, workflow_id, level, dropped, client):
        stream_id = connection.execute(sql.event_stream.register.sql, {"workflow_id": workflow_id}).fetchone()[0]
        try:
            yield DROPPED if dropped else b": listening\n\n"
            commented = renewed = time.monotonic()
            while self.alive() and not _has_hung_up(client):
                for notification in connection.notifies(timeout=0):
                    if frame := _frame(notification.payload, level):
                        yield frame
                select.select([connection] if client is None else [connection, client], [], [], TICK)
                now = time.monotonic()
                if now - commented > COMMENT_EVERY:
                    commented = now
                    yield b": still here\n\n"
                if now - renewed > RENEW_EVERY:
                    renewed = now
                    connection.execute(sql.event_stream.renew.sql, {"id": stream_id})
        finally:
            with contextlib.suppress(psycopg.Error):  # then the registration expires by itself
                connection.execute(sql.event_stream.unregister.sql, {"id": stream_id})


class _Place:
    """Frames that give their place back when they are closed, also if they were never begun."""

    def __init__(self, places, frames):
        self._places = places
        self._frames = frames
        self._open = True

    def __iter__(self):
        return self._frames

    def close(self):
        self._frames.close()
        if self._open:
            self._open = False
            self._places.release()


def _frame(payload, level):
    event = json.loads(payload)
    if SEVERITIES.index(event["severity"]) < SEVERITIES.index(level):
        return None
    return f"event: {event['event_type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def _has_hung_up(client):
    """Whether the client has closed the connection: there is an end to read."""
    if client is None:
        return False
    readable, _, _ = select.select([client], [], [], 0)
    if not readable:
        return False
    try:
        if hasattr(client, "pending"):  # TLS, perhaps in a wrapper
            return _read_tls(client) == b""
        return client.recv(1, socket.MSG_PEEK) == b""
    except ssl.SSLWantReadError:  # a record of TLS itself
        return False
    except OSError:
        return True


def _read_tls(client):
    """One byte, without waiting: TLS cannot peek. Nothing follows a request for a stream on its connection."""
    client.settimeout(0)
    try:
        return client.recv(1)
    finally:
        client.settimeout(SEND_TIMEOUT)
