"""The scripts in deploy/curl, with real dash, curl and jq, against a server with TLS, passwords and access control."""

import contextlib
import http.client
import json
import os
import pty
import re
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import trustme
from clock import Clock
from support import BINARIES, HttpClient, Server, basic, clean_environment, wait_for

from torc_server import htpasswd

FOLDER = Path(__file__).parents[2] / "deploy" / "curl"
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
SCRIPTS = sorted(path.name for path in FOLDER.iterdir() if "." not in path.name)
PASSWORDS = {"alice": 'pass "word" \\ ä $x\'', "root": "long enough", "eve": "eve's password"}
ODD = "odd \"näme\" 'x' /a\\b; $HOME `id` %41 #&?=+ 日本"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not all(map(shutil.which, ["dash", "curl", "jq"])), reason="needs dash, curl and jq"),
]


class TlsClient(HttpClient):
    """Talks to a server with TLS as one user."""

    def __init__(self, url, context, user):
        super().__init__(url)
        self._context = context
        self._headers = {"Authorization": basic(*user)}

    def _send(self, method, target, body, headers):
        return super()._send(method, target, body, self._headers | headers)

    def _connection(self):
        self.close()
        return super()._connection()

    def _new_connection(self):
        address = self._address
        return http.client.HTTPSConnection(address.hostname, address.port, context=self._context, timeout=30)


