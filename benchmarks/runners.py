"""Workflows for measuring, and runners that drain them: processes that claim, start and complete jobs, without running
anything."""

import multiprocessing
import os
import time
from collections import defaultdict
from dataclasses import dataclass, replace

from http_client import Client, Refused

POLL_SECONDS = 0.01  # between claims that find nothing, for servers whose claims do not wait
FAN_IN = 3  # dependencies of each job of a layer
BATCH = 10_000  # jobs of one bulk_jobs
CALLS = ("claim", "start", "complete")
NODE = {
    "hostname": "bench", "num_cpus": 4, "memory_gb": 16, "num_gpus": 0, "num_nodes": 1, "compute_node_type": "local",
    "start_time": "2026-01-01T00:00:00Z", "is_active": True,
}  # fmt: skip


class Unsupported(Exception):
    """The server does not have what is to be measured."""


@dataclass(frozen=True)
class Way:
    """How runners work: `limit` jobs a claim; started one by one or by the claim; completed one by one or together;
    claims that find nothing wait on the server."""

    limit: int = 10
    starts_by_claim: bool = False
    completes_together: bool = False
    waits: bool = False


ONE_BY_ONE = Way()
BATCHES = Way(completes_together=True)
RUNNING = Way(starts_by_claim=True, completes_together=True)
RUNNING_100 = replace(RUNNING, limit=100)
WAITING = Way(limit=1, starts_by_claim=True, waits=True)

# Shapes: for each layer the jobs' dependencies, as indexes into the layer above


def flat(jobs):
    return [[[]] * jobs]


def layers(count, width):
    above = [[(i + k) % width for k in range(min(FAN_IN, width))] for i in range(width)]
    return [[[]] * width] + [above] * (count - 1)


def chain(jobs):
    return [[[]]] + [[[0]]] * (jobs - 1)


def create_workflow(client, shape, **fields):
    """Create a workflow with the jobs of a shape; return its id. fields: of every job."""
    workflow = client.post("/workflows", {"name": "bench", "user": "bench"})["id"]
    above = []
    for number, layer in enumerate(shape):
        jobs = [
            {
                "workflow_id": workflow,
                "name": f"job {number} {i}",
                "command": "true",
                "depends_on_job_ids": [above[k] for k in dependencies],
            }
            | fields
            for i, dependencies in enumerate(layer)
        ]
        above = create_jobs(client, jobs)
    return workflow


def create_jobs(client, jobs):
    """The ids of jobs that are created in batches."""
    made = []
    for first in range(0, len(jobs), BATCH):
        made += [job["id"] for job in client.post("/bulk_jobs", {"jobs": jobs[first : first + BATCH]})["jobs"]]
    return made


def run_id_of(client, workflow):
    """The run id that starts and completions name."""
    try:
        return client.get(f"/workflows/{workflow}/status").get("run_id", 0)
    except Refused:
        return 0


def drain(url, workflow, count, way, seconds):
    """Let `count` runners work until the workflow is complete or the seconds are over.

    Returns {"jobs": completed, "seconds": from the first claim to the last completion, call: [seconds, …]}.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    with context.Pool(count, _join, [barrier]) as pool:
        worked = pool.starmap(_work, [(url, workflow, way, seconds)] * count, chunksize=1)
        pool.close()
        pool.join()  # so that their CPU time counts as ours
    calls = defaultdict(list)
    for *_, took in worked:
        for call, times in took.items():
            calls[call] += times
    first, last = min(first for first, *_ in worked), max(last for _, last, *_ in worked)
    return {"jobs": sum(jobs for _, _, jobs, _ in worked), "seconds": max(last - first, 1e-6), **calls}


def _join(barrier):
    global _together
    _together = barrier


def _work(url, workflow, way, seconds):
    runner = Runner(url, workflow, way)
    _together.wait(120)
    return runner.work(time.monotonic() + seconds)


class Runner:
    """One runner: its connection, its compute node."""

    def __init__(self, url, workflow, way):
        self.client = Client(url)
        self.workflow = workflow
        self.way = way
        self.run_id = run_id_of(self.client, workflow)
        self.node = self.client.post("/compute_nodes", NODE | {"workflow_id": workflow, "pid": os.getpid()})["id"]
        self.took = defaultdict(list)
        self.jobs = 0
        query = f"limit={way.limit}"
        query += f"&start_on={self.node}" if way.starts_by_claim else ""
        query += "&wait=10" if way.waits else ""
        self.claim_path = f"/workflows/{workflow}/claim_next_jobs?{query}"

    def work(self, end):
        """(when it began, when its last job was complete, how many, how long its calls took)."""
        first = last = time.monotonic()
        while time.monotonic() < end:
            jobs = self._timed("claim", "POST", self.claim_path)["jobs"]
            if jobs:
                self._run(jobs)
                last = time.monotonic()
            elif self.client.get(f"/workflows/{self.workflow}/is_complete")["is_complete"]:
                break
            elif not self.way.waits:
                time.sleep(POLL_SECONDS)
        return first, last, self.jobs, dict(self.took)

    def _run(self, jobs):
        if self.way.starts_by_claim and jobs[0]["status"] != "running":
            raise Unsupported("claims with start_on")
        if not self.way.completes_together:
            for job in jobs:
                self._start(job)
                path = f"/jobs/{job['id']}/complete_job/completed/{self.run_id}"
                self._timed("complete", "POST", path, self._result(job))
                self.jobs += 1
            return
        for job in jobs if not self.way.starts_by_claim else ():
            self._start(job)
        completions = [
            {"job_id": job["id"], "status": "completed", "run_id": self.run_id, "result": self._result(job)}
            for job in jobs
        ]
        try:
            path = f"/workflows/{self.workflow}/batch_complete_jobs"
            answer = self._timed("complete", "POST", path, {"completions": completions})
        except Refused as error:
            if error.status in (404, 405):
                raise Unsupported("batch_complete_jobs") from error
            raise
        if answer.get("errors"):
            raise RuntimeError(f"batch_complete_jobs: {answer['errors'][0]}")
        self.jobs += len(jobs)

    def _start(self, job):
        if not self.way.starts_by_claim:
            self._timed("start", "PUT", f"/jobs/{job['id']}/start_job/{self.run_id}/{self.node}")

    def _result(self, job):
        return {
            "job_id": job["id"], "workflow_id": self.workflow, "run_id": self.run_id, "compute_node_id": self.node,
            "attempt_id": job.get("attempt_id", 1), "return_code": 0, "exec_time_minutes": 0.1,
            "completion_time": "2026-01-01T00:00:00Z", "status": "completed",
        }  # fmt: skip

    def _timed(self, call, *request):
        started = time.perf_counter()
        answer = self.client.request(*request)
        self.took[call].append(time.perf_counter() - started)
        return answer
