"""The heads of requests, as gunicorn parses them.

A runner sends the same header fields with each request. What gunicorn has made of them is remembered, and only the
request line is read each time, by gunicorn too.
"""

import re
from typing import Any

from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.util import unquote_to_wsgi_str

MOST = 512  # that are remembered by a process
MAX_BYTES = 1 << 10  # of one that is remembered
MAX_LINE = 4096  # bytes of a request line; gunicorn checks the limit of a longer one
VERSION_BYTES = len(b"HTTP/1.1")
_USUAL_LINE = re.compile(
    rb"(GET|POST|PUT|DELETE) ((/[A-Za-z0-9_-][A-Za-z0-9_/-]*)(?:\?([A-Za-z0-9_=&%,.+-]*))?) HTTP/1\.1"
)
OTHER_EACH_TIME = ("X-SPAN-ID", "TRACEPARENT")  # such fields are not worth a place


class Heads:
    """What the process remembers of the heads of requests."""

    def __init__(self, cfg: Config):
        self._cfg = cfg
        self._fields = {}  # bytes from the version on: the attributes of gunicorn's Request
        self._environs = {}  # (bytes, address of the server): the WSGI environ
        self._remembers = not cfg.secure_scheme_headers and cfg.proxy_protocol == "off"

    def parse(self, head: bytes, address: Any, number: int) -> Request:
        """Return gunicorn's Request for the number-th head on a connection, which ends with an empty line. Raises
        gunicorn's ParseException."""
        end = head.find(b"\r\n")
        key = head[max(0, end - VERSION_BYTES) :]
        known = self._fields.get(key)
        if known is None or end > MAX_LINE or b"\n" in head[:end]:
            return self._parse(head, address, number, key)
        request: Any = Request.__new__(Request)
        vars(request).update(known)
        request.peer_addr = request.remote_addr = address
        request.req_number = number
        _read_request_line(request, head[:end])
        return request

    def _parse(self, head, address, number, key):
        try:
            request: Any = Request(self._cfg, IterUnreader([head]), address, number)
        except NoMoreData as error:
            raise LimitRequestHeaders("limit request headers size") from error
        request.key = None
        if self._remembers and len(key) <= MAX_BYTES and _is_plain(request):
            _make_room(self._fields)
            request.key = key
            self._fields[key] = vars(request).copy()
        return request

    def answer_and_environ(self, request: Any, connection: Any, response_class: type) -> tuple[Any, dict[str, Any]]:
        """Return the response_class object that writes the answer to the connection, and the WSGI environ."""
        place = request.key and (request.key, connection.server_address)
        environ = self._environs.get(place)
        if environ is None:
            response, environ = wsgi.create(
                request, connection.outbox, connection.address, connection.server_address, self._cfg,
                response_class=response_class,
            )  # fmt: skip
            del environ["wsgi.early_hints"], environ["gunicorn.socket"]  # they belong to one connection
            if place:
                _make_room(self._environs)
                self._environs[place] = environ.copy()
            return response, environ
        environ = environ.copy()
        environ["REQUEST_METHOD"] = request.method
        environ["RAW_URI"] = request.uri
        path = request.path
        environ["PATH_INFO"] = path if path.isascii() and "%" not in path else unquote_to_wsgi_str(path)
        environ["QUERY_STRING"] = request.query
        if type(connection.address) is tuple:  # a peer on a unix socket has none
            environ["REMOTE_ADDR"] = connection.address[0]
            environ["REMOTE_PORT"] = str(connection.address[1])
        return response_class(request, connection.outbox, self._cfg), environ


def _read_request_line(request, line):
    """Set what the request line says; gunicorn needs 7 µs, and is asked where the line is not one of the usual ones."""
    usual = _USUAL_LINE.fullmatch(line)
    if usual is None:
        request.parse_request_line(line)
        return
    request.method = usual[1].decode()
    request.uri, request.path = usual[2].decode(), usual[3].decode()
    request.query = (usual[4] or b"").decode()
    request.fragment = ""
    request.version = (1, 1)


def _is_plain(request):
    """Whether gunicorn makes the same of such header fields each time, whichever client sends them."""
    return (
        isinstance(request.body.reader, LengthReader)
        and not request._expected_100_continue
        and not any("_" in name or name in OTHER_EACH_TIME for name, _ in request.headers)
    )


def _make_room(known):
    """Forget what is remembered when there is too much of it; what is in use comes back with the next requests."""
    if len(known) >= MOST:
        known.clear()
