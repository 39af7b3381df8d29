# ruff: noqa: S608 (the statements are what is tested)
"""POST /admin/sql: what system administrators may run, what it answers, that all of it is on record, and that
PostgreSQL itself keeps a statement from doing anything else, whatever its words are."""

import psycopg
import pytest
from callers import with_admin_sql
from psycopg.conninfo import make_conninfo
from support import MemoryClient

from torc_server import admin_sql
from torc_server.app import create_app
from torc_server.settings import Settings, SettingsError

FILE = "/etc/passwd"


@pytest.fixture
def run(client):
    """run("SELECT 1", status=200, limit=5) -> the answer's JSON."""

    def run(text, status=200, **more):
        return client.post("/admin/sql", json={"sql": text, **more}, status=status).json

    return run


@pytest.fixture
def newest(client):
    """The newest entry of the audit log."""
    return lambda: client.get("/admin/audit-log", params={"limit": 1}).json["items"][0]


def refusal(answer):
    return answer["error"]["error"], answer["error"]["message"]


# Reading


def test_a_read_answers_columns_rows_and_that_nothing_was_committed(run, workflow):
    answer = run(f"SELECT id, name FROM workflow WHERE id = {workflow.id};")
    assert answer == {"columns": ["id", "name"], "items": [{"id": workflow.id, "name": "w"}], "committed": False}


def test_a_read_without_rows_has_no_columns(run):
    assert run("SELECT id FROM workflow WHERE false") == {"columns": [], "items": [], "committed": False}


def test_repeated_names_are_numbered_and_blobs_are_hexadecimal(run):
    answer = run(r"SELECT 1 AS id, '\xAB01'::bytea AS id, NULL::bytea AS id, 4 AS id_2, '\x'::bytea AS blob")
    assert answer["columns"] == ["id", "id_2", "id_3", "id_2_2", "blob"]
    assert answer["items"] == [{"id": 1, "id_2": "ab01", "id_3": None, "id_2_2": 4, "blob": ""}]


def test_values_are_json(run):
    answer = run("""SELECT 1.5 AS n, true AS b, 'x"y' AS t, '{"a": [1]}'::jsonb AS j, NULL AS z, 9007199254740993 AS i
    """)
    assert answer["items"] == [{"n": 1.5, "b": True, "t": 'x"y', "j": {"a": [1]}, "z": None, "i": 9007199254740993}]


def test_the_invariants_of_a_workflow_can_be_checked(run, workflow):
    assert run(f"SELECT * FROM torc.check_invariants({workflow.id})")["items"] == []


@pytest.mark.parametrize("limit, count", [(3, 3), (0, 5), (-1, 5), (10**9, 5), (None, 5)])
def test_the_limit_cuts_the_rows(run, limit, count):
    assert len(run("SELECT * FROM generate_series(1, 5)", limit=limit)["items"]) == count


def test_a_read_ends_at_the_limit_however_many_rows_there_are(run):
    answer = run("SELECT generate_series(1, 1000000000) AS n", limit=2)  # all rows would take minutes
    assert answer["items"] == [{"n": 1}, {"n": 2}]


def test_rows_beyond_32_mib_are_refused(run):
    kind, message = refusal(run("SELECT repeat('x', 1000000) FROM generate_series(1, 40)", 422))
    assert kind == "QueryFailed" and "more than 32 MiB" in message


def test_a_statement_ends_at_the_timeout(run, monkeypatch):
    monkeypatch.setattr(admin_sql, "SECONDS", 1)
    kind, message = refusal(run("SELECT set_config('statement_timeout', '0', true), pg_sleep(20)", 422))
    assert kind == "QueryFailed" and "longer than 1 s" in message


# Rules


