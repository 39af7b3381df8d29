"""Several processes that do something at once, and what tests/transitions/test_concurrency.py has them do.

The functions run in processes of their own: they take and return what can be pickled.
"""

import functools
import json
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import psycopg
import pytest
from support import HttpClient

from torc_server.schemas.fields import JOB_STATUSES

PATIENCE = 60  # seconds; who waits longer hangs
STEP = 5  # calls between two waits for the others: as many run at the same moment, and a busy machine is not slowed
_together = None  # in each process: the barrier of all


def at_once(*calls):
    """Run each call, (function, *arguments), in a process of its own; return what they return, in their order."""
    barrier = _context().Barrier(len(calls), timeout=PATIENCE)
    with ProcessPoolExecutor(len(calls), _context(), _join, (barrier,)) as pool:
        futures = [pool.submit(_run, *call) for call in calls]
        return [future.result() for future in futures]


@functools.cache
def _context():
    """Processes are forked from one that has imported this module: the imports take a second of CPU."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:  # Python before 3.13 does not tell that process where modules are
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        forkserver.ensure_running()
    return context


def _join(barrier):
    global _together
    _together = barrier


def _run(function, *arguments):
    try:
        _together.wait()
        return function(*arguments)
    except BaseException:
        _together.abort()  # nobody waits for us
        raise


# With SQL sessions, in step


def in_step(items):
    """The items; before every few of them all processes wait for each other."""
    for number, item in enumerate(items):
        if number % STEP == 0:
            _together.wait()
        yield item


def complete_in_step(database_url, results):
    """Complete the jobs of the results one after another, at the same moments as the others do theirs."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for result in in_step(results):
            connection.execute(
                "SELECT torc.complete_job(%s, 'completed', 0, %s)", (result["job_id"], json.dumps(result))
            )


def create_dependents_in_step(database_url, workflow_id, dependencies):
    """Create a job that depends on each of the given ones."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for dependency in in_step(dependencies):
            body = {"workflow_id": workflow_id, "name": "j", "command": "c", "depends_on_job_ids": [dependency]}
            connection.execute("SELECT torc.create_jobs(%s, %s)", (workflow_id, json.dumps([body])))


def edit_edges_in_step(database_url, workflow_id, edges):
    """Let the first job of each pair depend on the second."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for job, dependency in in_step(edges):
            body = {"workflow_id": workflow_id, "name": "j", "command": "c", "depends_on_job_ids": [dependency]}
            connection.execute("SELECT torc.update_job(%s, %s)", (job, json.dumps(body)))


# Over HTTP


class PatientClient(HttpClient):
    """Sends again what was not done because others held a lock for long, as clients do on a busy machine."""

    def _send(self, *request):
        end = time.monotonic() + PATIENCE
        while True:
            answer = super()._send(*request)
            if "waited too long for a lock" not in answer.text or time.monotonic() > end:
                return answer


def claim_until_empty(url, path, arguments):
    """POST to the path until it answers without jobs; return the ids of the claimed jobs, answer by answer."""
    client = PatientClient(url, PATIENCE)
    answers = []
    while jobs := client.post(path, **arguments).json["jobs"]:
        answers.append([job["id"] for job in jobs])
    return answers


def call_at_random(url, workflow_id, nodes, files, seed, calls):
    """Send so many random calls; return [(call, status, text)] of the answers that were not 200."""
    caller = RandomCaller(PatientClient(url, PATIENCE), workflow_id, nodes, files, random.Random(seed))
    return [answer for answer in (caller.call() for _ in range(calls)) if answer[1] != 200]


