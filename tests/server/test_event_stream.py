"""The live event stream, over a real gunicorn: who hears what, when, and what becomes of streams that end."""

import concurrent.futures
import contextlib
import http.client
import json
import socket
import time

import psycopg
import pytest
from support import PREFIX, HttpClient, basic, wait_for
from workflow import Workflow

from torc_server import htpasswd

KEYS = {"workflow_id", "timestamp", "event_type", "severity", "data"}


class Stream:
    """An open stream: next_event() waits for a frame and returns (event line, parsed data)."""

    def __init__(self, server, workflow_id, headers=None, **params):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        query = "&".join(f"{name}={value}" for name, value in params.items())
        self.connection.request("GET", f"{PREFIX}/workflows/{workflow_id}/events/stream?{query}", headers=headers or {})
        self.response = self.connection.getresponse()

    def next_line(self):
        return self.response.readline().decode().rstrip("\n")

    def next_event(self):
        while not (line := self.next_line()).startswith("event: "):
            if not line and self.response.isclosed():
                raise EOFError("the stream has ended")
        kind, data = line.removeprefix("event: "), self.next_line()
        assert data.startswith("data: ")
        assert self.next_line() == ""
        return kind, json.loads(data.removeprefix("data: "))

    def next_events(self, number):
        return [self.next_event() for _ in range(number)]

    def close(self):
        self.response.close()
        self.connection.close()


def wait_for_place(server, workflow_id, **params):
    """A stream, once the server has a place for it."""

    def opened():
        stream = Stream(server, workflow_id, **params)
        if stream.response.status != 503:
            return stream
        stream.close()
        return None

    return wait_for(opened, 30, "a place for a stream")


@pytest.fixture
def served(server):
    """A workflow on the real server."""
    with psycopg.connect(server.database_url, autocommit=True) as database:
        yield Workflow(server.client, database)


@pytest.fixture
def listen(server, served):
    """listen(level="error") opens a stream that has said its first comment; closed after the test."""
    with contextlib.ExitStack() as stack:

        def listen(**params):
            # An earlier test's stream keeps its place until the server sees that it hung up.
            stream = wait_for_place(server, served.id, **params)
            stack.callback(stream.close)
            assert stream.response.status == 200
            assert stream.next_line() == ": listening"
            return stream

        yield listen


def kinds(events):
    return [kind for kind, _ in events]


def test_a_stream_says_at_once_that_it_listens_with_the_headers_that_proxies_heed(listen):
    started = time.monotonic()
    headers = listen().response.headers
    assert time.monotonic() - started < 10  # the next comment comes after 15 s
    assert headers["Content-Type"] == "text/event-stream"
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-cache", "no")


def test_the_life_of_a_job_is_heard_in_order_each_event_with_its_five_keys(served, listen):
    first = served.job(name="first")
    second = served.job(first, name="second")
    node = served.node()
    stream = listen()
    served.initialize()
    served.claim(limit=1)
    served.start(first, node)
    served.complete(first, return_code=0)
    events = stream.next_events(4)
    assert kinds(events) == ["workflow_reinitialized", "job_started", "job_completed", "job_ready"]
    assert all(set(event) == KEYS and event["event_type"] == kind for kind, event in events)
    assert {event["severity"] for _, event in events} == {"info"}
    assert events[0][1]["data"] == {
        "category": "workflow", "type": "workflow_reinitialized", "user": "anonymous",
        "message": f"workflow reinitialized workflow {served.id}",
    }  # fmt: skip
    assert events[1][1]["data"] == {"job_id": first, "job_name": "first", "compute_node_id": node, "run_id": 0}
    assert events[2][1]["data"] == {"job_id": first, "job_name": "first", "status": "completed", "return_code": 0}
    assert events[3][1]["data"]["job_id"] == second
    assert abs(events[3][1]["timestamp"] / 1000 - time.time()) < 10


