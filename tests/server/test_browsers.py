"""What browsers may do: which pages may send requests, which host names a browser may call, what proxies may say."""

import http.client
import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import browser as browser_module
import pytest
from browser import BROWSERS, EACH_BROWSER, Browser
from calls import ROUTES, prepared_call
from psycopg.conninfo import make_conninfo
from support import PREFIX, HttpClient, MemoryClient

from torc_server import browsers
from torc_server.app import create_app
from torc_server.settings import Settings, SettingsError

OWN = "http://localhost"
PAGE = "https://dashboard.example"
WORKFLOW = {"name": "w", "user": "u"}


def send(client, headers, method="POST", status=200):
    body = {"json": WORKFLOW} if method == "POST" else {}
    return client.request(method, "/workflows", headers={"Host": "localhost", **headers}, status=status, **body)


def count(database):
    return database.execute("SELECT count(*) FROM torc.workflow").fetchone()[0]


# Pages of other origins


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": OWN},
    {"Sec-Fetch-Site": "something new"},
    {"Sec-Fetch-Site": "same-origin", "Origin": PAGE},
    {"Origin": PAGE},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost:8081"},
    {"Origin": "http://localhost, http://evil.example"},
    {"Origin": "x" * 5000},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_of_another_origin_changes_nothing(client, database, headers):
    before = count(database)
    got = send(client, headers, status=403)
    assert got.json["error"]["error"] == "Forbidden"
    assert "--allowed-origin" in got.json["error"]["message"]
    assert "access-control-allow-origin" not in got.headers
    assert count(database) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": OWN},
        {"Origin": OWN},
        {"Origin": "http://LOCALHOST:80"},
        {"Origin": "http://localhost:8080", "Host": "localhost:8080"},
        {"Origin": "http://localhost", "Host": "localhost."},
        {"Origin": "http://[::1]:8080", "Host": "[::1]:8080"},
    ],
    ids=str,
)
def test_pages_of_this_server_and_other_programs_may(client, headers):
    send(client, headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_that_changes_something_is_asked_also_where_nothing_is(client, method):
    for path in ("/nowhere", "/workflows/1"):
        client.request(method, path, headers={"Host": "localhost", "Origin": PAGE}, status=403)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_reading_is_not_refused_because_a_page_cannot_read_the_answer(client, headers):
    got = send(client, headers, method="GET")
    assert "access-control-allow-origin" not in got.headers


@pytest.fixture(scope="module")
def reading(database_url):
    """A client of an application that cannot change the database."""
    conninfo = make_conninfo(database_url, options="-c default_transaction_read_only=on")
    app = create_app(replace(Settings(), database_url=conninfo), conninfo)
    app.extensions["database"].open()
    client = MemoryClient(app)
    assert client.post("/workflows", json=WORKFLOW, status=None).status_code >= 500
    yield client
    app.extensions["database"].close()


# The event stream registers itself, for 30 s; the counts of requests are brought up to date before they are told.
NOTING = ("admin.admin_api_stats",)
GETS = [route for route in ROUTES if route.values[1] == "GET" and route.values[0].endpoint not in NOTING]


@pytest.mark.parametrize("rule, method", GETS)
def test_no_get_changes_anything(reading, workflow, rule, method):
    path, arguments = prepared_call(workflow, rule, method)
    reading.request(method, path, **arguments)


def test_the_check_comes_before_the_password_and_the_404(make_client, tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text("alice:$2b$04$" + "a" * 53 + "\n")
    client = make_client(auth_file=path, require_auth=True)
    send(client, {"Origin": PAGE}, status=403)


# Allowed origins


@pytest.fixture
def allowing(make_client):
    return make_client(allowed_origins=(PAGE, "http://[::1]:3000", "https://MIXED.example:443"))


@pytest.mark.parametrize("origin", [PAGE, "http://[::1]:3000", "https://mixed.example"])
@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}], ids=str)
def test_pages_of_an_allowed_origin_send_requests_and_read_the_answers(allowing, origin, site):
    got = send(allowing, {"Origin": origin, **site})
    assert got.headers["access-control-allow-origin"] == origin
    assert got.headers["access-control-allow-credentials"] == "true"
    assert "Retry-After" in got.headers["access-control-expose-headers"]
    assert got.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "path, prefix, status",
    [
        ("/workflows/999999999", PREFIX, 404),
        ("/nowhere", "", 404),
        ("/workflows?limit=x", PREFIX, 400),
        ("/docs", "", 200),
    ],
)
def test_they_read_errors_and_what_is_outside_the_base_path_too(allowing, path, prefix, status):
    got = allowing.get(path, prefix=prefix, headers={"Host": "localhost", "Origin": PAGE}, status=status)
    assert got.headers["access-control-allow-origin"] == PAGE


