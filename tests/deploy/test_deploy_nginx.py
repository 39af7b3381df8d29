"""A real nginx with the printed configuration in front of real servers."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trustme
from nginx import NGINX, Nginx, ProxyClient, free_port
from support import BINARIES, PREFIX, Server, clean_environment, wait_for

from torc_server.nginx_config import ERRORS, nginx_config
from torc_server.settings import Settings, SettingsError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not NGINX, reason="there is no nginx")]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def certificate(authority, folder):
    """(chain, key): files of a certificate for localhost and 127.0.0.1."""
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(folder / "key.pem")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def served(module_database_url, module_folder):
    """A server on a unix socket, and its Settings."""
    folder = module_folder / "behind-nginx"
    options = {"socket": folder / "torc.sock", "max_request_body_mb": 1, "keepalive_secs": 20}
    server = Server(folder, database_url=module_database_url, **options).wait_until_it_listens()
    yield server, Settings(**options)
    server.stop()


@pytest.fixture(scope="module")
def nginx(served, module_folder):
    with Nginx(module_folder / "nginx", served[1]) as nginx:
        yield nginx


def make_workflow(client, **more):
    return client.post("/workflows", json={"name": "w", "user": "u", **more}).json["id"]


def test_the_api_is_served_over_a_unix_socket_on_kept_connections(nginx, served):
    client = ProxyClient(nginx.url)
    workflow = make_workflow(client)
    for _ in range(20):
        assert client.get(f"/workflows/{workflow}").json["name"] == "w"
    client.put(f"/workflows/{workflow}", json={"name": "v", "user": "u"})
    assert client.delete(f"/workflows/{workflow}").json["id"] == workflow
    line = f'"GET {PREFIX}/workflows/{workflow} HTTP/1.1" 200 .* unix:{served[1].socket} 200 '
    assert len(re.findall(line, (nginx.folder / "access.log").read_text())) == 20


def test_sizes_and_timeouts_are_those_of_the_settings():
    settings = Settings(
        max_request_body_mb=7, head_timeout_secs=11, body_timeout_secs=12, answer_timeout_secs=13, keepalive_secs=50,
        limit_request_field_size=100_000,
    )  # fmt: skip
    config = nginx_config(settings, "torc.example")
    for line in (
        "client_max_body_size 7m;", "client_header_timeout 11s;", "client_body_timeout 12s;", "send_timeout 13s;",
        "keepalive_timeout 50s;", "keepalive_timeout 35s;", "large_client_header_buffers 4 98k;",
        "proxy_send_timeout 12s;", "server 127.0.0.1:8080 max_fails=1",
    ):  # fmt: skip
        assert line in config


def test_the_sample_is_what_the_command_prints(folder):
    """deploy/nginx/torc-server.conf; make deploy-files writes it."""
    printed = subprocess.run(
        [BINARIES / "torc-server", "nginx-config", "--server-name=torc.example.org",
         "--certificate=/etc/ssl/torc/fullchain.pem", "--certificate-key=/etc/ssl/torc/privkey.pem"],
        env=clean_environment(folder, {"TORC_SOCKET": "/run/torc/torc.sock"}), cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert printed.stdout == (ROOT / "deploy/nginx/torc-server.conf").read_text()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"server_name": "a; b"}, "has a character"),
        ({"prefix": "torc"}, "is not a path such as /torc"),
        ({"prefix": "/torc/"}, "is not a path such as /torc"),
        ({"certificate": "a"}, "belong together"),
        ({"upstreams": ["https://a:1", "b:1"]}, "either all or none"),
        ({"upstreams": ["https://a:1"]}, "needs --upstream-ca and --upstream-name"),
    ],
)
def test_what_nginx_could_not_use_is_refused(options, reason):
    with pytest.raises(SettingsError, match=re.escape(reason)):
        nginx_config(Settings(), **{"server_name": "_", **options})


def test_a_port_that_nobody_knows_is_refused():
    with pytest.raises(SettingsError, match="set a port or a socket"):
        nginx_config(Settings(port=0), "_")


# Errors


def test_a_body_that_is_too_large_is_413_in_the_one_error_shape(nginx):
    answer = ProxyClient(nginx.url).post("/workflows", body=b"x" * (2 << 20), status=None)
    assert answer.status_code == 413
    assert answer.json["error"]["error"] == "PayloadTooLarge"
    assert "max_request_body_mb" in answer.json["error"]["message"]


def test_without_a_server_the_answer_is_502_json_with_the_word_connection_by_which_clients_retry(folder):
    with Nginx(folder / "nginx", Settings(), upstreams=[f"127.0.0.1:{free_port()}"]) as nginx:
        client = ProxyClient(nginx.url)
        for call in (client.get, client.post, client.put, client.delete):
            answer = call("/workflows/1", status=502)
            assert answer.json["error"]["error"] == "ServiceUnavailable"
            assert "connection" in answer.json["error"]["message"]
            assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("1", "application/json")


def test_a_server_that_does_not_answer_in_time_is_504_json(folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nginx = Nginx(folder / "nginx", Settings(), upstreams=[f"127.0.0.1:{silent.getsockname()[1]}"])
        config = nginx.folder / "torc.conf"
        assert "proxy_read_timeout 620s;" in nginx.config
        config.write_text(nginx.config.replace("proxy_read_timeout 620s;", "proxy_read_timeout 1s;"))
        with nginx:
            answer = ProxyClient(nginx.url).post("/workflows", json={}, status=504)
            assert answer.json["error"]["error"] == "ServiceUnavailable"
            assert "connection" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("NONSENSE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (f"GET /{'x' * 70_000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX: {'x' * 70_000}\r\n\r\n", 431),
    ],
)
def test_what_nginx_cannot_read_is_refused_in_the_one_error_shape(nginx, request_text, status):
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
        connection.sendall(request_text.encode())
        with closing(http.client.HTTPResponse(connection)) as answer:
            answer.begin()
            assert (answer.status, json.load(answer)["error"]["error"]) == (status, "BadRequest")


def test_each_error_of_nginx_is_json():
    config = nginx_config(Settings(), "_")
    bodies = dict(re.findall(r"error/(\d+) {[^}]*?return \d+ '(.*?)';", config, re.S))
    assert {int(code) for code in bodies} == set(ERRORS)
    assert all(json.loads(body)["error"].keys() == {"error", "message"} for body in bodies.values())


# Proxying


def test_nothing_that_a_client_says_of_its_address_or_scheme_reaches_the_server(
    start_server, fresh_database_url, folder
):
    (folder / "htpasswd").write_text("alice:$2b$04$" + "." * 53 + "\n")
    path = folder / "torc.sock"
    server = start_server(database_url=fresh_database_url, socket=path, auth_file=folder / "htpasswd")
    with Nginx(folder / "nginx", Settings(socket=path)) as nginx:
        forged = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", "X-Forwarded-Prefix": "/evil"}
        ProxyClient(nginx.url).get("/ping", user=("alice", "wrong"), headers=forged, status=401)
        assert re.findall(r"user 'alice' from (\S+)", server.log.read_text()) == ["127.0.0.1"]
        page = ProxyClient(nginx.url).get("/docs", prefix="", headers=forged, status=None)
        assert "evil" not in page.text + page.headers.get("location", "")


def test_a_path_prefix_is_served_with_names_as_they_were_written(served, folder):
    with Nginx(folder / "nginx", served[1], prefix="/apps/torc") as nginx:
        client = ProxyClient(nginx.url)
        below = f"/apps/torc{PREFIX}"
        assert client.get("/ping", prefix=below).json == {"status": "ok"}
        client.get("/users/a%2Fb%20c/groups?limit=1", prefix=below)
        assert client.get("/ping", status=404, prefix="/elsewhere")
        assert client.get("", prefix="/apps/torc", status=308).headers["location"].endswith("/apps/torc/")
        workflow = client.post("/workflows", prefix=below, json={"name": "w", "user": "u"}).json["id"]
        client.delete(f"/workflows/{workflow}", prefix=below)


def test_tls_ends_at_nginx_and_plain_http_on_its_port_is_sent_to_https(served, folder, certificate, authority):
    chain, key = certificate
    with Nginx(folder / "nginx", served[1], certificate=chain, certificate_key=key) as nginx:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with closing(http.client.HTTPSConnection("localhost", nginx.port, context=context, timeout=10)) as connection:
            connection.request("GET", f"{PREFIX}/ping")
            assert json.load(connection.getresponse()) == {"status": "ok"}
        with closing(http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)) as plain:
            plain.request("GET", f"{PREFIX}/ping")
            answer = plain.getresponse()
            assert answer.status == 308
            assert answer.headers["Location"] == f"https://127.0.0.1:{nginx.port}{PREFIX}/ping"


def test_a_server_with_tls_is_reached_over_tls_and_its_certificate_is_checked(
    start_server, database_url, folder, certificate, authority
):
    chain, key = certificate
    server = start_server(database_url=database_url, https=True, tls_cert=chain, tls_key=key)
    for name, ca, status in (("right", authority, 200), ("other", trustme.CA(), 502)):
        ca.cert_pem.write_to_path(folder / f"{name}.pem")
        tls = {"upstream_ca": folder / f"{name}.pem", "upstream_name": "localhost"}
        upstreams = [f"https://127.0.0.1:{server.port}"]
        with Nginx(folder / name, Settings(), upstreams=upstreams, **tls) as nginx:
            ProxyClient(nginx.url).get("/ping", status=status)


def test_long_lists_are_compressed(nginx):
    client = ProxyClient(nginx.url)
    for _ in range(100):
        make_workflow(client, description="x" * 500)
    with closing(http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=10)) as connection:
        connection.request("GET", f"{PREFIX}/workflows", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.read()) < 10_000


def test_events_come_through_at_once(nginx):
    client = ProxyClient(nginx.url)
    workflow = make_workflow(client)
    # If they waited for 4 KiB, that would take hours.
    with closing(http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)) as connection:
        path = f"{PREFIX}/workflows/{workflow}/events/stream"
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        with connection.getresponse() as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.fp.readline(), "the stream has not begun"
            client.put(f"/workflows/{workflow}/cancel")
            while b"workflow_canceled" not in (line := answer.fp.readline()):
                assert line, "the stream has ended"


# Several servers


class Counting:
    """A server that takes requests and closes the connection without an answer; .requests: their first words."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = []

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.requests.append(connection.recv(65536).split()[0].decode())


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1), ("PATCH", 1)])
def test_only_a_get_is_sent_to_the_second_server_when_the_first_took_it_and_did_not_answer(folder, method, times):
    with Counting() as first, Counting() as second:
        with Nginx(folder / "nginx", Settings(), upstreams=[first.address, second.address]) as nginx:
            ProxyClient(nginx.url).request(method, "/jobs/1", status=502)
        assert first.requests + second.requests == [method] * times


