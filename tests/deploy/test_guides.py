"""docs/: their commands, typed as printed, with other folders and another address.

docs/operations.md has test_deploy_guide.py, the README's first workflow tests/server/test_starting.py. What takes
seconds and is tried elsewhere too, without the page, is marked long.
"""

import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nginx
import psycopg
import pytest
from support import BINARIES, PREFIX, HttpClient, clean_environment, listens, wait_for
from test_import import make
from workflow import Workflow

from torc_server import embedded, htpasswd, postgres_programs
from torc_server.settings import check_database_url

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BACKUP, DATABASE_GUIDE, MOVING_IN, OPERATIONS = "backup.md", "database.md", "moving-in.md", "operations.md"
ELSEWHERE = {OPERATIONS}
TYPED = {
    "access.md", "administration.md", "clients.md", "http-api.md", "install.md", "monitoring.md", "proxies.md",
    "settings.md", "troubleshooting.md", BACKUP, DATABASE_GUIDE, MOVING_IN,
}  # fmt: skip
needs_curl = pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq"))), reason="needs curl and jq")


def blocks(name, language="sh"):
    """The shell commands of a guide, block by block."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


def test_each_page_with_commands_is_typed():
    assert {page.name for page in DOCS.glob("*.md") if blocks(page.name)} == TYPED | ELSEWHERE


class Shell:
    """Types blocks: /var/lib/torc is the data folder, /var/backups/torc a folder of the test, /tmp/ another one,
    http://127.0.0.1:8080 the server."""

    def __init__(self, folder, data_dir=None, server=None):
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.backups = folder / "backups"
        self.url = server.url if server else "http://127.0.0.1:1"
        self.environment = clean_environment(folder, {"TORC_DATA_DIR": str(self.data_dir), "PGTZ": "UTC"})
        self.environment["PATH"] = f"{BINARIES}:{self.environment['PATH']}"
        if server and server.database_url:
            self.environment["TORC_DATABASE_URL"] = server.database_url

    def here(self, text):
        """A text of a guide, with the folders and the address of this test."""
        text = re.sub(r"(?<![\w/])/tmp/", f"{self.folder}/", text)
        # 1: some server on this machine, maybe of another test, does not answer, or the doctor has found something.
        text = re.sub(r"^(torc-server (?:status|doctor)[ a-z-]*)", r"\1 || [ $? = 1 ] ", text, flags=re.M)
        text = text.replace("/var/lib/torc", str(self.data_dir)).replace("/var/backups/torc", str(self.backups))
        return text.replace("http://127.0.0.1:8080", self.url)

    def type(self, block, **replacements):
        block = self.here(block)
        for old, new in replacements.values():
            assert old in block
            block = block.replace(old, new)
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert result.returncode == 0, block + result.stdout + result.stderr
        return result.stdout

    @contextlib.contextmanager
    def serve(self, block, **environment):
        """Types one line that serves, on a free port; gives a client, and stops the server."""
        [line] = block.splitlines()
        command = [*shlex.split(line, comments=True), "--port=0"]
        with open(self.folder / "stderr", "wb") as log:
            server = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | environment, stdout=subprocess.PIPE, stderr=log,
                text=True,
            )  # fmt: skip
            try:
                told = server.stdout.readline()
                assert told.startswith("TORC_SERVER_PORT="), (self.folder / "stderr").read_text()
                self.url = f"http://127.0.0.1:{int(told.partition('=')[2])}"
                yield HttpClient(self.url)
            finally:
                server.send_signal(signal.SIGTERM)
                assert server.wait(60) == 0
                server.stdout.close()


def names(server):
    return [workflow["name"] for workflow in server.client.get("/workflows").json["items"]]


def add(server, name):
    return server.client.post("/workflows", json={"name": name, "user": "u"}).json["id"]


@pytest.mark.long
def test_the_commands_of_the_backup_guide_work(start_server, folder):
    backup, restore, archive, base, back, reset, prune, prune_rows = blocks("backup.md")
    data = folder / "data"
    shell = Shell(folder, data)
    server = start_server(data_dir=data)
    add(server, "monday")
    assert "1 workflows" in shell.type(backup)
    add(server, "tuesday")
    server.stop()
    assert "1 workflows" in shell.type(restore)

    server = start_server(data_dir=data)
    assert names(server) == ["monday"]
    (shell.backups / "wal").mkdir()
    subprocess.run(["chown", "--reference", data / "data", shell.backups / "wal"], check=True)
    shell.type(archive)
    server.stop()
    server = start_server(data_dir=data)
    assert "archived_count" in shell.type(base)
    add(server, "good")
    time.sleep(1.5)
    moment = shell.type("torc-server pg psql -Atc 'SELECT now()'").strip()
    time.sleep(1.5)
    for number in range(1, 3):
        server.client.delete(f"/workflows/{number}")
    wal = shell.type("torc-server pg psql -Atc 'SELECT pg_walfile_name(pg_switch_wal())'").strip()
    wait_for(lambda: (shell.backups / "wal" / wal).exists(), 60, "the archive")
    server.stop()
    shell.type(back, moment=("2026-03-05 14:30:00+00", moment))
    server = start_server(data_dir=data)
    assert names(server) == ["monday", "good"]
    shell.type(reset)
    server.stop()
    server = start_server(data_dir=data)
    add(server, "goes on")
    assert names(server) == ["monday", "good", "goes on"]

    assert "nothing" in shell.type(prune)
    shell.type(prune_rows)


