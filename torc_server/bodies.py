"""The body of the current request: how large it may be, unpacked, and as strict JSON."""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import LimitedStream

from torc_server import current
from torc_server.errors import ApiError
from torc_server.schemas.fields import MAX_VALUES
from torc_server.settings import Settings

BASE_PATH = "/torc-service/v1"
MIB = 1 << 20
PIECE = 1 << 16  # bytes read at once
MAX_KEYS = 1000  # of the body of a bulk
MAX_RATIO = 100  # how often larger a gzip body may become, where it exceeds the limit of small bodies

MAX_SEPARATORS = 2 * MAX_VALUES + 1000  # commas and opening brackets: an empty list in a list has two, and the rest

_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{},:]', re.DOTALL)
_BLANKS: Any = re.compile(r"[ \t\n\r]*")  # matches everywhere: match() is never None


# Size


def body_limit(method: str, path: str, settings: Settings) -> int:
    """Return how many bytes the body of a request may have; `path` is the part of its target before the "?"."""
    _, mib = _limit(method, path, settings)
    return mib * MIB


def too_large(method: str, path: str, settings: Settings) -> ApiError:
    """Return the ApiError 413 that names the setting by which a body on this path is too large."""
    name, mib = _limit(method, path, settings)
    return ApiError(413, f"The body is larger than the {mib} MiB that this server takes here (setting {name})")


def _limit(method, path, settings):
    bulk = method == "POST" and path.startswith(BASE_PATH + "/bulk_")
    if bulk or settings.max_request_body_mb < settings.max_small_body_mb:
        return "max_request_body_mb", settings.max_request_body_mb
    return "max_small_body_mb", settings.max_small_body_mb


# Bytes


def read_body() -> bytes:
    """Return the raw JSON body, unpacked. Raises ApiError 415, 413, 400 (see open_body)."""
    environ = current.environ()
    if environ.get("CONTENT_TYPE") == "application/json" and "HTTP_CONTENT_ENCODING" not in environ:
        length = environ.get("CONTENT_LENGTH", "")
        if len(length) <= 6 and length.isdecimal():
            try:  # under 1 MB, the smallest limit: the framework's reader, which keeps to the limit, takes 20 µs more
                return environ["wsgi.input"].read(int(length))
            except OSError as error:
                raise ClientDisconnected from error
    return b"".join(open_body())


def open_body() -> Iterator[bytes]:
    """Return an iterator over the pieces of the JSON body, unpacked.

    Raises ApiError 415 without a JSON content type and for a content coding other than gzip. While it is read: ApiError
    413 for a body over the limit, also one that becomes larger than that; 400 for gzip that is broken or cut off.
    """
    request, settings = Request(current.environ()), current.app().settings
    kind = request.mimetype
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError(415, "Expected request with `Content-Type: application/json`")
    limit = body_limit(request.method, request.path, settings)
    if (request.content_length or 0) > limit:
        raise too_large(request.method, request.path, settings)
    sent = LimitedStream(request.environ["wsgi.input"], request.content_length or 0)
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return iter(lambda: sent.read(PIECE), b"")
    if coding in ("gzip", "x-gzip"):
        return _unpacked(request, sent, limit, settings)
    message = "Content-Encoding: must be gzip, or absent for a body that is not compressed"
    raise ApiError(415, message, {"Accept-Encoding": "gzip"}, field="Content-Encoding")


def _unpacked(request, sent, limit, settings):
    size = 0
    try:
        with gzip.GzipFile(fileobj=sent) as unpacking:
            while piece := unpacking.read(PIECE):
                size += len(piece)
                if size > limit:
                    raise too_large(request.method, request.path, settings)
                if size > settings.max_small_body_mb * MIB and size > MAX_RATIO * sent.tell():
                    raise ApiError(413, f"The gzip body becomes more than {MAX_RATIO} times as large as it was sent")
                yield piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ApiError(400, f"The gzip body cannot be unpacked: {error}") from error


# Strict JSON


def parse_json(raw: bytes) -> Any:
    """Parse strictly: no NaN, no key twice in an object, no number beyond a float. Raises ApiError 400, 422."""
    try:
        text = raw.decode()
        _refuse_many_values(text)
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _not_json(error) from error


