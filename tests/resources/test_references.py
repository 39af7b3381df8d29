"""Jobs and results name rows without foreign keys: what holds instead, also for statements in psql."""

import threading

import psycopg
import pytest
from support import wait_for
from workflow import Workflow

NOWHERE = 10**12


@pytest.fixture
def other(client, database):
    return Workflow(client, database)


@pytest.fixture(params=["own", "foreign"])
def naming(request, workflow, other):
    """The workflow whose jobs name rows of `workflow`."""
    return workflow if request.param == "own" else other


def handler(workflow):
    body = {"workflow_id": workflow.id, "name": "h", "rules": "[]"}
    return workflow.client.post("/failure_handlers", json=body).json["id"]


def count(workflow, table, **where):
    column, value = next(iter(where.items()))
    return workflow.sql(f"SELECT count(*) FROM torc.{table} WHERE {column} = %s", value)[0]  # noqa: S608


DELETIONS = {
    "endpoint": lambda workflow, collection, table, row: workflow.client.delete(f"/{collection}/{row}"),
    "psql": lambda workflow, collection, table, row: workflow.database.execute(
        f"DELETE FROM torc.{table} WHERE id = %s",  # noqa: S608
        [row],
    ),
}


@pytest.fixture(params=DELETIONS)
def delete(request, workflow):
    return lambda collection, table, row: DELETIONS[request.param](workflow, collection, table, row)


def test_deleted_requirements_take_their_jobs_along(workflow, naming, delete):
    row = workflow.requirements()
    job, kept = naming.job(resource_requirements_id=row), naming.job()
    delete("resource_requirements", "resource_requirements", row)
    assert count(naming, "job", id=job) == 0
    assert count(naming, "job", id=kept) == 1


def test_jobs_forget_a_deleted_failure_handler(workflow, naming, delete):
    row = handler(workflow)
    job, kept = naming.job(failure_handler_id=row), naming.job(failure_handler_id=handler(workflow))
    delete("failure_handlers", "failure_handler", row)
    assert naming.sql("SELECT failure_handler_id IS NULL FROM torc.job WHERE id = %s", job) == [True]
    assert naming.sql("SELECT failure_handler_id IS NOT NULL FROM torc.job WHERE id = %s", kept) == [True]


def test_a_deleted_compute_node_takes_its_results_along_and_running_jobs_forget_it(workflow, naming, delete):
    row, other_row = workflow.node(), workflow.node()
    done, kept, running = naming.job(), naming.job(), naming.job()
    naming.initialize()
    naming.claim(limit=3)
    naming.start(running, row)
    naming.complete(done, compute_node_id=row)
    naming.complete(kept, compute_node_id=other_row)
    delete("compute_nodes", "compute_node", row)
    assert (count(naming, "result", job_id=done), count(naming, "result", job_id=kept)) == (0, 1)
    assert naming.sql("SELECT active_compute_node_id IS NULL FROM torc.job WHERE id = %s", running) == [True]


def test_results_of_a_batch_and_of_a_claim_that_names_its_node_are_found_too(workflow, naming):
    row = workflow.node()
    job, claimed = naming.job(), naming.job()
    naming.initialize()
    naming.client.post(f"/workflows/{naming.id}/claim_next_jobs?limit=2&compute_node_id={row}")
    result = {
        "job_id": job, "workflow_id": naming.id, "run_id": 0, "compute_node_id": row, "return_code": 0,
        "exec_time_minutes": 0.1, "completion_time": "2026-01-01T00:00:00Z", "status": "completed",
    }  # fmt: skip
    entry = {"job_id": job, "status": "completed", "run_id": 0, "result": result}
    answer = naming.client.post(f"/workflows/{naming.id}/batch_complete_jobs", json={"completions": [entry]})
    assert answer.json == {"completed": [job], "errors": []}
    naming.database.execute("DELETE FROM torc.compute_node WHERE id = %s", [row])
    assert count(naming, "result", job_id=job) == 0
    assert naming.sql("SELECT active_compute_node_id IS NULL FROM torc.job WHERE id = %s", claimed) == [True]


def test_a_workflow_deleted_in_psql_takes_everything_along(workflow, other):
    kept = workflow.job()
    first = other.job()
    second = other.job(first)
    other.initialize()
    other.claim(limit=1)
    other.complete(first)
    other.database.execute("DELETE FROM torc.workflow WHERE id = %s", [other.id])
    for table in ("job", "result", "compute_node", "resource_requirements", "cross_reference"):
        assert count(other, table, workflow_id=other.id) == 0, table
    assert count(other, "job_depends_on", job_id=second) == 0
    assert count(workflow, "job", id=kept) == 1


def test_jobs_inserted_in_psql_name_rows_that_exist(workflow, database):
    insert = "INSERT INTO torc.job (workflow_id, name, command, {0}) VALUES (%s, 'j', 'c', {1})"
    for columns, values in (
        ("resource_requirements_id", [NOWHERE]),
        ("resource_requirements_id, failure_handler_id", [workflow.requirements(), NOWHERE]),
        ("resource_requirements_id, active_compute_node_id", [workflow.requirements(), NOWHERE]),
    ):
        statement = insert.format(columns, ", ".join(map(str, values)))
        with pytest.raises(psycopg.DatabaseError, match="there is no such row") as refusal:
            database.execute(statement, [workflow.id])
        assert refusal.value.sqlstate == "TC422"
    with pytest.raises(psycopg.DatabaseError, match="Workflow not found"):
        database.execute(insert.format("resource_requirements_id", workflow.requirements()), [NOWHERE])


def test_unknown_nodes_are_refused_by_name_and_nothing_changes(workflow):
    pending, running = workflow.job_in("pending"), workflow.job_in("running")
    refusals = [
        workflow.start(pending, NOWHERE, status=422),
        workflow.complete(running, compute_node_id=NOWHERE, status=422),
    ]
    for refusal in refusals:
        error = refusal["error"]
        assert (error["field"], error["message"]) == ("compute_node_id", "compute_node_id: there is no such row")
    assert workflow.statuses(pending, running) == ["pending", "running"]


WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_a_node_is_not_deleted_before_a_start_on_it_has_ended(workflow, database_url):
    """Else the job would run on a node that is gone: a foreign key held the deletion up."""
    node, job = workflow.node(), workflow.job_in("pending")

    def delete():
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM torc.compute_node WHERE id = %s", [node])

    with psycopg.connect(database_url) as starter:
        starter.execute("SELECT torc.start_job(%s, 0, %s)", [job, node])
        deletion = threading.Thread(target=delete)
        deletion.start()
        wait_for(lambda: workflow.sql(WAITING), 30, "a session that waits")
        starter.commit()
        deletion.join(10)
    assert workflow.sql(
        "SELECT status = 'running' AND active_compute_node_id IS NULL FROM torc.job WHERE id = %s", job
    ) == [True]


def test_a_start_waits_for_the_deletion_of_its_node_and_is_refused(workflow, database_url):
    node, job = workflow.node(), workflow.job_in("pending")
    outcome = []

    def start():
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                connection.execute("SELECT torc.start_job(%s, 0, %s)", [job, node])
            except psycopg.DatabaseError as error:
                outcome.append(error.sqlstate)

    with psycopg.connect(database_url) as deleter:
        deleter.execute("DELETE FROM torc.compute_node WHERE id = %s", [node])
        starter = threading.Thread(target=start)
        starter.start()
        wait_for(lambda: workflow.sql(WAITING), 30, "a session that waits")
        deleter.commit()
        starter.join(10)
    assert outcome == ["TC422"]
    assert workflow.status(job) == "pending"