class Site:
    """A server with all that it takes, and its scripts."""

    def __init__(self, folder, conninfo):
        self.folder = folder
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(folder / "cert.pem", append=True)
        lines = [f"{name}:{htpasswd.hash_password(word, cost=4)}\n" for name, word in PASSWORDS.items()]
        (folder / "htpasswd").write_text("".join(lines))
        self._options = {
            "database_url": conninfo, "auth_file": folder / "htpasswd", "require_auth": True,
            "enforce_access_control": True, "admin_user": "root",
            "https": True, "tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem",
        }  # fmt: skip
        self._context = ssl.create_default_context(cafile=folder / "ca.pem")
        self.server = None
        self.start()
        self.client = self.as_user("alice")

    def start(self, **options):
        self.server = Server(self.folder / "server", **self._options, **options).wait_until_it_listens()
        self.server.client.close()
        self.url = f"https://127.0.0.1:{self.server.port}"

    def as_user(self, name):
        return TlsClient(self.url, self._context, (name, PASSWORDS[name]))

    def environment(self, user="alice", **more):
        given = {
            "TORC_API_URL": self.url, "TORC_CACERT": str(self.folder / "ca.pem"),
            "TORC_USER": user, "TORC_PASSWORD": PASSWORDS.get(user, "?"), "TERM": "xterm",
        }  # fmt: skip
        return clean_environment(self.folder, {k: v for k, v in (given | more).items() if v is not None})

    def run(self, script, *arguments, code=0, user="alice", stdin="", timeout=300, **environment):
        """Run a script; give its stdout, or stderr when it is to end with 2 or more."""
        result = subprocess.run(
            ["dash", str(FOLDER / script), *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=timeout, cwd=self.folder,
            env=self.environment(user, **environment),
        )  # fmt: skip
        assert result.returncode == code, f"{script} {arguments}: {result.returncode}\n{result.stdout}{result.stderr}"
        if code < 2:
            assert result.stderr == "" or code == 1, result.stderr
            return result.stdout + result.stderr
        return result.stderr

    def submit(self, **specification):
        """Create and initialize a workflow; give it."""
        specification = {"name": ODD, **specification}
        return Made(self, int(self.run("submit", "--initialize", "-", stdin=json.dumps(specification))))


class Made:
    """A workflow that was submitted, and a worker for it."""

    def __init__(self, site, id):
        self.client = site.client
        self.id = id
        self.jobs = {job["name"]: job for job in self.list("jobs", include_relationships=True)}

    def list(self, resource, **params):
        return self.client.get(f"/{resource}", params={"workflow_id": self.id, **params}).json["items"]

    def statuses(self):
        return {job["name"]: job["status"] for job in self.list("jobs")}

    def job_id(self, name):
        return self.jobs[name]["id"]

    def node(self, hostname="host-1", start_time="2026-01-01T00:00:00Z"):
        body = {
            "workflow_id": self.id, "hostname": hostname, "pid": 77, "num_cpus": 4, "memory_gb": 16, "num_gpus": 0,
            "num_nodes": 1, "compute_node_type": "local", "start_time": start_time, "is_active": True,
        }  # fmt: skip
        return self.client.post("/compute_nodes", json=body).json["id"]

    def claim(self):
        return {job["name"] for job in self.client.post(f"/workflows/{self.id}/claim_next_jobs").json["jobs"]}

    def run_id(self):
        return self.client.get(f"/workflows/{self.id}/status").json["run_id"]

    def start(self, name, node):
        self.client.put(f"/jobs/{self.job_id(name)}/start_job/{self.run_id()}/{node}")

    def complete(self, name, node, status="completed", code=0, **more):
        job = self.client.get(f"/jobs/{self.job_id(name)}").json
        body = {
            "job_id": job["id"], "workflow_id": self.id, "run_id": self.run_id(), "compute_node_id": node,
            "attempt_id": job["attempt_id"], "return_code": code, "exec_time_minutes": 1.5, "status": status,
            "completion_time": "2026-01-02T03:04:05+00:00", **more,
        }  # fmt: skip
        self.client.post(f"/jobs/{job['id']}/complete_job/{status}/{self.run_id()}", json=body)


def jobs(*names, **dependencies):
    """Jobs for a specification: those without dependencies, and those with."""
    plain = [{"name": name, "command": "true"} for name in names]
    return plain + [{"name": k, "command": "true", "depends_on": v} for k, v in dependencies.items()]


@pytest.fixture(scope="module")
def site(module_folder, module_database_url):
    site = Site(module_folder / "curl", module_database_url)
    yield site
    site.server.stop()


def unindented(text):
    """Without the indent that right-aligns ids, which may have more or fewer digits."""
    return re.sub("^ +", "", text, flags=re.M)


@contextlib.contextmanager
def terminal(command, environment, folder):
    """A process on a terminal of 60 columns, and the end to talk to it."""
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    subprocess.run(["stty", "cols", "60"], stdin=theirs, check=True)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder, start_new_session=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_terminal(descriptor, until=None, timeout=60):
    """What is written, until it holds a text or the process has ended."""
    written, end = b"", time.monotonic() + timeout
    while until is None or until not in written:
        assert time.monotonic() < end, written
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                piece = os.read(descriptor, 65536)
            except OSError:  # the end
                break
            written += piece
    return written.decode()


# Help, usage, login


@pytest.mark.skipif(not SHELLCHECK, reason="needs shellcheck")
def test_shellcheck_finds_nothing():
    subprocess.run([SHELLCHECK, "-x", "lib.sh", *SCRIPTS], cwd=FOLDER, check=True)


def test_there_are_the_scripts_that_the_readme_lists_and_they_can_be_run():
    readme = (FOLDER / "README.md").read_text()
    assert sorted(re.findall(r"^\| `([a-z-]+)", readme, re.M)) == SCRIPTS
    assert all(os.access(FOLDER / script, os.X_OK) for script in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_explains_itself(site, script):
    text = site.run(script, "-h", TORC_PASSWORD=None)
    assert f"\n  {script}" in text
    assert "TORC_API_URL" in text
    assert "Exit codes: 0 fine, 1 no or found, 2 wrong usage, 3 server not reached" in text
    assert max(map(len, text.splitlines())) <= 80
    assert site.run(script, "--nonsense", code=2).endswith(f"unknown option '--nonsense' (help: {script} -h)\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["status", ""], ["status", "x"], ["status", "-1"], ["status", "1", "2"], ["status", "9" * 30],
        ["watch", "1", "--interval", "x"], ["watch", "1", "--interval"], ["watch", "1", "--timeout", "soon"],
        ["failed", "1", "--lines", "x"], ["why"], ["list", "x"], ["prune"], ["prune", "--older-than", "old"],
        ["archive"], ["give-back"], ["groups", "nonsense"], ["groups", "create"], ["groups", "add", "x"],
        ["tail-events", "1", "--level", "loud"], ["submit"], ["submit", "/no/such/file"], ["backup"],
        ["reload-auth", "now"], ["stale", "x"],
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_exit_code_2(site, arguments):
    assert len(site.run(*arguments, code=2).splitlines()) == 1


def test_a_login_that_is_refused_is_exit_code_4(site):
    assert "the login was refused (401)" in site.run("list", code=4, TORC_PASSWORD="wrong")
    assert "the login was refused (401)" in site.run("list", code=4, TORC_PASSWORD=None)
    made = site.submit(jobs=jobs("a"))
    for script in ["status", "watch", "failed", "cancel", "archive", "tail-events", "stale"]:
        options = ["--yes"] if script in {"cancel", "archive"} else []
        assert site.run(script, made.id, *options, user="eve", code=4).endswith("(403)\n")
    assert "(403)" in site.run("reload-auth", user="eve", code=4)
    assert made.statuses() == {"a": "ready"}


def test_a_server_that_is_not_reached_is_exit_code_3(site):
    assert "Failed to connect" in site.run("status", 1, code=3, TORC_API_URL="http://127.0.0.1:1")
    assert "Failed to connect" in site.run("watch", 1, code=3, TORC_API_URL="http://127.0.0.1:1")
    assert "certificate" in site.run("status", 1, code=3, TORC_CACERT=None)
    assert "cannot read /no/file" in site.run("status", 1, code=2, TORC_CACERT="/no/file")


def test_an_unknown_id_is_exit_code_5(site):
    assert site.run("status", 10**9, code=5) == "status: Workflow not found with ID: 1000000000 (404)\n"
    for script in ["watch", "failed", "why", "retry-failed", "give-back", "stale", "tail-events", "archive", "cancel"]:
        assert "with ID: 1000000000 (404)" in site.run(script, 10**9, code=5), script
    assert "no group 'none'" in site.run("groups", "add", "none", "bob", user="root", code=5)


def test_a_netrc_file_will_do_and_a_url_with_the_base_path(site):
    netrc = site.folder / "netrc"
    netrc.write_text('machine 127.0.0.1 login root password "long enough"\n')
    settings = {"TORC_API_URL": site.url + "/torc-service/v1/", "TORC_PASSWORD": None, "TORC_USER": None}
    assert site.run("reload-auth", TORC_NETRC=str(netrc), **settings) == "3 users\n"
    shutil.copy(netrc, site.folder / ".netrc")
    assert site.run("reload-auth", **settings) == "3 users\n"
    (site.folder / ".netrc").unlink()


@pytest.fixture
def spied(folder):
    """A PATH on which curl and jq write down how they are called."""
    for program in ["curl", "jq"]:
        spy = folder / program
        note = f'printf "%s\\n" "{program} $*" >>"{folder}/calls"'
        spy.write_text(f'#!/bin/sh\n{note}\nexec {shutil.which(program)} "$@"\n')
        spy.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_no_password_is_on_a_command_line(site, spied, folder):
    made = site.submit(jobs=jobs("a"))
    site.run("status", made.id, PATH=spied)
    calls = (folder / "calls").read_text()
    assert "curl -q" in calls
    assert "word" not in calls


# submit


def test_submit_creates_what_the_file_says_whatever_the_names_are(site):
    made = site.submit(
        description="two\nlines", metadata={"a": [1]},
        files=[{"name": ODD, "path": "a b/" + ODD}, {"name": "f2", "path": "f2", "st_mtime": 1.5}],
        user_data=[{"name": ODD, "data": {"text": 'line\n"\\ \t\u007f' + ODD}, "is_ephemeral": True}],
        resource_requirements=[{"name": ODD, "num_cpus": 3, "memory": "2g", "runtime": "PT2H"}],
        jobs=[
            {"name": "last", "command": "c", "depends_on": ["second " + ODD]},
            {"name": "second " + ODD, "command": ODD, "input_files": [ODD], "output_files": ["f2"],
             "input_user_data": [ODD], "depends_on": ["first", "first"], "cancel_on_blocking_job_failure": False},
            {"name": "first", "command": "c", "resource_requirements": ODD, "priority": 7},
        ],
    )  # fmt: skip
    workflow = site.client.get(f"/workflows/{made.id}").json
    assert (workflow["name"], workflow["user"], workflow["description"]) == (ODD, "alice", "two\nlines")
    assert json.loads(workflow["metadata"]) == {"a": [1]}
    files = {row["name"]: row for row in made.list("files")}
    assert (files[ODD]["path"], files["f2"]["st_mtime"]) == ("a b/" + ODD, 1.5)
    data = made.list("user_data")[0]
    assert (data["name"], data["data"]["text"], data["is_ephemeral"]) == (ODD, 'line\n"\\ \t\u007f' + ODD, True)
    needs = {row["id"]: row for row in made.list("resource_requirements")}
    first, second, last = (made.jobs[name] for name in ["first", "second " + ODD, "last"])
    assert needs[first["resource_requirements_id"]]["num_cpus"] == 3
    assert needs[last["resource_requirements_id"]]["name"] == "default"
    assert (first["priority"], second["command"], second["cancel_on_blocking_job_failure"]) == (7, ODD, False)
    assert second["depends_on_job_ids"] == [first["id"]]
    assert last["depends_on_job_ids"] == [second["id"]]
    assert (second["input_file_ids"], second["output_file_ids"]) == ([files[ODD]["id"]], [files["f2"]["id"]])
    assert second["input_user_data_ids"] == [data["id"]]
    assert made.statuses() == {"first": "ready", "second " + ODD: "blocked", "last": "blocked"}


def test_submit_from_a_file_with_another_name_without_initializing(site):
    (site.folder / "w.json").write_text(json.dumps({"name": "w", "jobs": jobs("a")}))
    assert site.run("submit", "w.json", "--check") == ""
    made = Made(site, int(site.run("submit", "w.json", "--name", ODD)))
    assert site.client.get(f"/workflows/{made.id}").json["name"] == ODD
    assert made.statuses() == {"a": "uninitialized"}


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "the file is not one JSON object"),
        ('{"name": "a"} {"name": "b"}', "the file is not one JSON object"),
        ({"name": None}, "workflow: 'name' is missing"),
        ({"parameters": {}}, "workflow: unknown field 'parameters'"),
        ({"jobs": {}}, "jobs: not a list"),
        ({"jobs": ["a"]}, "jobs[0]: not an object"),
        ({"jobs": [{"command": "c"}]}, "jobs[0]: 'name' is missing"),
        ({"jobs": [{"name": "a"}]}, "jobs[0] 'a': 'command' is missing"),
        ({"jobs": jobs("a", "a")}, "jobs: 2 are named 'a'"),
        ({"jobs": jobs(a=["b"])}, "jobs[0] 'a': depends_on names 'b', which is not in jobs"),
        ({"jobs": [{"name": "a", "command": "c", "input_files": ["f"]}]}, "input_files names 'f', which is not"),
        ({"jobs": [{"name": "a", "command": "c", "output_files": "f"}]}, "'output_files' is not a list of names"),
        ({"jobs": [{"name": "a", "command": "c", "resource_requirements": "r"}]}, "resource_requirements names 'r'"),
        ({"jobs": [{"name": "a", "command": "c", "depends": []}]}, "jobs[0]: unknown field 'depends'"),
        ({"jobs": jobs("x", a=["c", "x"], b=["a"], c=["b"], d=["c"])}, "jobs: a cycle, each depends on the next: "),
    ],
)
def test_submit_says_what_is_wrong_with_a_file(site, specification, said):
    text = specification if isinstance(specification, str) else json.dumps({"name": "w"} | specification)
    assert said in site.run("submit", "-", code=2, stdin=text)