def test_the_commands_of_the_guide_to_moving_in_work(start_server, folder):
    move, go_on, check = blocks("moving-in.md")
    server = start_server()
    shell = Shell(folder, server.data_dir)
    make(folder, "0.22.2").rename(folder / "torc.db")
    assert "Imported 2 workflows" in shell.type(move)
    assert names(server) == ["survey", "old"]
    assert "Imported 0 workflows" in shell.type(go_on)
    assert "(0 rows)" in shell.type(check)


@needs_curl
def test_the_commands_of_the_guide_to_the_interface_work_also_when_typed_twice(server, folder):
    """As one script, each call answered with 200."""
    script = "".join(blocks("http-api.md")).replace("curl -sS", "curl --fail-with-body -sS")
    printed = Shell(folder, server=server).type(script + script)
    assert printed.count('{"status":"ready","attempt_id":2}\n') == 2
    assert printed.count("completed\ncompleted\nrunning\nfailed\n") == 2
    assert printed.endswith("true\ntrue\ntrue\nsurvey\n")


def test_the_error_that_the_guide_to_the_interface_shows_is_the_one_that_comes(client):
    [shown] = blocks("http-api.md", "json")
    assert client.post("/jobs", json={"name": 1}, status=422).json == json.loads(shown)


def test_the_commands_of_the_page_on_installing_are_those_of_the_guide_and_work(server, fresh_database_url, folder):
    install, run, ask, psql = blocks("install.md")
    guide = "".join(blocks(OPERATIONS)).replace("--quiet ", "")
    for line in install.splitlines()[:2]:
        assert line in guide
    shell = Shell(folder, server=server)
    with shell.serve(run, TORC_DATABASE_URL=fresh_database_url):
        assert shell.type(ask).startswith('{"status":"ok"}{"status":"ok"')
    assert "count" in shell.type(psql)


def test_the_commands_of_the_page_on_settings_work(folder):
    [block] = blocks("settings.md")
    printed = Shell(folder).type(block)
    assert "--host" in printed and "port = 8080  # default" in printed and "# port = 8080" in printed


@needs_curl
@pytest.mark.long
def test_the_commands_of_the_page_on_access_work(fresh_database_url, folder):
    users, run, curl = blocks("access.md")
    shell = Shell(folder)
    give = r"echo 'long enough' | \1 --stdin \2"
    shell.type(re.sub(r"(torc-server htpasswd (?:add|verify)) (\w+ \w+)", give, users))
    assert htpasswd.parse((folder / "people").read_text()).keys() == {"alice"}
    with shell.serve(run, TORC_DATABASE_URL=fresh_database_url) as client:
        assert shell.type(curl, password=("-u alice", "-sSf -u alice:'long enough'")) == '{"status":"ok"}'
        client.get("/access_groups", user=("alice", "long enough"))
        client.get("/workflows", status=401)


@needs_curl
@pytest.mark.long
def test_the_commands_of_the_page_on_administration_work(start_server, fresh_database_url, folder):
    sql, stream = blocks("administration.md")
    (folder / "people").write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    server = start_server(
        database_url=fresh_database_url, auth_file=folder / "people", enforce_access_control=True, admin_user="alice",
        enable_admin_sql=True,
    )  # fmt: skip
    shell = Shell(folder, server=server)
    password = ("-u alice", "-sS -u alice:'long enough'")
    assert '"committed":false' in shell.type(sql, password=password).replace(" ", "")
    shell.type(stream.rstrip() + " --max-time 1 || [ $? = 28 ]", password=password)  # 28: its time is over


def test_the_commands_of_the_page_on_proxies_work(fresh_database_url, folder):
    [run], [location] = blocks("proxies.md"), blocks("proxies.md", "nginx")
    shell = Shell(folder)
    with shell.serve(run, TORC_DATABASE_URL=fresh_database_url) as client:
        browser = {"Host": "torc.example.org", "Sec-Fetch-Site": "same-origin"}
        client.get("/workflows", headers=browser)
        client.get("/workflows", headers=browser | {"Host": "other.example.org"}, status=403)
        if nginx.NGINX:
            with serving_with_nginx(folder, shell.here(location)) as url:
                HttpClient(url).get("/ping", headers=browser, prefix=f"/torc{PREFIX}")