def test_they_read_that_a_password_is_wanted(make_client, tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text("alice:$2b$04$" + "a" * 53 + "\n")
    client = make_client(auth_file=path, require_auth=True, allowed_origins=(PAGE,))
    assert send(client, {"Origin": PAGE}, status=401).headers["access-control-allow-origin"] == PAGE


def test_caches_are_told_that_answers_depend_on_the_origin(allowing):
    assert send(allowing, {}, method="GET").headers["vary"] == "Origin"
    got = send(allowing, {"Origin": "https://other.example"}, method="GET")
    assert got.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in got.headers


def test_others_are_still_refused(allowing):
    for headers in FOREIGN:
        if headers.get("Origin") != PAGE:
            send(allowing, headers, status=403)
    send(allowing, {"Origin": "https://dashboard.example:8443"}, status=403)
    send(allowing, {"Origin": "http://dashboard.example"}, status=403)


def test_a_setting_that_is_no_origin_allows_none(make_client):
    send(make_client(allowed_origins=("null", "*")), {"Origin": "null"}, status=403)


def preflight(client, origin, asked="authorization, content-type", path="/workflows", status=204):
    headers = {
        "Host": "localhost", "Origin": origin, "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": asked, "Sec-Fetch-Site": "cross-site",
    }  # fmt: skip
    return client.request("OPTIONS", path, headers=headers, status=status)


def test_a_preflight_is_answered_without_credentials_for_any_path(make_client, tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text("alice:$2b$04$" + "a" * 53 + "\n")
    client = make_client(auth_file=path, require_auth=True, allowed_origins=(PAGE,))
    for target in ("/workflows", "/jobs/1/complete_job/completed/0", "/nowhere"):
        got = preflight(client, PAGE, path=target)
        assert got.text == ""
        assert got.headers["access-control-allow-origin"] == PAGE
        assert got.headers["access-control-allow-credentials"] == "true"
        assert set(got.headers["access-control-allow-methods"].split(", ")) >= {"GET", "POST", "PUT", "PATCH", "DELETE"}
        assert got.headers["access-control-allow-headers"] == "authorization, content-type"
        assert 0 < int(got.headers["access-control-max-age"]) <= 7200
        assert got.headers["vary"] == "Origin"


def test_a_preflight_for_another_origin_is_403(allowing, client):
    assert "access-control-allow-methods" not in preflight(allowing, "https://evil.example", status=403).headers
    preflight(client, PAGE, status=403)


def test_what_a_preflight_asks_for_is_repeated_only_if_it_is_a_list_of_header_names(allowing):
    assert "access-control-allow-headers" not in preflight(allowing, PAGE, asked="x: y; <z>").headers


def test_other_uses_of_options_are_405_as_before(allowing):
    allowing.request("OPTIONS", "/workflows", headers={"Host": "localhost", "Origin": PAGE}, status=405)
    allowing.request("OPTIONS", "/workflows", headers={"Access-Control-Request-Method": "PUT"}, status=405)


# Host names


LAPTOP = ["localhost", "LOCALHOST", "localhost.", "localhost:9000", "torc.localhost", "127.0.0.1", "127.0.0.1:8080",
          "127.9.9.9", "[::1]", "[::1]:8080", socket.gethostname(), socket.gethostname().partition(".")[0]]  # fmt: skip
ELSEWHERE = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", "",
             "192.0.2.7:8080", "[2001:db8::7]", "[", "localhost:x", "localhost/", "local host", "127.1"]  # fmt: skip
OF_BROWSERS = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": OWN}, {"Accept-Language": "en"}, {"Accept-Language": ""}]


@pytest.mark.parametrize("host", LAPTOP)
def test_a_browser_may_call_the_server_by_its_own_names(client, host):
    for headers in OF_BROWSERS:
        send(client, {**headers, "Host": host}, method="GET")


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_browser_that_calls_another_name_is_refused_whatever_it_wants(client, host):
    """DNS rebinding: a page's own name leads to this machine, so that the browser takes us for the page's server."""
    for headers in OF_BROWSERS:
        for method in ("GET", "POST"):
            got = send(client, {**headers, "Host": host}, method=method, status=None)
            if host and got.status_code == 400:
                continue  # the framework cannot read that name
            assert got.status_code == 403
            assert "--allowed-host" in got.json["error"]["message"]


@pytest.mark.parametrize("host", ["evil.example", "torc.cluster:8080", "192.0.2.7"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "*/*", "User-Agent": "curl/8.5.0"},
        {"User-Agent": "OpenAPI-Generator/0.22.2/python"},
        {"User-Agent": "node", "Accept-Language": "*", "Sec-Fetch-Mode": "cors"},
    ],
    ids=str,
)
def test_other_programs_are_not_asked(client, host, headers):
    send(client, {**headers, "Host": host})


