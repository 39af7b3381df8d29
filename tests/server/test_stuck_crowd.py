"""Thousands of stuck clients of every kind at once: runners do not notice them, and all go after their deadlines."""

import http.client
import json
import resource
import ssl
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import psycopg
import pytest
import trustme
from support import PREFIX

JOBS = 400
RUNNERS = 8
STUCK = Path(__file__).parents[1] / "helpers" / "stuck.py"
CROWD = {
    "unread_lists": 100, "streams": 300, "idle": 2000, "half_handshakes": 200, "half_bodies": 200, "pipes": 50,
    "half_heads": 2000,
}  # fmt: skip
PATIENCE = 60  # seconds, of the server with each of them: they are all there while the runners work


class Runner:
    """One runner over TLS; times its calls. To be closed at its end."""

    def __init__(self, port, context, workflow, run):
        self._connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        self._workflow = workflow
        self._run = run
        self.seconds = []

    def close(self):
        self._connection.close()

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        started = time.monotonic()
        self._connection.request(method, PREFIX + path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        self.seconds.append(time.monotonic() - started)
        assert answer.status == 200, text
        return json.loads(text)

    def drain(self, node):
        while jobs := self.call("POST", f"/workflows/{self._workflow}/claim_next_jobs?limit=5")["jobs"]:
            for job in jobs:
                self.call("PUT", f"/jobs/{job['id']}/start_job/{self._run}/{node}")
                self.call("POST", f"/jobs/{job['id']}/complete_job/completed/{self._run}", {
                    "job_id": job["id"], "workflow_id": self._workflow, "run_id": self._run, "compute_node_id": node,
                    "return_code": 0, "exec_time_minutes": 0.1, "completion_time": "2026-01-01T00:00:00Z",
                    "status": "completed",
                })  # fmt: skip


@pytest.fixture
def certificate(folder):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {"https": True, "tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"}


@pytest.mark.long
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * sum(CROWD.values()), reason="needs more open files"
)
def test_runners_do_not_notice_thousands_of_stuck_clients_which_are_gone_after_their_deadlines(
    start_server, fresh_database_url, certificate, folder
):
    server = start_server(
        database_url=fresh_database_url, **certificate, handshake_timeout_secs=PATIENCE, head_timeout_secs=PATIENCE,
        body_timeout_secs=PATIENCE, answer_timeout_secs=PATIENCE, keepalive_secs=300,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    with closing(Runner(server.port, context, None, 0)) as admin:
        crowded = admin.call("POST", "/workflows", {"name": "crowd", "user": "u"})["id"]
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO torc.event (workflow_id, data)"
            " SELECT %s, to_jsonb(repeat('x', 1000000)) FROM generate_series(1, 30)",
            [crowded],
        )
    drain(server.port, context)
    alone = percentile_99(drain(server.port, context))
    before = memory(server)
    crowd = subprocess.Popen(
        [sys.executable, STUCK, str(server.port), folder / "ca.pem", str(crowded),
         json.dumps(CROWD)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert crowd.stdout.readline() == "stuck\n"
        started = time.monotonic()
        beside_the_crowd = [percentile_99(drain(server.port, context))]
        # Other tests may slow one of them down.
        while min(beside_the_crowd) > 2 * alone + 0.05 and len(beside_the_crowd) < 3:
            beside_the_crowd.append(percentile_99(drain(server.port, context)))
        health = min(seconds_of_health(server.port, context) for _ in range(20))
        assert time.monotonic() - started < PATIENCE, "the machine is too slow to tell"
        assert min(beside_the_crowd) < 2 * alone + 0.05
        assert health < 0.1
        gone, others = crowd.stdout.readline().split()
        assert (gone, int(others)) == ("gone", CROWD["idle"] + CROWD["streams"])
    finally:
        crowd.kill()
        crowd.wait()
        crowd.stdout.close()
    print(
        f"p99 alone {alone * 1000:.0f} ms, beside the crowd"
        f" {min(beside_the_crowd) * 1000:.0f} ms; /healthz {health * 1000:.0f} ms;"
        f" memory of the workers before {before >> 20} MiB, after {memory(server) >> 20} MiB"
    )
    drain(server.port, context)
    assert memory(server) < 1.2 * before + (32 << 20)


def drain(port, context):
    """Drain a workflow with RUNNERS runners; return how long each of their calls took, in seconds."""
    with closing(Runner(port, context, None, 0)) as admin:
        workflow = admin.call("POST", "/workflows", {"name": "drain", "user": "u"})["id"]
        jobs = [{"workflow_id": workflow, "name": f"j{n}", "command": "true"} for n in range(JOBS)]
        admin.call("POST", "/bulk_jobs", {"jobs": jobs})
        admin.call("POST", f"/workflows/{workflow}/initialize_jobs")
        node = admin.call("POST", "/compute_nodes", {
            "workflow_id": workflow, "hostname": "h", "pid": 1, "start_time": "2026-01-01T00:00:00Z", "num_cpus": 4,
            "memory_gb": 4, "num_gpus": 0, "num_nodes": 1, "is_active": True, "compute_node_type": "local",
        })["id"]  # fmt: skip
        seconds = drain_workflow(port, context, workflow, node)
        assert admin.call("GET", f"/workflows/{workflow}/is_complete")["is_complete"]
    return seconds


def drain_workflow(port, context, workflow, node):
    with ExitStack() as stack, ThreadPoolExecutor(RUNNERS) as pool:
        runners = [stack.enter_context(closing(Runner(port, context, workflow, 0))) for _ in range(RUNNERS)]
        list(pool.map(lambda runner: runner.drain(node), runners))
    return [seconds for runner in runners for seconds in runner.seconds]


def percentile_99(seconds):
    return statistics.quantiles(seconds, n=100)[98]


def seconds_of_health(port, context):
    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    with closing(connection):
        started = time.monotonic()
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        return time.monotonic() - started


def memory(server):
    """Bytes of memory of the worker processes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in server.workers())
