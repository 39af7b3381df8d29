"""`torc-server run` as a process: what it prints, what it refuses, how it stops, what survives."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import forked
import psutil
import psycopg
import pytest
from holding import holding
from psycopg.conninfo import make_conninfo
from support import BINARIES, PREFIX, HttpClient, Server, clean_environment, listens, torc_server, wait_for

from torc_server import data_folder, embedded, gunicorn_conf
from torc_server.commands import startup


def run(folder, *arguments, environment=None):
    """`torc-server run`, expected to end by itself."""
    return forked.run(["run", *arguments], folder, clean_environment(folder, environment))


def refused(result):
    """The one line of a server that refused to start."""
    assert result.returncode not in (0, None)
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if line.startswith("torc-server: ")]
    assert len(said) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return said[0]


def postmaster(server):
    """The pid of its PostgreSQL, None if that does not run."""
    return embedded._postmaster(server.data_dir / "data")


def ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def own_server(module_folder):
    """A server with an embedded PostgreSQL, for the tests of this file that leave it running."""
    server = Server(module_folder / "starting")
    try:
        yield server.wait_until_it_listens()
    finally:
        server.stop()


@pytest.fixture
def new_name(database):
    """The name of a database that the test makes; dropped afterwards."""
    name = f"torc_test_{uuid.uuid4().hex[:8]}"
    yield name
    database.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def create_workflow(client, name="kept"):
    return client.post("/workflows", json={"name": name, "user": "me"}).json["id"]


def test_stdout_has_the_port_and_nothing_else_and_stderr_a_line_to_try(own_server):
    assert own_server.out() == f"TORC_SERVER_PORT={own_server.port}\n"
    said = own_server.log.read_text()
    assert f"curl {own_server.url}/torc-service/v1/ping" in said.splitlines()[-1]
    assert own_server.client.get("/ping").json


def test_with_shutdown_on_stdin_eof_it_stops_when_stdin_is_closed(folder, fresh_database_url):
    flags = ["--port=0", "--workers=1", f"--database={fresh_database_url}", "--shutdown-on-stdin-eof"]
    launcher = subprocess.Popen(
        [BINARIES / "torc-server", "run", *flags, "--disable-admin-sql", "--disable-admin-sql-writes"],
        cwd=folder, env=clean_environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = int(launcher.stdout.readline().removeprefix("TORC_SERVER_PORT="))
        time.sleep(0.5)
        assert launcher.poll() is None and listens(port)
        launcher.stdin.close()
        assert launcher.wait(40) == 0
        assert not listens(port)
    finally:
        launcher.kill()
        launcher.wait()
        launcher.stdin.close()
        launcher.stdout.close()


def test_a_second_run_on_the_same_folder_is_refused_and_the_first_goes_on(own_server, folder):
    said = refused(run(folder, "--port=0", f"--data-dir={own_server.data_dir}"))
    assert f"another torc-server runs on the data folder {own_server.data_dir}" in said
    own_server.client.get("/ping")


def test_migrate_uses_the_postgresql_of_a_running_server_and_leaves_it_running(own_server, folder):
    before = postmaster(own_server)
    result = torc_server(folder, "migrate", "--status", f"--data-dir={own_server.data_dir}")
    assert "the newest" in result.stdout
    assert postmaster(own_server) == before
    own_server.client.get("/ping")


def test_a_port_in_use_is_refused_before_anything_is_started(own_server, folder):
    said = refused(run(folder, f"--port={own_server.port}", f"--data-dir={folder / 'new'}"))
    assert f"cannot listen on 127.0.0.1, port {own_server.port}: Address already in use" in said
    assert not (folder / "new").exists()


def test_a_database_that_does_not_answer_is_refused(folder):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = refused(run(folder, "--port=0", f"--database-url=postgresql://127.0.0.1:{closed.getsockname()[1]}/torc"))
    assert "Connection refused" in said


def test_a_start_goes_on_when_its_connections_are_ended_by_an_administrator(database_url):
    attempts = []

    def step(url):
        with psycopg.connect(url, autocommit=True) as connection:
            attempts.append(url)
            if len(attempts) == 1:
                connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return connection.execute("SELECT 7").fetchone()

    assert startup._again_if_lost(step, database_url) == (7,)
    assert len(attempts) == 2


def test_a_database_that_is_not_in_utf8_is_refused(folder, new_name, database):
    database.execute(f"CREATE DATABASE {new_name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
    url = make_conninfo(database.info.dsn, dbname=new_name)
    said = refused(run(folder, "--port=0", f"--database-url={url}"))
    assert "the database has the encoding LATIN1" in said and "createdb -E UTF8" in said
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regnamespace('torc')").fetchone() == (None,)


def test_a_data_folder_that_cannot_be_had_is_refused(folder):
    (folder / "file").touch()
    assert "cannot use the data folder" in refused(run(folder, "--port=0", f"--data-dir={folder / 'file' / 'data'}"))


def test_a_plain_database_url_variable_is_ignored_and_too_many_threads_are_told_each_with_a_warning(
    start_server, database_url
):
    foreign = {"DATABASE_URL": "sqlite:/nowhere.db"}
    server = start_server(environment=foreign, database_url=database_url, workers=1, threads=1000)
    assert "DATABASE_URL is ignored" in server.log.read_text()
    assert "may open 2003 connections, the database allows" in server.log.read_text()


def test_the_embedded_database_has_a_connection_for_each_thread_and_keeps_what_it_answered(own_server):
    with psycopg.connect(embedded.conninfo(own_server.data_dir)) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert int(settings["max_connections"]) >= 2 * 4 + 20
    assert settings["fsync"] == settings["synchronous_commit"] == settings["full_page_writes"] == "on"
    assert settings["listen_addresses"] == ""
    assert settings["idle_in_transaction_session_timeout"] != "0"


# What libpq takes from the environment, and what would keep us from the embedded PostgreSQL
SHELL = {
    "PGSERVICE": "work", "PGHOSTADDR": "192.0.2.1", "PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "me",
    "PGDATABASE": "mine", "PGOPTIONS": "-c no_such_setting=1", "PGCLIENTENCODING": "LATIN1", "PGSSLMODE": "verify-full",
    "PGREQUIREAUTH": "scram-sha-256", "PGCHANNELBINDING": "require", "PGTARGETSESSIONATTRS": "standby",
    "PGGSSENCMODE": "require", "PGCONNECT_TIMEOUT": "x",
}  # fmt: skip


def test_the_shells_variables_for_libpq_do_not_reach_the_embedded_postgresql(start_server, folder):
    server = start_server(environment=SHELL)
    workflow = create_workflow(server.client, "€")
    killed = postmaster(server)
    os.kill(killed, signal.SIGKILL)  # a worker starts it again

    def answers_again():
        return server.client.get(f"/workflows/{workflow}", status=None).status_code == 200 and (
            postmaster(server) not in (None, killed)
        )

    wait_for(answers_again, timeout=30)
    result = torc_server(folder, "migrate", "--status", f"--data-dir={server.data_dir}", environment=SHELL)
    assert "the newest" in result.stdout, result.stderr
    url = f"{server.url}{PREFIX}/workflows/{workflow}/events/stream"
    with urllib.request.urlopen(url, timeout=20) as stream:
        assert stream.readline() == b": listening\n"


NAMES = ["a,b", "it's", 'say "x"', "back\\slash", "50%", "eq=ual", "ü €"]


@pytest.mark.parametrize("name", [" ".join(NAMES), *(pytest.param(name, marks=pytest.mark.long) for name in NAMES)])
def test_a_data_folder_may_have_any_name(folder, name):
    state = folder / name
    try:
        with psycopg.connect(embedded.start(state, tie=True)) as connection:
            assert connection.execute("SHOW data_directory").fetchone() == (str(state / "data"),)
        with psycopg.connect(embedded.start(state)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        embedded.stop(state)


def test_a_postgresql_that_lets_nobody_in_is_told_with_its_reason_within_10_s(folder):
    state = folder / "data"
    embedded.start(state, tie=True)
    with psycopg.connect(embedded.conninfo(state), autocommit=True) as connection:
        connection.execute("CREATE ROLE other SUPERUSER LOGIN")
    hba = state / "data" / "pg_hba.conf"
    hba.write_text("local all other trust\n")
    embedded.stop(state)
    started = time.monotonic()
    try:
        for _ in range(2):  # the second one attaches
            with pytest.raises(embedded.EmbeddedError, match="refuses us: .*pg_hba.conf"):
                embedded.start(state, tie=True)
        assert time.monotonic() - started < 20
    finally:
        embedded.stop(state)


def test_ctrl_c_stops_postgresql_too_and_starting_again_finds_the_data(start_server, folder):
    server = start_server(data_dir=folder / "with space")
    workflow = create_workflow(server.client)
    database = psutil.Process(postmaster(server))
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does: the master and its workers alike
    assert server.process.wait(40) == 0
    assert ended(database)
    again = start_server(data_dir=folder / "with space")
    assert again.client.get(f"/workflows/{workflow}").json["name"] == "kept"


def test_killed_with_9_it_leaves_no_postgresql_and_starting_again_finds_the_data(start_server, folder):
    server = start_server(data_dir=folder / "data")
    workflow = create_workflow(server.client)
    database = psutil.Process(postmaster(server))
    workers = [psutil.Process(pid) for pid in server.workers()]
    server.client.close()
    server.process.kill()
    server.process.wait()
    wait_for(lambda: all(map(ended, [database, *workers])), 30, "the end of all processes")
    again = start_server(data_dir=folder / "data")
    assert again.client.get(f"/workflows/{workflow}").json["name"] == "kept"


def test_a_killed_postgresql_is_started_again_and_a_killed_worker_replaced(start_server, folder):
    server = start_server(data_dir=folder / "data")
    workflow = create_workflow(server.client)
    killed = postmaster(server)
    os.kill(killed, signal.SIGKILL)

    def runs_again():  # for a moment the connections of the killed one may still answer
        answered = server.client.get(f"/workflows/{workflow}", status=None).status_code == 200
        return answered and postmaster(server) not in (None, killed)

    wait_for(runs_again, timeout=30)
    worker = server.workers()[0]
    os.kill(worker, signal.SIGKILL)
    server.wait_for_workers(2, without={worker})
    database = psutil.Process(postmaster(server))
    assert server.stop() == 0
    assert ended(database)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_told_to_stop_before_gunicorn_has_made_it_ready_hears_it(number):
    opened = SimpleNamespace(open=lambda: None)
    extensions = dict.fromkeys(("database", "presence", "tasks", "node_watch", "api_traffic"), opened)
    extensions |= {"accounts": None, "streams": SimpleNamespace()}
    server = SimpleNamespace(app=SimpleNamespace(wsgi=lambda: SimpleNamespace(extensions=extensions)))
    worker = SimpleNamespace(alive=True, slot=0)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGQUIT)}
    try:
        gunicorn_conf.post_fork(server, worker)
        signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert not worker.alive


def test_sigterm_lets_a_running_request_finish(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url)
    with holding(fresh_database_url, "workflow") as held, ThreadPoolExecutor(1) as threads:
        request = threads.submit(create_workflow, server.client)
        held.wait()
        server.process.terminate()
        wait_for(lambda: not listens(server.port), timeout=30, what="the port to be closed")
        assert not request.done()
        held.release()
        assert request.result()
    assert server.process.wait(40) == 0


ACCEPTS_SLOWLY = f"""#!{sys.executable}
import time
from pathlib import Path

