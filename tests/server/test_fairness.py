"""What waits for a lock gives way: no workflow keeps another waiting; requests of lost clients end."""

import contextlib
import socket
import statistics
import threading
import time

import psutil
import psycopg
import pytest
from support import PREFIX, HttpClient, wait_for
from workflow import Workflow

WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def database(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def server(start_server, fresh_database_url):
    return start_server(database_url=fresh_database_url, workers=1)


@contextlib.contextmanager
def busy(number, call):
    """Call again and again in so many threads; gives the list of what the calls return."""
    answers, stopped = [], threading.Event()

    def work():
        while not stopped.is_set():
            answers.append(call())

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def seconds_of(client, path, calls=40):
    """The median and the longest time of calls that have nothing to do with the others."""
    seconds = []
    for _ in range(calls):
        started = time.monotonic()
        client.post(path)
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds), max(seconds)


def test_40_clients_that_wait_for_one_locked_workflow_keep_no_other_waiting_and_are_503_after_two_seconds(
    server, database
):
    locked, other = Workflow(server.client, database), Workflow(server.client, database)
    client = HttpClient(server.url)
    path = f"/workflows/{other.id}/claim_next_jobs"
    with psycopg.connect(database.info.dsn) as holder:
        holder.execute("SELECT torc.lock_workflow(%s, NULL)", [locked.id])
        waiting = HttpClient(server.url)

        def claim():
            started = time.monotonic()
            answer = waiting.post(f"/workflows/{locked.id}/claim_next_jobs", status=None)
            return answer.status_code, answer.headers.get("retry-after"), time.monotonic() - started

        with busy(40, claim) as answers:
            wait_for(lambda: answers)
            median, longest = seconds_of(client, path)
    assert {answer[:2] for answer in answers} <= {(503, "1"), (200, None)}  # 200: after the end
    assert min(seconds for status, _, seconds in answers if status == 503) > 1
    assert median < 0.5
    assert longest < 10


def test_calls_that_walk_a_locked_workflow_wait_for_it_and_keep_no_small_call_waiting(server, database):
    locked, other = Workflow(server.client, database), Workflow(server.client, database)
    client = HttpClient(server.url)
    with psycopg.connect(database.info.dsn) as holder:
        holder.execute("SELECT torc.lock_workflow(%s, NULL)", [locked.id])
        statuses = []

        def initialize():
            statuses.append(HttpClient(server.url).post(f"/workflows/{locked.id}/initialize_jobs").status_code)

        threads = [threading.Thread(target=initialize) for _ in range(10)]
        for thread in threads:
            thread.start()
        median, longest = seconds_of(client, f"/workflows/{other.id}/claim_next_jobs")
        time.sleep(2.5)  # longer than small calls wait
        assert statuses == []
    for thread in threads:
        thread.join()
    assert statuses == [200] * 10
    assert median < 0.5
    assert longest < 10


def test_health_and_ping_answer_at_once_while_all_threads_wait_for_a_frozen_database(start_server):
    server = start_server(workers=1, threads=2)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    postgres = [p for p in psutil.Process(server.process.pid).children(recursive=True) if p.name() == "postgres"]
    for process in postgres:
        process.suspend()
    try:
        with busy(8, lambda: HttpClient(server.url).get(f"/workflows/{workflow}", status=None).status_code) as statuses:
            time.sleep(0.5)
            client = HttpClient(server.url)
            started = time.monotonic()
            client.get("/healthz", prefix="")
            client.get("/ping")
            assert time.monotonic() - started < 10  # a statement is given 15 s
            wait_for(lambda: 503 in statuses, timeout=30)
    finally:
        for process in postgres:
            process.resume()


def test_a_call_whose_client_is_gone_is_canceled_in_the_database(server, database):
    workflow = Workflow(server.client, database)
    job = workflow.job()
    with psycopg.connect(database.info.dsn) as holder:
        holder.execute("SELECT 1 FROM torc.job WHERE id = %s FOR UPDATE", [job])
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"DELETE {PREFIX}/workflows/{workflow.id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: database.execute(WAITING).fetchall())
        wait_for(lambda: not database.execute(WAITING).fetchall())
    assert workflow.sql("SELECT id FROM torc.job WHERE id = %s", job) == [job]


def test_a_request_that_waits_is_dropped_when_its_client_is_gone(server, database):
    workflow = Workflow(server.client, database)
    workflow.job()
    with psycopg.connect(database.info.dsn) as holder:
        holder.execute("SELECT torc.lock_workflow(%s, NULL)", [workflow.id])
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"DELETE {PREFIX}/jobs?workflow_id={workflow.id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: database.execute(WAITING).fetchall(), 30, "the call to wait for the lock")
        wait_for(lambda: nobody_waits(database), 30, "the end of the call")
    time.sleep(1)  # it would have the lock by now
    assert len(workflow.sql("SELECT id FROM torc.job WHERE workflow_id = %s", workflow.id)) == 1


def nobody_waits(database):
    """For a second: a call that waits leaves PostgreSQL's queue for a moment every two seconds."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if database.execute(WAITING).fetchall():
            return False
        time.sleep(0.02)
    return True