def test_what_the_server_refuses_leaves_nothing_behind(site):
    before = site.client.get("/workflows").json["total_count"]
    wrong = {"name": "w", "resource_requirements": [{"name": "r", "memory": "1.5g"}], "jobs": jobs("a")}
    said = site.run("submit", "-", code=5, stdin=json.dumps(wrong))
    assert "1.5g" in said
    assert "deleting the incomplete workflow" in said
    cycle = {
        "name": "w", "files": [{"name": "f", "path": "f"}], "jobs": [
            {"name": "a", "command": "c", "depends_on": ["b"], "output_files": ["f"]},
            {"name": "b", "command": "c", "input_files": ["f"]},
        ],
    }  # fmt: skip
    assert "cycle" in site.run("submit", "--initialize", "-", code=5, stdin=json.dumps(cycle))
    assert site.client.get("/workflows").json["total_count"] == before


# list, status, watch


def test_list_shows_ones_workflows_page_by_page(site):
    made = [site.submit(name=f"listed {ODD}", jobs=jobs("a")) for _ in range(3)]
    site.run("archive", made[1].id, "--yes")
    lines = site.run("list", "--name", f"listed {ODD}", TORC_PAGE_SIZE="1").splitlines()
    assert [line.split()[0] for line in lines] == ["ID", str(made[0].id), str(made[2].id)]
    assert lines[1].endswith(f"alice  listed {ODD}")
    assert re.match(r" *\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  alice  ", lines[1])
    assert len(site.run("list", "--all", "--name", f"listed {ODD}").splitlines()) == 4
    assert len(site.run("list", "--archived", "--name", f"listed {ODD}").splitlines()) == 2
    assert [json.loads(line)["id"] for line in site.run("list", "--json", "--archived").splitlines()] == [made[1].id]
    assert site.run("list", "--user", "x/y z") == site.run("list", user="eve") == ""
    node = made[0].node()
    made[0].claim()
    made[0].complete("a", node, "failed", 1)
    lines = site.run("list", "--counts", "--name", f"listed {ODD}").splitlines()
    assert lines[0].split() == ["ID", "CREATED", "JOBS", "DONE", "FAILED", "RUNNING", "OWNER", "NAME"]
    assert [line.split()[4:8] for line in lines[1:]] == [["1", "1", "1", "0"], ["1", "0", "0", "0"]]


