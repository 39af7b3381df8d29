"""A runner of jobs as a program of its own that may be killed at any moment: what it did is in its journal.

    python tests/helpers/runner.py URL FOLDER NUMBER

Works on the workflow whose id is in FOLDER/workflow, until that file is empty. The journal FOLDER/NUMBER.journal has
one JSON list a line, each written before the next request is sent:

    ["claim"]                                        a claim is sent
    ["received", [[job, attempt], …]]                it was answered
    ["lost", [reason]]                               its answer was lost
    ["ran", job, attempt]                            a start was answered, and the job was run
    ["stored", job, attempt, status, return_code]    a completion was answered
    ["trouble", method, path, status, text]          any answer but 200; status 0 is a lost connection

Standard library only, so that it starts quickly.
"""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "/torc-service/v1"
AT_ONCE = 3  # jobs of a claim
SECONDS = 0.02  # that a job takes
PATIENCE = 60  # seconds that one request is repeated


class Runner:
    def __init__(self, url, folder, number):
        self._address = urlsplit(url)
        self._connection = None
        self._folder = Path(folder)
        self._journal = os.open(self._folder / f"{number}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._nodes = {}  # by workflow

    def run(self):
        while workflow := (self._folder / "workflow").read_text():
            if not self._work(int(workflow)):
                time.sleep(0.05)

    def _work(self, workflow):
        node = self._nodes.get(workflow) or self._make_node(workflow)
        self._note("claim")
        try:
            answer = self._send("POST", f"/workflows/{workflow}/claim_next_jobs?limit={AT_ONCE}")
        except LostAnswer as lost:
            self._note("lost", str(lost))
            return False
        jobs = [(job["id"], job["attempt_id"]) for job in answer["jobs"]]
        self._note("received", jobs)
        for job, attempt in jobs:
            self._patiently("PUT", f"/jobs/{job}/start_job/0/{node}")
            self._note("ran", job, attempt)
            time.sleep(SECONDS)
            status, code = outcome(job)
            self._patiently("POST", f"/jobs/{job}/complete_job/{status}/0", {
                "job_id": job, "workflow_id": workflow, "run_id": 0, "attempt_id": attempt, "compute_node_id": node,
                "return_code": code, "exec_time_minutes": 0.1, "completion_time": "now", "status": status,
            })  # fmt: skip
            self._note("stored", job, attempt, status, code)
        return bool(jobs)

    def _make_node(self, workflow):
        self._nodes[workflow] = self._patiently("POST", "/compute_nodes", {
            "workflow_id": workflow, "hostname": "localhost", "pid": os.getpid(), "num_cpus": 1, "memory_gb": 1,
            "num_gpus": 0, "num_nodes": 1, "compute_node_type": "local", "start_time": "now", "is_active": True,
        })["id"]  # fmt: skip
        return self._nodes[workflow]

    def _patiently(self, method, path, body=None):
        """Send until it is answered."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self._send(method, path, body)
            except LostAnswer:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _send(self, method, path, body=None):
        """Send once; return the answer. Raises LostAnswer for what a later try may cure."""
        status, text = self._request(method, path, body)
        if status == 200:
            return json.loads(text)
        self._note("trouble", method, path, status, text)
        if status in (0, 502, 503, 504):
            raise LostAnswer(text)
        raise SystemExit(f"{method} {path}: {status} {text}")

    def _request(self, method, path, body):
        headers = {"Content-Type": "application/json"}
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=30)
            self._connection.request(method, PREFIX + path, json.dumps(body) if body else b"", headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            return 0, repr(error)

    def _note(self, *line):
        os.write(self._journal, (json.dumps(line) + "\n").encode())


class LostAnswer(Exception):
    """Nobody knows whether the request was done."""


def outcome(job):
    """Some fail; whatever the answer was, it must be what is stored."""
    return ("failed", 3) if job % 20 == 0 else ("completed", 0)


if __name__ == "__main__":
    Runner(*sys.argv[1:]).run()
