"""What was answered 200 is there after kill -9 of anything, and the server comes back by itself.

Real servers, each with an embedded PostgreSQL of its own with fsync on; a driver works through a workflow meanwhile.
"""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support import PREFIX, HttpClient, listens, wait_for
from workflow import Workflow

from torc_server import embedded

LAYERS = 5
WIDTH = 80
THREADS = 4
PATIENCE = 60  # seconds that the driver keeps sending one request


def test_a_drain_survives_the_kill_of_a_worker_and_of_postgres(start_server):
    server = start_server()
    drain = Drain(server.client, server.data_dir)
    with drain.running():
        drain.lose_a_claim(server.port)
        drain.wait_until_done(0.25)
        os.kill(server.workers()[0], signal.SIGKILL)
        drain.wait_until_done(0.5)
        os.kill(postmaster(server.data_dir), signal.SIGKILL)
        drain.wait_until_done(0.7)
        os.kill(postmaster(server.data_dir), signal.SIGKILL)  # now one that a worker started
    drain.check()
    assert drain.handed_back
    server.wait_for_workers(2)


def test_a_drain_survives_the_kill_of_the_whole_server(start_server):
    server = start_server()
    drain = Drain(server.client, server.data_dir)
    with drain.running():
        drain.wait_until_done(0.3)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        start_again(start_server, server)
    drain.check()


def test_postgres_that_a_worker_started_again_survives_that_worker(start_server):
    server = start_server(workers=1)
    os.kill(postmaster(server.data_dir), signal.SIGKILL)
    assert patiently(server.client, "GET", "/workflows").status_code == 200
    again = postmaster(server.data_dir)
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(server.workers)
    assert patiently(server.client, "GET", "/workflows").status_code == 200
    assert postmaster(server.data_dir) == again


def test_a_connection_made_while_the_server_starts_is_as_fast_as_any(start_server):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = start_server(wait=False, port=port)
    client = HttpClient(f"http://127.0.0.1:{port}")
    wait_for(lambda: listens(port), 30)
    took = [seconds(lambda: client.get("/ping")) for _ in range(60)]
    server.wait_until_it_listens()
    # Without TCP_NODELAY each answer waits 40 ms for an acknowledgement; a busy machine is as slow now and then.
    assert sorted(took[30:])[5] < 0.03


@pytest.mark.parametrize("session_too", [True, False], ids=["and its database session", "alone"])
def test_a_batch_in_whose_middle_the_server_is_killed_is_stored_whole_or_not_at_all_and_may_be_sent_again(
    start_server, fresh_database_url, session_too
):
    url = fresh_database_url
    server = start_server(database_url=url, workers=1)
    with psycopg.connect(url, autocommit=True) as database, psycopg.connect(url) as holder:
        workflow = Workflow(server.client, database)
        jobs = [workflow.job_in("running") for _ in range(20)]
        dependent = workflow.job(*jobs)
        workflow.manage(dependent, "blocked")
        path = f"{workflow.path}/batch_complete_jobs"
        body = {"completions": [
            {"job_id": job, "status": "completed", "run_id": 0, "result": workflow.result(job)} for job in jobs
        ]}  # fmt: skip
        # It waits there, with all results and statuses written.
        holder.execute("SELECT 1 FROM torc.job WHERE id = %s FOR UPDATE", [dependent])
        waiting = "FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", [holder.info.backend_pid]
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(HttpClient(server.url).post, path, json=body)
            wait_for(lambda: database.execute(f"SELECT pid {waiting[0]}", waiting[1]).fetchone(), 30)
            for pid in [server.process.pid, *server.workers()]:
                os.kill(pid, signal.SIGKILL)
            assert isinstance(call.exception(60), ConnectionError)
        server.process.wait()
        if session_too:
            database.execute(f"SELECT pg_terminate_backend(pid, 30000) {waiting[0]}", waiting[1])
        holder.rollback()
        workflow.client = start_server(database_url=url).client
        stored = workflow.sql("SELECT count(*) FROM torc.result WHERE workflow_id = %s", workflow.id)
        assert stored == [0] if session_too else stored in ([0], [20])
        assert workflow.violations() == []
        if session_too:
            assert workflow.statuses(*jobs, dependent) == ["running"] * 20 + ["blocked"]
        assert workflow.client.post(path, json=body).json == {"completed": jobs, "errors": []}
        assert workflow.statuses(*jobs, dependent) == ["completed"] * 20 + ["ready"]
        assert workflow.violations() == []


def start_again(start_server, killed):
    """A new server on the data folder and the port of the killed one, whose workers keep the port for a moment."""
    end = time.monotonic() + 60
    while True:
        try:
            return start_server(port=killed.port, data_dir=killed.data_dir)
        except AssertionError as error:
            if "cannot listen" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def postmaster(data_dir):
    return int((data_dir / "data" / "postmaster.pid").read_text().split()[0])


