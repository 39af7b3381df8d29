"""`torc-server doctor`: what is wrong is found, told with what to do, and mended where that is safe."""

import json
import time
from dataclasses import replace

import forked
import psycopg
import pytest
from support import MemoryClient, clean_environment
from workflow import Workflow

from torc_server import doctor
from torc_server.app import create_app
from torc_server.settings import Settings

SETTINGS = Settings(workers=2, threads=4)


@pytest.fixture
def connection(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(connection):
    """For the fixture `clock`."""
    return connection


@pytest.fixture
def check(fresh_database_url):
    """A function: the Check of that name, of the database and settings; fix=True: with --fix, and made again."""

    def check(name, fix=False, settings=SETTINGS, conninfo=fresh_database_url):
        return next(doctor.examine(settings, conninfo, only=[name], fixes=fix))

    return check


@pytest.fixture
def workflow(fresh_database_url, connection):
    app = create_app(Settings(), fresh_database_url)
    app.extensions["database"].open()
    yield Workflow(MemoryClient(app), connection)
    app.extensions["database"].close()


def messages(check):
    return [finding.message for finding in check.findings]


def advice(check):
    return [finding.advice for finding in check.findings]


# The schema


def test_a_database_as_the_release_made_it_is_fine_and_nothing_is_left_behind(check, connection):
    count = "SELECT count(*) FROM pg_class"
    before = connection.execute(count).fetchone()
    assert check("schema").findings == []
    assert connection.execute(count).fetchone() == before
    assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'torc_%'").fetchone() == (0,)


def test_functions_that_are_missing_changed_or_foreign_are_named_and_restored(check, connection):
    connection.execute("DROP FUNCTION torc.is_watched(bigint)")
    connection.execute(
        "CREATE OR REPLACE FUNCTION torc.read_time(p_text text) RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'"
    )
    connection.execute("CREATE FUNCTION torc.mine() RETURNS int LANGUAGE sql RETURN 1")
    found = check("schema", fix=True)
    assert sorted(messages(found)) == [
        "1 functions or triggers changed: torc.read_time(p_text text)",
        "1 functions or triggers missing: torc.is_watched(p_workflow_id bigint)",
        "1 functions or triggers not of this release: torc.mine()",
    ]
    assert all(finding.fixed for finding in found.findings)
    assert check("schema").findings == []


def test_a_missing_trigger_is_restored(check, connection):
    connection.execute("DROP TRIGGER forget_deleted_jobs ON torc.job")
    assert messages(check("schema", fix=True)) == ["1 functions or triggers missing: torc.job.forget_deleted_jobs"]
    assert check("schema").findings == []


def test_a_missing_or_invalid_index_is_made_again_and_a_foreign_one_is_left(check, connection):
    connection.execute("DROP INDEX torc.job_workflow_id_idx; CREATE INDEX mine ON torc.job (name)")
    invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'torc.file_workflow_id_idx'::regclass"
    connection.execute(invalid)
    found = check("schema", fix=True)
    assert sorted(messages(found)) == [
        "index torc.file_workflow_id_idx is invalid",
        "index torc.job_workflow_id_idx is missing",
        "index torc.mine is not of this release: it slows down every change",
    ]
    assert 'torc-server pg psql -c "REINDEX INDEX CONCURRENTLY torc.file_workflow_id_idx"' in advice(found)
    assert any('psql -c "CREATE INDEX CONCURRENTLY job_workflow_id_idx ON torc.job' in each for each in advice(found))
    assert messages(check("schema")) == ["index torc.mine is not of this release: it slows down every change"]


@pytest.mark.parametrize("change, message", [
    ("DROP TABLE torc.node_watch", "table torc.node_watch is missing"),
    ("ALTER TABLE torc.job ADD COLUMN mine int", "column torc.job.mine is not of this release (integer)"),
    ("ALTER TABLE torc.job ALTER COLUMN name DROP NOT NULL", "column torc.job.name is changed"),
    ("ALTER TABLE torc.event DROP CONSTRAINT event_workflow_id_fkey",
     "constraint torc.event.event_workflow_id_fkey is missing"),
    ("ALTER TYPE torc.job_status ADD VALUE 'mine'", "type torc.job_status is changed"),
])  # fmt: skip
def test_whatever_else_was_changed_is_named(check, connection, change, message):
    connection.execute(change)
    found = check("schema")
    assert message in messages(found)
    assert all(finding.advice and not finding.repair for finding in found.findings)


def test_an_older_schema_is_told(check, fresh_database_url):
    from torc_server import migrations

    migrations.migrate(fresh_database_url, to=8, lose_data=True)
    found = check("schema").findings
    assert found[0].message.startswith("the database is at version 8 of ")
    assert found[0].advice.endswith("torc-server migrate")


# The data


def test_wrong_counters_are_set_right_and_what_they_held_back_is_released(check, connection, workflow):
    first = workflow.job()
    second = workflow.job(first)
    workflow.initialize()
    workflow.complete(first)
    connection.execute("UPDATE torc.job SET status = 'blocked', open_dependencies = 1 WHERE id = %s", [second])
    found = check("graph", fix=True)
    assert messages(found) == [
        f"workflow {workflow.id}: job {second}: open_dependencies is 1, the edges say 0; "
        f"job {second}: blocked, but nothing is open"
    ]
    assert f"torc.repair_counters({workflow.id})" in found.findings[0].advice
    assert check("graph").findings == []
    assert workflow.status(second) == "ready"


def test_what_names_a_missing_row_is_told(check, connection, workflow):
    job = workflow.job_in("running")
    connection.execute("UPDATE torc.job SET active_compute_node_id = 999999999 WHERE id = %s", [job])
    message = f"workflow {workflow.id}: job {job}: names compute_node_id 999999999, which is missing"
    assert messages(check("graph")) == [message]


def test_what_a_recount_does_not_mend_is_not_called_fixed(check, connection, workflow):
    job = workflow.job()
    connection.execute("INSERT INTO torc.job_depends_on VALUES (%s, 999999999)", [job])
    found = check("graph", fix=True)
    assert not found.findings[0].fixed
    assert "violations are left" in found.findings[0].trouble


def lost_jobs(check, **arguments):
    return [(finding.message, finding.advice) for finding in check("jobs", **arguments).findings]


def test_jobs_on_inactive_silent_or_deleted_nodes_are_named_with_the_node(check, connection, clock, workflow):
    nodes = [workflow.node() for _ in range(4)]
    jobs = [workflow.job_in("pending") for _ in nodes]
    for job, node in zip(jobs, nodes, strict=True):
        workflow.start(job, node)
    assert lost_jobs(check) == []
    connection.execute("UPDATE torc.compute_node SET is_active = false WHERE id = %s", [nodes[0]])
    connection.execute("SELECT torc.heartbeat(%s)", [nodes[1]])
    clock.advance(7200)
    connection.execute("SELECT torc.heartbeat(%s)", [nodes[3]])
    connection.execute("DELETE FROM torc.compute_node WHERE id = %s", [nodes[2]])
    found = lost_jobs(check)
    assert len(found) == 3
    inactive, silent, deleted = found
    assert f"compute node {nodes[0]} (h, pid 1), which is not active: {jobs[0]}" in inactive[0]
    assert f"compute node {nodes[1]} (h, pid 1), which has been silent for more than 3600 s" in silent[0]
    assert f"give-back {nodes[1]}" in silent[1]
    assert f"run on a compute node that was deleted: {jobs[2]}" in deleted[0]
    assert len(lost_jobs(check, settings=replace(SETTINGS, node_timeout=86400))) == 2, "not silent for a day"


def test_claimed_jobs_without_any_active_node_are_told_after_a_while(check, clock, workflow):
    job = workflow.job_in("ready")
    workflow.claim()
    assert lost_jobs(check) == [], "its worker may be about to start it"
    clock.advance(3600)
    assert f"no compute node of it is active: {job}" in lost_jobs(check)[0][0]


# PostgreSQL


@pytest.mark.parametrize(
    "setting, value, words",
    [
        ("synchronous_commit", "off", "acknowledged can be lost"),
        ("default_transaction_isolation", "serializable", "transitions wait"),
    ],
)
def test_settings_that_do_not_fit_are_named_with_the_command(check, connection, setting, value, words):
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting} = '{value}'")
    found = {finding.message.split()[0]: finding for finding in check("PostgreSQL").findings}
    assert words in found[setting].message
    assert f"{setting} is {value} (source: database)" in found[setting].message
    assert found[setting].advice.startswith(f"ALTER SYSTEM SET {setting}")