def test_status_counts_the_jobs(site):
    made = site.submit(jobs=jobs("a", "b", c=["a"], d=["b"]))
    node = made.node()
    made.claim()
    made.start("b", node)
    made.complete("a", node)
    assert re.sub(r"created .*", "created", site.run("status", made.id)) == (
        f'workflow   {made.id} "{ODD}"\n'
        "owner      alice\n"
        "created\n"
        "state      running, run 0\n"
        "progress   [#######-----------------------] 25 %, 1 of 4 jobs done\n"
        "    1  blocked\n"
        "    1  ready\n"
        "    1  running\n"
        "    1  completed\n"
    )
    assert re.search(r"^created    [-\d]+ [:\d]+ UTC, (\d+ min )?\d+ s ago$", site.run("status", made.id), re.M)
    site.run("status", made.id, "--complete", code=1)
    summary = json.loads(site.run("status", made.id, "--json"))
    assert (summary["total"], summary["done"], summary["counts"]["running"]) == (4, 1, 1)
    site.client.put(f"/workflows/{made.id}/cancel")
    assert "state      canceled" in site.run("status", made.id, "--complete")


def test_watch_writes_a_line_for_each_change_and_tells_how_it_ended(site):
    made = site.submit(jobs=jobs("a", b=["a"]))
    node = made.node()
    assert site.run("watch", made.id, "--timeout", "0", code=1).endswith("Not complete after 0 s.\n")
    script = ["dash", str(FOLDER / "watch"), str(made.id), "--interval", "0.1"]
    process = subprocess.Popen(script, env=site.environment(), stdout=subprocess.PIPE, text=True)
    assert "0 % of 2 jobs, 1 blocked, 1 ready" in process.stdout.readline()
    made.claim()
    assert "0 % of 2 jobs, 1 blocked, 1 pending" in process.stdout.readline()
    made.complete("a", node)
    made.claim()
    made.complete("b", node)
    out, _ = process.communicate(timeout=60)
    end = r"^[-\d]{10} [:\d]{8}  \[#{20}\] 100 % of 2 jobs, 2 completed\nComplete after .*\.\n\Z"
    assert re.search(end, out, re.M)
    assert process.returncode == 0
    failing = site.submit(jobs=jobs("a", b=["a"]))
    failing.claim()
    failing.complete("a", failing.node(), "failed", 3)
    assert f"complete: 2 jobs of 2 not successful; see: failed {failing.id}\n" in site.run("watch", failing.id, code=1)
    undecided = site.submit(jobs=jobs("a", b=["a"]))
    undecided.claim()
    undecided.complete("a", undecided.node(), "pending_failed", 3)
    assert "waiting for a decision on jobs that are pending_failed" in site.run("watch", undecided.id, code=1)


