"""The connection of one client: receives requests and sends answers without ever waiting for the client.

One thread at a time has a connection (see worker.Worker); only an event stream is written to by another one.
"""

import contextlib
import fcntl
import select
import socket
import ssl
import termios
import threading
import time
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any

from torc_server.streams import DROPPED

RECEIVE_BYTES = 1 << 16
MEMORY_BYTES = 1 << 14  # of an answer that its client is slow to read; the rest goes to a file
FILE_PIECE = 1 << 18
FLUSH_BYTES = 1 << 22  # sent in one go; then others get their turn
STREAM_BYTES = 1 << 18  # of frames that a stream's client has not read
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ClientGone(Exception):
    """The client has closed the connection."""


class Outbox:
    """What is to be sent to a client. gunicorn's Response writes here as if it were the socket."""

    def __init__(self, sock: socket.socket):
        self._sock = sock
        self._pieces = []
        self._file: Any = None  # sent after the pieces
        self._left = 0  # bytes of the file to be sent
        self.spools = True  # whether a long rest goes to a file; nothing may be added behind that
        self.sent = 0  # bytes so far

    def sendall(self, data: bytes) -> None:
        """Add bytes; they are sent by flush()."""
        self._pieces.append(data)

    def send_file(self, file: Any, count: int) -> None:
        """Add the next `count` bytes of an open file, which is closed when they are sent."""
        self._file, self._left = file, count

    def flush(self) -> bool:
        """Send what the client takes now; return whether that was all. Raises OSError when the client is gone."""
        most = FLUSH_BYTES
        while self._pieces or self._left:
            data = b"".join(self._pieces) if self._pieces else self._file.read(min(FILE_PIECE, self._left))
            if not self._pieces:
                self._left -= len(data)
                if not data:
                    raise OSError("the file of an answer is shorter than was said")
            sent = self._send(data)
            most -= sent
            self._pieces = [data[sent:]] if sent < len(data) else []
            if self._pieces or most <= 0:
                self._spool()
                return False
        self.close()
        return True

    def _send(self, data):
        try:
            sent = self._sock.send(data)
        except _WOULD_BLOCK:
            return 0
        self.sent += sent
        return sent

    def _spool(self):
        """Move a long rest from memory to a file."""
        if self.spools and self._file is None and sum(map(len, self._pieces)) > MEMORY_BYTES:
            data = b"".join(self._pieces)
            self._file, self._left, self._pieces = TemporaryFile(), len(data), []
            self._file.write(data)
            self._file.seek(0)

    def close(self) -> None:
        """Forget what is left."""
        self._pieces, self._left = [], 0
        if self._file is not None:
            self._file.close()
            self._file = None