def test_names_can_be_allowed(make_client):
    client = make_client(allowed_hosts=("torc.cluster", "Jürgen.example", "2001:DB8::7"))
    for host in ("torc.cluster:8080", "TORC.cluster.", "xn--jrgen-kva.example", "[2001:db8::7]:80", "localhost"):
        send(client, {"Accept-Language": "en", "Host": host}, method="GET")
    send(client, {"Origin": "http://torc.cluster:8080", "Host": "torc.cluster:8080"})
    for host in ("a.torc.cluster", "cluster", "evil.example"):
        send(client, {"Accept-Language": "en", "Host": host}, method="GET", status=403)


def test_with_a_star_any_name_will_do_and_other_origins_are_still_refused(make_client):
    client = make_client(allowed_hosts=("*",))
    send(client, {"Origin": "http://any.example", "Host": "any.example"})
    send(client, {"Origin": PAGE, "Host": "any.example"}, status=403)


def test_health_is_not_asked(client):
    for path in ("/healthz", "/readyz"):
        client.get(path, prefix="", headers={"Host": "evil.example", "Accept-Language": "en"})


def test_an_address_is_the_servers_own_if_the_machine_has_it(make_client, monkeypatch):
    monkeypatch.setattr(browsers, "is_own_address", lambda address: str(address) in ("10.1.2.3", "fd00::3"))
    client = make_client(host="0.0.0.0")
    for host in ("10.1.2.3:8080", "[fd00::3]"):
        send(client, {"Accept-Language": "en", "Host": host}, method="GET")
    send(client, {"Accept-Language": "en", "Host": "10.1.2.4"}, method="GET", status=403)


def test_who_listens_for_others_is_also_called_by_the_full_name(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda: "login1.cluster.example")
    monkeypatch.setattr(socket, "gethostname", lambda: "login1")
    assert browsers.own_names("0.0.0.0") == {"localhost", "login1", "login1.cluster.example", "0.0.0.0"}
    assert browsers.own_names("torc.cluster.example") > {"torc.cluster.example", "login1.cluster.example"}
    assert browsers.own_names("127.0.0.1") == {"localhost", "login1", "127.0.0.1"}


@pytest.mark.parametrize(
    "options, told",
    [
        ({"allowed_origins": ("*",)}, "--allowed-origin: '\\*' is not an origin"),
        ({"allowed_origins": ("null",)}, "is not an origin"),
        ({"allowed_origins": ("dashboard.example",)}, "is not an origin such as https://host"),
        ({"allowed_origins": ("https://dashboard.example/",)}, "is not an origin"),
        ({"allowed_hosts": ("https://torc.cluster",)}, "--allowed-host: 'https://torc.cluster' is not a host name"),
        ({"allowed_hosts": ("torc.cluster:8080",)}, "without a port"),
        ({"allowed_hosts": ("a..b",)}, "is not a host name"),
    ],
)
def test_what_is_no_origin_or_name_is_refused_at_the_start(options, told):
    with pytest.raises(SettingsError, match=told):
        replace(Settings(), **options).check()


# Behind a proxy


def behind(client, environ, headers, method="POST", status=200):
    """Send as if from that peer. Without REMOTE_ADDR it is on a unix socket, which is trusted."""
    got = client._app.request(
        f"{PREFIX}/workflows", method=method, body=json.dumps(WORKFLOW).encode() if method == "POST" else b"",
        headers={"Content-Type": "application/json", **headers}, environ=environ, status="*", expect_errors=True,
    )  # fmt: skip
    assert got.status_int == status, got.text
    return got