from torc_server import cli, worker

accept = worker.Worker._accept


class Slow:
    def __init__(self, worker, listener):
        self._worker, self._listener = worker, listener

    def accept(self):
        found = self._listener.accept()
        Path("accepted").touch()
        while self._worker.alive:
            time.sleep(0.01)
        time.sleep(1)
        return found

    def __getattr__(self, name):
        return getattr(self._listener, name)


worker.Worker._accept = lambda worker, listener: accept(worker, Slow(worker, listener))
cli.main()
"""


def test_a_client_whose_connection_is_accepted_while_the_worker_begins_to_stop_is_answered(
    start_server, fresh_database_url, folder
):
    program = folder / "torc-server"
    program.write_text(ACCEPTS_SLOWLY)
    program.chmod(0o755)
    server = start_server(database_url=fresh_database_url, workers=1, program=program)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(server.client.get, "/ping")
        wait_for(lambda: server.log.with_name("accepted").exists(), 30, "the connection to be accepted")
        server.process.terminate()
        assert answer.result().json == {"status": "ok"}


def test_sighup_replaces_the_workers_and_no_request_fails(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=2)
    server.wait_for_workers(2)
    before = set(server.workers())
    client = HttpClient(server.url, idle=1)
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 60
    while before & set(server.workers()):
        assert time.monotonic() < end
        client.get("/ping")
    client.get("/ping")
    assert server.out() == f"TORC_SERVER_PORT={server.port}\n"


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "jq"))), reason="needs bash, curl and jq")
def test_the_first_workflow_of_the_readme_works_as_printed_also_when_typed_twice(
    start_server, fresh_database_url, folder
):
    server = start_server(database_url=fresh_database_url)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    script = readme.split("## A first workflow")[1].split("```sh\n")[1].split("```")[0]
    script = script.replace("http://127.0.0.1:8080", server.url).replace("curl -sS", "curl --fail-with-body -sS")
    command = ["bash", "-e", "-o", "pipefail", "-c", script + script]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("Hello World\n") == 2
    assert result.stdout.endswith("true\n")
    for workflow in server.client.get("/workflows").json["items"]:
        jobs = server.client.get("/jobs", params={"workflow_id": workflow["id"]}).json["items"]
        assert {job["name"]: job["status"] for job in jobs} == {"write": "completed", "greet": "completed"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has PostgreSQL run under another account")
def test_for_root_a_folder_that_postgresqls_account_cannot_reach_is_replaced_by_one_that_it_can(folder, monkeypatch):
    monkeypatch.setattr(data_folder, "ROOTS_FOLDER", folder / "var")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    other = embedded.reachable_folder(closed / "project" / ".torc")
    assert other.parent == folder / "var"
    assert other == embedded.reachable_folder(closed / "project" / ".torc")
    assert other != embedded.reachable_folder(closed / "other" / ".torc")
    assert closed.stat().st_mode & 0o777 == 0o700
    closed.chmod(0o755)
    assert embedded.reachable_folder(closed / "project" / ".torc") == closed / "project" / ".torc"
    (other / "data").mkdir(parents=True)
    assert embedded.reachable_folder(closed / "project" / ".torc") == other, "data made there is still found"


def test_a_pid_file_left_by_a_crash_that_names_another_program_harms_nobody(folder):
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        state = folder / "data"
        embedded.start(state, tie=True)
        embedded.stop(state)
        (state / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n")
        embedded.stop(state)
        with psycopg.connect(embedded.start(state, tie=True)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        embedded.stop(state)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_setting_that_postgresql_refuses_is_told_with_its_reason(folder):
    with pytest.raises(embedded.EmbeddedError, match="PostgreSQL did not start: .*shared_buffers"):
        embedded.start(folder / "data", {"shared_buffers": "nonsense"}, tie=True)