def test_a_failure_its_cancellations_and_their_reversal_are_heard(served, listen):
    first = served.job()
    second = served.job(first)
    served.initialize()
    stream = listen()
    served.complete(first, "failed")
    served.retry(first)
    events = stream.next_events(4)
    assert [(kind, event["severity"], event["data"]["job_id"]) for kind, event in events] == [
        ("job_failed", "error", first),
        ("job_canceled", "warning", second),
        ("job_blocked", "info", second),
        ("job_retried", "info", first),
    ]


def test_cancel_and_resets_are_heard(served, listen):
    job = served.job_in("running")
    stream = listen()
    served.client.put(f"{served.path}/cancel")
    served.client.post(f"{served.path}/reset_job_status")
    served.initialize(only_uninitialized=True)
    served.manage(job, "uninitialized")
    events = stream.next_events(5)
    assert kinds(events) == [
        "workflow_canceled", "job_canceled", "job_uninitialized", "workflow_started", "job_uninitialized"
    ]  # fmt: skip
    assert events[2][1]["data"]["count"] == 1


def test_compute_nodes_are_heard_when_they_start_and_each_time_they_are_said_to_have_stopped(served, listen):
    stream = listen()
    node = {"workflow_id": served.id, "hostname": "h", "pid": 7, "start_time": "t", "num_cpus": 1, "memory_gb": 2.0,
            "num_gpus": 0, "num_nodes": 1, "compute_node_type": "local"}  # fmt: skip
    created = served.client.post("/compute_nodes", json=node).json["id"]
    for body in (node, node | {"is_active": False}, node | {"is_active": False, "duration_seconds": 1.5}):
        served.client.put(f"/compute_nodes/{created}", json=body)
    events = stream.next_events(3)
    assert kinds(events) == ["compute_node_started", "compute_node_stopped", "compute_node_stopped"]
    assert events[0][1]["data"] == {
        "compute_node_id": created, "hostname": "h", "pid": 7, "num_cpus": 1, "memory_gb": 2, "num_gpus": 0,
        "compute_node_type": "local",
    }  # fmt: skip
    assert [event["data"]["duration_seconds"] for _, event in events[1:]] == [None, 1.5]


def test_a_scheduled_compute_node_is_heard_when_it_is_created(served, listen):
    stream = listen()
    node = {"workflow_id": served.id, "scheduler_id": 5, "scheduler_config_id": 6, "scheduler_type": "slurm",
            "status": "pending"}  # fmt: skip
    created = served.client.post("/scheduled_compute_nodes", json=node).json["id"]
    kind, event = stream.next_event()
    del node["workflow_id"]
    assert kind == "scheduler_node_created"
    assert event["data"] == {"category": "scheduler", "scheduled_compute_node_id": created} | node


def test_a_large_release_is_one_event(served, listen):
    first = served.job()
    job = {"workflow_id": served.id, "command": "c", "depends_on_job_ids": [first]}
    jobs = [job | {"name": f"j{i}"} for i in range(500)]
    released = [job["id"] for job in served.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]]
    served.initialize()
    stream = listen()
    served.complete(first)
    (_, (kind, event)) = stream.next_events(2)
    assert (kind, event["data"]["count"]) == ("job_ready", 500)
    assert event["data"]["job_ids"] == released[: len(event["data"]["job_ids"])]


def test_an_event_with_a_name_too_long_for_a_notification_is_cut_and_still_heard(served, listen):
    job = served.job(name="ä" * 9000)
    stream = listen()
    served.complete(job)
    kind, event = stream.next_event()
    assert (kind, event["data"]["job_id"], event["data"]["job_name"]) == ("job_completed", job, "ä" * 200)


@pytest.mark.parametrize(
    "level, heard",
    [
        ("debug", ["job_completed", "job_terminated", "job_failed"]),
        ("whatever", ["job_completed", "job_terminated", "job_failed"]),
        ("WARNING", ["job_terminated", "job_failed"]),
        ("error", ["job_failed"]),
    ],
)
def test_a_stream_carries_its_level_and_above(served, listen, level, heard):
    stream = listen(level=level)
    for word in ("completed", "terminated", "failed"):
        served.complete(served.job(), word)
    assert kinds(stream.next_events(len(heard))) == heard


