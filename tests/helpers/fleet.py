"""Runner processes that work through workflows while things fail, and the proof that nothing was lost or done twice."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from nginx import ProxyClient
from support import clean_environment

LAYERS = 5
WIDTH = 100
PATIENCE = 60  # seconds that one request is repeated
SETTLED = 3  # seconds after the end of a runner until none of its requests is served any more
CURABLE = {0, 502, 503, 504}  # status codes; 0 is a lost connection


class Fleet:
    """`with Fleet(url, folder) as fleet:` runners work through one workflow after another; at the end of the block they
    end the one they have. Then fleet.check(connection to the database)."""

    def __init__(self, url, folder, runners=4):
        self.folder = Path(folder)
        self.folder.mkdir()
        self._set_workflow("")
        self.workflows = []
        self.lost_claims = 0  # jobs whose claim was answered to nobody
        self.orphans = 0  # jobs that a killed runner had claimed or begun
        self.killed = 0
        self._url = url
        self._size = runners
        self._client = ProxyClient(url, timeout=30)
        self._troubles = Counter()  # (status, kind) of the supervisor's own requests
        self._numbers = itertools.count()
        self._runners = {}  # those that live
        self._journals = {}  # of all
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._supervise)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stopping.set()
        self._thread.join()
        if self._failure and exception[1] is None:
            raise self._failure

    def kill_a_runner(self):
        """kill -9 of the oldest one; another one takes its place."""
        with self._lock:
            if not self._runners:
                return
            number = next(iter(self._runners))
            process = self._runners.pop(number)
            process.kill()
            process.wait()
            self._journals[number].ended = time.monotonic()
            self.killed += 1
            self._start_a_runner()

    def stored(self):
        """How many completions were answered until now."""
        return sum(len(journal.stored) for journal in self._read_journals())

    def failed(self):
        """Whether it has ended already, because something went wrong; the with block raises it."""
        return self._failure is not None

    # The supervisor, in a thread of its own

    def _supervise(self):
        try:
            while not self._stopping.is_set():
                self._drain()
        except BaseException as error:  # noqa: BLE001 (raised by the with block)
            self._failure = error
        self._set_workflow("")
        for process in self._runners.values():
            if process.wait(2 * PATIENCE):
                self._failure = self._failure or AssertionError(f"a runner failed: {process.args}")
        self._client.close()

    def _drain(self):
        """Make a workflow and wait until the runners have worked through it, giving back what nobody works on."""
        workflow = self._until_answered(self._make_workflow)
        self.workflows.append(workflow)
        self._set_workflow(workflow)
        with self._lock:
            while len(self._runners) < self._size:
                self._start_a_runner()
        end = time.monotonic() + 300
        while not self._call("GET", f"/workflows/{workflow}/is_complete")["is_complete"]:
            assert time.monotonic() < end, f"workflow {workflow} is not complete; claimed: {self._claimed(workflow)}"
            assert all(process.poll() is None for process in self._runners.values()), "a runner failed"
            self._give_back(workflow)
            time.sleep(0.5)

    def _set_workflow(self, workflow):
        """Tell the runners what to work on; "" ends them. The file is never seen half written."""
        new = self.folder / "workflow.new"
        new.write_text(str(workflow))
        new.replace(self.folder / "workflow")

    def _make_workflow(self):
        """Layers, each job waiting for two of the layer above."""
        workflow = self._send("POST", "/workflows", json={"name": "drain", "user": "tests"})["id"]
        job = {"workflow_id": workflow, "command": "true", "cancel_on_blocking_job_failure": False}
        above = []
        for layer in range(LAYERS):
            parents = [[above[i], above[(i + 1) % WIDTH]] if above else [] for i in range(WIDTH)]
            jobs = [job | {"name": f"{layer}-{i}", "depends_on_job_ids": p} for i, p in enumerate(parents)]
            above = [j["id"] for j in self._send("POST", "/bulk_jobs", json={"jobs": jobs})["jobs"]]
        self._send("POST", f"/workflows/{workflow}/initialize_jobs")
        return workflow

    def _start_a_runner(self):
        number = next(self._numbers)
        command = [sys.executable, "-S", Path(__file__).parent / "runner.py", self._url, self.folder, str(number)]
        self._journals[number] = Journal(self.folder / f"{number}.journal")
        self._runners[number] = subprocess.Popen(command, env=clean_environment(self.folder))

    def _give_back(self, workflow):
        """Give back what was claimed for nobody, and what killed runners have left: a job that was only claimed becomes
        ready again, one that was begun gets a new attempt.

        Nobody has a job if no runner received it, after all claims that had been sent before have ended.
        """
        claimed = self._claimed(workflow)
        sent = [(journal, journal.claims) for journal in self._read_journals() if journal.claiming]
        if not self._have_ended(sent):
            return
        for (job, attempt), status in claimed.items():
            holders = [j for j in self._journals.values() if (job, attempt) in j.received]
            left = [j for j in holders if j.ended and (job, attempt) not in j.given_back]
            if len(left) + sum((job, attempt) in j.given_back for j in holders) < len(holders):
                continue  # a living one has it
            if status == "pending":
                done = self._once("PUT", f"/jobs/{job}/manage_status_change/ready/0")
            else:
                done = self._once("POST", f"/jobs/{job}/retry/0", params={"max_retries": 99})
            if done is False:
                continue
            self.orphans += bool(left)
            self.lost_claims += not left
            for journal in left:  # also if the answer was lost: another runner may claim the job before the next round
                journal.given_back.add((job, attempt))

    def _have_ended(self, claims):
        """Whether all claims have ended, or do so within a few seconds, and no request of a killed runner is served."""
        end = time.monotonic() + SETTLED
        while time.monotonic() < end:
            journals = self._read_journals()
            open_claims = [j for j, number in claims if j.claiming and j.claims == number and not j.has_settled()]
            if not open_claims and not any(journal.is_settling() for journal in journals):
                return True
            time.sleep(0.05)
        return False

    def _once(self, method, path, **arguments):
        """Whether it was done; None if the answer is lost. It is not repeated: the next round sees what it did."""
        try:
            return self._send(method, path, accepted=(200, 422), **arguments).get("error") is None
        except ConnectionError:
            return None

    def _claimed(self, workflow):
        """{(job, attempt): status} of the jobs that are pending or running."""
        found = {}
        for status in ("pending", "running"):
            for job in self._call("GET", "/jobs", params={"workflow_id": workflow, "status": status})["items"]:
                found[job["id"], job["attempt_id"]] = status
        return found

    def _read_journals(self):
        with self._lock:
            journals = list(self._journals.values())
        for journal in journals:
            journal.read()
        return journals

    def _call(self, method, path, **arguments):
        return self._until_answered(lambda: self._send(method, path, **arguments))

    def _until_answered(self, work):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except ConnectionError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _send(self, method, path, accepted=(200,), **arguments):
        """Send once. Raises ConnectionError for what a later try may cure."""
        try:
            answer = self._client.request(method, path, status=None, **arguments)
        except ConnectionError as lost:
            self._troubles[0, str(lost)] += 1
            raise
        if answer.status_code in accepted:
            return answer.json
        self._troubles[answer.status_code, answer.text] += 1
        if answer.status_code in CURABLE:
            raise ConnectionError(answer.text)
        raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")

    # Afterwards

    def troubles(self):
        """{(status, text): how often} of all answers but 200."""
        found = Counter(self._troubles)
        for journal in self._read_journals():
            found.update(journal.troubles)
        return found

    def check(self, connection):
        """What was answered is stored, nothing was run twice, the graph is sound, and all troubles were curable."""
        journals = self._read_journals()
        ran = Counter(pair for journal in journals for pair in journal.ran)
        assert [pair for pair, times in ran.items() if times > 1] == []
        kept = Counter(pair for journal in journals for pair in journal.received if pair not in journal.given_back)
        assert [pair for pair, times in kept.items() if times > 1] == []
        stored = connection.execute(
            "SELECT job_id, attempt_id, status::text, return_code FROM torc.result WHERE workflow_id = ANY (%s)",
            [self.workflows],
        ).fetchall()
        assert {result for journal in journals for result in journal.stored} - set(stored) == set()
        assert len(stored) == len(set(stored))
        left = "SELECT count(*) FROM torc.job WHERE workflow_id = ANY (%s) AND status NOT IN ('completed', 'failed')"
        assert connection.execute(left, [self.workflows]).fetchone() == (0,)
        assert connection.execute("SELECT * FROM torc.check_invariants()").fetchall() == []
        hard = {status for status, _ in self.troubles()} - CURABLE
        assert hard == set()
        for status, text in self.troubles():
            assert status == 0 or "connection" in json.loads(text)["error"]["message"], text


class Journal:
    """What a runner wrote; see runner.py. read() takes up what is new."""

    def __init__(self, path):
        self.ended = None  # when it was killed
        self.claims = 0  # that it sent
        self.claiming = False  # whether the last one is not answered yet
        self.received = []  # (job, attempt)
        self.given_back = set()  # of those, what was taken from it after its end
        self.ran = []  # (job, attempt)
        self.stored = []  # (job, attempt, status, return code)
        self.troubles = Counter()  # (status, text)
        self._path = path
        self._at = 0
        self._reading = threading.Lock()

    def has_settled(self):
        """Whether the runner was killed, and none of its requests is served any more."""
        return self.ended is not None and time.monotonic() - self.ended > SETTLED

    def is_settling(self):
        return self.ended is not None and not self.has_settled()

    def read(self):
        with self._reading:
            if not self._path.exists():
                return
            new = self._path.read_bytes()[self._at :]
            new = new[: new.rfind(b"\n") + 1]
            self._at += len(new)
            for line in new.splitlines():
                what, *values = json.loads(line)
                getattr(self, f"_take_{what}")(*values)

    def _take_claim(self):
        self.claims += 1
        self.claiming = True

    def _take_received(self, pairs):
        self.claiming = False
        self.received += map(tuple, pairs)

    def _take_lost(self, reason):
        self.claiming = False

    def _take_ran(self, job, attempt):
        self.ran.append((job, attempt))

    def _take_stored(self, *result):
        self.stored.append(tuple(result))

    def _take_trouble(self, method, path, status, text):
        self.troubles[status, text] += 1
