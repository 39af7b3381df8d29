"""Claims read a few index entries, however many jobs are ready: the plans of the statements inside the functions."""

import json

import psycopg
import pytest
from plans import explained, nodes, rows_of
from workflow import Workflow

READY = 50_000  # fitting; half as many do not fit, or are pinned to another scheduler, or are complete, or elsewhere
LIMIT = 10
MOST_ROWS = 20 * LIMIT
WORKER = {"num_cpus": 4, "memory_gb": 8, "num_gpus": 0, "num_nodes": 1}
FILL = """
    INSERT INTO torc.job (workflow_id, name, command, status, priority, resource_requirements_id, scheduler_id)
    SELECT %(workflow)s, 'j', 'c', %(status)s, %(priority)s + number %% 5, %(requirements)s, %(scheduler)s
    FROM generate_series(1, %(count)s) AS number
"""


@pytest.fixture(scope="module")
def crowded(client, database):
    """The id of a workflow with 100,000 ready jobs; those that do not fit or are pinned come first in claim order."""
    workflow, other = Workflow(client, database), Workflow(client, database)

    def fill(workflow, requirements, priority=0, scheduler=None, status="ready", count=READY // 2):
        values = {
            "workflow": workflow.id, "requirements": requirements, "priority": priority, "scheduler": scheduler,
            "status": status, "count": count,
        }  # fmt: skip
        database.execute(FILL, values)

    fitting, too_big = workflow.requirements(num_cpus=1), workflow.requirements(num_cpus=64)
    fill(workflow, fitting, count=READY)
    fill(workflow, too_big, priority=5)
    fill(workflow, fitting, priority=5, scheduler=7)
    fill(workflow, workflow.requirements(), status="completed")
    fill(other, other.requirements())
    database.execute("ANALYZE torc.job")
    yield workflow.id
    for filled in (workflow, other):
        client.delete(filled.path)


def scans_of_job(plans):
    """(index, rows read) of each scan of the table job that ran; without an index, the kind of scan."""
    for statement in plans:
        for node in nodes(statement["Plan"]):
            if node.get("Relation Name") == "job" and "Scan" in node["Node Type"] and node["Actual Loops"] > 0:
                yield node.get("Index Name", node["Node Type"]), rows_of(node)


def call(database_url, statement, *values, times=1):
    """Run a statement of one value, the last time explained; return the value and the scans of the job table."""
    with explained(database_url) as (session, plans):
        for _ in range(times):
            plans.clear()
            value = session.execute(statement, values).fetchone()[0]
        return value, list(scans_of_job(plans))


@pytest.mark.parametrize("times", [1, 10], ids=["the first call", "the tenth call, when plans are kept"])
def test_claim_next_jobs_reads_only_the_jobs_that_it_hands_out(crowded, database_url, times):
    answer, scans = call(database_url, "SELECT torc.claim_next_jobs(%s, %s)", crowded, LIMIT, times=times)
    assert len(answer["jobs"]) == LIMIT
    assert "job_ready_idx" in {index for index, _ in scans}
    assert_few_rows(scans)


@pytest.mark.parametrize("times", [1, 10], ids=["the first call", "the tenth call, when plans are kept"])
@pytest.mark.parametrize(
    "scheduler", [None, 7, 9], ids=["any worker", "a worker of the scheduler", "a worker of another scheduler"]
)
def test_claim_jobs_based_on_resources_reads_only_the_first_jobs_that_fit(crowded, database_url, times, scheduler):
    worker = WORKER | ({"scheduler_config_id": scheduler} if scheduler else {})
    statement = "SELECT torc.claim_jobs_based_on_resources(%s, %s, true, %s)"
    answer, scans = call(database_url, statement, crowded, LIMIT, json.dumps(worker), times=times)
    assert len(answer["jobs"]) == WORKER["num_cpus"]
    assert "job_ready_scheduler_idx" in {index for index, _ in scans}
    assert_few_rows(scans)


def test_jobs_of_all_schedulers_are_read_from_an_index_in_claim_order_too(crowded, database_url):
    statement = "SELECT torc.pick_fitting_jobs(%s, %s, torc.worker_pool(%s), NULL, true, '{\"\"}')"
    picked, scans = call(database_url, statement, crowded, LIMIT, json.dumps(WORKER))
    assert len(picked) == LIMIT
    assert "job_ready_requirements_idx" in {index for index, _ in scans}
    assert_few_rows(scans)


def test_a_claim_that_finds_nothing_that_fits_reads_next_to_nothing(crowded, database_url):
    statement = "SELECT torc.claim_jobs_based_on_resources(%s, %s, false, %s)"
    answer, scans = call(database_url, statement, crowded, LIMIT, json.dumps(WORKER | {"memory_gb": 0}))
    assert answer["jobs"] == []
    assert_few_rows(scans)


@pytest.mark.parametrize("vacuumed", [False, True], ids=["unknown to the planner", "known to be empty"])
@pytest.mark.parametrize("scheduler", [None, 7, 9], ids=["any worker", "one of the scheduler", "one of another"])
def test_plans_that_were_made_for_few_jobs_serve_many(fresh_database_url, vacuumed, scheduler):
    worker = json.dumps(WORKER | ({"scheduler_config_id": scheduler} if scheduler else {}))
    with psycopg.connect(fresh_database_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE torc.job SET (autovacuum_enabled = false)")
        if vacuumed:
            admin.execute("VACUUM ANALYZE torc.job")
        statement = """SELECT torc.create_workflow('{"name": "w", "user": "u"}') ->> 'id'"""
        workflow = admin.execute(statement).fetchone()[0]

        def fill(count, priority=0, scheduler=None, num_cpus=1):
            statement = """
                INSERT INTO torc.resource_requirements (workflow_id, name, num_cpus, memory_bytes, runtime_s)
                VALUES (%s, 'r', %s, 1, 1) RETURNING id
            """
            values = {
                "workflow": workflow, "priority": priority, "scheduler": scheduler, "status": "ready", "count": count,
                "requirements": admin.execute(statement, [workflow, num_cpus]).fetchone()[0],
            }  # fmt: skip
            admin.execute(FILL, values)

        with explained(fresh_database_url) as (session, plans):
            for fillings in [{"count": LIMIT}], [{}, {"priority": 5, "num_cpus": 64}, {"priority": 5, "scheduler": 7}]:
                for filling in fillings:
                    fill(**{"count": 10 * MOST_ROWS} | filling)
                plans.clear()
                for any_scheduler in (False, True):
                    statement = "SELECT torc.pick_fitting_jobs(%s, %s, torc.worker_pool(%s), NULL, %s, '{\"\"}')"
                    picked = session.execute(statement, [workflow, LIMIT, worker, any_scheduler]).fetchone()[0]
                    assert len(picked) == LIMIT
            assert_few_rows(list(scans_of_job(plans)))


def assert_few_rows(scans):
    assert "Seq Scan" not in {index for index, _ in scans}
    assert sum(rows for _, rows in scans) <= MOST_ROWS, scans
