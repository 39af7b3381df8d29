"""GET /admin/api-stats and GET /admin/api-events/stream: the requests of all processes of all servers on a database."""

import functools
import http.client
import json
import time
import uuid

import psycopg
import pytest
from callers import Access
from support import PREFIX, Server, wait_for

from torc_server import api_traffic, htpasswd
from torc_server.api_traffic import ApiTraffic
from torc_server.auth import Caller
from torc_server.errors import ApiError

KEYS = {"timestamp_ms", "method", "path", "status", "latency_ms", "request_id"}
ALICE = ("alice", "long enough")


@pytest.fixture(scope="module")
def two_servers(module_folder, module_database_url):
    """Two servers of two processes each on one database."""
    auth_file = module_folder / "traffic-htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password(ALICE[1], cost=4)}\n")
    servers = [
        Server(module_folder / f"traffic{number}", database_url=module_database_url, auth_file=auth_file, threads=2)
        for number in range(2)
    ]
    try:
        yield [server.wait_until_it_listens() for server in servers]
    finally:
        for server in servers:
            server.stop()


class Stream:
    """An open stream of requests; .next() is the next frame, (event, data), comments left out."""

    def __init__(self, server, query=""):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self._connection.request("GET", f"{PREFIX}/admin/api-events/stream{query}")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200 and self._answer.headers["Content-Type"] == "text/event-stream"

    def next(self):
        lines = []
        while (line := self._answer.readline()) != b"\n":
            assert line, "the stream has ended"
            if not line.startswith(b":"):
                lines.append(line.decode().rstrip("\n"))
        if not lines:
            return self.next()
        event, data = lines
        return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def until(self, path):
        """The next request for a path."""
        while True:
            event, data = self.next()
            assert event == "api"
            if data["path"] == f"{PREFIX}{path}":
                return data

    def has_ended(self):
        return self._answer.read() is not None

    def close(self):
        self._answer.close()
        self._connection.close()


@pytest.fixture
def stream():
    opened = []

    def stream(server, query=""):
        opened.append(Stream(server, query))
        return opened[-1]

    yield stream
    for each in opened:
        each.close()


def watched(server, database_url, wants_bodies=False):
    """Wait until the process that serves this thread has learned that there is a stream, and whether it wants bodies.

    The requests for it are POST /jobs."""
    kept = "SELECT count(*) FROM torc.api_event WHERE starts_with(event::json ->> 'request_id', %s)"
    if wants_bodies:
        kept += " AND event::json ->> 'request_body' IS NOT NULL"
    name = uuid.uuid4().hex

    def is_kept():
        server.client.post("/jobs", json={}, headers={"X-Span-ID": name}, status=422)
        return connection.execute(kept, [name]).fetchone()[0]

    with psycopg.connect(database_url, autocommit=True) as connection:
        wait_for(is_kept, 30, "the request of a watched process")


def told(servers, connection):
    """Wait until each process that serves this thread has told the database of a request, with what else it keeps."""
    counted = "SELECT coalesce(sum(request_count), 0) FROM torc.api_traffic"
    expected = connection.execute(counted).fetchone()[0] + len(servers)
    for server in servers:
        server.client.get("/version")
    wait_for(lambda: connection.execute(counted).fetchone()[0] >= expected, 30, "an exchange")


def total(client, **params):
    buckets = client.get("/admin/api-stats", params=params).json["buckets"]
    return {name: sum(bucket[name] for bucket in buckets) for name in buckets[0] if name != "start_ms"}


# Counts


def test_the_requests_of_all_processes_and_servers_are_counted(start_server, fresh_database_url, folder):
    auth_file = folder / "htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password(ALICE[1], cost=4)}\n")
    one, other = (start_server(database_url=fresh_database_url, auth_file=auth_file).client for _ in range(2))
    before = total(one)
    for client in (one, other):
        for _ in range(10):
            client.get("/ping")
            client.close()  # the next one may come to another process
        client.get("/workflows/0", status=404)
        client.post("/workflows", json={"name": "w", "user": "u"})
        client.get("/workflows", user=("alice", "wrong"), status=401)

    def added():
        now = total(one)
        return {name: now[name] - before[name] for name in now}

    found = wait_for(lambda: (new := added())["status_4xx"] >= 4 and new["status_2xx"] >= 22 and new, 30, "the counts")
    assert found["status_4xx"] == 4 and found["status_5xx"] == found["status_other"] == 0
    assert found["request_count"] == found["status_2xx"] + 4
    assert found["bytes_in"] == 2 * len(json.dumps({"name": "w", "user": "u"}))
    assert found["bytes_out"] > 20 * len('{"status":"ok"}')


@pytest.mark.parametrize("params, interval, count", [
    ({}, 60, 60), ({"window_seconds": 60, "interval_seconds": 1}, 1, 60),
    ({"window_seconds": 100, "interval_seconds": 60}, 60, 2), ({"window_seconds": 0, "interval_seconds": 0}, 1, 1),
    ({"window_seconds": 10**9, "interval_seconds": 7200}, 3600, 1),
])  # fmt: skip
def test_intervals_are_newest_first_and_bounds_are_kept(client, params, interval, count):
    answer = client.get("/admin/api-stats", params=params).json
    assert (answer["interval_seconds"], answer["window_seconds"]) == (interval, interval * count)
    starts = [bucket["start_ms"] for bucket in answer["buckets"]]
    assert starts == [starts[0] - number * interval * 1000 for number in range(count)]
    assert starts[0] % (interval * 1000) == 0 and 0 <= answer["now_ms"] - starts[0] < interval * 1000


def test_an_idle_client_counts_its_own_call(client):
    before = total(client)["request_count"]
    assert total(client)["request_count"] == before + 1