class JsonPieces:
    """Reads a JSON text from an iterator over its bytes, a value at a time, as strictly as parse_json().

    json.loads() of 200 MB takes ten times the memory, and no other thread of the process runs meanwhile. `limit` is the
    number of characters that one value may have; a longer one is ApiError 413.
    """

    def __init__(self, pieces: Iterator[bytes], limit: int):
        self._pieces = pieces
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._limit = limit
        self._text = ""
        self._at = 0
        self._kept = None  # where in _text the values begin whose text is still wanted
        self._before = 0  # characters read before _text
        self._complete = False

    def peek(self) -> str:
        """Return the next character that is no white space, "" at the end; leave it to be read."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def take(self, characters: str) -> str:
        """Read the next character that is no white space and return it. Raises ApiError 400 for any but these."""
        found = self._text[self._at : self._at + 1]
        if not found or found not in characters:
            found = self.peek()
        if not found or found not in characters:
            expected = " or ".join(map(repr, characters))
            raise _not_json(ValueError(f"expected {expected} at character {self._before + self._at}"))
        self._at += 1
        return found

    def value(self) -> Any:
        """Read a value and return it. Raises ApiError 400, 413, 422."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()
            if len(self._text) > MAX_SEPARATORS:  # one value has half of that
                _refuse_many_values(self._text)
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._read_more():
                    reason = f"{error.msg} at character {self._before + error.pos}"
                    raise _not_json(ValueError(reason)) from error
            except (ValueError, RecursionError) as error:
                raise _not_json(error) from error
            else:
                if end < len(self._text) or not self._read_more():  # a number at the end may have more digits
                    self._at = end
                    return value

    def batches(self, length: int) -> Iterator[tuple[list, str]]:
        """Read an array; yield its items in lists, each with their text, commas between them. A batch ends with the
        item that exceeds `length` characters. Arrays of objects take half the time of others."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        last = False
        while not last:
            self._kept = self._at
            items = self._objects(length)
            while not last and self._at - self._kept <= length:
                items.append(self.value())
                last = self.take(",]") == "]"
            text, self._kept = self._text[self._kept : self._at - 1], None
            yield items, text

    def _objects(self, length):
        """Read objects of an array that end within `length` characters, and the comma behind them; [] if it cannot be
        said where one ends without reading each."""
        while len(self._text) - self._at < length and self._read_more():
            pass
        end = max(self._text.rfind(between, self._at, self._at + length) for between in ("},{", "}, {")) + 1
        if end <= self._at:
            return []
        if len(self._text) > MAX_SEPARATORS:
            _refuse_many_values(self._text)
        try:  # what is found there may also be within a string or an object: then this is no JSON
            items = _DECODER.decode(f"[{self._text[self._at : end]}]")
        except (ValueError, RecursionError):
            return []
        self._at = end + 1
        return items

    def members(self) -> Iterator[str]:
        """Read an object; yield each key, and the caller reads its value. Raises ApiError 400; 422 for a key that
        comes twice, and for more than MAX_KEYS."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        seen = set()
        while True:
            if self.peek() != '"':
                self.take('"')
            name = self.value()
            if name in seen:
                refuse_twin(name)
            seen.add(name)
            if len(seen) > MAX_KEYS:
                raise ApiError(422, f"The body has more than {MAX_KEYS} keys")
            self.take(":")
            yield name
            if self.take(",}") == "}":
                return

    def finish(self) -> None:
        """Raises ApiError 400 if there is more than white space left."""
        if self.peek():
            raise _not_json(ValueError(f"extra data at character {self._before + self._at}"))

    def _read_more(self):
        """Add as much as is left of the text once more, so that a long value is parsed a few times and not a thousand.
        Returns False at the end."""
        if self._complete:
            return False
        left = len(self._text) - self._at
        if left > self._limit:
            raise ApiError(413, f"A value within the body has more than {self._limit} characters")
        start = self._at if self._kept is None else self._kept
        texts, wanted = [self._text[start:]], max(left, PIECE)
        while wanted > 0 and not self._complete:
            raw = next(self._pieces, b"")
            self._complete = not raw
            texts.append(self._decoded(raw))
            wanted -= len(raw)
        self._before += start
        self._at -= start
        self._kept = None if self._kept is None else 0
        self._text = "".join(texts)
        return True

    def _decoded(self, raw):
        try:
            return self._decode(raw, final=not raw)
        except ValueError as error:
            raise _not_json(error) from error


def _refuse_many_values(text):
    """Raise ApiError 422 for JSON of far too many values. No other thread runs while json.loads() reads them: 5 million
    lists in 16 MB took 2.5 s and 400 MB."""
    if len(text) <= MAX_SEPARATORS or sum(map(text.count, ",[{")) <= MAX_SEPARATORS:
        return
    count = depth = 0
    text_before = field = ""
    for token in map(re.Match.group, _TOKENS.finditer(text)):
        if token[0] == '"':
            text_before = token
        elif token == ":":
            field = text_before[1:-1] if depth == 1 else field
        else:
            count += token in ",[{"
            depth += (token in "[{") - (token in "]}")
            if count > MAX_SEPARATORS:
                what = {"field": field[:60]} if field else {}
                raise ApiError(422, f"{field[:60] or 'The body'}: must not hold more than {MAX_VALUES} values", **what)


def _not_json(error):
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
    return ApiError(400, f"Failed to parse the request body as JSON: {reason}")


def _object_without_twins(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                refuse_twin(name)
            seen.add(name)
    return result


def refuse_twin(name: str) -> NoReturn:
    """Raise the ApiError 422 for a key that an object has twice."""
    raise ApiError(422, f"Duplicate key {name[:60]!r} in a JSON object", field=name[:60])


def _refuse_constant(word):
    raise ValueError(f"{word} is not JSON")


def _finite(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:30]} is too large")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_twins, parse_constant=_refuse_constant, parse_float=_finite
)