class ClientConnection:
    """A socket with a RequestReader before it and an Outbox behind it.

    What it waits for is one of: "handshake", "head", "body", "idle" (the next request), "reading" (the client must read
    the answer), "goodbye" (the client must close), "stream", "jobs" (a claim waits for some). deadline: until when, by
    time.monotonic().
    """

    def __init__(self, sock: Any, address: Any, server_address: Any, reader: Any):
        self.sock = sock
        self.address = address
        self.server_address = server_address
        self.reader = reader
        self.outbox = Outbox(sock)
        self.waits_for = "handshake" if isinstance(sock, ssl.SSLSocket) else "head"
        self.deadline = 0.0
        self.is_registered = False  # with the poll object
        self.events = 0  # of poll objects; what is waited for
        self.closes = False  # after the answer that is being sent
        self.lane = self.shape = None  # of the request, see lanes
        self.may_join = False  # a batch: the request is a small call of the direct way
        self.received = 0.0  # time.monotonic() when the request was whole
        self.wait_until = 0.0  # time.monotonic() until which the request may wait for a lock
        self.stream = None
        self.waiter = None  # of a claim that waits for jobs, see waiting_claims

    def handshake(self) -> int:
        """Go on with the TLS handshake; return the event to wait for, or 0 when it is done. Raises OSError."""
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        return 0

    def receive(self) -> bytes | None:
        """Return bytes that have arrived, or None. Raises ClientGone, OSError."""
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except _WOULD_BLOCK:
            return None
        if not data:
            raise ClientGone
        return data

    def has_received(self) -> bool:
        """Whether bytes are here that no poll object tells of: TLS has read them already."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def is_late(self, now: float, stuck_secs: float) -> bool:
        """Whether the client has overrun its deadline, or has read nothing of its stream for stuck_secs. While bytes of
        a request wait to be read it is this process that is late."""
        if self.deadline < now:
            return self.waits_for not in ("handshake", "head", "body", "idle") or not self._has_unread()
        stuck_since = self.stream.stuck_since if self.stream else None
        return stuck_since is not None and stuck_since + stuck_secs < now

    def _has_unread(self):
        """Whether bytes of the client are in the kernel."""
        try:
            return fcntl.ioctl(self.sock.fileno(), termios.FIONREAD, bytes(4)) != bytes(4)
        except (OSError, ValueError):  # another thread has just closed it
            return False

    def is_gone(self) -> bool:
        """Whether the client has hung up."""
        poll = select.poll()
        try:
            poll.register(self.sock, select.POLLRDHUP)
        except ValueError:  # another thread has just closed it
            return True
        return bool(poll.poll(0))

    def shut_down(self) -> None:
        """Say that nothing more follows. Bytes of the client that are still on their way are read before the connection
        is closed: closed at once, it would be reset, and the client would lose the answer."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection and everything that belongs to it."""
        if self.stream is not None:
            self.stream.close()
        self.outbox.close()
        self.reader.close()
        self.sock.close()


class StreamSender:
    """Sends the frames of an event stream over a connection, from any thread.

    What the client has not read is bounded: beyond STREAM_BYTES it loses frames, and is told so once it reads again.
    """

    def __init__(self, connection: ClientConnection, subscription: Any, is_chunked: bool, rearm: Callable[[], None]):
        """rearm: called when the connection must be watched for room to send, or has ended."""
        self._outbox = connection.outbox
        self._outbox.spools = False  # what waits is bounded
        self._receive = connection.receive
        self._subscription = subscription
        self._is_chunked = is_chunked
        self._rearm = rearm
        self._lock = threading.Lock()
        self._unread = 0  # bytes added since the outbox was last empty
        self._has_dropped = False
        self.stuck_since = None  # time.monotonic() since which the client has read nothing
        self.has_ended = False

    def push(self, frame: bytes) -> None:
        """Send a frame, or drop it if the client reads too slowly."""
        with self._lock:
            if self.has_ended:
                return
            if self._unread > STREAM_BYTES:
                self._has_dropped = True
                return
            self._add(frame)
            with contextlib.suppress(OSError):  # the client is gone: the poll object tells the worker
                self._flush()
            if self.stuck_since is not None:
                self._rearm()

    def advance(self) -> None:
        """Send what is left, and discard what the client says. Raises ClientGone, OSError."""
        with self._lock:
            while self._receive() is not None:
                pass
            self._flush()

    def end(self) -> None:
        """Say that the stream is at its end."""
        with self._lock:
            if not self.has_ended:
                self.has_ended = True
                if self._is_chunked:
                    self._outbox.sendall(b"0\r\n\r\n")
                self._rearm()

    def close(self) -> None:
        """Leave the stream: the connection is being closed."""
        self.has_ended = True
        self._subscription.close()

    def _add(self, frame):
        self._unread += len(frame)
        self._outbox.sendall(b"%X\r\n%s\r\n" % (len(frame), frame) if self._is_chunked else frame)

    def _flush(self):
        before = self._outbox.sent
        while self._outbox.flush():
            self._unread, self.stuck_since = 0, None
            if not self._has_dropped:
                return
            self._has_dropped = False
            self._add(DROPPED)
        if self.stuck_since is None or self._outbox.sent > before:
            self.stuck_since = time.monotonic()