def test_watch_redraws_its_line_on_a_terminal(site):
    made = site.submit(jobs=jobs("a"))
    command = ["dash", str(FOLDER / "watch"), str(made.id), "--interval", "0.1"]
    with terminal(command, site.environment(), site.folder) as (process, ours):
        seen = read_terminal(ours, b"1 ready")
        node = made.node()
        made.claim()
        made.start("a", node)
        seen += read_terminal(ours, b"1 running")
        made.complete("a", node)
        seen += read_terminal(ours)
        assert process.wait(30) == 0
    first, *rest = seen.split("\r")
    assert first == ""
    assert "\n" not in seen[: seen.index("100 %")], "one line, drawn again"
    assert all(len(line.split("\033[K")[0]) < 60 for line in rest)
    assert seen.count("\033[K") >= 3
    assert "Complete after" in rest[-2]


def test_watch_sits_out_a_restart_of_the_server(site, session_folder, fresh_database_url):
    other = Site(session_folder / "restarted", fresh_database_url)
    try:
        made = other.submit(jobs=jobs("a"))
        command = ["dash", str(FOLDER / "watch"), str(made.id), "--interval", "0.1"]
        process = subprocess.Popen(command, env=other.environment(), stdout=subprocess.PIPE, text=True)
        assert "1 ready" in process.stdout.readline()
        other.server.stop()
        assert "The server does not answer; trying again" in process.stdout.readline()
        other.start(port=other.server.port)
        node = made.node()
        made.claim()
        made.complete("a", node)
        assert process.communicate(timeout=60)[0].splitlines()[-1].startswith("Complete after")
        assert process.returncode == 0
    finally:
        other.server.stop()


# failed, why, retry-failed


def test_failed_tells_what_each_job_failed_of_and_what_that_canceled(site):
    made = site.submit(
        jobs=jobs("good", "bad\n\033[31m", "stopped", child=["bad\n\033[31m"], grandchild=["child"], free=["good"])
    )
    assert site.run("failed", made.id) == "No job has failed.\n"
    node = made.node("höst")
    made.claim()
    made.complete("good", node)
    made.complete("bad\n\033[31m", node, "failed", 3, stderr="".join(f"line {i}\n" for i in range(9)) + "\033[2Jend")
    made.complete("stopped", node, "terminated", -15)
    bad, child, grand, stopped = (made.job_id(n) for n in ["bad\n\033[31m", "child", "grandchild", "stopped"])
    ended = f"after 1 min 30 s, on node {node} on höst, 2026-01-02 03:04:05 UTC"
    said = site.run("failed", made.id, "--lines", "2", code=1, TORC_PAGE_SIZE="1")
    assert said == site.run("failed", made.id, "--lines", "2", code=1)
    assert unindented(said) == unindented(
        "4 jobs not successful\n"
        f"\n{bad}  failed  bad?[31m\n    return code 3, {ended}\n    | line 8\n    | ?[2Jend\n"
        f"\n{stopped}  terminated  stopped\n    return code -15, {ended}\n"
        f'\n2 jobs canceled because job {bad} "bad?[31m" is failed\n    {child}  child\n    {grand}  grandchild\n'
    )
    found = [json.loads(line) for line in site.run("failed", made.id, "--json", code=1).splitlines()]
    assert {row["id"]: row.get("cause") for row in found} == {bad: None, stopped: None, child: bad, grand: bad}


def test_failed_and_why_tell_that_the_workflow_was_canceled(site):
    made = site.submit(jobs=jobs("a", "free", b=["a"]))
    made.claim()
    site.client.put(f"/workflows/{made.id}/cancel")
    said = site.run("failed", made.id, code=1)
    assert re.search(r"\n1 job canceled because job \d+ \"a\" was canceled\n.*  b\n", said)
    assert re.search(r"\n2 jobs canceled with the workflow, \d{4}-.* UTC", said)
    why = site.run("why", made.job_id("b"), code=1).splitlines()
    assert why[1].endswith(f'because job {made.job_id("a")} "a", which it depends on, is canceled')
    assert re.match(r"  canceled with the workflow, \d{4}-", why[2])
    waiting = site.submit(jobs=jobs("a"))
    site.client.put(f"/workflows/{waiting.id}/cancel")
    assert "The workflow is canceled" in site.run("why", waiting.job_id("a"), code=1)
    event = {"category": "workflow_canceled", "user": "bob\t"}
    site.client.post("/events", json={"workflow_id": made.id, "timestamp": 0, "data": event})
    assert re.search(r"with the workflow, .* UTC by bob\?\n", site.run("why", made.job_id("free"), code=1))