def test_more_connections_than_postgresql_allows_are_told(check):
    found = check("PostgreSQL", settings=replace(SETTINGS, workers=200)).findings
    assert any("200 workers with 4 threads may open 2001 connections, PostgreSQL allows" in f.message for f in found)


def test_dead_rows_are_vacuumed(check, connection):
    connection.execute("ALTER TABLE torc.event SET (autovacuum_enabled = false)")
    connection.execute("INSERT INTO torc.workflow (name, \"user\") VALUES ('w', 'u')")
    connection.execute("""
        INSERT INTO torc.event (workflow_id, data) SELECT id, '{}' FROM torc.workflow, generate_series(1, 20000);
        DELETE FROM torc.event
    """)
    dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'torc' AND relname = 'event'"
    end = time.monotonic() + 20
    while connection.execute(dead).fetchone()[0] < 20000 and time.monotonic() < end:
        connection.execute("SELECT pg_stat_force_next_flush()")
        time.sleep(0.1)
    found = check("bloat", fix=True)
    assert messages(found) == ["torc.event has 20,000 dead and 0 live rows"]
    assert check("bloat").findings == []


def test_the_clocks_are_compared(check, monkeypatch):
    assert check("clock").findings == []
    monkeypatch.setattr(doctor.time, "time", lambda now=time.time: now() - 100)
    assert messages(check("clock")) == ["PostgreSQL's clock is 100.0 s ahead of the one of this machine"]