def run_attempts(url, workflow_id, node, sends_one, seed):
    """A worker, until the workflow is complete: claims, starts and reports jobs, some reports twice, and between start
    and report often retries what runs, its own job or that of another worker.

    sends_one: it reports every attempt as 1. Returns ({completion_time: (job, claimed attempt)} of its reports, the
    status codes of the answers).
    """
    client, path, choices = PatientClient(url, PATIENCE), f"/workflows/{workflow_id}", random.Random(seed)
    reports, codes = {}, set()
    while not client.get(f"{path}/is_complete").json["is_complete"]:
        for job in client.post(f"{path}/claim_next_jobs", params={"limit": 2}).json["jobs"]:
            client.put(f"/jobs/{job['id']}/start_job/0/{node}")
            if choices.random() < 0.5:
                running = client.get("/jobs", params={"workflow_id": workflow_id, "status": "running"}).json["items"]
                for other in choices.sample(running, min(2, len(running))):
                    client.post(f"/jobs/{other['id']}/retry/0", params={"max_retries": 5}, status=None)
            report = {
                "job_id": job["id"], "workflow_id": workflow_id, "run_id": 0, "compute_node_id": node,
                "attempt_id": 1 if sends_one else job["attempt_id"], "return_code": 0, "exec_time_minutes": 0.5,
                "completion_time": f"report {len(reports)} of {node}", "status": "completed",
            }  # fmt: skip
            reports[report["completion_time"]] = (job["id"], job["attempt_id"])
            for _ in range(choices.choice([1, 1, 2])):
                answer = client.post(f"/jobs/{job['id']}/complete_job/completed/0", json=report, status=None)
                codes.add(answer.status_code)
    return reports, codes


