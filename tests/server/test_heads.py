"""What is remembered of the heads of requests is what gunicorn makes of them each time."""

from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidRequestLine, InvalidRequestMethod, InvalidResponseHeader, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from torc_server import heads, worker

ONE, OTHER = ("192.0.2.1", 5001), ("192.0.2.2", 5002)
SERVER = ("127.0.0.1", 8080)
FIELDS = [
    b"Host: a:8080\r\nUser-Agent: x\r\nAccept: */*\r\n",
    b"Host: a\r\nContent-Type: application/json\r\nContent-Length: 7\r\nX-Span-ID: s\r\n",
    b"Host: a\r\nAuthorization: Basic YTpi\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n",
    b"Host: a\r\nConnection: close\r\n",
    b"",
]
LINES = [
    b"GET /a HTTP/1.1", b"DELETE /a-b/-1//c_/ HTTP/1.1", b"GET //a/b HTTP/1.1", b"GET /a HTTP/1.0", b"GET / HTTP/1.1",
    b"PUT /b%20c?x=1&y HTTP/1.1", b"POST http://a/d#e HTTP/1.0", b"OPTIONS * HTTP/1.1",
    b"POST /a/7/c?limit=10 HTTP/1.1", b"GET /a? HTTP/1.1", b"GET /a?b=%20+c&d=-1.5,2&&= HTTP/1.1",
    b"GET /a?b=c?d HTTP/1.1", b"GET /a?b=c#d HTTP/1.1", b"GET /a?b=[c]:d HTTP/1.1",
]  # fmt: skip


@pytest.fixture
def cfg():
    return Config()


@pytest.fixture
def remembering(cfg):
    found = heads.Heads(cfg)
    found._remembers = True  # as with the server's own options
    return found


def connection(address):
    return SimpleNamespace(outbox=None, address=address, server_address=SERVER)


def plain(attributes):
    """What can be compared."""
    left_out = ("cfg", "unreader", "body", "key", "wsgi.errors", "wsgi.input", "wsgi.early_hints", "gunicorn.socket")
    return {name: value for name, value in attributes.items() if name not in left_out}


@pytest.mark.parametrize("address", [OTHER, "", b""])
@pytest.mark.parametrize("fields", FIELDS)
def test_a_remembered_head_gives_the_same_request_and_environ(cfg, remembering, fields, address):
    for line in LINES:
        head = line + b"\r\n" + fields + b"\r\n"
        for number, peer in enumerate([ONE if address == OTHER else address, address], 1):
            request = remembering.parse(head, peer, number)
            _, environ = remembering.answer_and_environ(request, connection(peer), wsgi.Response)
            fresh = Request(cfg, IterUnreader([head]), peer, number)
            _, expected = wsgi.create(fresh, None, peer, SERVER, cfg)
            assert plain(vars(request)) == plain(vars(fresh))
            assert request.body.reader.length == fresh.body.reader.length
            assert plain(environ) == plain(expected)
            environ.clear()  # of this request only


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"get /a HTTP/1.1", InvalidRequestMethod),
        (b"GET  /a HTTP/1.1", ParseException),
        (b"GET /a\xff HTTP/1.1", InvalidRequestLine),
        (b"GET /a\nHost: b HTTP/1.1", InvalidRequestLine),
        (b"GET /a XHTTP/1.1", ParseException),
        (b"GET /a HTTP/2.1", ParseException),
        (b"HTTP/1.1", InvalidRequestLine),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", ParseException),
    ],
)
def test_a_request_line_is_checked_where_the_fields_are_remembered(remembering, line, error):
    remembering.parse(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", ONE, 1)
    with pytest.raises(error):
        remembering.parse(line + b"\r\nHost: a\r\n\r\n", ONE, 2)


@pytest.mark.parametrize(
    "fields",
    [
        b"Expect: 100-continue\r\nContent-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"A-Long-One: " + b"x" * 2000 + b"\r\n",
        b"X-Span-ID: s\r\n",
    ],
)
def test_what_is_not_the_same_each_time_is_not_remembered(remembering, fields):
    request = remembering.parse(b"POST /a HTTP/1.1\r\n" + fields + b"\r\n", ONE, 1)
    assert request.key is None
    assert not remembering._fields


def test_fields_that_are_refused_are_refused_each_time(remembering):
    for _ in range(2):
        with pytest.raises(ParseException):
            remembering.parse(b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", ONE, 1)


def test_what_is_remembered_is_bounded(remembering):
    for number in range(2 * heads.MOST):
        request = remembering.parse(b"GET /a HTTP/1.1\r\nX-Number: %d\r\n\r\n" % number, ONE, 1)
        remembering.answer_and_environ(request, connection(ONE), wsgi.Response)
        assert len(remembering._fields) <= heads.MOST
        assert len(remembering._environs) <= heads.MOST


def test_nothing_is_remembered_where_a_header_of_a_proxy_says_the_scheme(cfg):
    found = heads.Heads(cfg)  # gunicorn's default, which our options replace
    found.parse(b"GET /a HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n", ONE, 1)
    assert not found._fields


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "application/json"), ("Content-Length", "12"), ("X-Span-ID", "s p"), ("Vary", "Origin")],
        [("Content-Type", "text/plain"), ("X-Frame-Options", "DENY")],
        [("Content-Type", "text/plain"), ("Connection", "close"), ("Content-Length", "3")],
        [("Allow", "GET"), ("Content-Type", "a/b\u00e9")],
        [],
    ],
)
def test_the_headers_of_an_answer_become_what_gunicorn_makes_of_them(cfg, remembering, headers):
    request = remembering.parse(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", ONE, 1)
    ours, gunicorns = (made(request, None, cfg) for made in (worker.Answer, wsgi.Response))
    for response in (ours, gunicorns):
        response.start_response("200 OK", list(headers))
    assert ours.headers == gunicorns.headers
    assert ours.response_length == gunicorns.response_length
    assert ours.chunked == gunicorns.chunked


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\0", "a\x7f"])
def test_a_header_of_an_answer_that_would_become_two_is_refused(cfg, remembering, value):
    request = remembering.parse(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", ONE, 1)
    with pytest.raises(InvalidResponseHeader):
        worker.Answer(request, None, cfg).start_response("200 OK", [("X-Span-ID", value)])
