"""The examples, as a newcomer runs them: a workflow made with torc's client, worked on by three worker processes."""

import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter
from pathlib import Path

import forked
import pytest
from client_versions import NEW, OLD, environment_with
from support import PREFIX, clean_environment, wait_for

from torc_server import htpasswd

ROOT = Path(__file__).parents[2]
WORKERS = ["worker.py", "worker_one_by_one.py"]
each_kind = pytest.mark.parametrize("kind", ["worker.py", pytest.param(WORKERS[1], marks=pytest.mark.long)])
TEXT = ROOT / "README.md"
PARTS = 6


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["worker.py"] * 3, marks=pytest.mark.long),
        pytest.param(["worker_one_by_one.py"] * 3, marks=pytest.mark.long),
        WORKERS,
    ],
)
def test_workers_of_either_kind_or_both_count_the_words_as_a_direct_count_does(server, folder, kinds):
    workflow = create(server, folder)
    assert statuses(server, workflow) == {"split": "ready", "merge": "blocked"} | each_count("blocked")
    work(server, folder, workflow, kinds)
    assert set(statuses(server, workflow).values()) == {"completed"}
    assert counted(folder) == direct_count()
    results = server.client.get("/results", params={"workflow_id": workflow}).json["items"]
    assert sorted(result["job_id"] for result in results) == sorted(ids(server, workflow).values())
    nodes = server.client.get("/compute_nodes", params={"workflow_id": workflow}).json["items"]
    assert [node["is_active"] for node in nodes] == [False] * len(kinds)
    assert {result["compute_node_id"] for result in results} <= {node["id"] for node in nodes}
    out = folder / "output" / f"job_{workflow}_{ids(server, workflow)['count_0']}_0_1.out"
    assert re.fullmatch(r"\d+ words\n", out.read_text())


@pytest.mark.parametrize("maker, other", [pytest.param(OLD, NEW, marks=pytest.mark.long), (NEW, OLD)])
def test_workers_with_the_oldest_and_the_newest_torc_client_count_the_words_together(server, folder, maker, other):
    workflow = create(server, folder, client=maker)
    started = [
        start_worker(server, folder, workflow, "--cpus=1", kind=kind, client=client)
        for kind, client in zip(WORKERS, (maker, other), strict=True)
    ]
    assert [finish(worker)[0] for worker in started] == [0, 0]
    assert counted(folder) == direct_count()
    results = server.client.get("/results", params={"workflow_id": workflow}).json["items"]
    assert len(results) == PARTS + 2


def test_a_failing_part_cancels_the_merge_and_a_second_run_completes_it(server, folder):
    workflow = create(server, folder, "--fail-part=2")
    summary = f"workflow {workflow}: {PARTS} completed, 1 failed, 1 canceled\n"
    for worker in work(server, folder, workflow, expected=1):
        assert worker.endswith(summary)
    assert statuses(server, workflow) == (
        {"split": "completed", "merge": "canceled"} | each_count("completed") | {"count_2": "failed"}
    )
    assert not (folder / "counts.json").exists()

    (folder / "mended").touch()
    server.client.put(f"/workflows/{workflow}/status", json={"run_id": 1, "is_canceled": False})
    server.client.post(f"/workflows/{workflow}/reset_job_status", params={"failed_only": True})
    server.client.post(f"/workflows/{workflow}/initialize_jobs", params={"only_uninitialized": True})
    assert statuses(server, workflow) == (
        {"split": "completed", "merge": "blocked"} | each_count("completed") | {"count_2": "ready"}
    )
    assert work(server, folder, workflow, WORKERS[:1])[0].endswith(f"workflow {workflow}: {PARTS + 2} completed\n")
    assert set(statuses(server, workflow).values()) == {"completed"}
    assert counted(folder) == direct_count()


@each_kind
def test_canceling_the_workflow_stops_the_commands_that_run(server, folder, kind):
    workflow = create_sleepers(server, folder)
    worker = start_worker(server, folder, workflow, "--cpus=2", kind=kind)
    pids = wait_for(lambda: pids_of(folder, 2), 30)
    server.client.put(f"/workflows/{workflow}/cancel")
    assert finish(worker)[0] == 0
    assert not any(map(runs, pids))
    assert Counter(statuses(server, workflow).values()) == {"canceled": 2, "ready": 1}


@each_kind
def test_a_worker_that_is_told_to_stop_terminates_its_jobs_and_says_so(server, folder, kind):
    workflow = create_sleepers(server, folder)
    worker = start_worker(server, folder, workflow, "--cpus=2", kind=kind)
    pids = wait_for(lambda: pids_of(folder, 2), 30)
    worker.send_signal(signal.SIGTERM)
    assert finish(worker)[0] == 128 + signal.SIGTERM
    assert not any(map(runs, pids))
    assert Counter(statuses(server, workflow).values()) == {"terminated": 2, "ready": 1}
    results = server.client.get("/results", params={"workflow_id": workflow}).json["items"]
    assert [result["return_code"] for result in results] == [-signal.SIGTERM] * 2
    nodes = server.client.get("/compute_nodes", params={"workflow_id": workflow, "is_active": True}).json["items"]
    assert nodes == []