def patiently(client, method, path, **arguments):
    """Send until there is an answer that is neither lost nor 503."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            response = client.request(method, path, status=None, **arguments)
            if response.status_code != 503:
                return response
            lost = response.text
        except ConnectionError as error:
            lost = error
        assert time.monotonic() < end, f"no answer for {PATIENCE} s: {lost}"
        time.sleep(0.05)


class Drain:
    """A workflow of layers, each job waiting for two of the layer above, and threads that work through it."""

    def __init__(self, client, data_dir):
        self.client = client
        self.data_dir = data_dir
        self.lock = threading.Lock()
        self.held = set()  # received, not completed yet
        self.received = set()
        self.completed = {}  # job id: (status, return code) that was answered 200
        self.handed_back = []
        self.workflow = self._create()
        self.node = self._create_node()
        self._call("POST", f"/workflows/{self.workflow}/initialize_jobs")

    def _create(self):
        workflow = self._call("POST", "/workflows", json={"name": "drain", "user": "tests"})["id"]
        job = {"workflow_id": workflow, "command": "true", "cancel_on_blocking_job_failure": False}
        above = []
        for layer in range(LAYERS):
            parents = [[above[i], above[(i + 1) % WIDTH]] if above else [] for i in range(WIDTH)]
            jobs = [job | {"name": f"{layer}-{i}", "depends_on_job_ids": p} for i, p in enumerate(parents)]
            above = [j["id"] for j in self._call("POST", "/bulk_jobs", json={"jobs": jobs})["jobs"]]
        return workflow

    def _create_node(self):
        node = {
            "workflow_id": self.workflow, "hostname": "localhost", "pid": 1, "num_cpus": 1, "memory_gb": 1,
            "num_gpus": 0, "num_nodes": 1, "compute_node_type": "local", "start_time": "now", "is_active": True,
        }  # fmt: skip
        return self._call("POST", "/compute_nodes", json=node)["id"]

    def running(self):
        return _Running(self)

    def run(self):
        """Rounds of threads that claim until nothing is left to claim; between two rounds nobody holds a job."""
        end = time.monotonic() + 300
        while not self._call("GET", f"/workflows/{self.workflow}/is_complete")["is_complete"]:
            assert time.monotonic() < end, f"{len(self.completed)} completed after 300 s"
            with ThreadPoolExecutor(THREADS) as threads:
                for done in [threads.submit(self._work) for _ in range(THREADS)]:
                    done.result()
            self._hand_back()

    def lose_a_claim(self, port):
        """Send a claim and hang up: its jobs are claimed, and nobody knows."""
        with socket.create_connection(("127.0.0.1", port)) as connection:
            path = f"{PREFIX}/workflows/{self.workflow}/claim_next_jobs?limit=3"
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())

    def wait_until_done(self, share):
        wait_for(lambda: len(self.completed) >= share * LAYERS * WIDTH, 120, f"{share:.0%} of the jobs completed")

    def _work(self):
        while True:
            jobs = self._call("POST", f"/workflows/{self.workflow}/claim_next_jobs?limit=2")["jobs"]
            self._receive({job["id"] for job in jobs})
            for job in jobs:
                self._finish(job["id"])
            if not jobs and not self.held:
                return
            if not jobs:
                time.sleep(0.01)

    def _receive(self, ids):
        with self.lock:
            assert not ids & self.received, f"handed out twice: {ids & self.received}"
            self.received |= ids
            self.held |= ids

    def _finish(self, job):
        try:
            self._call("PUT", f"/jobs/{job}/start_job/0/{self.node}")
            status, return_code = outcome(job)
            result = {
                "job_id": job, "workflow_id": self.workflow, "run_id": 0, "compute_node_id": self.node,
                "return_code": return_code, "exec_time_minutes": 0.1, "completion_time": "now", "status": status,
            }  # fmt: skip
            # Sent again after a lost answer, the identical completion is 200 once more; so it is without a loss.
            for _ in range(2 if job % 10 == 0 else 1):
                self._call("POST", f"/jobs/{job}/complete_job/{status}/0", json=result)
            self.completed[job] = (status, return_code)
        finally:
            self.held.discard(job)

    def _hand_back(self):
        """What is pending while nobody holds anything was claimed by an answer that got lost."""
        jobs = self._call("GET", f"/jobs?workflow_id={self.workflow}&status=pending")["items"]
        for job in jobs:
            assert job["id"] not in self.received
            self._call("PUT", f"/jobs/{job['id']}/manage_status_change/ready/0")
            self.handed_back.append(job["id"])

    def _call(self, method, path, **arguments):
        response = patiently(self.client, method, path, **arguments)
        assert response.status_code == 200, f"{method} {path}: {response.text}"
        return response.json

    def check(self):
        """All jobs are as they were answered, with one result each, and the graph is sound."""
        with psycopg.connect(embedded.conninfo(self.data_dir)) as connection:
            stored = connection.execute(
                "SELECT job.id, job.status::text, result.return_code FROM torc.job JOIN torc.result ON job_id = job.id"
            ).fetchall()
            assert connection.execute("SELECT * FROM torc.check_invariants()").fetchall() == []
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert sorted(stored) == sorted((job, *ended) for job, ended in self.completed.items())
        assert len(stored) == LAYERS * WIDTH


class _Running:
    """The drain runs in a thread until the end of the with block, which waits for it and raises what went wrong."""

    def __init__(self, drain):
        self._threads = ThreadPoolExecutor(1)
        self._drain = drain

    def __enter__(self):
        self._result = self._threads.submit(self._drain.run)

    def __exit__(self, kind, error, trace):
        self._threads.shutdown()
        self._result.result()


def outcome(job):
    """Some fail; whatever the answer was, it must be what is stored."""
    return ("failed", 3) if job % 20 == 0 else ("completed", 0)
