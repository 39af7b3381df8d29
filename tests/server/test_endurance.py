"""A server that has served many batches is as it was before."""

import socket
from contextlib import ExitStack, closing

import psutil
import psycopg
import pytest
from support import raw_request
from workflow import Workflow

CLIENTS = 48  # more than the greenlets that a thread keeps; a batch takes 32
ROUNDS = 250  # in each of which every client sends one request


@pytest.mark.long
def test_after_thousands_of_large_batches_a_process_answers_as_before_and_has_not_grown(
    start_server, fresh_database_url
):
    server = start_server(database_url=fresh_database_url, workers=1)
    with psycopg.connect(fresh_database_url, autocommit=True) as database, ExitStack() as stack:
        workflow = Workflow(server.client, database)
        calls = [*_calls(workflow), (200, raw_request("POST", f"/workflows/{workflow.id}/claim_next_jobs"))]
        clients = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)))
            for _ in range(CLIENTS)
        ]
        process = psutil.Process(server.workers()[0])
        _serve_rounds(process, clients, calls)
        before = _size(process)
        for _ in range(2):
            _serve_rounds(process, clients, calls)
        after = _size(process)
    assert after["descriptors"] == before["descriptors"]
    assert after["threads"] == before["threads"]
    assert after["mb"] < before["mb"] + 4
    assert server.workers() == [process.pid]
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def _calls(workflow):
    """Some (status, request): reads and writes, right and wrong ones; each asks the database."""
    running, done = workflow.job(status="running"), workflow.job(status="completed")
    node = workflow.node()
    return [
        (200, raw_request("GET", f"/workflows/{workflow.id}")),
        (200, raw_request("GET", f"/jobs/{running}")),
        (200, raw_request("GET", f"/workflows/{workflow.id}/is_complete")),
        (200, raw_request("POST", f"/compute_nodes/{node}/heartbeat")),
        (404, raw_request("GET", "/jobs/999999999")),
        (422, raw_request("POST", f"/jobs/{done}/complete_job/completed/7", workflow.result(done))),
    ]


def _serve_rounds(process, clients, calls):
    for number in range(ROUNDS):
        sent = [(client, *calls[(number + k) % len(calls)]) for k, client in enumerate(clients)]
        process.suspend()  # so that it finds many at the same time
        for client, _, request in sent:
            client.sendall(request)
        process.resume()
        for client, status, request in sent:
            assert client.recv(10_000)[9:12] == b"%d" % status, request


def _size(process):
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "mb": process.memory_info().rss / 1e6,
    }