@pytest.mark.long
def test_a_worker_waits_for_a_server_that_is_away(start_server, folder):
    server = start_server()
    workflow = create_sleepers(server, folder, seconds=1)
    worker = start_worker(server, folder, workflow, "--cpus=3")
    wait_for(lambda: pids_of(folder, 3), 30)
    server.stop()
    start_server(port=server.port, data_dir=server.data_dir)
    assert finish(worker)[0] == 0
    assert set(statuses(server, workflow).values()) == {"completed"}


def test_a_worker_whose_claim_is_answered_to_nobody_runs_what_the_claim_has_started(server, folder):
    workflow = create_sleepers(server, folder, seconds=0)
    with Losing(server.port, b"claim_jobs_based_on_resources") as proxy:
        worker = start_worker(proxy, folder, workflow, "--cpus=2")
        assert finish(worker)[0] == 0
    assert proxy.lost == 1
    assert set(statuses(server, workflow).values()) == {"completed"}
    results = server.client.get("/results", params={"workflow_id": workflow}).json["items"]
    assert len(results) == 3


def test_jobs_get_their_env_and_may_spawn_others(server, folder):
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "tests", "env": {"COLOUR": "red"}}).json["id"]
    spawn = shlex.join(["curl", "-sf", "-H", "Content-Type: application/json", "-d", json.dumps({
        "jobs": [{"name": "next", "command": f'echo "$COLOUR $TORC_ORCHESTRATOR_LINEAGE_ID" > {folder}/said'}]
    })])  # fmt: skip
    seed = {"workflow_id": workflow, "name": "seed", "command": f"{spawn} $TORC_API_URL/jobs/$TORC_JOB_ID/spawn_jobs"}
    client.post("/jobs", json=seed)
    client.post(f"/workflows/{workflow}/initialize_jobs")
    work(server, folder, workflow, WORKERS[:1])
    assert (folder / "said").read_text() == "red seed\n"
    assert statuses(server, workflow) == {"seed": "completed", "next": "completed"}


class Losing:
    """A proxy before a server that loses the first answer to a request whose first line holds a word. lost: how many
    it has lost; url: that of the server, by the proxy."""

    def __init__(self, port, word):
        self._port, self._word, self.lost = port, word, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, socket.create_connection(("127.0.0.1", self._port)) as server:
            while request := connection.recv(1 << 16):
                server.sendall(request)
                while not select.select([server], [], [], 0.05)[0]:
                    if select.select([connection], [], [], 0)[0]:  # the rest of the request
                        server.sendall(connection.recv(1 << 16))
                answer = server.recv(1 << 16)
                if self._word in request.partition(b"\r\n")[0] and not self.lost:
                    self.lost += 1
                    return
                connection.sendall(answer)


EXAMPLES = {
    "word_count.py": [f"--text={TEXT}", "--folder=words"], "worker.py": ["1234567", "--cpus=1"],
    "worker_one_by_one.py": ["1234567"],
}  # fmt: skip


def example(name, folder, *options, environment=None, client=OLD):
    """Run an example to its end, with this version of torc-client."""
    environment = clean_environment(folder, imported(client) | (environment or {}))
    return forked.run(options, folder, environment, timeout=60, kind=program(name))


def program(name):
    """The class of an example's processes, forked from one that has imported torc-client."""
    return forked.script(ROOT / "examples" / name, "torc.openapi_client")


def imported(client):
    """What the environment of a program says that uses this version of torc-client."""
    return {name: value for name, value in environment_with(client).items() if name == "PYTHONPATH"}


def refused(name, folder, *options, environment=None):
    """The one line of an example that cannot do what it was told."""
    ended = example(name, folder, *EXAMPLES[name], *options, environment=environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    return ended.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_without_a_server_says_so_in_one_line(name, folder):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}{PREFIX}"
        assert f"No server answers at {url}: " in refused(name, folder, environment={"TORC_API_URL": url})


def test_a_worker_without_a_workflow_says_so_in_one_line(server, folder):
    said = refused("worker.py", folder, f"--url={server.url}{PREFIX}")
    assert "refuses: 404 Workflow not found" in said


