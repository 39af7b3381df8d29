"""`torc-server run --https`: gunicorn's own TLS, with a certificate authority made for the test."""

import contextlib
import http.client
import json
import socket
import ssl
import time
import warnings

import psutil
import psycopg
import pytest
import trustme
from support import wait_for

PREFIX = "/torc-service/v1"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server(start_server, fresh_database_url, folder, authority):
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    return start_server(
        database_url=fresh_database_url, https=True, tls_cert=folder / "cert.pem", tls_key=folder / "key.pem",
        handshake_timeout_secs=2,
    )  # fmt: skip


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def send(server, context, method, path, body=None):
    """Send one request; give the open answer."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, PREFIX + path, json.dumps(body) if body else None, headers)
    return contextlib.closing(connection), connection.getresponse()


def test_who_trusts_the_authority_is_answered_and_who_does_not_hangs_up(server, trusting):
    connection, answer = send(server, trusting, "GET", "/ping")
    with connection:
        assert json.load(answer) == {"status": "ok"}
    with pytest.raises(ssl.SSLCertVerificationError):
        send(server, ssl.create_default_context(), "GET", "/ping")
    assert f"curl https://127.0.0.1:{server.port}" in server.log.read_text()


def test_half_a_handshake_holds_no_thread_and_is_dropped_after_its_deadline(server, trusting):
    with contextlib.ExitStack() as stack:

        def seconds_beside_half_handshakes():
            """How long a request takes beside new connections of that kind; these are dropped afterwards."""
            address = ("127.0.0.1", server.port)
            sockets = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(40)]
            for sock in sockets[:20]:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the beginning of a ClientHello
            started = time.monotonic()
            connection, answer = send(server, trusting, "GET", "/ping")
            with connection:
                assert json.load(answer) == {"status": "ok"}
            took = time.monotonic() - started
            for sock in sockets:
                assert sock.recv(100) == b""
            return took

        # A busy machine may delay it now and then, threads that are held always.
        assert any(seconds_beside_half_handshakes() < 1 for _ in range(5))


def test_old_versions_of_tls_and_plain_http_are_refused_and_the_server_goes_on(server, trusting):
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore"):  # they are deprecated
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        send(server, old, "GET", "/ping")
    plain = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(plain), pytest.raises((OSError, http.client.HTTPException)):
        plain.request("GET", PREFIX + "/ping")
        if plain.getresponse().status == 400:
            raise ConnectionError("refused with an answer")
    connection, answer = send(server, trusting, "GET", "/ping")
    with connection:
        assert answer.status == 200


def test_an_event_stream_works_and_ends_when_the_client_is_gone(server, trusting):
    connection, answer = send(server, trusting, "POST", "/workflows", {"name": "w", "user": "me"})
    with connection:
        workflow = json.load(answer)["id"]
    stream, frames = send(server, trusting, "GET", f"/workflows/{workflow}/events/stream")
    with stream:
        assert frames.readline() == b": listening\n"
        connection, answer = send(server, trusting, "PUT", f"/workflows/{workflow}/cancel")
        with connection:
            assert answer.status == 200
        assert frames.readline() == b"\n"
        assert frames.readline() == b"event: workflow_canceled\n"
        start = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - start < 0.5, "it waits, it does not spin"
        assert registered(server) == 1
    wait_for(lambda: registered(server) == 0, what="the end of the stream")
    assert "Traceback" not in server.log.read_text()


def cpu_seconds(server):
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in server.workers())


def registered(server):
    with psycopg.connect(server.database_url) as connection:
        return connection.execute("SELECT count(*) FROM torc.event_stream").fetchone()[0]