@contextlib.contextmanager
def serving_with_nginx(folder, location):
    """A real nginx with that location; gives its URL."""
    port = nginx.free_port()
    (folder / "torc.conf").write_text(f"server {{ listen 127.0.0.1:{port}; {location} }}")
    (folder / "nginx.conf").write_text(nginx.MAIN.format(folder=folder))
    process = subprocess.Popen([nginx.NGINX, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port), what="nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


DATABASE_URL = "postgresql://torc@localhost/torc"


@pytest.mark.long
def test_the_commands_of_the_page_on_databases_work(folder):
    create, migrate, *urls = blocks(DATABASE_GUIDE)
    shell = Shell(folder)
    conninfo = psycopg.conninfo.conninfo_to_dict(embedded.start(folder / "postgres", {"fsync": "off"}, tie=True))
    try:
        programs = Path(postgres_programs.newest("createuser")).parent
        shell.environment |= {"PGHOST": conninfo["host"], "PGUSER": conninfo["user"]}
        shell.environment["PATH"] = f"{programs}:{shell.environment['PATH']}"
        url = f"postgresql://crew@/crew?host={conninfo['host']}"
        *prepare, run = create.splitlines()
        shell.type(prepare[0].replace("torc", "crew"))  # torc is the administrator of this PostgreSQL
        with shell.serve(run, TORC_DATABASE_URL=url):
            pass
        assert DATABASE_URL in prepare[1]
        shell.environment["TORC_DATABASE_URL"] = url
        assert "the newest" in shell.type(migrate)
    finally:
        embedded.stop(folder / "postgres")
    for export in "".join(urls).splitlines():
        check_database_url(shlex.split(export)[1].partition("=")[2])


@needs_curl
@pytest.mark.long
def test_the_commands_of_the_page_on_monitoring_work(start_server, fresh_database_url, folder):
    server = start_server(database_url=fresh_database_url, log_dir=folder, access_log="all", json_logs=True)
    server.client.get("/ping", headers={"X-Span-ID": "1764234765123456789"})
    wait_for(lambda: "1764234765123456789" in (folder / "torc-server.log").read_text(), 10, "the line")
    shell = Shell(folder, server=server)
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        node = Workflow(server.client, database).node()
    ended = subprocess.Popen(["true"])
    ended.wait()
    shell.environment |= {"NODE": str(node), "PID": str(ended.pid), "TORC_API_URL": f"{server.url}{PREFIX}"}
    for block in blocks("monitoring.md"):
        shell.type(block)


@needs_curl
@pytest.mark.long
def test_the_commands_of_the_page_on_clients_work(server, folder):
    make_venv, create, fail, again = blocks("clients.md")
    assert "torc-client==0.22.2" in make_venv and "torc-client==0.22.2" in (ROOT / "setup.cfg").read_text()
    shell = Shell(folder, server=server)
    shell.environment["TORC_API_URL"] = f"{server.url}{PREFIX}"
    (folder / "README.md").write_text("one two two\n" * 20)
    (folder / ".venv").symlink_to(BINARIES.parent)
    (folder / "examples").symlink_to(ROOT / "examples")
    [program] = blocks("clients.md", "python")
    (folder / "program.py").write_text(program)
    assert shell.type("python program.py") == "['hello']\n"
    assert '"two": 40' in shell.type(create).replace("\n", "")
    printed = shell.type(fail + again.replace("curl -sS", "curl --fail-with-body -sS"))
    assert "a part has failed" in printed
    assert printed.rstrip().endswith("10 completed")


def stuck_workflow(client, database):
    """Ids: a workflow with a failed job, one that waits for a running one, and that one's node, which has died."""
    workflow = Workflow(client, database)
    workflow.job_in("failed")
    running = workflow.job()
    waiting = workflow.job(running)
    workflow.initialize(only_uninitialized=True)
    assert workflow.claim() == [running]
    workflow.start(running, node := workflow.node())
    ended = f"/compute_nodes/{workflow.default_node}"  # of the failed job
    client.put(ended, json=client.get(ended).json | {"is_active": False})
    return {"workflow": workflow.id, "job": waiting, "node": node}


@needs_curl
@pytest.mark.long
def test_each_command_of_the_page_on_troubleshooting_works(server, folder):
    """With a workflow in which a job has failed, one waits, one runs on a node that has died."""
    setting, first = blocks("troubleshooting.md")
    client = server.client
    with psycopg.connect(server.database_url, autocommit=True) as database:
        ids = stuck_workflow(client, database)
    shell = Shell(folder, server=server)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "people").touch()
    shell.type(first)
    given = " ".join(f"{name}={id}" for name, id in ids.items())
    prepare = shell.here(setting).replace("workflow=1 job=1 node=1", given)
    text = (DOCS / "troubleshooting.md").read_text()
    cells = [re.split(r"(?<!\\)\|", line)[3] for line in text.splitlines() if line.startswith("|")]
    commands = [c.replace("\\|", "|") for cell in cells for c in re.findall(r"`([^`]+)`", cell)]
    typed = [c for c in commands if re.match(r"curl |torc-server |deploy/|df ", c)]
    assert len(typed) > 20
    for command in typed:
        if command.startswith("torc-server run --slow"):
            command += " --check"
        if command.startswith(("torc-server nginx-config", "torc-server run --check")):
            continue  # tests/deploy/test_deploy_files.py
        if command.startswith("deploy/"):
            command += " || [ $? = 1 ]"  # they answer that there is something
        shell.type(f"{prepare}\nexport USER=me\n{command}")
    assert client.get(f"/compute_nodes/{ids['node']}").json["is_active"] is False
