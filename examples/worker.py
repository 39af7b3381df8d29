"""A small worker: claims jobs of a workflow that fit its resources, runs their commands, reports how they ended.

It makes few calls: a claim starts its jobs on the worker's compute node at once (start_on), the claim of a worker that
has nothing to do waits on the server until there are jobs (wait), and all jobs that have ended meanwhile are reported
together (batch_complete_jobs). worker_one_by_one.py does the same with the calls that all clients since torc 0.22.2
know.

    python examples/worker.py WORKFLOW_ID --cpus 4 --memory-gb 8 --output /tmp/output

Start any number, on any hosts that see the same files. Each ends when the workflow is complete or canceled, or when
nothing has come up for --idle seconds. It then prints how many jobs of the workflow have which status, and exits with 1
if some failed or were terminated. Ctrl-C or SIGTERM terminates its jobs and says so to the server.

A lost answer (the server restarts, the network fails) is asked for again: the server takes a repeated completion as the
same. A claim is not repeated: the jobs that it has started are those that run on this worker's compute node.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import connection
from torc.openapi_client import ApiException, ComputeNodeModel, ComputeNodesResources, ResultModel
from urllib3.exceptions import HTTPError

POLL_SECONDS = 0.2
WAIT_SECONDS = 5  # for which an idle worker's claim waits; a signal is heeded only afterwards
GRACE_SECONDS = 5  # from SIGTERM to SIGKILL
PATIENCE_SECONDS = 300  # for a server that is away
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def main(options, kind=None):
    """Work, print a summary, return the exit code. kind: the class of the worker."""
    options.output.mkdir(parents=True, exist_ok=True)
    worker = (kind or Worker)(options)
    signal.signal(signal.SIGTERM, worker.stop)
    worker.work()
    counts = worker.count_jobs()
    print(f"workflow {options.workflow_id}:", ", ".join(f"{n} {status}" for status, n in counts.items()), flush=True)
    if worker.stopping:
        return 128 + signal.SIGTERM
    return 1 if counts.keys() & {"failed", "terminated"} else 0


def parse_arguments(description=__doc__):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow_id", type=int)
    connection.add_options(parser)
    parser.add_argument("--cpus", type=int, default=os.cpu_count())
    parser.add_argument("--memory-gb", type=float, default=4)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the jobs' stdout and stderr")
    parser.add_argument("--idle", type=float, default=90, help="seconds to wait for jobs before giving up")
    return parser.parse_args()


class Worker:
    def __init__(self, options):
        self.options = options
        self.workflow_id = options.workflow_id
        self.api = connection.connect(options)
        self.path = f"/workflows/{self.workflow_id}"
        self.run_id = self._status()["run_id"]  # no server, no workflow: say so at once
        self.requirements = cache(lambda key: patiently(self.api.get_resource_requirements, key))
        self.running = []
        self.stopping = False

    def stop(self, *_):
        """Told to stop: only noted here, because between the start of a command and its entry in `running` it would be
        forgotten."""
        self.stopping = True

    def work(self):
        self.node = patiently(self.api.create_compute_node, self._node())
        try:
            self._loop()
        finally:
            self._terminate()
            seconds = time.time() - datetime.fromisoformat(self.node.start_time).timestamp()
            gone = self.node.model_copy(update={"is_active": False, "duration_seconds": seconds})
            patiently(self.api.update_compute_node, self.node.id, gone)

    def count_jobs(self):
        """{status: how many jobs of the workflow have it}, most first, without those that no job has."""
        counts = patiently(self._status)["jobs_by_status"]
        by_count = sorted(counts, key=counts.get, reverse=True)
        return {status: counts[status] for status in by_count if counts[status]}

    def _status(self):
        return connection.call(self.api, "GET", f"{self.path}/status")

    def _node(self):
        return ComputeNodeModel(
            workflow_id=self.workflow_id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            start_time=now(),
            num_cpus=self.options.cpus,
            memory_gb=self.options.memory_gb,
            num_gpus=self.options.gpus,
            num_nodes=1,
            compute_node_type="local",
            is_active=True,
        )

    def _loop(self):
        """Until the workflow is over: report what has ended, fill what is free."""
        idle_since = time.monotonic()
        while not self.stopping:
            ended = [run for run in self.running if run.process.poll() is not None]
            self._report(ended)
            state = patiently(self.api.is_workflow_complete, self.workflow_id)
            if state.is_complete or state.is_canceled:
                return
            asked = time.monotonic()
            claimed = self._claim(0 if self.running else WAIT_SECONDS)
            for job in claimed:
                self._start(job)
            if self.running:
                idle_since = time.monotonic()
            if time.monotonic() - idle_since > self.options.idle:
                return
            if not ended and not claimed and time.monotonic() - asked < POLL_SECONDS:  # the claim has not waited
                time.sleep(POLL_SECONDS)

    def _claim(self, wait):
        """Jobs that fit beside those that run, started on this node; there may be some within so many seconds."""
        free = self._free()
        if free is None:
            return []
        path = f"{self.path}/claim_jobs_based_on_resources/{free.num_cpus}"
        try:
            answer = connection.call(self.api, "POST", path, body=free, start_on=self.node.id, wait=wait)
        except (HTTPError, OSError, ApiException) as error:
            if not is_away(error):
                raise
            print(f"no answer to a claim: {error}", file=sys.stderr, flush=True)
            return self._started_here()
        return [as_job(job) for job in answer["jobs"]]

    def _started_here(self):
        """The jobs that the server has started on this node and that do not run yet."""
        here = {"workflow_id": self.workflow_id, "status": "running", "active_compute_node_id": self.node.id}
        known = {run.job.id for run in self.running}
        jobs = patiently(connection.call, self.api, "GET", "/jobs", **here)["items"]
        return [as_job(job) for job in jobs if job["id"] not in known]

    def _free(self):
        """The resources that are left beside the jobs that run; None without a cpu."""
        used = [self.requirements(run.job.resource_requirements_id) for run in self.running]
        cpus = self.options.cpus - sum(r.num_cpus for r in used)
        if cpus <= 0:
            return None
        return ComputeNodesResources(
            num_cpus=cpus,
            memory_gb=self.options.memory_gb - sum(gigabytes(r.memory) for r in used),
            num_gpus=self.options.gpus - sum(r.num_gpus for r in used),
            num_nodes=1,
        )

    def _start(self, job):
        self.running.append(Run(job, self._environment(job), self.options.output))
        print(f"started {job.name}", flush=True)

    def _environment(self, job):
        return (getattr(job, "env", None) or {}) | {
            "TORC_API_URL": self.options.url,
            "TORC_WORKFLOW_ID": str(self.workflow_id),
            "TORC_RUN_ID": str(self.run_id),
            "TORC_JOB_ID": str(job.id),
            "TORC_JOB_NAME": job.name,
            "TORC_ATTEMPT_ID": str(job.attempt_id),
            "TORC_OUTPUT_DIR": str(self.options.output),
        }

    def _report(self, ended, status=None):
        """Tell the server how jobs ended; status None: by their return codes."""
        entries = []
        for run in ended:
            word = status or ("failed" if run.process.returncode else "completed")
            result = self._result(run, word).to_dict()
            entries.append({"job_id": run.job.id, "status": word, "run_id": self.run_id, "result": result})
            print(f"{word} {run.job.name} ({run.process.returncode})", flush=True)
        if entries:
            self._send_results(entries)
            self.running = [run for run in self.running if run not in ended]

    def _send_results(self, entries):
        path, body = f"{self.path}/batch_complete_jobs", {"completions": entries}
        answer = patiently(connection.call, self.api, "POST", path, body=body)
        for error in answer["errors"]:  # such as: already complete, canceled with the workflow
            print(f"job {error['job_id']} is not completed: {error['message']}", file=sys.stderr, flush=True)

    def _result(self, run, status):
        return ResultModel(
            job_id=run.job.id,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            attempt_id=run.job.attempt_id,
            compute_node_id=self.node.id,
            return_code=run.process.returncode,
            exec_time_minutes=(time.monotonic() - run.started) / 60,
            completion_time=now(),
            status=status,
        )

    def _terminate(self):
        """End what still runs: ask, and after a while insist."""
        for run in self.running:
            run.signal(signal.SIGTERM)
        end = time.monotonic() + GRACE_SECONDS
        for run in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(max(0, end - time.monotonic()))
            run.signal(signal.SIGKILL)  # also what the command has left behind
            run.process.wait()
        self._report(self.running, "terminated")


class Run:
    """A command that runs, in its own process group, so that a signal reaches whatever it starts."""

    def __init__(self, job, environment, output):
        self.job = job
        self.started = time.monotonic()
        command = f"{job.invocation_script} {job.command}" if job.invocation_script else job.command
        base = output / f"job_{job.workflow_id}_{job.id}_{environment['TORC_RUN_ID']}_{job.attempt_id}"
        with open(f"{base}.out", "wb") as out, open(f"{base}.err", "wb") as err:
            self.process = subprocess.Popen(
                ["bash", "-c", command], env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # all of it has ended
            os.killpg(self.process.pid, number)


def patiently(call, *arguments, **options):
    """Call the server; while it is away (no connection, a lost answer, 503) try again."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call(*arguments, **options)
        except (HTTPError, OSError, ApiException) as error:
            if not is_away(error) or time.monotonic() > end:
                raise
            print(f"no answer, trying again: {error}", file=sys.stderr, flush=True)
        time.sleep(1)


def is_away(error):
    """Whether an error says that there is no answer, and not that the server refuses."""
    return getattr(error, "status", 503) == 503


def as_job(answered):
    """A job of an answer, also with the fields that the model of an older client lacks."""
    return SimpleNamespace(**{"invocation_script": None} | answered)


def gigabytes(memory):
    """The server's memory strings: digits and perhaps a letter, as in 512m."""
    digits, unit = re.fullmatch(r"\s*(\d+)([kmgt]?)\s*", memory.lower()).groups()
    return int(digits) * UNITS[unit] / 2**30


def now():
    return datetime.now(UTC).isoformat()


if __name__ == "__main__":
    connection.run(main, parse_arguments())
