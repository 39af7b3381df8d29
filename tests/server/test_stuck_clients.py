"""Clients that send half of something, read nothing or stay silent: they hold no thread, and are dropped in time."""

import contextlib
import inspect
import re
import socket
import time

import psutil
import psycopg
import pytest
from support import PREFIX, HttpClient, Server, wait_for
from workflow import Workflow

from torc_server.client_connection import ClientConnection
from torc_server.settings import Settings

HALF_HEAD = f"GET {PREFIX}/ping HTTP/1.1\r\nHost: x\r\nX-Half".encode()
HALF_BODY = (
    f"POST {PREFIX}/workflows HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    '{"name":'
).encode()
PIPE = (
    f"POST {PREFIX}/workflows HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
    '8\r\n{"name":\r\n'
).encode()
DEADLINES = {
    "handshake_timeout_secs": 1, "head_timeout_secs": 1, "body_timeout_secs": 1, "answer_timeout_secs": 1,
    "keepalive_secs": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def impatient(module_folder, module_database_url):
    """A server of one process with one thread and short deadlines."""
    server = Server(module_folder / "impatient", database_url=module_database_url, workers=1, threads=1, **DEADLINES)
    yield server.wait_until_it_listens()
    server.stop()


@pytest.fixture(scope="module")
def patient(module_folder, module_database_url):
    """The same with deadlines that no test reaches: what it answers beside stuck clients has not waited for these."""
    deadlines = dict.fromkeys(DEADLINES, 300)
    server = Server(module_folder / "patient", database_url=module_database_url, workers=1, threads=1, **deadlines)
    yield server.wait_until_it_listens()
    server.stop()


@pytest.fixture
def connect():
    """connect(server, number, data): so many connections that have sent these bytes."""
    with contextlib.ExitStack() as stack:

        def connect(server, number=1, data=b"", receive_buffer=None):
            sockets = []
            for _ in range(number):
                sock = stack.enter_context(socket.socket())
                if receive_buffer:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                sock.settimeout(20)
                sock.connect(("127.0.0.1", server.port))
                sock.sendall(data)
                sockets.append(sock)
            return sockets

        yield connect


def has_ended(sock):
    """Whether the server closes the connection within the socket's timeout, whatever it sends before."""
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def connections_with(worker, ports):
    """The connections of a process with clients on these ports."""
    return [each for each in worker.net_connections("tcp") if each.raddr and each.raddr.port in ports]


def answers(server):
    """Whether the server answers long before the deadlines of a patient one."""
    return HttpClient(server.url, timeout=60).get("/ping").json == {"status": "ok"}


@pytest.mark.parametrize(
    "data", [b"", HALF_HEAD, HALF_BODY, PIPE], ids=["silence", "half a head", "half a body", "a pipe"]
)
def test_clients_that_do_not_finish_a_request_hold_no_thread_and_are_dropped_after_their_deadline(
    impatient, patient, connect, data
):
    connect(patient, 40, data)
    assert answers(patient)
    sockets = connect(impatient, 40, data)
    assert all(has_ended(sock) for sock in sockets)
    assert answers(impatient)


def test_clients_that_do_not_read_a_long_list_hold_no_thread_and_are_dropped_after_their_deadline(
    impatient, patient, connect
):
    with psycopg.connect(impatient.database_url, autocommit=True) as database:
        workflow = Workflow(impatient.client, database)
        workflow.sql(
            "INSERT INTO torc.event (workflow_id, data)"
            " SELECT %s, to_jsonb(repeat('x', 10000)) FROM generate_series(1, 1000) RETURNING id",
            workflow.id,
        )
    request = f"GET {PREFIX}/events?workflow_id={workflow.id} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for server in (patient, impatient):
        sockets = connect(server, 10, request, receive_buffer=4096)
        for sock in sockets:
            assert sock.recv(12) == b"HTTP/1.1 200"  # it is being sent
        assert answers(server)
    ours = {sock.getsockname()[1] for sock in sockets}
    (worker,) = map(psutil.Process, impatient.workers())
    wait_for(lambda: not connections_with(worker, ours), 30, "the end of the connections")
    for sock in sockets:
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(1 << 20):
                received += len(data)
        assert received < 10_000_000  # it ends before its end


def is_answered(sock, *pieces, after=0.0):
    """Whether the server answers 200 to what is sent to it piece by piece, each after so many seconds."""
    try:
        for piece in pieces:
            time.sleep(after)
            sock.sendall(piece)
        return sock.recv(1000).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def test_a_body_that_comes_slowly_is_taken_while_it_gets_on(impatient, connect):
    body = b'{"name":"slow","user":"u"}'
    head = HALF_BODY.split(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(body)
    pieces = [body[start : start + 6] for start in range(0, len(body), 6)]
    # Altogether longer than the deadline. On a busy machine a single piece may come too late.
    assert any(is_answered(connect(impatient, 1, head)[0], *pieces, after=0.4) for _ in range(5))


def test_a_connection_without_a_request_is_kept_longer_than_half_a_request_and_then_closed(impatient, connect):
    whole = HALF_HEAD.replace(b"X-Half", b"X-Whole: 1\r\n\r\n")

    def is_kept():
        assert is_answered(sock, whole)
        return is_answered(sock, whole, after=2)

    for _ in range(5):  # a busy machine may take longer than those two seconds
        (sock,) = connect(impatient)
        if is_kept():
            break
    else:
        pytest.fail("it was closed within two seconds")
    started = time.monotonic()
    sock.sendall(whole)
    assert has_ended(sock)
    assert time.monotonic() - started > 2


def test_a_client_is_late_only_if_nothing_of_it_waits_to_be_read():
    """A server that was not scheduled for a while, as in a virtual machine that is moved, finds deadlines that have
    passed beside requests that came in time."""
    ours, client = socket.socketpair()
    with ours, client:
        connection = ClientConnection(ours, None, None, None)
        late = lambda: connection.is_late(connection.deadline + 1, 30)  # noqa: E731
        assert late()
        client.sendall(b"G")
        assert not late()
        ours.recv(1)
        assert late()
        client.shutdown(socket.SHUT_WR)
        assert late()
    assert late(), "another thread has just closed it"


def test_requests_sent_at_once_are_answered_one_after_the_other(impatient, connect):
    paths = ["/ping", "/nothing", "/version"] * 10
    requests = [f"GET {PREFIX}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths]
    (sock,) = connect(impatient, 1, b"".join(requests))
    answers = b""
    while answers.count(b"HTTP/1.1 ") < len(paths):
        answers += sock.recv(1 << 16)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"] * 10


def test_beyond_the_limit_the_oldest_idle_connection_is_closed_and_without_one_a_new_one_is_503(
    start_server, fresh_database_url
):
    server = start_server(database_url=fresh_database_url, workers=1, max_connections=20, head_timeout_secs=60)
    whole = HALF_HEAD.replace(b"X-Half", b"X-Whole: 1\r\n\r\n")
    with contextlib.ExitStack() as stack:

        def connect(data):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            sock.sendall(data)
            return sock

        idle = connect(whole)
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(1)  # the server has sent the answer, and soon knows the connection as idle
        halves = [connect(HALF_HEAD) for _ in range(20)]
        assert has_ended(idle)
        refused = connect(b"")
        answer = b"".join(iter(lambda: refused.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"ServiceUnavailable"' in answer
        assert b"Retry-After" in answer
        halves.pop().close()
        end = time.monotonic() + 30
        while not (sock := connect(whole)).recv(1000).startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < end
            sock.close()


def test_a_call_that_waits_for_a_workflow_keeps_no_small_request_waiting(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1, threads=1)
    with psycopg.connect(fresh_database_url) as holder:
        workflow = Workflow(server.client, holder)
        holder.commit()
        holder.execute("SELECT torc.lock_workflow(%s, NULL)", [workflow.id])
        request = f"POST {PREFIX}/workflows/{workflow.id}/initialize_jobs HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                sock.sendall(request)
            client = HttpClient(server.url, timeout=30)  # they wait for longer
            client.get("/ping")
            client.get(f"/workflows/{workflow.id}")


def test_every_call_that_may_take_long_has_a_lane(app):
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        source = inspect.getsource(inspect.unwrap(view))
        if "long_value" in source or "spooled_list(" in source or "wire.page(" in source or "access_page(" in source:
            method = next(iter(rule.methods - {"HEAD"}))
            path = re.sub("<[^>]*>", "1", rule.rule)
            assert app.extensions["lanes"].lane_and_shape(method, path)[0] is not None, rule


def test_the_deadlines_are_settings_with_the_documented_defaults():
    settings = Settings()
    found = {name: getattr(settings, name) for name in DEADLINES}
    assert found == {
        "handshake_timeout_secs": 10, "head_timeout_secs": 10, "body_timeout_secs": 30, "answer_timeout_secs": 30,
        "keepalive_secs": 75,
    }  # fmt: skip


def test_an_unknown_transfer_encoding_is_501_and_says_so(impatient, connect):
    (sock,) = connect(
        impatient, 1, f"POST {PREFIX}/workflows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: braille\r\n\r\n".encode()
    )
    answer = b"".join(iter(lambda: sock.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"braille" in answer
    assert b"The server failed" not in answer
