"""`torc-server import`: databases of torc's own server, made by hand (tests/data), read back over HTTP.

TORC_REFERENCE may name a folder with databases of the real one (*.db): their lists must be equal too.
"""

import json
import os
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from support import MemoryClient, torc_server

from torc_server.app import create_app
from torc_server.schemas.fields import JOB_STATUSES
from torc_server.settings import Settings

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("0.22.2", "1.0.0")
REAL = sorted(Path(os.environ.get("TORC_REFERENCE", "/nonexistent")).glob("*.db"))
# Of the hand-made databases: what the background pass of the source had not done yet.
MOVED = {105: "canceled", 106: "ready", 115: "canceled"}


@pytest.fixture(params=[pytest.param("0.22.2", marks=pytest.mark.long), "1.0.0"])
def source(request, folder):
    """A database made from the dump of a version."""
    return make(folder, request.param)


def make(folder, version):
    path = folder / f"{version}.db"
    connection = sqlite3.connect(path)
    connection.executescript((DATA / f"torc-{version}.sql").read_text())
    connection.close()
    return path


@pytest.fixture
def target(fresh_database_url):
    """An application on an empty, migrated database: see Target."""
    with Target(fresh_database_url) as target:
        yield target


class Target:
    """An application in memory and a connection: .client, .url, .query(statement)."""

    def __init__(self, url):
        self.url = url
        self.app = create_app(replace(Settings(), database_url=url), url)
        self.client = MemoryClient(self.app)

    def __enter__(self):
        self.app.extensions["database"].open()
        return self

    def __exit__(self, *_):
        self.app.extensions["database"].close()

    def query(self, statement, *values):
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def items(self, path, **params):
        return self.client.get(path, params=params).json["items"]


def rows(path, statement, *values):
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(statement, values)]
    finally:
        connection.close()


def rows_of(path, table, **where):
    """The rows of a table that have a value in a column."""
    [(column, value)] = where.items()
    return rows(path, f"SELECT * FROM {table} WHERE {column} = ?", value)  # noqa: S608 (names of this file)


def shown(row, *left_out, **changed):
    """A row as a list shows it: unset values and those that are no fields are left out."""
    return {name: value for name, value in (row | changed).items() if value is not None and name not in left_out}


def assert_equal_lists(source, target):
    """Every list of every workflow says what the source holds; ids are those of the source."""
    assert target.query("SELECT * FROM torc.check_invariants()") == []
    for workflow in rows(source, "SELECT * FROM workflow"):
        number = workflow["id"]
        assert_equal_workflow(source, target, workflow)
        for path, table, convert in LISTS:
            expected = [convert(source, row) for row in rows_of(source, table, workflow_id=number)]
            found = target.items(path.format(number), workflow_id=number, include_relationships=True)
            for item, wanted in zip(found, sorted(expected, key=lambda row: row["id"]), strict=True):
                assert {name: item.get(name) for name in wanted} == wanted, path
        assert_equal_results(source, target, number)
        assert_equal_actions(source, target, number)
        workers = rows(source, "SELECT worker FROM remote_worker WHERE workflow_id = ?", number)
        found = target.client.get(f"/workflows/{number}/remote_workers").json
        assert sorted(worker["worker"] for worker in found) == sorted(row["worker"] for row in workers)


def assert_equal_workflow(source, target, row):
    found = target.client.get(f"/workflows/{row['id']}").json
    same = ("name", "user", "description", "project", "slurm_config", "submission_directory",
            "compute_node_wait_for_new_jobs_seconds", "compute_node_expiration_buffer_seconds")  # fmt: skip
    assert {name: found.get(name) for name in same} == {name: row.get(name) for name in same}
    settings = ("metadata", "execution_config", "slurm_defaults")  # objects for the clients that wrote objects
    read = json.loads if "run_id" in row else str
    assert {name: found.get(name) for name in settings} == {name: row[name] and read(row[name]) for name in settings}
    assert found.get("env") == loaded(row.get("env"))
    assert datetime.fromisoformat(found["timestamp"]) == datetime.fromisoformat(row["timestamp"])
    table = "workflow_status" if "status_id" in row else "workflow"
    [status] = rows_of(source, table, id=row.get("status_id", row["id"]))
    found = target.client.get(f"/workflows/{row['id']}/status").json
    assert (found["run_id"], found["is_canceled"], found["is_archived"]) == (
        status["run_id"], bool(status["is_canceled"]), bool(status["is_archived"])
    )  # fmt: skip


def loaded(text):
    """The value of a JSON text, None for an empty one."""
    return json.loads(text or "null") or None


