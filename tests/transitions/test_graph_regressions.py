"""What once went wrong with the graph, each as the smallest case of it."""

import pytest


def test_a_cycle_through_a_finished_job_is_refused_when_only_uninitialized_makes_that_job_wait_again(workflow):
    first, second = workflow.job(), workflow.job()
    workflow.client.put(
        f"/jobs/{first}",
        json={"workflow_id": workflow.id, "name": "j", "command": "c", "depends_on_job_ids": [second]},
    )
    workflow.client.put(
        f"/jobs/{second}",
        json={"workflow_id": workflow.id, "name": "j", "command": "c", "depends_on_job_ids": [first]},
    )
    workflow.complete(first)
    error = workflow.initialize(only_uninitialized=True, status=422)["error"]
    assert sorted(error["job_ids"]) == [first, second]
    assert workflow.statuses(first, second) == ["completed", "uninitialized"]


def test_a_cycle_through_a_disabled_job_is_refused_once_that_job_is_enabled(workflow):
    first = workflow.job()
    second = workflow.job(first)
    workflow.client.put(
        f"/jobs/{first}",
        json={
            "workflow_id": workflow.id, "name": "j", "command": "c", "status": "disabled",
            "depends_on_job_ids": [second],
        },
    )  # fmt: skip
    workflow.initialize()
    assert workflow.statuses(first, second) == ["disabled", "blocked"]
    workflow.manage(first, "uninitialized")
    workflow.initialize(status=422)
    assert workflow.statuses(first, second) == ["uninitialized", "blocked"]


def test_a_cycle_through_a_finished_job_that_lets_the_others_run_is_initialized(workflow):
    first = workflow.job()
    second = workflow.job(first)
    workflow.client.put(
        f"/jobs/{first}",
        json={"workflow_id": workflow.id, "name": "j", "command": "c", "depends_on_job_ids": [second]},
    )
    workflow.complete(first)
    workflow.initialize()
    assert workflow.statuses(first, second) == ["blocked", "ready"]
    workflow.complete(second)
    assert workflow.statuses(first, second) == ["ready", "completed"]


def test_a_finished_job_that_consumes_what_it_produces_does_not_keep_the_others_from_being_initialized(workflow):
    file = workflow.file()
    odd = workflow.job(input_file_ids=[file], output_file_ids=[file])
    other = workflow.job()
    workflow.initialize(status=422)
    workflow.complete(odd)
    workflow.initialize()
    assert workflow.statuses(odd, other) == ["completed", "ready"]
    assert workflow.depends_on(odd) == []
    workflow.manage(odd, "uninitialized")
    error = workflow.initialize(only_uninitialized=True, status=422)["error"]
    assert error["job_ids"] == [odd]


def test_a_job_is_not_written_when_what_it_waits_for_only_becomes_ready(workflow):
    """Its row is not locked then: writing it could undo what another completion has counted meanwhile."""
    failing = workflow.job()
    canceled = workflow.job(failing)
    ready = workflow.job(failing, cancel_on_blocking_job_failure=False)
    canceled_too = workflow.job(canceled)
    waiting = workflow.job(ready)
    workflow.initialize()
    version = "SELECT xmin::text FROM torc.job WHERE id = %s"
    before = workflow.sql(version, waiting)
    workflow.complete(failing, "failed")
    assert workflow.statuses(canceled, ready, canceled_too, waiting) == ["canceled", "ready", "canceled", "blocked"]
    assert workflow.sql(version, waiting) == before


@pytest.mark.parametrize("before", ["running", "ready"])  # two ways through complete_job()
def test_a_completion_counts_for_dependents_that_are_not_blocked_any_more(workflow, before):
    parent, failing = workflow.job(), workflow.job()
    freed = workflow.job(parent)
    by_hand = workflow.job(parent, failing)
    running = workflow.job(parent)
    canceled = workflow.job(parent, failing)
    canceled_too = workflow.job(canceled)
    workflow.initialize()
    workflow.manage(by_hand, "ready")
    workflow.manage(running, "running")
    for job, status in ((failing, "failed"), (parent, "completed")):
        workflow.manage(job, before)
        workflow.complete(job, status)
    jobs = [freed, by_hand, running, canceled, canceled_too]
    assert workflow.statuses(*jobs) == ["ready", "ready", "running", "canceled", "canceled"]
    counters = "SELECT open_dependencies, failed_dependencies FROM torc.job WHERE id = ANY (%s) ORDER BY id"
    assert workflow.sql(counters, jobs) == [(0, 0), (0, 1), (0, 0), (0, 1), (0, 1)]


@pytest.mark.parametrize("before", ["running", "ready"])
def test_a_job_that_is_run_again_counts_for_what_has_run_meanwhile(workflow, before):
    parent = workflow.job()
    done, waiting = workflow.job(parent), workflow.job(parent)
    workflow.initialize()
    workflow.complete(parent, "failed")
    assert workflow.statuses(done, waiting) == ["canceled", "canceled"]
    workflow.complete(done)
    workflow.retry(parent)
    assert workflow.statuses(parent, done, waiting) == ["ready", "completed", "blocked"]
    workflow.manage(parent, before)
    workflow.complete(parent)
    assert workflow.statuses(parent, done, waiting) == ["completed", "completed", "ready"]
