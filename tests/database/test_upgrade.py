"""A newer release takes over while runners work: its migration is applied under the servers of the release before."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fleet import Fleet
from nginx import NGINX, Nginx, free_port
from support import BINARIES, HttpClient, Server, clean_environment, wait_for

from torc_server import migrations
from torc_server.presence import Presence
from torc_server.settings import Settings

ROOT = Path(__file__).parents[2]
ADDITIVE = """
ALTER TABLE torc.job ADD COLUMN note text, ADD COLUMN weight int NOT NULL DEFAULT 1;
ALTER TABLE torc.workflow_status ADD COLUMN note text;
CREATE TABLE torc.note (id bigint PRIMARY KEY, job_id bigint NOT NULL REFERENCES torc.job ON DELETE CASCADE);
CREATE INDEX note_job_id_idx ON torc.note (job_id);
"""
TAKE_BACK = """
DROP TABLE torc.note;
ALTER TABLE torc.workflow_status DROP COLUMN note;
ALTER TABLE torc.job DROP COLUMN weight, DROP COLUMN note;
"""


class Release:
    """A copy of this source with one migration more, and every function written again."""

    def __init__(self, folder, first_line=""):
        self.folder = folder
        folder.mkdir()
        for name in ("torc_server", "sql"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.version = migrations.versions()[-1] + 1
        path = folder / "sql/migrations" / f"{self.version:04}_note.sql"
        path.write_text(first_line + ADDITIVE)
        path.with_suffix(".rollback.sql").write_text(TAKE_BACK)
        for path in (folder / "sql/functions").rglob("*.sql"):
            path.write_text(path.read_text() + f"\n-- of version {self.version}\n")
        self.inside = ("env", f"PYTHONPATH={folder}")

    def migrate(self, database_url):
        """`torc-server migrate` of this release."""
        return subprocess.run(
            [*self.inside, BINARIES / "torc-server", "migrate", f"--database-url={database_url}"],
            cwd=self.folder, env=clean_environment(self.folder), capture_output=True, text=True, timeout=60,
        )  # fmt: skip


def version_of(database_url):
    return migrations.status(database_url).version


@pytest.mark.long
@pytest.mark.skipif(not NGINX, reason="there is no nginx")
def test_runners_work_on_while_the_database_is_migrated_under_the_old_servers_and_these_are_replaced(
    fresh_database_url, folder
):
    newer = Release(folder / "newer")
    ports = free_port(), free_port()
    upstreams = [f"127.0.0.1:{port}" for port in ports]

    def start(number, port, inside=()):
        options = {"port": port, "database_url": fresh_database_url}
        return Server(folder / f"server-{number}", inside=inside, **options).wait_until_it_listens()

    with contextlib.ExitStack() as stack:
        old = [start(number, port) for number, port in enumerate(ports)]
        for server in old:
            stack.callback(server.stop)
        nginx = stack.enter_context(Nginx(folder / "nginx", Settings(), upstreams=upstreams))
        with Fleet(nginx.url, folder / "fleet") as fleet:
            wait_for_more(fleet)
            migrated = newer.migrate(fresh_database_url)
            assert migrated.returncode == 0, migrated.stderr
            assert version_of(fresh_database_url) == newer.version
            os.kill(old[0].workers()[0], signal.SIGKILL)
            old[0].wait_for_workers(2)
            wait_for_more(fleet)  # the old servers alone, on the new schema
            for server in old:
                assert server.client.get("/readyz", prefix="").json == {"status": "ok"}
            for number, (server, port) in enumerate(zip(old, ports, strict=True), 2):
                server.stop()
                stack.callback(start(number, port, newer.inside).stop)
                wait_for_more(fleet)  # an old and a new one, then new ones only
        with psycopg.connect(fresh_database_url) as connection:
            fleet.check(connection)
        for server in old:
            assert "Traceback" not in server.log.read_text()
        refused = Server(folder / "late", port=0, database_url=fresh_database_url)
        assert refused.process.wait(30) != 0
        assert f"knows only {newer.version - 1}" in refused.log.read_text()


def wait_for_more(fleet, count=250):
    wanted = fleet.stored() + count
    wait_for(lambda: fleet.stored() >= wanted or fleet.failed(), 240, "results")


@pytest.fixture
def newer(folder, monkeypatch):
    """A function: make the migrations of this process those of a newer release."""

    def install(first_line=""):
        release = Release(folder / "newer", first_line)
        monkeypatch.setattr(migrations, "sql_folder", lambda: release.folder / "sql")
        return release

    return install


STOP = migrations.NEEDS_STOP.decode() + "\n"


def test_a_migration_that_needs_a_stop_is_refused_while_a_server_is_connected(fresh_database_url, newer):
    release = newer(STOP)
    with Presence(fresh_database_url).connect():
        with pytest.raises(migrations.MigrationError, match="stop the servers .* first: torc-server process"):
            migrations.migrate(fresh_database_url)
        assert version_of(fresh_database_url) == release.version - 1
        assert migrations.migrate(fresh_database_url, alone=True)  # the server is the one that migrates
    assert version_of(fresh_database_url) == release.version


@pytest.mark.parametrize(("first_line", "status"), [("", 200), (STOP, 503)], ids=["additive", "needs a stop"])
def test_a_running_server_is_ready_after_a_migration_unless_that_needed_its_stop(
    make_client, fresh_database_url, newer, monkeypatch, first_line, status
):
    client = make_client(database_url=fresh_database_url)
    newer(first_line)
    migrations.migrate(fresh_database_url)
    monkeypatch.undo()  # the client's server is of the release before
    found = migrations.status(fresh_database_url)
    assert (found.current, found.serves_running) == (False, status == 200)
    client.get("/readyz", prefix="", status=status)


def test_a_migration_that_is_taken_back_needs_no_stop_any_more(fresh_database_url, newer):
    before = migrations.status(fresh_database_url).serves_since
    release = newer(STOP)
    migrations.migrate(fresh_database_url)
    assert migrations.status(fresh_database_url).serves_since == release.version
    migrations.migrate(fresh_database_url, to=release.version - 1)
    assert migrations.status(fresh_database_url).serves_since == before > 0


def test_calls_succeed_while_all_functions_are_replaced(fresh_database_url, start_server):
    """Again and again: what planned a call before its function was replaced must not fail afterwards."""
    server = start_server(database_url=fresh_database_url)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    server.client.post("/jobs", json={"workflow_id": workflow, "name": "j", "command": "c"})
    server.client.post(f"/workflows/{workflow}/initialize_jobs")
    ended = threading.Event()

    def call():
        client, answers = HttpClient(server.url), Counter()
        while not ended.is_set():
            for path in ("jobs", "files", "results"):
                answers[client.get(f"/{path}", params={"workflow_id": workflow}, status=None).status_code] += 1
            claim = client.post(f"/workflows/{workflow}/claim_next_jobs", status=None)
            answers[claim.status_code] += 1
            for job in claim.json.get("jobs", []):
                back = client.put(f"/jobs/{job['id']}/manage_status_change/ready/0", status=None)
                answers[back.status_code] += 1
        return answers

    with ThreadPoolExecutor(4) as pool, psycopg.connect(fresh_database_url, autocommit=True) as connection:
        calls = [pool.submit(call) for _ in range(4)]
        for _ in range(15):
            migrations._in_transaction(connection, migrations._replace_functions)
            time.sleep(0.1)
        ended.set()
        answers = sum((each.result() for each in calls), Counter())
    assert set(answers) == {200}, server.log.read_text()[-3000:]