class RandomCaller:
    """Everything that changes the jobs of one workflow, in any order, without knowing what state it is in."""

    WEIGHTS = {
        "create": 6, "create_many": 2, "edit_edges": 5, "update": 3, "disable": 1, "delete": 2, "delete_all": 0.05,
        "claim": 10, "claim_by_resources": 10, "start": 8, "complete": 25, "complete_batch": 8, "spawn": 3, "retry": 5,
        "manage": 8, "initialize": 4, "process_changed": 1, "reset_jobs": 0.5, "reset_status": 0.2, "cancel": 0.5,
        "set_run": 2, "read": 5,
    }  # fmt: skip
    LIKELY_RUNS = (0, 0, 0, 0, 0, 0, 0, 0, 0, 1)

    def __init__(self, client, workflow_id, nodes, files, choices):
        self.client = client
        self.workflow_id = workflow_id
        self.path = f"/workflows/{workflow_id}"
        self.nodes = nodes
        self.files = files
        self.random = choices
        self.known = []

    def call(self):
        if not self.known or self.random.random() < 0.05:
            self.known = self.client.get(f"{self.path}/job_ids").json["job_ids"]
        if not self.known:
            self.known = [job["id"] for job in self.create_many(status=200).json["jobs"]]
        self.job = self.random.choice(self.known)
        self.run = self.random.choice(self.LIKELY_RUNS)
        name = self.random.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        response = getattr(self, name)()
        return name, response.status_code, response.text

    def post(self, path, status=None, **arguments):
        return self.client.post(path, status=status, **arguments)

    def put(self, path, **arguments):
        return self.client.put(path, status=None, **arguments)

    def one_of(self, *values):
        return self.random.choice(values)

    def some(self, values, most):
        return sorted(set(self.random.choices(values, k=self.random.randint(0, most))))

    def body(self, **fields):
        return {"workflow_id": self.workflow_id, "name": "j", "command": "c"} | fields

    def put_job(self, **fields):
        name = self.client.get(f"/jobs/{self.job}", status=None).json.get("name", "j")
        return self.put(f"/jobs/{self.job}", json=self.body(name=name, **fields))

    def new_job(self):
        return self.body(
            depends_on_job_ids=self.some(self.known, 3) if self.known else [], priority=self.random.randint(0, 2),
            cancel_on_blocking_job_failure=self.one_of(True, True, False),
            input_file_ids=self.some(self.files, 1), output_file_ids=self.some(self.files, 1),
        )  # fmt: skip

    def create(self):
        return self.post("/jobs", json=self.new_job())

    def create_many(self, status=None):
        return self.post("/bulk_jobs", status, json={"jobs": [self.new_job() | {"name": f"j{i}"} for i in range(10)]})

    def edit_edges(self):
        return self.put_job(depends_on_job_ids=self.some(self.known, 3))

    def update(self):
        return self.put_job(
            priority=self.random.randint(0, 2), cancel_on_blocking_job_failure=self.one_of(True, False)
        )  # fmt: skip

    def disable(self):
        return self.put_job(status="disabled")

    def delete(self):
        return self.client.delete(f"/jobs/{self.job}", status=None)

    def delete_all(self):
        return self.client.delete("/jobs", params={"workflow_id": self.workflow_id}, status=None)

    def claim(self):
        params = {"limit": self.random.randint(1, 5)} | self.start_on()
        return self.post(f"{self.path}/claim_next_jobs", params=params)

    def start_on(self):
        """Seldom: after a cancellation no node is active any more."""
        return self.one_of({}, {}, {}, {"start_on": self.one_of(*self.nodes)})

    def claim_by_resources(self):
        worker = {"num_cpus": self.random.randint(0, 4), "memory_gb": 4.0, "num_gpus": 0, "num_nodes": 1}
        path = f"{self.path}/claim_jobs_based_on_resources/{self.random.randint(1, 5)}"
        return self.post(path, json=worker, params=self.start_on())

    def start(self):
        return self.put(f"/jobs/{self.job}/start_job/{self.run}/{self.one_of(*self.nodes)}")

    def complete(self):
        result = self.result(self.job)
        return self.post(f"/jobs/{self.job}/complete_job/{result['status']}/{self.run}", json=result)

    def result(self, job):
        status = self.one_of("completed", "completed", "failed", "terminated", "canceled", "pending_failed", "ready")
        return {
            "job_id": job, "workflow_id": self.workflow_id, "run_id": self.run,
            "attempt_id": self.one_of(None, 1, 1, 2, 3),
            "compute_node_id": self.one_of(*self.nodes), "return_code": self.one_of(0, 1), "exec_time_minutes": 0.5,
            "completion_time": "2026-01-01T00:00:00Z", "status": status,
        }  # fmt: skip

    def complete_batch(self):
        results = [self.result(job) for job in self.random.choices(self.known, k=self.random.randint(1, 10))]
        entries = [
            {"job_id": result["job_id"], "status": result["status"], "run_id": self.run, "result": result}
            for result in results
        ]
        return self.post(f"{self.path}/batch_complete_jobs", json={"completions": entries})

    def spawn(self):
        """From a job that runs; names come again, so that some calls are answered as before and some are refused."""
        running = {"workflow_id": self.workflow_id, "status": "running", "limit": 20}
        jobs = [job["id"] for job in self.client.get("/jobs", params=running).json["items"]] or [self.job]
        names = [f"s{number}" for number in self.some(range(9), 3)]
        spawned = [
            {"name": name, "command": "c", "depends_on": self.some([*names, "j"], 1)} for name in names
        ]  # fmt: skip
        return self.post(f"/jobs/{self.one_of(*jobs)}/spawn_jobs", json={"jobs": spawned, "lineage": "l"})

    def retry(self):
        return self.post(f"/jobs/{self.job}/retry/{self.run}", params={"max_retries": 9})

    def manage(self):
        return self.put(f"/jobs/{self.job}/manage_status_change/{self.one_of(*JOB_STATUSES)}/{self.run}")

    def initialize(self):
        options = {name: self.one_of(True, False) for name in ("only_uninitialized", "keep_running")}
        return self.post(f"{self.path}/initialize_jobs", params=options)

    def process_changed(self):
        return self.post(f"{self.path}/process_changed_job_inputs")

    def reset_jobs(self):
        return self.post(f"{self.path}/reset_job_status", params={"failed_only": self.one_of(True, False)})

    def reset_status(self):
        return self.post(f"{self.path}/reset_status", params={"force": True})

    def cancel(self):
        return self.put(f"{self.path}/cancel")

    def set_run(self):
        return self.put(f"{self.path}/status", json={"run_id": self.one_of(*self.LIKELY_RUNS), "is_canceled": False})

    def read(self):
        return self.client.get(self.one_of(f"{self.path}/is_complete", f"/jobs/{self.job}"), status=None)
