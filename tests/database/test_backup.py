"""`torc-server backup` and `restore`: what was answered before a backup is in it, and a restore is all or nothing."""

import os
import stat
import threading

import psycopg
import pytest
from support import HttpClient, torc_server, wait_for
from test_import import Target
from test_migrations import dump

from torc_server import backup, migrations, postgres_programs

WORKERS = 3
JOBS = 400


def tables(url):
    """Everything that the tables hold, but for what is never backed up."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'torc'::regnamespace AND relkind = 'r'"
            " AND relpersistence = 'p' ORDER BY 1"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT t::text FROM torc.{name} t ORDER BY 1").fetchall()  # noqa: S608
            for (name,) in names
        }


@pytest.fixture
def source(fresh_database_url):
    """A database with two workflows."""
    with Target(fresh_database_url) as target:
        for name in ("first", "second"):
            number = target.client.post("/workflows", json={"name": name, "user": "u"}).json["id"]
            target.client.post("/jobs", json={"workflow_id": number, "name": "j", "command": "c"})
            target.client.post(f"/workflows/{number}/initialize_jobs")
            target.client.post("/events", json={"workflow_id": number, "data": {"text": "a\nb\\.\n\\."}})
        yield target


@pytest.fixture
def file(source, folder):
    """A backup of it."""
    torc_server(folder, "backup", "-d", source.url, folder / "torc.dump")
    return folder / "torc.dump"


def test_a_restored_database_is_the_one_that_was_backed_up(source, file, folder, empty_database_url):
    result = torc_server(folder, "restore", "-d", empty_database_url, file)
    assert result.stdout == "Restored 2 workflows, 2 jobs, 0 results, 2 events\n"
    assert tables(empty_database_url) == tables(source.url)
    assert dump(empty_database_url) == dump(source.url)
    assert migrations.status(empty_database_url).current
    with Target(empty_database_url) as restored:
        assert restored.client.post("/workflows", json={"name": "new", "user": "u"}).json["id"] == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_in_the_middle_of_a_drain_holds_all_that_was_answered_before_it_and_the_drain_can_go_on(
    start_server, fresh_database_url, empty_database_url, folder
):
    server = start_server(database_url=fresh_database_url)
    number = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    jobs = [{"workflow_id": number, "name": f"j{i}", "command": "c"} for i in range(JOBS)]
    created = server.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]
    last = {"workflow_id": number, "name": "last", "command": "c", "depends_on_job_ids": [job["id"] for job in created]}
    server.client.post("/jobs", json=last)
    server.client.post(f"/workflows/{number}/initialize_jobs")
    answered = []
    workers = [threading.Thread(target=drain, args=(server.url, number, answered)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    wait_for(lambda: len(answered) >= JOBS // 10, 60, "the first completions")
    before = list(answered)
    torc_server(folder, "backup", "-d", server.database_url, folder / "torc.dump")
    for worker in workers:
        worker.join()
    assert len(answered) == JOBS + 1

    torc_server(folder, "restore", "-d", empty_database_url, folder / "torc.dump")
    with Target(empty_database_url) as restored:
        done = {job for (job,) in restored.query("SELECT id FROM torc.job WHERE status = 'completed'")}
        assert {*before} <= done
        assert done == {job for (job,) in restored.query("SELECT job_id FROM torc.result")}
        assert restored.query("SELECT * FROM torc.check_invariants()") == []
        restored.query("UPDATE torc.job SET status = 'ready' WHERE status IN ('pending', 'running') RETURNING id")
        again = []
        drain(None, number, again, restored.client)
        assert len(again) == JOBS + 1 - len(done)
        assert restored.client.get(f"/workflows/{number}/is_complete").json["is_complete"]


def drain(url, number, answered, client=None):
    client = client or HttpClient(url)
    node = client.post("/compute_nodes", json={
        "workflow_id": number, "hostname": "h", "pid": 1, "start_time": "2026-01-01T00:00:00Z", "num_cpus": 1,
        "memory_gb": 1, "num_gpus": 0, "num_nodes": 1, "compute_node_type": "local", "is_active": True,
    }).json["id"]  # fmt: skip
    while not client.get(f"/workflows/{number}/is_complete").json["is_complete"]:
        for job in client.post(f"/workflows/{number}/claim_next_jobs", params={"limit": 5}).json["jobs"]:
            client.post(f"/jobs/{job['id']}/complete_job/completed/0", json={
                "job_id": job["id"], "workflow_id": number, "run_id": 0, "attempt_id": 1, "compute_node_id": node,
                "return_code": 0, "exec_time_minutes": 0.1, "completion_time": "2026-01-01T00:00:00Z",
                "status": "completed",
            })  # fmt: skip
            answered.append(job["id"])


def test_a_database_that_holds_data_is_replaced_only_when_told(source, file, folder):
    source.client.post("/workflows", json={"name": "third", "user": "u"})
    refused = torc_server(folder, "restore", "-d", source.url, file, code=1)
    assert "--replace" in refused.stderr and "workflow" in refused.stderr
    assert len(source.items("/workflows")) == 3
    torc_server(folder, "restore", "-d", source.url, file, "--replace")
    assert [workflow["name"] for workflow in source.items("/workflows")] == ["first", "second"]


def test_a_database_that_a_server_has_made_and_nobody_used_counts_as_empty(
    file, folder, fresh_database_url, other_database_url
):
    migrations.migrate(other_database_url)
    torc_server(folder, "restore", "-d", other_database_url, file)
    assert len(tables(other_database_url)["workflow"]) == 2


def test_while_a_server_is_connected_a_restore_is_refused(file, folder, start_server, source):
    server = start_server(database_url=source.url)
    refused = torc_server(folder, "restore", "-d", source.url, file, "--replace", code=1)
    assert f"torc-server process {server.process.pid}" in refused.stderr
    assert server.client.get("/workflows").json["total_count"] == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "missing", "foreign"])
def test_a_damaged_backup_is_refused_in_one_line_and_changes_nothing(damage, source, file, folder, other_database_url):
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) * 3 // 4])
    elif damage == "flipped":  # of the data
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes(byte ^ 0xFF for byte in content[middle:-100]) + content[-100:])
    elif damage == "foreign":
        program = postgres_programs.find("pg_dump", other_database_url)
        os.spawnv(os.P_WAIT, program, ["pg_dump", "--format=custom", f"--file={file}", other_database_url])
    elif damage == "missing":
        file.unlink()
    else:
        file.write_text({"text": "SELECT 1;", "empty": ""}[damage])
    before = tables(source.url)
    refused = torc_server(folder, "restore", "-d", source.url, file, "--replace", code=1)
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert tables(source.url) == before


def test_a_restore_that_fails_half_way_changes_nothing(source, file, folder):
    with psycopg.connect(source.url, autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no index'; END$$;
            CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.refuse()
        """)
    before = tables(source.url)
    refused = torc_server(folder, "restore", "-d", source.url, file, "--replace", code=1)
    assert "no index" in refused.stderr and "nothing has been changed" in refused.stderr
    assert tables(source.url) == before