def test_why_follows_what_a_job_waits_for(site):
    made = site.submit(
        resource_requirements=[{"name": "huge", "num_cpus": 64}],
        jobs=[*jobs("a", "b", c=["a", "b"], d=["c"]), {"name": "h", "command": "c", "resource_requirements": "huge"}],
    )
    a, b, c, d, h = map(made.job_id, "abcdh")
    assert site.run("why", a) == (
        f'Job {a} "a" of workflow {made.id} is ready.\n'
        "  It waits for a worker: no compute node of the workflow is active.\n"
    )
    node = made.node()
    assert "1 of 1 active node has the 1 CPU," in site.run("why", a)
    assert "0 of 1 active node have the 64 CPUs," in site.run("why", h)
    made.claim()
    assert "A worker has claimed it and not started it yet" in site.run("why", b)
    made.start("b", node)
    assert f"It runs on node {node} on host-1." in site.run("why", b)
    made.complete("a", node)
    assert f"return code 0, after 1 min 30 s, on node {node}" in site.run("why", a)
    assert unindented(site.run("why", d, code=1)) == unindented(
        f'Job {d} "d" of workflow {made.id} is blocked.\n'
        f"  Job {d} waits for:\n    {c}  blocked  c\n"
        f"  Job {c} waits for 1 of its 2 dependencies:\n    {b}  running  b\n"
    )
    made.complete("b", node, "failed", 7, stderr="no space\n")
    assert site.run("why", d, code=1) == (
        f'Job {d} "d" of workflow {made.id} is canceled.\n'
        f'  because job {c} "c", which it depends on, is canceled\n'
        f'  because job {b} "b", which it depends on, is failed\n'
        f"    return code 7, after 1 min 30 s, on node {node} on host-1, 2026-01-02 03:04:05 UTC\n    | no space\n"
    )
    assert "return code 7" in site.run("why", b, code=1)
    uninitialized = Made(site, int(site.run("submit", "-", stdin=json.dumps({"name": "w", "jobs": jobs("a")}))))
    assert "when the workflow is initialized" in site.run("why", uninitialized.job_id("a"))


def test_why_copes_with_more_dependencies_than_it_would_ask_for_one_by_one(site, spied, folder):
    names = [f"n{i}" for i in range(250)]
    made = site.submit(jobs=jobs(*names, last=names))
    said = site.run("why", made.job_id("last"), code=1, PATH=spied)
    assert "    and 240 more\n" in said
    assert (folder / "calls").read_text().count("curl -q") < 10


def test_retry_failed_begins_a_new_run_of_what_failed(site):
    made = site.submit(jobs=jobs("good", "bad", child=["bad"]))
    assert site.run("retry-failed", made.id) == "No job has failed.\n"
    node = made.node()
    made.claim()
    made.complete("bad", node, "failed", 1)
    assert "use --same-run" in site.run("retry-failed", made.id, code=1)
    made.complete("good", node)
    assert site.run("retry-failed", made.id) == "2 jobs reset; run 1 has begun.\n"
    assert made.statuses() == {"good": "completed", "bad": "ready", "child": "blocked"}
    made.claim()
    made.complete("bad", node)
    made.claim()
    made.complete("child", node)
    assert set(made.statuses().values()) == {"completed"}


def test_retry_failed_in_the_same_run_while_others_go_on(site):
    made = site.submit(jobs=jobs("going", "bad", "ended", "undecided", child=["bad"]))
    node = made.node()
    made.claim()
    made.start("going", node)
    made.complete("bad", node, "failed", 1)
    made.complete("ended", node, "terminated", 1)
    made.complete("undecided", node, "pending_failed", 1)
    assert site.run("retry-failed", made.id, "--same-run") == "3 jobs ready for another attempt.\n"
    retried = dict.fromkeys(["bad", "ended", "undecided"], "ready")
    assert made.statuses() == retried | {"going": "running", "child": "blocked"}
    assert made.run_id() == 0


# cancel, archive, prune: they ask


def test_cancel_asks_on_a_terminal_and_nowhere_else(site):
    made = site.submit(jobs=jobs("a"))
    made.claim()
    command = ["dash", str(FOLDER / "cancel"), str(made.id)]
    with terminal(command, site.environment(), site.folder) as (process, ours):
        assert f"Cancel workflow {made.id} " in read_terminal(ours, b"[y/N]")
        os.write(ours, b"\n")
        assert "nothing was changed" in read_terminal(ours)
        assert process.wait(10) == 1
    assert "Say --yes where nobody can be asked" in site.run("cancel", made.id, code=2)
    assert made.statuses() == {"a": "pending"}
    with terminal(command, site.environment(), site.folder) as (process, ours):
        read_terminal(ours, b"[y/N]")
        os.write(ours, b"y\n")
        assert "Canceled: 1 job of 1." in read_terminal(ours)
        assert process.wait(10) == 0
    assert made.statuses() == {"a": "canceled"}
    assert site.run("cancel", made.id) == "It is canceled already.\n"
    assert site.run("retry-failed", made.id) == "1 job reset; run 1 has begun.\n"
    site.run("cancel", made.id, "--yes")
    assert site.run("retry-failed", made.id) == "0 jobs reset; run 2 has begun.\n"
    assert made.claim() == {"a"}


def test_archive_keeps_the_run_state_and_undoes(site):
    first, second = site.submit(jobs=jobs("a")), site.submit(jobs=jobs("a"))
    site.client.put(f"/workflows/{first.id}/status", json={"run_id": 5, "is_canceled": True})
    assert "1 of them not complete" in site.run("archive", first.id, second.id, code=2)
    assert site.run("archive", first.id, second.id, "--yes") == ""
    status = site.client.get(f"/workflows/{first.id}/status").json
    assert (status["run_id"], status["is_canceled"], status["is_archived"]) == (5, True, True)
    site.run("archive", first.id, "--undo")
    assert site.client.get(f"/workflows/{first.id}/status").json == status | {"is_archived": False}
    assert site.client.get(f"/workflows/{second.id}/status").json["is_archived"]