def test_a_text_that_is_missing_is_one_line_and_makes_no_workflow(server, folder):
    before = server.client.get("/workflows").json["total_count"]
    said = refused("word_count.py", folder, f"--url={server.url}{PREFIX}", f"--text={folder / 'missing'}")
    assert said == f"No such file or directory: {folder / 'missing'}\n"
    assert server.client.get("/workflows").json["total_count"] == before


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_wrong_password_or_none_is_one_line(server, folder, name):
    url = {"TORC_API_URL": f"{server.url}{PREFIX}"}
    assert "refuses: 401" in refused(name, folder, "--user=alice", environment=url | {"TORC_PASSWORD": "wrong"})
    assert "--user needs a password" in refused(name, folder, "--user=alice", environment=url)
    assert "No such file" in refused(name, folder, "--user=alice", "--password-file=nowhere", environment=url)


@pytest.mark.parametrize("way", ["file", pytest.param("variable", marks=pytest.mark.long)])
def test_with_a_password_a_workflow_is_the_users_own(start_server, fresh_database_url, folder, way):
    people = folder / "people"
    people.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    server = start_server(
        database_url=fresh_database_url, auth_file=people, require_auth=True, enforce_access_control=True
    )
    (folder / "password").write_text("long enough\n")
    options = ["--password-file=password"] if way == "file" else []
    environment = {"TORC_API_URL": f"{server.url}{PREFIX}"} | ({} if options else {"TORC_PASSWORD": "long enough"})
    created = example("word_count.py", folder, *EXAMPLES["word_count.py"], "--user=alice", *options,
                      environment=environment)  # fmt: skip
    assert created.returncode == 0, created.stderr
    worked = example("worker.py", folder, created.stdout.strip(), "--user=alice", *options, environment=environment)
    assert (worked.returncode, worked.stderr) == (0, "")
    assert worked.stdout.endswith(f"workflow {created.stdout.strip()}: 6 completed\n")
    workflow = server.client.get(f"/workflows/{created.stdout.strip()}", user=("alice", "long enough"))
    assert workflow.json["user"] == "alice"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_explains_itself(name, folder):
    shown = subprocess.run([sys.executable, ROOT / "examples" / name, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "python examples/" in shown.stdout


def create(server, folder, *options, client=OLD):
    options = [f"--text={TEXT}", f"--parts={PARTS}", f"--folder={folder}", f"--url={server.url}{PREFIX}", *options]
    done = example("word_count.py", folder, *options, client=client)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def create_sleepers(server, folder, seconds=600):
    """A workflow of three jobs of one cpu; each writes the pid of its command into a file when it starts."""
    client = server.client
    workflow = client.post("/workflows", json={"name": "sleep", "user": "tests"}).json["id"]
    command = f"echo $$ > {folder}/started_$TORC_JOB_ID; sleep {seconds}; true"
    jobs = [{"workflow_id": workflow, "name": f"sleep_{i}", "command": command} for i in range(3)]
    client.post("/bulk_jobs", json={"jobs": jobs})
    client.post(f"/workflows/{workflow}/initialize_jobs")
    return workflow


def pids_of(folder, count):
    """The pids in the files once there are so many."""
    texts = [file.read_text() for file in folder.glob("started_*")]
    return [int(text) for text in texts] if len(texts) == count and all(texts) else None


def runs(pid):
    return Path(f"/proc/{pid}").exists()


def start_worker(server, folder, workflow, *options, kind="worker.py", client=OLD):
    """A worker; .said is the file with its output and its errors."""
    arguments = [str(workflow), f"--url={server.url}{PREFIX}", f"--output={folder}/output", *options]
    said = folder / uuid.uuid4().hex
    with open(os.devnull) as null, open(said, "w") as out:
        worker = program(kind)(arguments, folder, clean_environment(folder, imported(client)), null, out, out)
    worker.said = said
    return worker


def finish(worker):
    """Wait for the end; return the exit code and what it said, which is shown if a test fails."""
    try:
        worker.wait(60)
    finally:
        worker.kill()
        print(worker.said.read_text())
    return worker.returncode, worker.said.read_text()


def work(server, folder, workflow, kinds=("worker.py",) * 3, expected=0):
    """Run workers until they end with the `expected` exit code; return what each of them said."""
    started = [start_worker(server, folder, workflow, "--cpus=2", kind=kind) for kind in kinds]
    ended = [finish(worker) for worker in started]
    assert [code for code, _ in ended] == [expected] * len(kinds)
    return [said for _, said in ended]


def all_jobs(server, workflow):
    return server.client.get("/jobs", params={"workflow_id": workflow}).json["items"]


def statuses(server, workflow):
    return {job["name"]: job["status"] for job in all_jobs(server, workflow)}


def ids(server, workflow):
    return {job["name"]: job["id"] for job in all_jobs(server, workflow)}


def each_count(status):
    return {f"count_{i}": status for i in range(PARTS)}


def counted(folder):
    return json.loads((folder / "counts.json").read_text())


def direct_count():
    return Counter(re.findall(r"\w+", TEXT.read_text().lower()))