def as_job(source, row):
    def ids(table, column):
        return sorted(each[column] for each in rows_of(source, table, job_id=row["id"])) or None

    same = ("id", "workflow_id", "name", "command", "invocation_script", "resource_requirements_id", "scheduler_id",
            "failure_handler_id", "attempt_id", "priority")  # fmt: skip
    status = (
        {}
        if source in REAL and JOB_STATUSES[row["status"]] == "blocked"
        else {  # the pass may release it
            "status": ({} if source in REAL else MOVED).get(row["id"], JOB_STATUSES[row["status"]])
        }
    )
    return (
        {name: row[name] for name in same}
        | status
        | {
            "env": loaded(row.get("env")),
            "labels": loaded(row.get("labels")),
            "cancel_on_blocking_job_failure": bool(row["cancel_on_blocking_job_failure"]),
            "supports_termination": bool(row["supports_termination"]),
            "depends_on_job_ids": ids("job_depends_on", "depends_on_job_id"),
            "input_file_ids": ids("job_input_file", "file_id"),
            "output_file_ids": ids("job_output_file", "file_id"),
            "input_user_data_ids": ids("job_input_user_data", "user_data_id"),
            "output_user_data_ids": ids("job_output_user_data", "user_data_id"),
        }
    )


def as_node(source, row):
    return shown(
        row, is_active=bool(row["is_active"]), scheduler=loaded(row["scheduler"]), labels=loaded(row.get("labels"))
    )


def as_entity(source, row):
    """Metadata is an object for the clients that wrote it so."""
    [workflow] = rows_of(source, "workflow", id=row["workflow_id"])
    return shown(row) | ({"metadata": json.loads(row["metadata"])} if "run_id" in workflow else {})


def plain(source, row):
    return shown(row, "memory_bytes", "runtime_s")


LISTS = (
    ("/jobs", "job", as_job),
    ("/files", "file", plain),
    ("/user_data", "user_data", lambda source, row: {
        "id": row["id"], "name": row["name"], "is_ephemeral": bool(row["is_ephemeral"]),
    }),
    ("/resource_requirements", "resource_requirements", plain),
    ("/compute_nodes", "compute_node", as_node),
    ("/scheduled_compute_nodes", "scheduled_compute_node", plain),
    ("/local_schedulers", "local_scheduler", plain),
    ("/slurm_schedulers", "slurm_scheduler", plain),
    ("/workflows/{}/failure_handlers", "failure_handler", plain),
    ("/slurm_stats", "slurm_stats", plain),
    ("/events", "event", lambda source, row: row | {"data": json.loads(row["data"])}),
    ("/workflows/{}/ro_crate_entities", "ro_crate_entity", as_entity),
)  # fmt: skip


def assert_equal_results(source, target, number):
    newest = {row["result_id"] for row in rows(source, "SELECT result_id FROM workflow_result")}
    names = {row["id"]: row["name"] for row in rows(source, "SELECT id, name FROM job")}
    expected = [
        shown(row, status=JOB_STATUSES[row["status"]], job_name=names[row["job_id"]])
        for row in rows(source, "SELECT * FROM result WHERE workflow_id = ? ORDER BY id", number)
    ]
    assert target.items("/results", workflow_id=number, all_runs=True) == expected
    assert target.items("/results", workflow_id=number) == [row for row in expected if row["id"] in newest]


def assert_equal_actions(source, target, number):
    expected = rows(source, "SELECT * FROM workflow_action WHERE workflow_id = ? ORDER BY id", number)
    found = target.client.get(f"/workflows/{number}/actions").json
    for action, row in zip(found, expected, strict=True):
        assert action["action_config"] == json.loads(row["action_config"])
        same = ("id", "trigger_type", "action_type", "executed_by", "executed_at")
        assert {name: action.get(name) for name in same} == {name: row[name] for name in same}
        assert action["executed"] == bool(row["executed"])


@pytest.mark.parametrize("source", VERSIONS, indirect=True)
def test_into_an_empty_database_ids_stay_and_the_lists_are_those_of_the_source(source, target, folder):
    result = torc_server(folder, "import", source, "-d", target.url)
    assert result.stdout.startswith("Imported 2 workflows, 15 jobs, 6 results, 2 events of torc ")
    assert "with their ids" in result.stdout
    assert_equal_lists(source, target)