@pytest.fixture
def two(start_server, fresh_database_url, folder):
    """Two servers on one database, nginx in front."""
    servers = [start_server(database_url=fresh_database_url) for _ in range(2)]
    upstreams = [f"127.0.0.1:{server.port}" for server in servers]
    with Nginx(folder / "nginx", Settings(), upstreams=upstreams) as nginx:
        yield servers, nginx


class Load:
    """`with Load(url, workflow) as load:` three clients create events all the time; .ids: stored, .failures."""

    def __init__(self, url, workflow):
        self._url, self._workflow = url, workflow
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(3)]
        self.ids, self.failures = [], []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count=30):
        wanted = len(self.ids) + count
        wait_for(lambda: len(self.ids) >= wanted, timeout=60, what="answers")

    def _send(self):
        client = ProxyClient(self._url)
        while not self._ended.is_set():
            event = {"workflow_id": self._workflow, "data": {}, "timestamp": 0}
            answer = client.post("/events", json=event, status=None)
            if answer.status_code == 200:
                self.ids.append(answer.json["id"])
            else:
                self.failures.append(answer)


def stored(client, workflow):
    return client.get("/events", params={"workflow_id": workflow, "limit": 1}).json["total_count"]


def test_both_servers_get_requests_and_a_rolling_reload_of_them_loses_none(two):
    servers, nginx = two
    client = ProxyClient(nginx.url)
    workflow = make_workflow(client)
    with Load(nginx.url, workflow) as load:
        for server in servers:
            server.wait_for_workers(2)
            before = server.workers()
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_workers(2, without=before)
            load.wait_for_more()
    assert load.failures == []
    assert stored(client, workflow) == len(load.ids)
    served = (nginx.folder / "access.log").read_text()
    assert all(f" 127.0.0.1:{server.port} 200 " in served for server in servers)


def test_when_a_server_is_killed_the_other_goes_on_and_errors_are_only_of_the_kind_that_a_retry_cures(two):
    servers, nginx = two
    client = ProxyClient(nginx.url)
    workflow = make_workflow(client)
    with Load(nginx.url, workflow) as load:
        os.killpg(servers[0].process.pid, signal.SIGKILL)
        load.wait_for_more(100)
    assert {failure.status_code for failure in load.failures} <= {502}
    assert len(load.failures) <= 6  # those that the killed one had taken
    assert all("connection" in failure.json["error"]["message"] for failure in load.failures)
    assert len(load.ids) <= stored(client, workflow) <= len(load.ids) + len(load.failures)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_scripts_for_ops_work_through_nginx_below_a_prefix(served, folder):
    with Nginx(folder / "nginx", served[1], prefix="/torc") as nginx:
        workflow = make_workflow(served[0].client)
        url = f"{nginx.url}/torc{PREFIX}"
        done = subprocess.run(
            [ROOT / "deploy/curl/status", str(workflow)], env=clean_environment(folder, {"TORC_API_URL": url}),
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