@pytest.mark.parametrize("text", [
    "", "  ", ";", "-- nothing", "/* /* */ SELECT 1 */", "SELECT 1; SELECT 2", "SELECT 1;;", "DROP TABLE job",
    "ALTER TABLE job ADD x int", "TRUNCATE job", "ATTACH 'x'", "COMMIT", "EXPLAIN SELECT 1", "TABLE job",
    "COPY job TO PROGRAM 'id'", "/* SELECT */ DELETE FROM job WHERE id = 1", "/* /* */ SELECT */ DROP TABLE job",
    "UPDATE job SET name = 'x' WHERE id = 1", "SET role torc", "CALL x()", "DO $$ BEGIN END $$", "LISTEN x", "!",
    "FETCH ALL x", "x" * 100_001,
])  # fmt: skip
def test_what_is_no_single_read_is_refused(run, text):
    kind, message = refusal(run(text, 422))
    assert kind == "InvalidStatement" and message


@pytest.mark.parametrize("text", [
    "DROP TABLE job", "ALTER TABLE job ADD x int", "TRUNCATE job", "CREATE TABLE x (y int)", "CREATE FUNCTION x()",
    "COPY job TO PROGRAM 'id'", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "SET ROLE torc", "RESET ROLE", "DO ''",
    "GRANT ALL ON job TO PUBLIC", "PREPARE x AS SELECT 1", "DECLARE x CURSOR WITH HOLD FOR SELECT 1", "CALL x()",
    "EXPLAIN ANALYZE DELETE FROM job WHERE true", "NOTIFY x", "LOCK TABLE job", "VACUUM", "MERGE INTO job",
    "UPDATE job SET name = 'x'", "DELETE FROM job", "delete from job /* WHERE */", "UPDATE job SET name = 'WHERE'",
    'UPDATE job SET name = "where"', "DELETE FROM job -- WHERE", "UPDATE job SET name = $x$ WHERE $x$",
    "WITH x AS (SELECT 1) DELETE FROM job", r"UPDATE job SET name = E'\' WHERE '", "DELETE FROM job /* /**/ WHERE */",
    "DELETE FROM job; DELETE FROM job WHERE true",
])  # fmt: skip
def test_a_write_is_an_insert_update_or_delete_with_where(run, text):
    kind, message = refusal(run(text, 422, write=True))
    assert kind == "InvalidStatement" and message


@pytest.mark.parametrize("text", [
    "SELECT ';' AS x", "/* ; DROP */ SELECT 1", "SELECT 1 -- ;\n", "SELECT $$;$$", "/* /* ; */ */ SELECT 1",
    "(SELECT 1)", r"SELECT E'\';'", 'SELECT 1 AS ";"', "WITH x AS (SELECT 1 AS delete_me) SELECT * FROM x",
])  # fmt: skip
def test_words_in_texts_and_comments_are_no_words_of_the_statement(run, text):
    assert len(run(text)["items"]) == 1


@pytest.mark.parametrize("text, kind, write", [
    ("SELECT nothing FROM job", "QueryFailed", False), ("SELECT 1/0", "QueryFailed", False),
    ("SELECT $1", "QueryFailed", False), ("SELECT 'x", "QueryFailed", False),
    ("WITH x AS (DELETE FROM job RETURNING id) SELECT * FROM x", "QueryFailed", False),
    ("INSERT INTO job (id) VALUES (1)", "ExecutionFailed", True),
    ("DELETE FROM nothing WHERE true", "ExecutionFailed", True),
])  # fmt: skip
def test_a_statement_that_fails_is_422_with_postgresqls_words(run, text, kind, write):
    assert refusal(run(text, 422, write=write))[0] == kind


# Writing


def test_a_write_is_committed_and_says_how_many_rows_it_changed(run, workflow):
    answer = run(f"UPDATE workflow SET description = 'mended' WHERE id = {workflow.id}", write=True)
    assert answer == {"columns": [], "items": [], "rows_affected": 1, "committed": True}
    assert workflow.client.get(workflow.path).json["description"] == "mended"