@pytest.mark.skipif(not REAL, reason="TORC_REFERENCE names no folder with databases of torc's server")
@pytest.mark.parametrize("source", REAL, ids=lambda path: path.name)
def test_databases_of_the_real_server_have_equal_lists(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    assert_equal_lists(source, target)


def test_what_the_background_pass_had_not_done_is_done(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    marked = "SELECT id FROM torc.job WHERE canceled_by_dependency ORDER BY id"
    assert target.query(marked) == [(104,), (105,), (115,)]
    assert target.client.get("/jobs/106").json["status"] == "ready"
    assert target.client.get("/jobs/109").json["status"] == "blocked"
    actions = {action["id"]: action for action in target.client.get("/workflows/3/actions").json}
    assert (actions[81]["trigger_count"], actions[81]["required_triggers"]) == (2, 2)
    # the third job of this one does not exist, and the other two are done
    assert actions[82]["job_ids"] == [101, 102]
    assert (actions[82]["trigger_count"], actions[82]["required_triggers"]) == (2, 2)


def test_an_imported_workflow_goes_on(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    client = target.client
    changed = client.post("/workflows/3/process_changed_job_inputs", params={"dry_run": True}).json
    assert changed["reinitialized_jobs"] == []
    result = {"job_id": 110, "workflow_id": 3, "run_id": 2, "attempt_id": 1, "compute_node_id": 32, "return_code": 0,
              "exec_time_minutes": 1, "completion_time": "2026-03-05T12:00:00Z", "status": "completed"}  # fmt: skip
    client.post("/jobs/110/complete_job/completed/2", json=result)
    claimed = client.post("/workflows/3/claim_next_jobs", params={"limit": 10}).json["jobs"]
    assert [job["id"] for job in claimed] == [112, 106]
    client.post("/workflows/3/reset_job_status", params={"failed_only": True})
    client.post("/workflows/3/initialize_jobs", params={"only_uninitialized": True})
    assert {client.get(f"/jobs/{job}").json["status"] for job in (104, 105, 115)} == {"blocked"}
    assert target.query("SELECT * FROM torc.check_invariants()") == []


def test_new_rows_do_not_get_an_id_that_the_source_ever_used(source, target, folder):
    change(source, "UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'job'")  # later jobs were deleted
    torc_server(folder, "import", source, "-d", target.url)
    job = target.client.post("/jobs", json={"workflow_id": 3, "name": "j", "command": "c"}).json["id"]
    assert job > 5000
    assert target.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"] > 5


def test_into_a_database_with_workflows_everything_gets_new_ids_and_references_follow(source, target, folder):
    for _ in range(300):
        target.client.post("/workflows", json={"name": "here", "user": "u"})
    result = torc_server(folder, "import", source, "-d", target.url)
    assert "with new ids" in result.stdout
    [survey] = target.items("/workflows", name="survey")
    number = survey["id"]
    listed = target.items("/jobs", workflow_id=number, include_relationships=True)
    jobs = {job["name"]: job for job in listed}
    names = {job["id"]: name for name, job in jobs.items()}
    assert list(jobs) == [row["name"] for row in rows(source, "SELECT name FROM job ORDER BY id")]
    assert [names[job] for job in jobs["join"]["depends_on_job_ids"]] == ["left", "right"]
    large = target.client.get(f"/resource_requirements/{jobs['left']['resource_requirements_id']}").json
    assert (large["name"], large["workflow_id"]) == ("large", number)
    slurm = {each.get("name"): each["id"] for each in target.items("/slurm_schedulers", workflow_id=number)}
    [local] = target.items("/local_schedulers", workflow_id=number)
    assert jobs["prepare"]["scheduler_id"] == slurm["short"]
    nodes = {node["hostname"]: node for node in target.items("/compute_nodes", workflow_id=number)}
    assert nodes["n1"]["scheduler_config_id"] == slurm["short"]
    assert nodes["n2"]["scheduler_config_id"] == local["id"]
    assert nodes["n1"]["scheduler"]["scheduler_id"] == 4711
    scheduled = target.items("/scheduled_compute_nodes", workflow_id=number)
    assert [(each["scheduler_config_id"], each["scheduler_id"]) for each in scheduled] == [
        (slurm["short"], 4711), (local["id"], 1)
    ]  # fmt: skip
    actions = target.client.get(f"/workflows/{number}/actions").json
    assert [names[job] for job in actions[0]["job_ids"]] == ["report", "tidy"]
    assert actions[0]["action_config"] == {"scheduler_id": slurm["short"], "scheduler_type": "slurm", "x": None}
    assert actions[2]["executed_by"] == nodes["n1"]["id"]
    files = {file["name"]: file["id"] for file in target.items("/files", workflow_id=number)}
    assert jobs["left"]["input_file_ids"] == [files["clean"]]
    [entity] = target.items(f"/workflows/{number}/ro_crate_entities")
    assert entity["file_id"] == files["clean"]
    results = target.items("/results", workflow_id=number)
    assert {names[result["job_id"]] for result in results} == {"prepare", "left", "right", "ended"}
    assert {result["compute_node_id"] for result in results} == {nodes["n1"]["id"]}
    node = target.query("SELECT active_compute_node_id FROM torc.job WHERE id = %s", jobs["runs"]["id"])
    assert node == [(nodes["n2"]["id"],)]
    assert target.query("SELECT * FROM torc.check_invariants()") == []


def test_twice_into_the_same_database_makes_two_of_each_but_one_of_each_group(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    torc_server(folder, "import", source, "-d", target.url)
    assert len(target.items("/workflows", name="survey")) == 2
    team = [group for group in target.items("/access_groups") if group["name"] == "team"]
    assert len(team) == 1
    members = target.items(f"/access_groups/{team[0]['id']}/members")
    assert {member["user_name"]: member["role"] for member in members} == {"alice": "admin", "bob": "member"}


def test_administrators_of_the_source_are_not_those_of_this_server(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    assert target.query("SELECT count(*) FROM torc.user_group_membership WHERE user_name = 'root'") == [(0,)]


def test_json_and_texts_keep_their_values_and_lose_only_what_cannot_be_stored(source, target, folder):
    torc_server(folder, "import", source, "-d", target.url)
    data = {item["name"]: item.get("data") for item in target.items("/user_data", workflow_id=3)}
    assert data["parameters"] == {"big": 12345678901234567890, "f": 1.5, "n": None}
    assert data["odd"] == {"text": "a\ufffdb \U0001f600 \ufffd"}
    assert data["nothing"] is None and data["empty"] is None


def test_what_has_no_place_here_is_said(target, folder):
    result = torc_server(folder, "import", make(folder, "1.0.0"), "-d", target.url)
    columns = {name for (name,) in target.query(
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'torc'"
    )}  # fmt: skip
    for name in ("workflow.env", "job.env", "compute_node.end_time", "slurm_scheduler.serialize_allocations"):
        assert (f"Left out: values of {name} (" in result.stdout) == (name not in columns)
    assert "Left out: jobs of actions that do not exist (1)" in result.stdout


def change(source, statement):
    connection = sqlite3.connect(source)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE job SET status = 11 WHERE id = 115", "11 is no status of a job"),
        ("UPDATE workflow_action SET action_config = '{' WHERE id = 83", ""),
        ("UPDATE job SET priority = 'high' WHERE id = 115", ""),
        ("UPDATE event SET timestamp = 'late' WHERE id = 72", "late"),
    ],
)
def test_a_value_of_another_kind_is_told_in_one_line_and_nothing_is_stored(statement, reason, target, folder):
    source = make(folder, "0.22.2")
    change(source, statement)
    result = torc_server(folder, "import", source, "-d", target.url, code=1)
    assert len(result.stderr.splitlines()) == 1
    assert "workflow 3: " in result.stderr and reason in result.stderr
    assert target.items("/workflows") == []


def test_a_workflow_that_cannot_be_imported_is_named_and_nothing_of_it_is_stored(source, target, folder):
    change(source, "UPDATE workflow SET timestamp = 'yesterday evening' WHERE id = 5")
    result = torc_server(folder, "import", source, "-d", target.url, code=1)
    assert "workflow 5: " in result.stderr and "--after 5 --keep-ids" in result.stderr
    assert [workflow["id"] for workflow in target.items("/workflows")] == [3]
    result = torc_server(folder, "import", source, "-d", target.url, "--keep-ids", code=1)
    assert "workflow 3: " in result.stderr and "--new-ids" in result.stderr
    torc_server(folder, "import", source, "-d", target.url, "--keep-ids", "--after", 5)
    assert_equal_workflow(source, target, rows(source, "SELECT * FROM workflow WHERE id = 3")[0])


@pytest.mark.parametrize("text", ["", "no database", None, "CREATE TABLE workflow (id)"])
def test_what_is_no_database_of_torc_is_refused(text, target, folder):
    path = folder / "file"
    if text and text.startswith("CREATE"):
        sqlite3.connect(path).executescript(text)
    elif text is not None:
        path.write_text(text)
    result = torc_server(folder, "import", path, "-d", target.url, code=1)
    assert len(result.stderr.splitlines()) == 1 and str(path) in result.stderr
    assert target.items("/workflows") == []
