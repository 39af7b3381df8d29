"""Puts requests together from the bytes of a connection as they arrive. gunicorn parses and checks them; what is here
only finds where a head and a body end, so that gunicorn's blocking parser never waits."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import IterUnreader

from torc_server.bodies import MIB
from torc_server.heads import Heads
from torc_server.spool import Spool

SHORT_BYTES = 1 << 14  # of a body that is read and checked in a moment
MEMORY_BYTES = 1 << 16  # of a body; a longer one goes to a file
MAX_LINE = 8190  # bytes of a line before or behind a chunk
MAX_TRAILER_LINES = 100
READ_BYTES = 1 << 16


class RequestReader:
    """The requests of one connection, one after the other: feed() bytes until `request` is whole, then begin_next().

    request: gunicorn's Request once its head is here, else None. heads: Heads. body_limit: (method, path) -> bytes.
    """

    def __init__(self, cfg: Any, heads: Heads, address: Any, body_limit: Callable[[str, str], int]):
        self._heads = heads
        self._address = address
        self._body_limit = body_limit
        # A cookie of the longest field size, and as much again for all other fields and the request line
        self._most_head = 2 * cfg.limit_request_field_size + 2 * MAX_LINE
        self._head = bytearray()
        self._body: Any = None  # with a request
        self._surplus = b""
        self._count = 0
        self.request: Any = None

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request is here."""
        return self.request is not None or bool(self._head)

    @property
    def is_in_body(self) -> bool:
        return self.request is not None

    @property
    def wants_go_ahead(self) -> bool:
        """Whether the client waits for "100 Continue" before it sends the body. True once only."""
        wants = self.request is not None and self.request._expected_100_continue
        if wants:
            self.request._expected_100_continue = False
        return wants

    def feed(self, data: bytes) -> bool:
        """Take bytes that have arrived; return whether a request is whole. Raises gunicorn's ParseException."""
        if self.request is None:
            data = self._feed_head(data)
            if data is None:
                return False
        surplus = self._body.feed(data)
        if surplus is None:
            return False
        self._surplus = surplus
        return True

    def begin_next(self) -> bool:
        """Forget the request; return whether the bytes behind it are a whole one. Raises ParseException."""
        surplus, self._surplus = self._surplus, b""
        self._body.close()
        self.request = self._body = None
        return bool(surplus) and self.feed(surplus)

    def close(self) -> None:
        """Give the body's file back."""
        if self._body:
            self._body.close()

    def fill(self, environ: dict[str, Any]) -> None:
        """Give the WSGI environ the body, from its start."""
        self._body.fill(environ, self.request)

    @property
    def is_short(self) -> bool:
        """Whether the body of the request is read and checked in a moment."""
        return self._body.length <= SHORT_BYTES

    @property
    def ends_cleanly(self) -> bool:
        """Whether it is known where the next request begins."""
        return self._body.is_clean

    def _feed_head(self, data):
        """Return the bytes behind the head, or None while its end is not here."""
        head = self._head
        before = len(head)
        if not before and data[:2] != b"\r\n" and (end := data.find(b"\r\n\r\n") + 4) > 3:  # nearly always
            return self._take_head(data[:end], data[end:])
        head += data
        if before < 2 and head[:2] == b"\r\n":  # one empty line before a request is allowed
            del head[:2]
            before = 0
        end = head.find(b"\r\n\r\n", max(0, before - 3))
        if end >= 0:
            end += 4
        elif len(head) > self._most_head or head.count(b"\n", before) != head.count(b"\r\n", max(0, before - 1)):
            end = len(head)  # too long, or a line that ends with LF alone: gunicorn says so
        else:
            return None
        whole, surplus = bytes(head[:end]), bytes(head[end:])
        head.clear()
        return self._take_head(whole, surplus)

    def _take_head(self, head, surplus):
        self._count += 1
        self.request = self._heads.parse(head, self._address, self._count)
        self._body = self._new_body()
        return surplus

    def _new_body(self):
        reader = self.request.body.reader
        if not isinstance(reader, LengthReader):
            return ChunkedBody(self._limit())
        return LengthBody(reader.length, MIB if reader.length <= MIB else self._limit())  # no limit is lower than that

    def _limit(self):
        return self._body_limit(self.request.method, self.request.path)