def test_a_write_may_return_rows(run, workflow):
    event = f"INSERT INTO event (workflow_id, data) VALUES ({workflow.id}, '1'), ({workflow.id}, '2') RETURNING data"
    answer = run(event, write=True, limit=1)
    assert answer == {"columns": ["data"], "items": [{"data": 1}], "rows_affected": 2, "committed": True}


def test_a_dry_run_changes_nothing(run, workflow):
    answer = run(f"DELETE FROM workflow WHERE id = {workflow.id}", write=True, dry_run=True)
    assert answer == {"columns": [], "items": [], "rows_affected": 1, "committed": False}
    workflow.client.get(workflow.path)


def test_a_write_without_where_needs_allow_full_table(run):
    answer = run("UPDATE event SET data = data", write=True, allow_full_table=True, dry_run=True)
    assert answer["committed"] is False


def test_deleted_jobs_release_their_dependents_as_everywhere(run, workflow):
    first = workflow.job()
    second = workflow.job_in("blocked", first)
    run(f"DELETE FROM job WHERE id = {first}", write=True)
    assert workflow.status(second) == "ready"


# On record


def test_a_read_is_on_record(run, newest):
    run("SELECT 1 AS on_record")
    found = newest()
    wanted = {
        "action": "admin_sql", "user_name": "anonymous", "sql_text": "SELECT 1 AS on_record", "is_write": False,
        "committed": False, "success": True,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert "rows_affected" not in found and "error" not in found


def test_writes_and_dry_runs_are_on_record(run, newest):
    text = "UPDATE event SET data = data WHERE id = 0"
    run(text, write=True, dry_run=True)
    dry = newest()
    assert (dry["is_write"], dry["committed"], dry["data"]) == (True, False, {"dry_run": True})
    run(text, write=True, allow_full_table=True)
    done = newest()
    assert done["is_write"] and done["committed"] and done["allow_full_table"] and done["rows_affected"] == 0


@pytest.mark.parametrize("text, write", [
    ("SELECT 1/0", False), ("DROP TABLE job", True), ("SELECT 1; SELECT 2", False),
])  # fmt: skip
def test_what_fails_is_on_record_with_its_error(run, newest, text, write):
    message = refusal(run(text, 422, write=write))[1]
    found = newest()
    assert (found["sql_text"], found["is_write"], found["success"], found["committed"]) == (text, write, False, False)
    assert found["error"] == message


def test_a_write_that_cannot_be_put_on_record_is_not_committed(run, workflow, database):
    database.execute("ALTER TABLE torc.admin_audit_log ADD CONSTRAINT no_more CHECK (sql_text NOT LIKE '%unrecorded%')")
    try:
        text = f"UPDATE workflow SET description = 'unrecorded' WHERE id = {workflow.id}"
        workflow.client.post("/admin/sql", json={"sql": text, "write": True}, status=500)
    finally:
        database.execute("ALTER TABLE torc.admin_audit_log DROP CONSTRAINT no_more")
    assert "description" not in workflow.client.get(workflow.path).json


# Attacks: what PostgreSQL refuses, or what has no effect


SUPERUSERS = f"""
    SELECT pg_read_file('{FILE}')
    SELECT pg_ls_dir('/')
    SELECT lo_import('{FILE}')
    SELECT lo_export(1, '/tmp/x')
    SELECT rolpassword FROM pg_authid
    SELECT * FROM pg_hba_file_rules
    SELECT current_setting('data_directory')
    SELECT pg_reload_conf()
    SELECT set_config('role', 'none', true)
    SELECT set_config('role', 'torc', true)
    SELECT set_config('session_authorization', 'torc', true)
    SELECT set_config('session_replication_role', 'replica', true)
    SELECT set_config('log_statement', 'none', true)
    SELECT set_config('role', 'none', true), query_to_xml('SELECT pg_read_file(''{FILE}'')', true, true, '')
    SELECT query_to_xml('SELECT pg_read_file(''{FILE}'')', true, true, '')
    SELECT query_to_xml('SET ROLE torc', true, true, '')
    SELECT query_to_xml('COPY (SELECT 1) TO PROGRAM ''id''', true, true, '')
    SELECT * FROM login_attempt
    SELECT query_to_xml('SELECT * FROM torc.login_attempt', true, true, '')
    SELECT torc.enable_admin_sql()
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL
    SELECT * FROM torc.read_for_admin('DECLARE x CURSOR WITH HOLD FOR SELECT 1', 1, 1)
    SELECT * FROM torc.write_for_admin('CREATE TEMP TABLE x (y int)', false, 1, 1)
""".strip().splitlines()


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("text", SUPERUSERS)
def test_what_only_the_servers_own_role_may_do_is_refused(run, text, write):
    refusal(run(text.strip(), 422, write=write))


@pytest.mark.parametrize("text", [
    "WITH x AS (UPDATE workflow SET name = 'x' RETURNING id) SELECT * FROM x",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT query_to_xml('DELETE FROM torc.event', true, true, '')", "SELECT * FROM job FOR UPDATE",
    "SELECT nextval(pg_get_serial_sequence('torc.job', 'id'))", "SELECT 1 AS x INTO TEMP y",
    "SELECT torc.cancel_workflow(1)",
])  # fmt: skip
def test_a_read_cannot_write(run, text):
    assert refusal(run(text, 422))[0] == "QueryFailed"


def test_a_read_leaves_no_large_object(run, database):
    run("SELECT lo_create(0)", None)  # before PostgreSQL 16 it is allowed in a transaction that is read only
    assert database.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)