FORWARDED = {
    "Origin": "https://torc.example", "Host": "127.0.0.1:8080",
    "X-Forwarded-Host": "torc.example", "X-Forwarded-Proto": "https",
}  # fmt: skip


@pytest.mark.parametrize("peer, status", [("10.0.0.7", 200), ("::ffff:10.0.0.7", 200), ("", 200), ("10.0.0.8", 403)])
def test_a_trusted_proxy_says_which_origin_is_the_servers_own(make_client, peer, status):
    client = make_client(trusted_proxies=("10.0.0.7",), allowed_hosts=("torc.example",))
    behind(client, {"REMOTE_ADDR": peer}, FORWARDED, status=status)


@pytest.mark.parametrize(
    "more",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "http"},
        {"X-Forwarded-Host": "torc.example:8443"},
        {"Origin": "https://evil.example"},
    ],
    ids=str,
)
def test_what_it_says_must_fit(make_client, more):
    client = make_client(trusted_proxies=("10.0.0.7",), allowed_hosts=("torc.example",))
    behind(client, {"REMOTE_ADDR": "10.0.0.7"}, {**FORWARDED, **more}, status=403)


def test_the_name_that_a_trusted_proxy_was_called_by_must_be_allowed(make_client):
    client = make_client(trusted_proxies=("10.0.0.7",))
    got = behind(client, {"REMOTE_ADDR": "10.0.0.7"}, FORWARDED, status=403)
    assert "--allowed-host" in got.text


def test_who_is_no_proxy_cannot_say_that_it_was_called_by_a_name_of_ours(client):
    behind(
        client,
        {"REMOTE_ADDR": "127.0.0.1"},
        {
            "Accept-Language": "en",
            "Host": "evil.example",
            "X-Forwarded-Host": "localhost",
        },
        method="GET",
        status=403,
    )


@pytest.mark.parametrize(
    "prefix, url",
    [
        ("/some/where", "/some/where/torc-service/v1"),
        ("/some/where/", "/some/where/torc-service/v1"),
        ("//evil.example", "/torc-service/v1"),
        ("https://evil.example", "/torc-service/v1"),
        ("", "/torc-service/v1"),
        ("/a\tb", "/torc-service/v1"),
    ],
)
def test_below_a_prefix_of_a_trusted_proxy_the_document_names_the_server_below_it(client, prefix, url):
    headers = {"X-Forwarded-Prefix": prefix} if prefix else {}
    got = client.get("/openapi.json", prefix="", headers=headers)
    assert [server["url"] for server in got.json["servers"]] == [url]
    assert f"url: {url}\n" in client.get("/openapi.yaml", prefix="", headers=headers).text
    plain = client.get("/openapi.json", prefix="")
    assert [server["url"] for server in plain.json["servers"]] == ["/torc-service/v1"]
    assert (plain.headers["etag"] == got.headers["etag"]) == (url == "/torc-service/v1")


# Through gunicorn


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /x",
        "PATH_INFO: /x",
        "REMOTE_USER: alice",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /x",
        "X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: http",
    ],
)
def test_headers_for_proxies_from_anybody_change_nothing(server, header):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"GET {PREFIX}/ping HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        got = http.client.HTTPResponse(connection)
        got.begin()
        assert (got.status, json.loads(got.read())) == (200, {"status": "ok"})


def test_a_script_name_in_the_environment_of_the_server_changes_nothing(start_server, fresh_database_url):
    environment = {"SCRIPT_NAME": "/x", "FORWARDED_ALLOW_IPS": "*"}
    server = start_server(database_url=fresh_database_url, environment=environment)
    server.client.get("/ping")