# Files and disks


def test_files_that_others_may_read_or_change_are_closed(check, tmp_path):
    password_file, key = tmp_path / "users", tmp_path / "key.pem"
    for path in (password_file, key):
        path.write_text("x")
    password_file.chmod(0o664)
    key.chmod(0o644)
    found = check("files", fix=True, settings=replace(SETTINGS, auth_file=password_file, tls_key=key))
    assert messages(found) == [
        f"the password file {password_file} can be changed by others (mode 0664)",
        f"the private key of TLS {key} can be read by others (mode 0644)",
    ]
    assert [finding.level for finding in found.findings] == ["error", "warning"]
    assert found.findings[0].advice == f"chmod 0640 {password_file}"
    assert [path.stat().st_mode & 0o777 for path in (password_file, key)] == [0o640, 0o640]


def test_a_socket_for_everybody_is_told(check, tmp_path):
    found = check("files", settings=replace(SETTINGS, socket=tmp_path / "s", socket_mode="0666"))
    assert "every user of this machine may connect to" in messages(found)[0]


def test_a_full_disk_is_told(check, monkeypatch, tmp_path):
    usage = type("Usage", (), {"free": 100 << 20, "total": 100 << 30})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    found = check("disk")
    assert found.findings[0].message.endswith("has 100 MiB left")
    assert found.findings[0].level == "error"


# The command


@pytest.fixture
def command(folder):
    """A function: (exit code, stdout) of `torc-server doctor` with these arguments."""

    def call(*arguments, **environment):
        got = forked.run(["doctor", *arguments], folder, clean_environment(folder, environment))
        assert "Traceback" not in got.stderr
        return got.returncode, got.stdout

    return call


def test_the_command_tells_mends_and_exits_with_1_while_something_is_left(command, connection, fresh_database_url):
    where = f"--database-url={fresh_database_url}"
    connection.execute("DROP FUNCTION torc.is_watched(bigint)")
    code, out = command(where, "--only=schema")
    assert code == 1
    assert "error    schema: 1 functions or triggers missing: torc.is_watched(p_workflow_id bigint)\n" in out
    assert "         do: torc-server doctor --fix" in out
    code, out = command(where, "--fix", "--json", "--only=schema")
    found = json.loads(out)
    assert [check["name"] for check in found["checks"]] == ["schema"]
    assert [(each["fixed"], each["level"]) for each in found["checks"][0]["findings"]] == [(True, "error")]
    assert (code, found["problems"]) == (0, 0)
    assert command("--only=nonsense")[0] == 2


@pytest.mark.long
def test_it_examines_the_database_that_comes_along_also_while_it_is_stopped(command, start_server, folder):
    server = start_server()
    arguments = [f"--data-dir={server.data_dir}", "--only=schema", "--only=PostgreSQL"]
    assert command(*arguments)[0] == 0
    server.stop()
    assert command(*arguments)[0] == 0


@pytest.mark.parametrize(
    "where, words",
    [
        ("--database-url=host=/nonexistent dbname=x", "the database does not answer"),
        ("--data-dir=nothing", "there is none in nothing"),
    ],
)
def test_without_a_database_it_says_so_and_examines_the_rest(command, folder, where, words):
    code, out = command(where, "--only=disk")
    assert code == 1
    assert words in out
    assert "disk: " in out
    assert not (folder / "nothing").exists()