def test_a_backup_of_an_older_schema_is_brought_up_to_date(folder, empty_database_url, other_database_url):
    latest = max(migrations.versions())
    migrations.migrate(other_database_url, latest - 1)
    torc_server(folder, "backup", "-d", other_database_url, folder / "older.dump")
    torc_server(folder, "restore", "-d", empty_database_url, folder / "older.dump")
    assert migrations.status(empty_database_url).current


def test_a_backup_of_a_newer_schema_is_refused(source, folder, empty_database_url):
    source.query("INSERT INTO torc.schema_migration (version, name) VALUES (9999, 'later') RETURNING 1")
    torc_server(folder, "backup", "-d", source.url, folder / "newer.dump")
    refused = torc_server(folder, "restore", "-d", empty_database_url, folder / "newer.dump", code=1)
    assert "9999" in refused.stderr and not migrations.status(empty_database_url).has_schema


def test_a_backup_that_fails_leaves_the_older_file_and_no_other(file, folder):
    before = file.read_bytes()
    torc_server(folder, "backup", "-d", "postgresql://127.0.0.1:1/x", file, code=1)
    assert file.read_bytes() == before
    assert not file.with_name("torc.dump.new").exists()
    refused = torc_server(folder, "backup", "-d", "postgresql://127.0.0.1:1/x", folder / "none" / "torc.dump", code=1)
    assert len(refused.stderr.splitlines()) == 1


def test_the_embedded_database_is_backed_up_while_it_serves_and_restored_into_another_folder(start_server, folder):
    server = start_server()
    server.client.post("/workflows", json={"name": "embedded", "user": "u"})
    torc_server(folder, "backup", "--data-dir", server.data_dir, folder / "torc.dump")
    torc_server(folder, "restore", "--data-dir", folder / "other", folder / "torc.dump")
    other = start_server(data_dir=folder / "other")
    assert [workflow["name"] for workflow in other.client.get("/workflows").json["items"]] == ["embedded"]
    query = ("psql", "-At", "-c", "SELECT name FROM torc.workflow")
    result = torc_server(folder, "pg", "--data-dir", server.data_dir, *query)
    assert result.stdout == "embedded\n"


def program(folder, version):
    """A pg_dump that says it is of that version."""
    folder.mkdir()
    path = folder / "pg_dump"
    path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    path.chmod(0o755)
    return path


def test_the_program_of_the_servers_version_is_found_or_else_the_next_newer_one(folder, monkeypatch, database_url):
    with psycopg.connect(database_url) as connection:
        version = connection.info.server_version // 10000
    monkeypatch.setattr(postgres_programs, "PLACES", (f"{folder}/*",))
    monkeypatch.setattr(postgres_programs.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(postgres_programs.shutil, "which", lambda name: None)
    program(folder / "older", f"{version - 1}.9")
    with pytest.raises(postgres_programs.ProgramMissing, match=rf"is of version {version - 1}; install .*-{version}"):
        postgres_programs.find("pg_dump", database_url)
    newest = program(folder / "newest", f"{version + 2}.1")
    newer = program(folder / "newer", f"{version + 1}beta1")
    assert postgres_programs.find("pg_dump", database_url) == newer
    same = program(folder / "same", f"{version}.3 (Debian {version}.3-1)")
    assert postgres_programs.find("pg_dump", database_url) == same
    assert postgres_programs.newest("pg_dump") == newest
    mine = program(folder / "mine.bin", f"{version}.1")
    monkeypatch.setenv("TORC_PG_BIN", str(folder / "mine.bin"))
    assert postgres_programs.find("pg_dump", database_url) == mine


def test_a_password_goes_by_the_environment_and_not_by_the_command_line():
    found = postgres_programs.environment("postgresql://u:secret@h:1/d?sslmode=require&connect_timeout=3")
    assert {name: found[name] for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE", "PGSSLMODE")} == {
        "PGUSER": "u", "PGPASSWORD": "secret", "PGHOST": "h", "PGPORT": "1", "PGDATABASE": "d", "PGSSLMODE": "require"
    }  # fmt: skip
    assert not any("secret" in argument for argument in backup.DUMP)