def test_prune_deletes_what_is_old_and_put_away(session_folder, fresh_database_url, site):
    other = Site(session_folder / "pruned", fresh_database_url)
    try:
        archived, complete, running = (other.submit(jobs=jobs("a")) for _ in range(3))
        other.run("archive", archived.id, "--yes")
        other.client.put(f"/workflows/{complete.id}/cancel")
        with psycopg.connect(fresh_database_url, autocommit=True) as connection:
            Clock(connection).advance(31 * 86400)
        young = other.submit(jobs=jobs("a"))
        other.run("archive", young.id, "--yes")

        def left():
            return {row["id"] for row in other.client.get("/workflows").json["items"]}

        listed = other.run("prune", "--older-than", "30", "--dry-run").splitlines()
        assert [line.split()[0] for line in listed] == ["ID", str(archived.id)]
        assert "Delete 1 workflow for ever?" in other.run("prune", "--older-than", "30", code=2)
        assert len(left()) == 4
        assert other.run("prune", "--older-than", "30", "--yes").endswith("Deleted 1 workflow.\n")
        assert left() == {complete.id, running.id, young.id}
        assert other.run("prune", "--older-than", "30", "--complete", "--yes").endswith("Deleted 1 workflow.\n")
        assert left() == {running.id, young.id}
        assert other.run("prune", "--older-than", "30", "--yes") == "Nothing is that old.\n"
    finally:
        other.server.stop()


# stale, give-back


def test_stale_names_what_a_dead_worker_left_and_give_back_gives_it_back(site):
    made = site.submit(jobs=jobs("a", "b", "c", "d"))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert site.run("stale", made.id) == ""
    dead, alive = made.node("dead"), made.node("alive", now)
    made.claim()
    made.start("a", dead)
    made.start("b", alive)
    silence(site, dead)
    said = site.run("stale", made.id, code=1).splitlines()
    assert len(said) == 2
    silent = rf"node {dead} on dead of workflow {made.id}: active, without a sign of life for 10 d.*, 1 job running"
    assert re.match(silent, said[0])
    assert f'job {made.job_id("a")} of workflow {made.id} "a": runs on node {dead} on dead since then' in said[1]
    assert f"of workflow {made.id}" in site.run("stale", code=1), "without arguments all workflows"
    assert "to become ready? Say --yes" in site.run("give-back", dead, code=2)
    assert f"Other nodes of workflow {made.id} are active" in site.run("give-back", dead, "--pending", "--yes", code=5)
    said = site.run("give-back", dead, "--yes").splitlines()
    assert said[0] == "1 job ready again; the node is inactive."
    assert said[1].startswith("2 jobs of the workflow pending")
    assert made.statuses() == {"a": "ready", "b": "running", "c": "pending", "d": "pending"}
    assert site.client.get(f"/jobs/{made.job_id('a')}").json["attempt_id"] == 2
    assert not site.client.get(f"/compute_nodes/{dead}").json["is_active"]
    assert site.run("stale", made.id) == ""
    assert site.run("give-back", dead, "--yes").startswith("The node is not active and has no jobs.\n")
    node = site.client.get(f"/compute_nodes/{alive}").json
    site.client.put(f"/compute_nodes/{alive}", json=node | {"is_active": False})
    assert site.run("stale", made.id, code=1).splitlines() == [
        f'job {made.job_id("b")} of workflow {made.id} "b": running, but on no active node',
        f"workflow {made.id}: 2 jobs pending, but no node is active",
    ]
    assert site.run("give-back", alive, "--pending", "--yes") == "3 jobs ready again; the node is inactive.\n"
    assert set(made.statuses().values()) == {"ready"}


def silence(site, node):
    """Let the node be silent for ten days, whatever the processes of the server have heard and store later."""
    with psycopg.connect(site.server.database_url, autocommit=True) as connection:
        connection.execute(
            f"""
            CREATE OR REPLACE FUNCTION public.silence() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                NEW.last_seen := clock_timestamp() - interval '10 d';
                RETURN NEW;
            END $$;
            CREATE TRIGGER silence_{node} BEFORE UPDATE ON torc.compute_node
            FOR EACH ROW WHEN (NEW.id = {node}) EXECUTE FUNCTION public.silence()
            """
        )
        connection.execute("UPDATE torc.compute_node SET last_seen = NULL WHERE id = %s", [node])


def test_give_back_knows_what_the_node_has_claimed(site):
    made = site.submit(jobs=jobs("a", "b"))
    dead, alive = made.node("dead"), made.node("alive")
    for node in (dead, alive):
        params = {"limit": 1, "compute_node_id": node}
        made.client.post(f"/workflows/{made.id}/claim_next_jobs", params=params)
    assert site.run("give-back", dead, "--yes") == "1 job ready again; the node is inactive.\n"
    assert made.statuses() == {"a": "ready", "b": "pending"}


def test_a_node_whose_job_asked_for_more_time_than_it_is_silent_is_not_stale(site):
    made = site.submit(
        resource_requirements=[{"name": "long", "runtime": "P1000000D"}],
        jobs=[{"name": "a", "command": "c", "resource_requirements": "long"}],
    )
    node = made.node()
    made.claim()
    made.start("a", node)
    assert site.run("stale", made.id) == ""


# groups, reload-auth, tail-events, backup