@pytest.mark.parametrize("table", ["admin_audit_log", "schema_migration", "user_group_membership", "access_group"])
def test_a_write_cannot_change_records_and_rights(run, table):
    kind, message = refusal(run(f"DELETE FROM {table} WHERE true", 422, write=True))
    assert kind == "ExecutionFailed" and "permission denied" in message


def test_a_write_cannot_make_objects(run):
    for text in ("SELECT 1 AS x INTO public.y", "WITH x AS (SELECT 1) SELECT * INTO torc.y FROM x"):
        refusal(run(text, 422, write=True))


def test_what_a_statement_sets_locks_and_says_ends_with_it(run, client, database):
    database.execute("LISTEN torc_workflow_1")
    run("SELECT set_config('search_path', 'pg_temp', false), set_config('statement_timeout', '1ms', false)")
    run("SELECT pg_advisory_lock(1), pg_notify('torc_workflow_1', 'x')")
    for _ in range(3):
        client.get("/workflows")
    wait = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND classid = 0 AND objsubid = 1"
    for _ in range(500):  # the backend ends a moment after its connection
        if database.execute(wait).fetchone()[0] == 0:
            break
    else:
        raise AssertionError("the lock is still held")
    assert list(database.notifies(timeout=0.1)) == []
    database.execute("UNLISTEN *")


def test_the_functions_refuse_to_run_as_another_role(database):
    database.execute("BEGIN")
    try:
        database.execute("ALTER FUNCTION torc.read_for_admin SECURITY INVOKER")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not set up"):
            database.execute("SELECT * FROM torc.read_for_admin('SELECT 1', 1, 100)")
    finally:
        database.execute("ROLLBACK")


# Settings


ADMIN_SQL = {"enable_admin_sql": True, "enable_admin_sql_writes": True, "admin_sql_without_access_control": True}


@pytest.mark.parametrize("settings, body, said", [
    ({"enable_admin_sql": False}, {}, "admin SQL is disabled on this server"),
    ({"enable_admin_sql_writes": False}, {"write": True}, "admin SQL writes are disabled on this server"),
    ({"admin_sql_without_access_control": False}, {}, "disabled while access control is off"),
])  # fmt: skip
def test_each_setting_is_needed(make_client, app, settings, body, said):
    answer = make_client(**ADMIN_SQL | settings).post("/admin/sql", json={"sql": "SELECT 1", **body}, status=403).json
    assert said in answer["error"]["message"]


