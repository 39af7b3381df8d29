"""SIGHUP takes up settings files, certificates and code, and says in one line what changed and what needs a restart."""

import contextlib
import re
import shutil
import signal
import ssl
import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import trustme
from support import HttpClient, wait_for

from torc_server import migrations
from torc_server.worker import STOP_SIGNALS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def reload(server, times=1):
    """Send SIGHUP; return the line that it wrote. The connection of server.client is closed: its worker will end."""
    server.client.close()
    before = len(reports(server))
    for _ in range(times):
        server.process.send_signal(signal.SIGHUP)
    return wait_for(lambda: reports(server)[before:], timeout=60, what="the end of the reload")[0]


def workers(server):
    server.wait_for_workers(2)
    return server.workers()


def reports(server):
    return re.findall(r"(?:Reloaded; |not reloaded, ).*", server.log.read_text())


@pytest.fixture
def torc_toml(folder):
    """The file in the working directory of the first server."""
    (folder / "0").mkdir()
    return folder / "0" / "torc.toml"


def test_settings_files_are_taken_up_and_what_belongs_to_open_sockets_and_the_database_waits_for_a_restart(
    start_server, database_url, torc_toml
):
    torc_toml.write_text("[server]\nmax_request_body_mb = 1\n")
    server = start_server(database_url=database_url)
    before = workers(server)
    workflow = {"name": "w", "user": "u", "description": "x" * (2 << 20)}
    server.client.post("/workflows", json=workflow, status=413)
    torc_toml.write_text("[server]\nmax_request_body_mb = 3\nmax_streams = 7\nsocket = 'later.sock'\n")
    assert reload(server) == "Reloaded; changed: max_request_body_mb, max_streams; needs a restart: socket"
    server.wait_for_workers(2, without=before)
    server.client.post("/workflows", json=workflow)
    assert server.out() == f"TORC_SERVER_PORT={server.port}\n"


def test_what_cannot_be_used_changes_nothing(start_server, database_url, torc_toml):
    server = start_server(database_url=database_url)
    before = workers(server)
    for broken, reason in (
        ("[server]\nthreads = 'many'\n", "'many' is not a valid integer"),
        ("[server", "cannot read the configuration file torc.toml"),
        ("[server]\nauth_file = 'absent'\n", "cannot use the password file absent"),
    ):
        torc_toml.write_text(broken)
        told = reload(server)
        assert told.startswith("not reloaded, everything stays as it is: ")
        assert reason in told
        assert workers(server) == before
        server.client.get("/ping")
    torc_toml.unlink()
    assert reload(server) == "Reloaded; changed: nothing"


def test_a_new_certificate_is_shown_to_new_connections(start_server, database_url, folder):
    authority = trustme.CA()

    def issue():
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    first = issue()
    server = start_server(
        database_url=database_url, https=True, tls_cert=folder / "cert.pem", tls_key=folder / "key.pem"
    )
    shown = lambda: ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", server.port), timeout=10))  # noqa: E731
    assert shown() == first
    before = workers(server)
    second = issue()
    assert reload(server) == "Reloaded; changed: certificates"
    server.wait_for_workers(2, without=before)
    assert shown() == second


@pytest.fixture
def copied_program(folder):
    """The program, run from a copy of the code that a test may change."""
    code = folder / "code"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("torc_server", "sql"):
        shutil.copytree(ROOT / name, code / name, ignore=ignored)
    program = code / "torc-server"
    program.write_text(f"#!{sys.executable}\nfrom torc_server.cli import main\n\nmain()\n")
    program.chmod(0o755)
    return program


def test_new_code_is_served_and_code_that_does_not_start_is_not(start_server, database_url, copied_program):
    server = start_server(database_url=database_url, program=copied_program)
    before = workers(server)
    system = copied_program.parent / "torc_server" / "blueprints" / "system.py"
    code = system.read_text()
    system.write_text(code.replace('{"status": "ok"}', '{"status": "renewed"}'))
    assert system.read_text() != code
    assert reload(server) == "Reloaded; changed: code"
    server.wait_for_workers(2, without=before)
    assert server.client.get("/ping").json == {"status": "renewed"}
    system.write_text("import something_that_is_not_installed\n")
    assert "something_that_is_not_installed" in reload(server)
    assert server.client.get("/ping").json == {"status": "renewed"}


def test_a_release_with_another_schema_is_not_taken_up_before_the_database_is_migrated(
    start_server, fresh_database_url, copied_program
):
    server = start_server(database_url=fresh_database_url, program=copied_program)
    migrations = copied_program.parent / "sql" / "migrations"
    (migrations / "9000_later.sql").write_text("CREATE TABLE torc.later ();\n")
    (migrations / "9000_later.rollback.sql").write_text("DROP TABLE torc.later;\n")
    assert "type: torc-server migrate" in reload(server)
    server.client.get("/ping")


def test_the_embedded_postgresql_and_the_process_stay_and_no_request_is_lost(start_server):
    server = start_server()
    postmaster = (server.data_dir / "data" / "postmaster.pid").read_text().split()[0]
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    ended, failures, sent = threading.Event(), [], []

    def send():
        client = HttpClient(server.url, idle=1)
        while not ended.is_set():
            try:
                event = {"workflow_id": workflow, "data": {}, "timestamp": 0}
                sent.append(client.post("/events", json=event).json["id"])
            except (OSError, AssertionError) as error:
                failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        before = workers(server)
        assert reload(server) == "Reloaded; changed: nothing"
        server.wait_for_workers(2, without=before)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert server.client.get("/events", params={"workflow_id": workflow, "limit": 1}).json["total_count"] == len(sent)
    assert (server.data_dir / "data" / "postmaster.pid").read_text().split()[0] == postmaster
    assert server.stop() == 0
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(postmaster)).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", STOP_SIGNALS)
def test_a_server_that_is_told_to_stop_while_a_reload_is_checked_stops(start_server, fresh_database_url, how):
    server = start_server(database_url=fresh_database_url)
    with psycopg.connect(fresh_database_url, autocommit=True) as migrating:
        migrating.execute("SELECT pg_advisory_lock(%s, %s)", migrations.LOCK)  # the check waits for it
        server.process.send_signal(signal.SIGHUP)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        blocked = lambda: migrating.execute(waiting, [migrating.info.backend_pid]).fetchone()[0]  # noqa: E731
        wait_for(blocked, 30, "the check of the reload")
        server.tell_to_stop(how)
    assert server.stop(how) == 0


def test_a_server_that_is_told_to_stop_at_any_moment_of_a_reload_stops(start_server, database_url):
    servers = [start_server(database_url=database_url, workers=1) for _ in range(6)]
    for server in servers:
        server.process.send_signal(signal.SIGHUP)
    for server in servers:
        server.tell_to_stop()
        time.sleep(0.4)
    assert [server.stop() for server in servers] == [0] * len(servers)


@pytest.mark.long
def test_signals_that_come_while_a_reload_is_under_way_do_not_end_the_server(start_server, database_url):
    server = start_server(database_url=database_url)
    before = workers(server)
    for _ in range(5):
        reload(server, times=3)
    server.wait_for_workers(2, without=before)
    server.client.get("/ping")
