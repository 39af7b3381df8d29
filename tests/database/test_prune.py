"""`torc-server prune`: what is old goes, what lives stays, and nobody waits."""

import contextlib
import os
import subprocess
from datetime import timedelta

import psycopg
import pytest
from plans import explained, nodes, rows_of
from support import BINARIES, MemoryClient, clean_environment, torc_server
from test_import import Target
from workflow import Workflow

from torc_server import prune
from torc_server.repository import sql

OLD = "2020-01-02T03:04:05Z"


@pytest.fixture(scope="module")
def target(module_database_url):
    with Target(module_database_url) as target:
        yield target


@pytest.fixture
def database(target):
    """A connection; the workflows of the test are deleted after it."""
    with psycopg.connect(target.url, autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM torc.workflow")


@pytest.fixture
def make(target, database):
    """A factory: make(status, …) is a workflow with one job in that status; it is old unless old=False."""

    def make(status="completed", old=True, archived=False, canceled=False):
        workflow = Workflow(target.client, database)
        job = workflow.job_in(status)
        target.client.post("/events", json={"workflow_id": workflow.id, "data": {"a": 1}})
        status = {"run_id": 0, "is_canceled": canceled, "is_archived": archived}
        target.client.put(f"{workflow.path}/status", json=status)
        if old:
            age(database, workflow.id)
        workflow.first = job
        return workflow

    return make


def age(database, workflow_id):
    """As if all of it had happened long ago."""
    database.execute("UPDATE torc.workflow SET timestamp = %s WHERE id = %s", [OLD, workflow_id])
    database.execute("UPDATE torc.event SET timestamp = 1577934245000 WHERE workflow_id = %s", [workflow_id])
    database.execute("UPDATE torc.result SET completion_time = %s WHERE workflow_id = %s", [OLD, workflow_id])
    database.execute("UPDATE torc.compute_node SET is_active = false WHERE workflow_id = %s", [workflow_id])


def run_prune(target, folder, *arguments, age="90d", code=0):
    return torc_server(folder, "prune", "-d", target.url, "--older-than", age, *arguments, code=code)


def left(target):
    return [workflow["id"] for workflow in target.items("/workflows")]


def test_old_workflows_that_are_complete_canceled_or_archived_go_and_all_others_stay(make, target, folder):
    for gone in (make("completed"), make("ready", canceled=True), make("ready", archived=True), make("disabled")):
        assert gone.id in left(target)
    stays = [make("completed", old=False), make("ready"), make("pending_failed"), make("running"), make("pending")]
    stays += [make("running", archived=True), make("pending", canceled=True)]
    result = run_prune(target, folder, "--yes")
    assert result.stdout.endswith("Deleted 4 workflows\n")
    assert left(target) == [workflow.id for workflow in stays]
    assert target.query("SELECT * FROM torc.check_invariants()") == []


def test_one_event_or_result_or_active_node_of_late_keeps_a_workflow(make, target, folder, database):
    event, result, node = make(), make(), make()
    target.client.post("/events", json={"workflow_id": event.id, "data": 1})
    database.execute("UPDATE torc.result SET completion_time = now()::text WHERE workflow_id = %s", [result.id])
    database.execute("UPDATE torc.compute_node SET is_active = true WHERE workflow_id = %s", [node.id])
    assert "nothing" in run_prune(target, folder, "--yes").stdout
    assert left(target) == [event.id, result.id, node.id]


def test_a_completion_time_that_is_no_time_does_not_keep_a_workflow(make, target, folder, database):
    for time in ("noon", "now", "2999-99-99T00:00:00Z"):
        database.execute("UPDATE torc.result SET completion_time = %s WHERE workflow_id = %s", [time, make().id])
    run_prune(target, folder, "--yes")
    assert left(target) == []


def test_archived_only_spares_what_is_only_complete(make, target, folder):
    complete, archived = make(), make(archived=True)
    run_prune(target, folder, "--yes", "--archived-only")
    assert left(target) == [complete.id] and archived.id not in left(target)


def test_a_workflow_whose_requirements_or_nodes_another_one_uses_stays(make, target, folder, database):
    lender, borrower = make(), make(old=False)
    borrowed = lender.sql("SELECT id FROM torc.resource_requirements WHERE workflow_id = %s", lender.id)[0]
    job = target.client.get(f"/jobs/{borrower.first}").json
    target.client.put(f"/jobs/{borrower.first}", json=job | {"resource_requirements_id": borrowed})
    run_prune(target, folder, "--yes")
    assert left(target) == [lender.id, borrower.id]


def test_a_dry_run_deletes_nothing_and_without_yes_nobody_is_asked_outside_a_terminal(make, target, folder):
    workflow = make()
    shown = run_prune(target, folder, "--dry-run").stdout
    assert f"workflow {workflow.id} (w): 1 jobs, 1 results, 1 events" in shown
    assert "1 workflows" in shown
    assert "--yes" in run_prune(target, folder, code=1).stderr
    assert left(target) == [workflow.id]


def test_events_go_alone(make, target, folder, database):
    workflow, running = make(), make("running")
    target.client.post("/events", json={"workflow_id": running.id, "data": {"young": True}})
    assert run_prune(target, folder, "--events", "--yes").stdout.endswith("Deleted 2 events\n")
    assert left(target) == [workflow.id, running.id]
    assert [event["data"] for event in target.items("/events", workflow_id=running.id)] == [{"young": True}]
    assert target.items("/results", workflow_id=workflow.id) != []


def test_only_results_of_earlier_runs_that_were_replaced_go(make, target, folder, database):
    workflow = make("failed")
    target.client.post(f"{workflow.path}/reset_job_status")
    target.client.put(f"{workflow.path}/status", json={"run_id": 1, "is_canceled": False})
    target.client.post(f"{workflow.path}/initialize_jobs")
    workflow.complete(workflow.first, "completed", 1)
    age(database, workflow.id)
    young = make("failed", old=False)
    assert run_prune(target, folder, "--results", "--yes").stdout.endswith("Deleted 1 results\n")
    results = target.items("/results", workflow_id=workflow.id, all_runs=True)
    assert [(result["run_id"], result["status"]) for result in results] == [(1, "completed")]
    assert len(target.items("/results", workflow_id=young.id, all_runs=True)) == 1


def test_large_histories_go_in_batches(make, target, database):
    workflow = make("running")
    database.execute(
        "INSERT INTO torc.event (workflow_id, timestamp, data)"
        " SELECT %s, 1000 + i, '1' FROM generate_series(1, 12000) AS i",
        [workflow.id],
    )
    plan = prune.plan(database, timedelta(days=1), events=True)
    assert plan.steps == 12001
    assert list(prune.carry_out(database, plan)) == [("event", 5000), ("event", 5000), ("event", 2001)]


def test_a_workflow_in_use_is_skipped_at_once(make, target, folder, database):
    busy, free = make(), make()
    with psycopg.connect(target.url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", [busy.id])  # as a claim or a completion has it
        result = run_prune(target, folder, "--yes")
        assert "1 workflows were in use, and were left" in result.stdout
    assert left(target) == [busy.id] and free.id not in left(target)


def test_while_a_workflow_is_being_deleted_others_are_worked_on(make, target, database):
    old, other = make(), make("ready", old=False)
    with psycopg.connect(target.url) as deleter:
        assert deleter.execute("SELECT torc.prune_workflow(%s, now(), false)", [old.id]).fetchone() == (True,)
        client = MemoryClient(target.app)
        claimed = client.post(f"{other.path}/claim_next_jobs", params={"limit": 1}).json["jobs"]
        assert [job["id"] for job in claimed] == [other.first]


def test_on_a_terminal_it_asks_and_shows_its_progress(make, target, folder):
    make(), make()
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [BINARIES / "torc-server", "prune", "-d", target.url, "--older-than", "90d"],
        cwd=folder, env=clean_environment(folder), stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"y\n")
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(ours, 1000):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    assert b"Delete this? [y/N]" in shown and b"100%" in shown
    assert left(target) == []


@pytest.mark.parametrize("text", ["90", "d", "-1d", "0d", "1.5d", "90 d", "999999d", ""])
def test_what_is_no_age_is_refused(text, target, folder):
    assert "such as 12h, 90d or 8w" in run_prune(target, folder, age=text, code=2).stderr


def test_the_filters_of_the_list_follow_the_same_rule(make, target, folder, database):
    prunable = [make("completed"), make("ready", canceled=True), make("ready", archived=True)]
    others = [make("completed", old=False), make("ready"), make("running", archived=True)]

    def listed(**params):
        return [workflow["id"] for workflow in target.client.get("/workflows", params=params).json["items"]]

    old = [*prunable, *others[1:]]
    assert listed(older_than="90d") == sorted(workflow.id for workflow in old)
    assert listed(older_than="90d", is_prunable=True) == [workflow.id for workflow in prunable]
    assert listed(older_than="90d", is_prunable=False) == [workflow.id for workflow in others[1:]]
    assert listed(is_prunable=True) == [workflow.id for workflow in prunable]
    database.execute("UPDATE torc.compute_node SET is_active = false")
    assert listed(is_prunable=True) == [workflow.id for workflow in [*prunable, others[0]]]
    assert listed(older_than="99999w") == []
    run_prune(target, folder, "--yes")
    assert listed(older_than="90d", is_prunable=True) == []


@pytest.mark.parametrize("text", ["90", "0d", "d", "1y", "-1d", "1.5d", "999999d", "1d\u0662"])
def test_an_age_that_is_none_is_refused(text, target):
    error = target.client.get("/workflows", params={"older_than": text}, status=400).json["error"]
    assert "older_than" in error["message"]


def test_the_filter_by_age_reads_a_few_rows_of_a_workflow_that_lives(make, target, database):
    """However many events and results it has, and without statistics."""
    workflow = make("completed")
    node, job = workflow.default_node, workflow.first
    database.execute(
        "INSERT INTO torc.event (workflow_id, data) SELECT %s, '{}' FROM generate_series(1, 20000)", [workflow.id]
    )
    database.execute(
        """
        INSERT INTO torc.result (
            job_id, workflow_id, run_id, return_code, exec_time_minutes, completion_time, status, compute_node_id,
            is_current
        )
        SELECT %s, %s, number, 0, 0, now()::text, 'completed', %s, false FROM generate_series(100, 20100) AS number
        """, [job, workflow.id, node],
    )  # fmt: skip
    statement = sql.workflows.list_workflows.sql.replace("{order_by}", '"id" ASC')
    params = dict.fromkeys(("name", "user", "description", "is_archived", "access_group", "dialect"))
    params |= {"older_than": timedelta(days=90), "is_prunable": True, "offset": 0, "limit": 10, "caller": "u",
               "enforced": False}  # fmt: skip
    with explained(target.url) as (session, plans):
        session.execute("SET enable_seqscan = off")
        session.execute(statement, params)
    read = [node for plan in plans for node in nodes(plan["Plan"]) if node.get("Relation Name") in ("event", "result")]
    assert read
    assert all("Seq Scan" not in node["Node Type"] for node in read)
    assert sum(rows_of(node) for node in read) < 100
