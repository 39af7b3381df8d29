"""A server behind pgbouncer: in session mode, and in transaction mode with prepared statements; others are refused."""

import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from contextlib import contextmanager

import forked
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support import PREFIX, clean_environment, listens, wait_for

from torc_server import connections
from torc_server.database import Database
from torc_server.errors import ApiError

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="needs pgbouncer")


def has_prepared_statements():
    said = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True).stdout
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", said).groups())) >= (1, 21)


@pytest.fixture
def pooled(folder, fresh_database_url):
    """A context manager: pooled("session") gives the URL of the fresh database through a pgbouncer."""

    @contextmanager
    def pooled(mode, **settings):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        backend = conninfo_to_dict(fresh_database_url)
        server = " ".join(f"{name}={backend[name]}" for name in ("host", "port", "user", "password") if name in backend)
        options = {
            "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": mode, "default_pool_size": 30, **settings,
        }  # fmt: skip
        lines = ["[databases]", f"* = {server}", "[pgbouncer]", *(f"{k} = {v}" for k, v in options.items())]
        file = folder / f"pgbouncer-{port}.ini"
        file.write_text("\n".join(lines) + "\n")
        user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if user and backend["host"].startswith("/"):  # only PostgreSQL's own account passes to its socket
            user = {"user": os.stat(backend["host"]).st_uid}
        with open(folder / "pgbouncer.log", "wb") as log:
            process = subprocess.Popen([PGBOUNCER, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **user)
        try:
            wait_for(lambda: listens(port) or process.poll() is not None, what="pgbouncer")
            yield make_conninfo("", host="127.0.0.1", port=port, user=backend["user"], dbname=backend["dbname"])
        finally:
            process.terminate()
            process.wait(10)

    return pooled


def run(folder, *arguments):
    """`torc-server …`, expected to end by itself with one line; returns that."""
    result = forked.run(arguments, folder, clean_environment(folder))
    assert result.returncode == 1 and result.stdout == "", result
    said = [line for line in result.stderr.splitlines() if line.startswith("torc-server: ")]
    assert len(said) == 1 and "Traceback" not in result.stderr, result.stderr
    return said[0]


def complete_jobs(client, count=30, runners=4):
    """Runners claim, start and complete all jobs of a new workflow; nothing may fail."""
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    jobs = [{"workflow_id": workflow, "name": f"j{number}", "command": "c"} for number in range(count)]
    client.post("/bulk_jobs", json={"jobs": jobs})
    client.post(f"/workflows/{workflow}/initialize_jobs")
    node = client.post(
        "/compute_nodes",
        json={
            "workflow_id": workflow, "hostname": "h", "pid": 1, "num_cpus": 1, "memory_gb": 1, "num_gpus": 0,
            "num_nodes": 1, "compute_node_type": "local", "start_time": "now", "is_active": True,
        },
    ).json["id"]  # fmt: skip
    failures = []

    def work():
        try:
            while claimed := client.post(f"/workflows/{workflow}/claim_next_jobs?limit=2").json["jobs"]:
                for job in claimed:
                    client.put(f"/jobs/{job['id']}/start_job/0/{node}")
                    result = {
                        "job_id": job["id"], "workflow_id": workflow, "run_id": 0, "compute_node_id": node,
                        "return_code": 0, "exec_time_minutes": 0.1, "completion_time": "now", "status": "completed",
                    }  # fmt: skip
                    client.post(f"/jobs/{job['id']}/complete_job/completed/0", json=result)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(runners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert client.get(f"/workflows/{workflow}/is_complete").json["is_complete"]
    assert client.get("/jobs", params={"workflow_id": workflow}).json["total_count"] == count


def test_postgresql_itself_is_no_pooler(database_url):
    assert not connections.is_pooled_by_transaction(database_url)


def test_in_session_mode_all_works_and_our_settings_hold(pooled, start_server):
    with pooled("session") as url:
        assert not connections.is_pooled_by_transaction(url)
        with connections.connect(url) as connection:
            assert connection.first("SELECT current_setting('enable_seqscan')", {}) == "off"
        server = start_server(database_url=url)
        complete_jobs(server.client)
        server.client.get("/readyz", prefix="")
        server.stop()


def test_transaction_mode_without_prepared_statements_is_refused_at_the_start(pooled, folder, fresh_database_url):
    settings = {"max_prepared_statements": 0} if has_prepared_statements() else {}
    with pooled("transaction", **settings) as url:
        said = run(folder, "run", "--port=0", f"--database-url={url}", f"--listen-database-url={fresh_database_url}")
        assert "loses prepared statements" in said and "max_prepared_statements" in said
        assert "loses prepared statements" in run(folder, "migrate", f"--database-url={url}")


def test_statement_mode_is_refused_at_the_start(pooled, folder, fresh_database_url):
    with pooled("statement") as url:
        said = run(folder, "run", "--port=0", f"--database-url={url}", f"--listen-database-url={fresh_database_url}")
    assert "gives each statement another session" in said


def test_a_pooler_that_cannot_serve_us_any_more_is_503_and_nothing_is_sent_to_it(pooled, monkeypatch):
    """It was changed while the server runs."""
    monkeypatch.setattr("torc_server.database.CONNECT_SECONDS", 0)
    with pooled("statement") as url:
        database = Database(url)
        with pytest.raises(ApiError, match="connection") as raised:
            database.run(lambda connection: pytest.fail("it was given a connection"))
        assert raised.value.status == 503
        database.close()


@pytest.mark.skipif(not PGBOUNCER or not has_prepared_statements(), reason="needs pgbouncer 1.21 or newer")
def test_in_transaction_mode_with_prepared_statements_all_works(pooled, start_server, folder, fresh_database_url):
    with pooled("transaction", max_prepared_statements=100, default_pool_size=3) as url:
        assert connections.is_pooled_by_transaction(url)
        said = run(folder, "run", "--port=0", f"--database-url={url}")
        assert "--listen-database-url" in said
        server = start_server(database_url=url, listen_database_url=fresh_database_url)
        complete_jobs(server.client, runners=8)
        workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
        stream = f"{server.url}{PREFIX}/workflows/{workflow}/events/stream"
        with urllib.request.urlopen(stream, timeout=20) as frames:
            assert frames.readline() == b": listening\n"
            node = {"workflow_id": workflow, "scheduler_id": 1, "scheduler_config_id": 1, "scheduler_type": "slurm"}
            server.client.post("/scheduled_compute_nodes", json=node | {"status": "pending"})
            assert [frames.readline() for _ in range(2)][1] == b"event: scheduler_node_created\n"
        with psycopg.connect(url, autocommit=True) as plain:  # nothing of ours is left in the sessions
            for _ in range(10):
                assert plain.execute("SELECT current_setting('enable_seqscan')").fetchone() == ("on",)
        server.stop()