def test_reads_need_no_setting_for_writes_and_the_audit_log_needs_none(make_client, app):
    make_client(**ADMIN_SQL | {"enable_admin_sql_writes": False}).post("/admin/sql", json={"sql": "SELECT 1"})
    make_client().get("/admin/audit-log")


def test_admin_sql_without_access_control_is_refused_at_the_start_unless_a_setting_allows_it():
    with pytest.raises(SettingsError, match="needs --enforce-access-control"):
        Settings(enable_admin_sql=True).check()
    Settings(enable_admin_sql=True, admin_sql_without_access_control=True).check()
    Settings(enable_admin_sql=True, enforce_access_control=True).check()


def test_a_member_of_no_admin_group_is_refused_before_the_settings_are(access):
    access.user("eve").post("/admin/sql", json={"sql": "SELECT 1"}, status=403)
    assert access.user("root").post("/admin/sql", json={"sql": "SELECT 1"}).json["items"] == [{"?column?": 1}]


def test_a_role_that_may_make_no_roles_is_told_what_is_missing(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE torc_admin_sql_test LOGIN; GRANT ALL ON SCHEMA torc TO torc_admin_sql_test")
        try:
            connection.execute("SET ROLE torc_admin_sql_test")
            with pytest.raises(SettingsError, match="--enable-admin-sql"):
                admin_sql.set_up(connection)
        finally:
            connection.execute("RESET ROLE; DROP OWNED BY torc_admin_sql_test; DROP ROLE torc_admin_sql_test")


def test_a_server_whose_role_is_no_superuser_sets_it_up_and_serves_it(empty_database_url):
    from torc_server import migrations

    name = f"owner_{psycopg.conninfo.conninfo_to_dict(empty_database_url)['dbname']}"
    with psycopg.connect(empty_database_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {name} LOGIN")
        superuser.execute(f"GRANT CREATE ON DATABASE {superuser.info.dbname} TO {name}")
        for role in ("torc_admin_reader", "torc_admin_writer"):  # that a superuser has made
            superuser.execute(f"GRANT {role} TO {name}")
        try:
            conninfo = make_conninfo(empty_database_url, user=name)
            migrations.migrate(conninfo)
            with psycopg.connect(conninfo, autocommit=True) as connection:
                admin_sql.set_up(connection)
                admin_sql.set_up(connection)
            app = create_app(with_admin_sql(Settings()), conninfo)
            app.extensions["database"].open()
            client = MemoryClient(app)
            asked = {"sql": "SELECT current_user AS me, count(*) AS n FROM workflow"}
            assert client.post("/admin/sql", json=asked).json["items"] == [{"me": "torc_admin_reader", "n": 0}]
            client.post("/admin/sql", json={"sql": "SELECT set_config('role', 'none', true)"}, status=422)
            app.extensions["database"].close()
            migrations.migrate(conninfo, 0, lose_data=True)  # the functions belong to others now
            migrations.migrate(conninfo)
        finally:
            superuser.execute(f"REASSIGN OWNED BY {name} TO current_user; DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_server_is_told_by_flags(start_server, fresh_database_url):
    flags = {"enable_admin_sql": True, "admin_sql_without_access_control": True, "disable_admin_sql_writes": True}
    server = start_server(database_url=fresh_database_url, workers=1, **flags)
    answer = server.client.post("/admin/sql", json={"sql": "SELECT current_user AS me"}).json
    assert answer["items"] == [{"me": "torc_admin_reader"}]
    write = {"sql": "DELETE FROM event WHERE true", "write": True}
    assert "writes are disabled" in server.client.post("/admin/sql", json=write, status=403).text