def test_hosts_and_origins_are_checked_by_a_real_server(start_server, fresh_database_url):
    server = start_server(
        database_url=fresh_database_url, allowed_host="torc.cluster", allowed_origin=PAGE, trusted_proxy="127.0.0.1"
    )
    own = {"Host": f"localhost:{server.port}"}
    send(server.client, {**own, "Origin": f"http://localhost:{server.port}"})
    send(server.client, {**own, "Origin": f"http://localhost:{server.port + 1}"}, status=403)
    send(server.client, {**own, "Origin": "http://localhost"}, status=403)
    send(server.client, {"Host": "torc.cluster", "Origin": "http://torc.cluster"})
    send(server.client, {"Host": "evil.example", "Origin": "http://evil.example"}, status=403)
    send(server.client, {**own, "Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    send(server.client, {**own, "X-Forwarded-Host": "torc.cluster", "Origin": "http://torc.cluster"})
    assert preflight(server.client, PAGE).headers["access-control-allow-origin"] == PAGE
    send(server.client, {"Host": "evil.example"})


def test_a_header_may_have_64_kib_unless_set_otherwise(start_server, server, fresh_database_url):
    small = start_server(database_url=fresh_database_url, limit_request_field_size=10_000)
    for client, size, status in (
        (server.client, 60_000, 200),
        (server.client, 70_000, 431),
        (small.client, 9000, 200),
        (small.client, 11_000, 431),
    ):
        client.get("/healthz", prefix="", headers={"Cookie": "s=" + "x" * size}, status=status)
        client.close()


# In a browser


@pytest.fixture(params=EACH_BROWSER)
def browser(request, folder):
    with BROWSERS[request.param](folder) as address:
        browser = Browser(address)
        yield browser
        browser.close()


@pytest.fixture
def elsewhere():
    """A page of another origin: a server on another port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><title>elsewhere</title>")

        def log_message(self, *arguments):
            pass

    pages = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=pages.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{pages.server_port}"
    pages.shutdown()
    thread.join()
    pages.server_close()


POST = """fetch('{url}/torc-service/v1/workflows', {{
    method: 'POST', mode: '{mode}', headers: {{'Content-Type': '{kind}'}}, body: '{{"name": "w", "user": "{user}"}}',
}}).then(answer => answer.type + ' ' + answer.status, error => 'failed')"""


def users(client):
    return {workflow["user"] for workflow in client.get("/workflows").json["items"]}


def test_a_page_of_another_origin_cannot_post(browser, elsewhere, server):
    browser.open(elsewhere)
    browser.wait_for("document.title == 'elsewhere'")
    # Without asking (no-cors) a page sends what a form could; application/json has the browser ask first.
    browser.evaluate(POST.format(url=server.url, mode="no-cors", kind="text/plain", user="cross 1"))
    got = browser.evaluate(POST.format(url=server.url, mode="cors", kind="application/json", user="cross 2"))
    assert got == "failed"
    browser.evaluate(f"fetch('{server.url}{PREFIX}/workflows/1/initialize_jobs', {{method: 'POST', mode: 'no-cors'}})")
    assert not users(server.client) & {"cross 1", "cross 2"}
    browser.open(f"{server.url}/docs")
    browser.wait_for("document.title.startsWith('torc-server')")
    got = browser.evaluate(POST.format(url=server.url, mode="cors", kind="application/json", user="same origin"))
    assert got == "basic 200"
    assert "same origin" in users(server.client)


def test_a_page_whose_name_is_led_to_this_server_reads_nothing(folder, monkeypatch, server):
    """DNS rebinding. /healthz, which is open, is the page that has its origin."""
    flags = [*browser_module.FLAGS, "--host-resolver-rules=MAP rebound.example 127.0.0.1"]
    monkeypatch.setattr(browser_module, "FLAGS", flags)
    with BROWSERS["chromium"](folder) as address:
        browser = Browser(address)
        browser.open(f"http://rebound.example:{server.port}/healthz")
        browser.wait_for("location.host.startsWith('rebound') && document.body?.innerText.includes('ok')")
        disguised = "{headers: {'Accept-Language': '', 'User-Agent': 'curl'}, referrerPolicy: 'no-referrer'}"
        for options in ("{}", disguised):
            got = browser.evaluate(f"fetch('{PREFIX}/workflows', {options}).then(answer => answer.text())")
            assert "--allowed-host" in got
        browser.close()


def test_a_page_of_an_allowed_origin_can(browser, elsewhere, start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, allowed_origin=elsewhere)
    browser.open(elsewhere)
    browser.wait_for("document.title == 'elsewhere'")
    got = browser.evaluate(POST.format(url=server.url, mode="cors", kind="application/json", user="allowed"))
    assert got == "cors 200"
    assert users(HttpClient(server.url)) == {"allowed"}