class LengthBody:
    """A body whose length is known. One over the limit is not awaited: the application refuses it by its length."""

    def __init__(self, length: int, limit: int):
        self.length = length
        self.is_clean = length <= limit
        self._missing = length if self.is_clean else 0
        self._file: Any = None  # from the first bytes on

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return those behind the end, None while it is not here. Raises ApiError 507 (no space)."""
        if self._file is None:
            whole = len(data) >= self._missing
            self._file = BytesIO(data[: self._missing]) if whole else Spool(MEMORY_BYTES)
            if whole:
                return data[self._missing :] if self.is_clean else b""
        if len(data) < self._missing:
            self._missing -= self._file.write(data)
            return None
        self._file.write(data[: self._missing])
        return data[self._missing :]

    def fill(self, environ: dict[str, Any], request: Any) -> None:  # noqa: ARG002
        """Give the WSGI environ this body, from its start."""
        self._file.seek(0)
        environ["wsgi.input"] = self._file

    def close(self) -> None:
        """Give the file back."""
        if self._file:
            self._file.close()


class ChunkedBody:
    """A body in chunks, kept as it came; gunicorn's reader takes it apart, and says what is wrong with it.

    feed() follows the lengths of the chunks to find the end. What it cannot follow it takes as the end. A body over the
    limit is not awaited: fill() announces its length instead, by which the application refuses it.
    """

    length = float("inf")  # it is not known

    def __init__(self, limit: int):
        self._has_end = False
        self._decoded = None
        self._limit = limit
        self._size = self._stored = 0
        self._skip = 0  # bytes of the current chunk, and the line end behind it, that have not come
        self._line = bytearray()
        self._trailer_lines = None  # a number once the last chunk has been seen
        self._file = Spool(MEMORY_BYTES)

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return those behind the end, None while it is not here. Raises ApiError 507 (no space)."""
        self._stored += self._file.write(data)
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            end = data.find(b"\n", position) + 1 or len(data)
            self._line += data[position:end]
            position = end
            if self._line.endswith(b"\n"):
                if self._takes_line():
                    continue
                return data[position:]
            if len(self._line) > MAX_LINE:
                return b""
        # Chunks of a byte each are five times as long as what they hold
        return b"" if self._stored > 2 * self._limit + MAX_LINE else None

    def _takes_line(self):
        """Read one line between the chunks; return whether more must come."""
        line = self._line.strip()
        self._line.clear()
        if self._trailer_lines is not None:
            self._trailer_lines += 1
            self._has_end = not line
            return bool(line) and self._trailer_lines < MAX_TRAILER_LINES
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return False
        self._size += size
        if size == 0:
            self._trailer_lines = 0
        else:
            self._skip = size + 2
        return 0 <= self._size <= self._limit

    def fill(self, environ: dict[str, Any], request: Any) -> None:
        """Give the WSGI environ this body, from its start."""
        if self._size > self._limit or self._stored > 2 * self._limit:
            environ.pop("HTTP_TRANSFER_ENCODING")
            environ["CONTENT_LENGTH"] = str(max(self._size, self._stored))
            environ["wsgi.input"] = BytesIO()
            return
        self._file.seek(0)
        pieces = IterUnreader(iter(partial(self._file.read, READ_BYTES), b""))
        self._decoded = environ["wsgi.input"] = Body(ChunkedReader(request, pieces))

    @property
    def is_clean(self) -> bool:
        """Whether its end is found, and gunicorn's reader has found no fault so far."""
        return self._has_end and not (self._decoded and self._decoded.failed)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