def test_groups_are_made_shared_shown_and_deleted(site):
    made = site.submit(jobs=jobs("a"))
    name = f"team {ODD}"
    id = int(site.run("groups", "create", name, "who works here", user="root"))
    site.run("groups", "add", name, "eve", user="root")
    site.run("groups", "add", id, "bob/ö x", "--admin", user="root")
    site.run("groups", "share", name, made.id, user="root")
    assert "state" in site.run("status", made.id, user="eve")
    assert f"{id}  {name}  bob/ö x (admin), eve" in site.run("groups", user="root")
    assert site.run("groups", "--user", "bob/ö x", user="root").splitlines()[1].split()[0] == str(id)
    assert "who works here" in site.run("groups", "--workflow", made.id)
    assert "(403)" in site.run("groups", user="eve", code=4)
    assert "(409)" in site.run("groups", "add", name, "eve", user="root", code=5)
    site.run("groups", "remove", name, "bob/ö x", user="root")
    site.run("groups", "unshare", name, made.id, user="root")
    site.run("status", made.id, user="eve", code=4)
    assert "--yes" in site.run("groups", "delete", name, user="root", code=2)
    site.run("groups", "delete", name, "--yes", user="root")
    assert name not in site.run("groups", user="root")


def test_reload_auth_tells_the_number_of_users(site):
    assert site.run("reload-auth", user="root") == "3 users\n"


def test_tail_events_shows_stored_and_live_ones(site):
    made = site.submit(jobs=jobs("a", "b"))
    site.client.post("/events", json={"workflow_id": made.id, "timestamp": 0, "data": {"type": "note\n", "text": ODD}})
    stored = site.run("tail-events", made.id, "--for", "0")
    assert re.fullmatch(r"[-\d]+ [:\d]+ UTC  note\?  text=.*\n", stored)
    assert ODD in stored
    command = ["dash", str(FOLDER / "tail-events"), str(made.id), "--last", "0"]
    # The shell cannot trap what its parent ignores, as it does where the tests run in the background.
    process = subprocess.Popen(
        command, env=site.environment(), stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        made.claim()
        wait_for(lambda: streams(site) == 1, timeout=30, what="the stream")
        made.start("a", made.node())
        lines = [process.stdout.readline() for _ in range(2)]
        assert "compute_node_started" in lines[0]
        assert re.match(rf"[-\d]+ [:\d]+ UTC  job_started  .*job_id={made.job_id('a')}", lines[1])
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.stdout.close()
        assert process.wait(20) == 130
    level = site.run("tail-events", made.id, "--for", "1", "--level", "error", "--last", "1", "--json")
    assert json.loads(level)["data"]["text"] == ODD


def streams(site):
    with psycopg.connect(site.server.database_url) as connection:
        return connection.execute("SELECT count(*) FROM torc.event_stream").fetchone()[0]


def test_backup_writes_a_whole_file_or_none(site, folder):
    environment = {"TORC_DATABASE_URL": site.server.database_url, "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    assert re.search(r"holds .* workflow", site.run("backup", folder / "dump", **environment))
    assert (folder / "dump").stat().st_mode & 0o077 == 0
    assert "--force replaces it" in site.run("backup", folder / "dump", code=1, **environment)
    site.run("backup", folder / "dump", "--force", **environment)
    away = environment | {"TORC_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    assert "there is no backup: the database" in site.run("backup", folder / "none", code=3, **away)
    assert [path.name for path in folder.iterdir()] == ["dump"]


def test_backup_needs_the_program_on_this_host(site, folder):
    for program in ("dash", "curl", "jq", "dirname", "basename", "readlink", "mktemp", "rm", "cat", "sed"):
        (folder / program).symlink_to(shutil.which(program))
    assert "needs the program torc-server" in site.run("backup", folder / "x", code=2, PATH=str(folder))


# Size


def test_a_hundred_thousand_jobs_take_few_requests(site, spied, folder):
    count = 100_000
    middle = [f"j{i}" for i in range(count - 2)]
    specification = {"name": "big", "jobs": jobs("first", **{key: ["first"] for key in middle}, last=middle)}
    made = int(site.run("submit", "--initialize", "-", stdin=json.dumps(specification), timeout=600, PATH=spied))
    assert (folder / "calls").read_text().count("curl -q") < 20
    assert f"0 of {count} jobs done" in site.run("status", made)
    client = site.client
    claimed = client.post(f"/workflows/{made}/claim_next_jobs", params={"limit": 1}).json["jobs"][0]["id"]
    client.put(f"/workflows/{made}/cancel")
    (folder / "calls").write_text("")
    said = site.run("failed", made, code=1, timeout=600, PATH=spied)
    assert f"job {claimed}" in said
    assert (folder / "calls").read_text().count("curl -q") < 40


def test_the_session_of_the_readme_works_as_printed(start_server, fresh_database_url, folder):
    server = start_server(database_url=fresh_database_url)
    session = (FOLDER / "README.md").read_text().split("## A session")[1].split("```sh\n")[1].split("```")[0]
    session = session.replace("/tmp/", f"{folder}/")
    session = session.replace("http://localhost:8080", server.url).replace("cd deploy/curl", f"cd {FOLDER}")
    environment = clean_environment(folder, {"TERM": "xterm"})
    result = subprocess.run(
        ["dash", "-e", "-c", session],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    for said in ["1 ready", "not complete yet", "it waits", "there are some", "run 1 has begun", "Nothing is that old"]:
        assert said in result.stdout