def test_counts_older_than_an_hour_are_deleted(client, database):
    old = "INSERT INTO torc.api_traffic VALUES (%s, 'gone', 1, 1, 1, 1, 1, 1, 1)"
    database.execute(old, [int(time.time()) - 4000])
    client.get("/ping")
    total(client)
    assert database.execute("SELECT count(*) FROM torc.api_traffic WHERE process = 'gone'").fetchone() == (0,)


# Streams


def test_a_stream_hears_the_requests_of_another_server(two_servers, stream, module_database_url):
    heard = stream(two_servers[0])
    watched(two_servers[1], module_database_url)
    before = time.time() * 1000
    two_servers[1].client.get("/workflows/0", params={"x": "y"}, status=404, headers={"X-Span-ID": "span"})
    found = heard.until("/workflows/0")
    assert found.keys() == KEYS | {"query"}
    assert (found["method"], found["status"], found["query"], found["request_id"]) == ("GET", 404, "x=y", "span")
    assert abs(found["timestamp_ms"] - before) < 10_000 and 0 <= found["latency_ms"] < 10_000


def test_the_user_is_who_logged_in_or_else_what_the_client_says(two_servers, stream, module_database_url):
    heard = stream(two_servers[0])
    watched(two_servers[0], module_database_url)
    two_servers[0].client.get("/ping", user=ALICE, headers={"X-Torc-Client-User": "mallory"})
    assert heard.until("/ping")["user"] == "alice"
    two_servers[0].client.get("/ping", headers={"X-Torc-Client-User": "bob"})
    assert heard.until("/ping")["user"] == "bob"
    two_servers[0].client.get("/ping")
    assert "user" not in heard.until("/ping")


def test_bodies_are_only_for_streams_that_ask_for_them_and_are_cut(two_servers, stream, module_database_url):
    full, short = stream(two_servers[0], "?include_bodies=true"), stream(two_servers[0])
    watched(two_servers[1], module_database_url, wants_bodies=True)
    body = {"name": "w" * 9000, "user": "ü"}
    text = json.dumps(body, ensure_ascii=False)
    answer = two_servers[1].client.post("/workflows", body=text, headers={"Content-Type": "application/json"})
    found = full.until("/workflows")
    assert found["request_body"] == {"bytes": len(text.encode()), "truncated": True, "text": text[:8192]}
    assert found["response_body"]["bytes"] == len(answer.text.encode())
    assert answer.text.startswith(found["response_body"]["text"])
    assert short.until("/workflows").keys() == KEYS
    two_servers[1].client.post("/workflows", body=b"\xff", headers={"Content-Type": "application/json"}, status=400)
    found = full.until("/workflows")
    assert found["request_body"] == {"bytes": 1, "truncated": False}
    assert json.loads(found["response_body"]["text"])["error"]["error"] == "BadRequest"


def test_nothing_is_stored_while_nobody_listens(two_servers, stream, module_database_url):
    with psycopg.connect(module_database_url, autocommit=True) as connection:

        def rows(table):
            return connection.execute(f"SELECT count(*) FROM torc.{table}").fetchone()[0]  # noqa: S608

        wait_for(lambda: rows("api_listener") == 0, 30, "the end of earlier streams")
        for _ in range(2):  # with the second one they know what the first one was answered
            told(two_servers, connection)
        before = connection.execute("SELECT max(number) FROM torc.api_event").fetchone()
        told(two_servers, connection)
        assert connection.execute("SELECT max(number) FROM torc.api_event").fetchone() == before
        heard = stream(two_servers[0])
        assert rows("api_listener") == 1
        heard.close()
        wait_for(lambda: rows("api_listener") == 0, 30, "the end of the stream")


def test_more_requests_than_can_be_kept_are_told_as_dropped(client, app, monkeypatch):
    traffic = app.extensions["api_traffic"]
    monkeypatch.setattr(api_traffic, "MOST_EVENTS", 3)
    monkeypatch.setattr(traffic, "_start", lambda: None)
    heard = traffic.subscribe(Caller("anonymous", False), False)
    frames = []
    heard.attach(frames.append, lambda: None)
    try:
        for _ in range(5):
            client.get("/ping")
        traffic.exchange()
    finally:
        heard.close()
        traffic.exchange()
    assert frames[0].startswith(b":")
    assert [frame.split(b"\n")[0] for frame in frames[1:]] == [b"event: api"] * 3 + [b"event: warning"]
    assert frames[-1] == b'event: warning\ndata: {"dropped":2}\n\n'
    assert not traffic.is_watched


def test_there_is_room_for_twenty_streams(app, client):
    traffic = app.extensions["api_traffic"]
    opened = [traffic.subscribe(Caller("anonymous", False), False) for _ in range(20)]
    try:
        with pytest.raises(ApiError, match="in use"):
            traffic.subscribe(Caller("anonymous", False), False)
        client.get("/admin/api-events/stream", status=503)
    finally:
        for each in opened:
            each.close()


def test_a_stream_ends_when_its_caller_is_no_administrator_any_more(fresh_database_url):
    ended = []
    with Access(fresh_database_url) as access:
        traffic = access.app.extensions["api_traffic"]
        for name in ("root", "eve"):
            stream = ApiTraffic.subscribe(traffic, Caller(name, True), False)
            stream.attach(lambda frame: None, functools.partial(ended.append, name))
        traffic._check_access()
        assert ended == ["eve"]
        traffic.end_all()
    assert ended == ["eve", "root"]


def test_a_server_stops_while_streams_of_requests_are_open(start_server, fresh_database_url, stream):
    server = start_server(database_url=fresh_database_url, workers=1)
    heard = stream(server)
    since = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - since < 15
    assert heard.has_ended()