def test_a_stream_hears_nothing_of_other_workflows_and_nothing_from_before(server, served, listen):
    served.complete(served.job())
    stream = listen()
    other = Workflow(server.client, served.database)
    other.complete(other.job())
    job = served.job()
    served.complete(job)
    assert stream.next_event()[1]["data"]["job_id"] == job


def test_stored_events_and_streamed_events_are_different_things(served, listen):
    stream = listen()
    served.client.post("/events", json={"workflow_id": served.id, "data": {"a": 1}})
    job = served.job()
    served.complete(job)
    assert stream.next_event()[0] == "job_completed"


def test_a_client_that_comes_back_is_told_that_events_were_dropped(server, served):
    stream = Stream(server, served.id, headers={"Last-Event-ID": "5"})
    kind, data = stream.next_event()
    stream.close()
    assert (kind, data["dropped"]) == ("warning", None)


def test_a_stream_whose_connection_was_lost_says_so_and_goes_on(served, listen):
    stream = listen()
    served.database.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'torc-server event streams'
        """
    )
    assert stream.next_event()[0] == "warning"
    served.complete(served.job())
    assert stream.next_event()[0] == "job_completed"


def test_an_unknown_workflow_is_404_before_anything_is_streamed(client):
    error = client.get("/workflows/999999999/events/stream", status=404).json["error"]
    assert error["message"] == "Workflow not found with ID: 999999999"


def test_nothing_is_notified_while_nobody_has_a_stream_open(served, listen):
    listener = psycopg.connect(served.database.info.dsn, autocommit=True)
    listener.execute(f"LISTEN torc_workflow_{served.id}")
    served.complete(served.job())
    assert list(listener.notifies(timeout=0.5)) == []
    listen().close()
    registered = "SELECT 1 FROM torc.event_stream WHERE workflow_id = %s"
    wait_for(lambda: not served.sql(registered, served.id), 30, "the end of the registration")
    served.complete(served.job())
    assert list(listener.notifies(timeout=0.5)) == []
    listener.close()


def test_a_request_for_a_stream_with_a_broken_body_is_400_and_keeps_no_place(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1, max_streams=1)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    path = f"{PREFIX}/workflows/{workflow}/events/stream"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as broken:
            broken.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n".encode())
            assert broken.recv(100).startswith(b"HTTP/1.1 400 ")
    stream = Stream(server, workflow)
    assert stream.response.status == 200
    stream.close()


def test_streams_take_no_thread_and_no_database_connection_each(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1, threads=1)
    workflow = Workflow(server.client, psycopg.connect(fresh_database_url, autocommit=True))
    streams = [Stream(server, workflow.id) for _ in range(60)]
    assert [stream.next_line() for stream in streams] == [": listening"] * 60
    assert len(workflow.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")) < 10
    workflow.complete(workflow.job())
    assert [stream.next_event()[0] for stream in streams] == ["job_completed"] * 60
    for stream in streams:
        stream.close()
    workflow.database.close()


def test_a_client_that_reads_too_slowly_loses_events_is_told_so_and_hears_the_next(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1)
    workflow = Workflow(server.client, psycopg.connect(fresh_database_url, autocommit=True))
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(f"GET {PREFIX}/workflows/{workflow.id}/events/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"HTTP/1.1 200" in slow.recv(12)
        errors = Stream(server, workflow.id, level="error")
        assert errors.next_line() == ": listening"
        workflow.sql(
            """
            SELECT torc.publish_event(%s, 'flood', 'info', jsonb_build_object('text', n || repeat('x', 7000)))::text
            FROM generate_series(1, 3000) AS n
            """,
            workflow.id,
        )
        # What another stream hears after them: the server has heard them all, and more than the client's buffers hold
        # is lost.
        workflow.sql("SELECT torc.publish_event(%s, 'last', 'error', '{}')::text", workflow.id)
        assert errors.next_event()[0] == "last"
        errors.close()
        heard, floods = b"", 0
        while b'"dropped"' not in heard:
            piece = slow.recv(1 << 16)
            assert piece
            heard = heard[-200:] + piece
            floods += piece.count(b"event: flood")
        assert floods < 3000
        workflow.complete(workflow.job())
        while b"job_completed" not in heard:
            piece = slow.recv(1 << 16)
            assert piece
            heard += piece
    workflow.database.close()


@pytest.mark.long
def test_a_stream_ends_when_its_caller_loses_access(start_server, fresh_database_url, folder):
    auth_file = folder / "htpasswd"
    users = [f"{name}:{htpasswd.hash_password('long enough', cost=4)}\n" for name in ("alice", "bob")]
    auth_file.write_text("".join(users))
    server = start_server(
        database_url=fresh_database_url, workers=1, auth_file=auth_file, enforce_access_control=True, admin_user="alice"
    )
    alice, bob = ("alice", "long enough"), ("bob", "long enough")
    workflow = server.client.post("/workflows", json={"name": "w", "user": "alice"}, user=alice).json["id"]
    group = server.client.post("/access_groups", json={"name": "g"}, user=alice).json["id"]
    member = {"user_name": "bob", "role": "member", "group_id": group}
    server.client.post(f"/access_groups/{group}/members", json=member, user=alice)
    server.client.post(f"/workflows/{workflow}/access_groups/{group}", user=alice)
    streams = [Stream(server, workflow, headers={"Authorization": basic(*user)}) for user in (alice, bob)]
    assert [stream.response.status for stream in streams] == [200, 200]
    server.client.delete(f"/access_groups/{group}/members/bob", user=alice)
    started = time.monotonic()
    streams[1].response.read()  # to its end
    assert time.monotonic() - started < 30
    auth_file.write_text(users[1])
    streams[0].response.read()
    for stream in streams:
        stream.close()


def test_streams_beyond_the_limit_are_503_and_requests_are_still_answered(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1, threads=1, max_streams=2)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    streams = [Stream(server, workflow) for _ in range(2)]
    assert [stream.response.status for stream in streams] == [200, 200]
    refused = Stream(server, workflow)
    assert refused.response.status == 503
    assert refused.response.headers["Retry-After"]
    refused.close()
    assert server.client.get("/ping").json == {"status": "ok"}
    streams[0].close()
    again = wait_for_place(server, workflow)
    assert again.response.status == 200
    again.close()
    streams[1].close()


def test_open_streams_end_at_once_when_the_server_stops(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    stream = Stream(server, workflow)
    assert stream.next_line() == ": listening"
    started = time.monotonic()
    server.process.terminate()
    assert stream.response.read() == b"\n"
    assert time.monotonic() - started < 10  # the server gives requests 30 s to end
    stream.close()
    server.process.wait(40)


@pytest.mark.long
def test_none_of_10000_completions_is_lost_and_all_are_heard_in_order_wherever_they_come_from(server, served, listen):
    """The stream is in one of two gunicorn processes; new connections reach both, and psycopg is a third."""
    jobs = served.sql(
        """
        INSERT INTO torc.job (workflow_id, name, command, status, resource_requirements_id)
        SELECT %s, 'j', 'c', 'running', (SELECT min(id) FROM torc.resource_requirements WHERE workflow_id = %s)
        FROM generate_series(1, 10000) RETURNING id
        """,
        served.id, served.id,
    )  # fmt: skip
    stream = listen()
    with concurrent.futures.ThreadPoolExecutor() as reader:  # who reads nothing for long is disconnected
        heard = reader.submit(stream.next_events, len(jobs))
        for number, job in enumerate(jobs):
            if number < 200:
                HttpClient(server.url).post(f"/jobs/{job}/complete_job/completed/0", json=served.result(job))
            else:
                served.sql(
                    "SELECT torc.complete_job(%s, 'completed', 0, %s)::text", job, json.dumps(served.result(job))
                )
    assert [event["data"]["job_id"] for _, event in heard.result()] == jobs
