"""Attempts: which one a report is about, what a stale report does, and where the count begins."""

import pytest
from workflow import COMPLETE

from torc_server.schemas.fields import JOB_STATUSES


class Retried:
    """A job that ran on a node (`old`) when it was retried; its second attempt runs on another (`new`)."""

    def __init__(self, workflow):
        self.workflow = workflow
        self.old, self.new = workflow.node(), workflow.node()
        self.id = workflow.job()
        self.dependent = workflow.job(self.id)
        workflow.initialize()
        self.start(self.old)
        workflow.retry(self.id)

    def start(self, node):
        assert self.workflow.claim() == [self.id]
        self.workflow.start(self.id, node)

    def report(self, node, to="completed", attempt_id=1, **result):
        if attempt_id:
            result["attempt_id"] = attempt_id
        return self.workflow.complete(self.id, to, compute_node_id=node, **result)

    def move(self, status):
        """To a status from that right after the retry, which is ready."""
        if status == "running":
            self.start(self.new)
        elif status == "pending":
            assert self.workflow.claim() == [self.id]
        elif status in COMPLETE:
            self.start(self.new)
            self.report(self.new, status, 2)
        elif status == "blocked":
            body = {"workflow_id": self.workflow.id, "name": "j", "command": "c"}
            self.workflow.manage(self.id, "uninitialized")
            body["depends_on_job_ids"] = [self.workflow.job(name="never done")]
            self.workflow.client.put(f"/jobs/{self.id}", json=body)
            self.workflow.manage(self.id, "blocked")
        else:
            self.workflow.manage(self.id, status)
        assert self.workflow.status(self.id) == status


@pytest.fixture
def retried(workflow):
    return Retried(workflow)


@pytest.fixture
def listed(workflow):
    """(attempt, status) of the results in a list."""

    def listed(**params):
        items = workflow.client.get("/results", params={"workflow_id": workflow.id} | params).json["items"]
        return [(item["attempt_id"], item["status"]) for item in items]

    return listed


# Stale reports: a lower attempt, not from the node that runs the job


@pytest.mark.parametrize("reported", ["completed", "failed", "pending_failed"])
@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_stale_report_is_stored_as_its_attempts_and_leaves_the_job_alone(workflow, retried, listed, status, reported):
    retried.move(status)
    before, current = workflow.statuses(retried.id, retried.dependent), listed()
    answer = retried.report(retried.old, reported)
    assert answer == workflow.client.get(f"/jobs/{retried.id}").json
    assert (answer["status"], answer["attempt_id"]) == (status, 2)
    assert workflow.statuses(retried.id, retried.dependent) == before
    assert (1, reported) in listed(all_runs=True)
    assert listed() == current, "a stale result is never the current one"


@pytest.mark.parametrize("status", ["ready", "pending", "running"])
def test_the_new_attempt_is_reported_as_if_the_stale_report_had_not_come(workflow, retried, listed, status):
    retried.move(status)
    retried.report(retried.old, "failed")
    if status == "ready":
        retried.move("pending")
    if status != "running":
        workflow.start(retried.id, retried.new)
    assert workflow.active_on(retried.new) == [retried.id]
    retried.report(retried.new, attempt_id=2)
    assert workflow.statuses(retried.id, retried.dependent) == ["completed", "ready"]
    assert listed() == [(2, "completed")]
    assert listed(all_runs=True) == [(1, "failed"), (2, "completed")]
    assert workflow.active_on(retried.new) == []


@pytest.mark.parametrize("status", ["ready", "pending", "running", "completed"])
def test_a_repeated_stale_report_is_answered_the_same_and_another_one_is_422(workflow, retried, status):
    retried.move(status)
    assert retried.report(retried.old, "failed") == retried.report(retried.old, "failed")
    stored = workflow.results(retried.id)
    for change in ({"return_code": 7}, {"completion_time": "later"}, {"stdout": "text"}):
        error = workflow.complete(
            retried.id, "failed", status=422, attempt_id=1, compute_node_id=retried.old, **change
        )["error"]
        assert (error["field"], error["value"]) == ("attempt_id", 1)
        assert error["message"] == f"Another result of attempt 1 of job {retried.id} is stored for run 0"
    workflow.complete(retried.id, status=422, attempt_id=1, compute_node_id=workflow.node())
    assert workflow.results(retried.id) == stored
    assert workflow.status(retried.id) == status


def test_a_report_of_the_retried_attempt_from_its_node_is_stale_until_that_node_starts_the_next(workflow, retried):
    assert workflow.active_on(retried.old) == []
    retried.report(retried.old, "failed")
    retried.move("pending")
    retried.report(retried.old, "failed")
    assert workflow.status(retried.id) == "pending"


def test_the_completion_sent_again_after_the_same_node_has_started_the_next_attempt_does_not_end_that(workflow):
    job, node = workflow.job(), workflow.node()
    workflow.initialize()
    workflow.claim()
    workflow.start(job, node)
    report = {"to": "failed", "compute_node_id": node, "attempt_id": 1}
    workflow.complete(job, **report)
    workflow.retry(job)
    workflow.claim()
    workflow.start(job, node)
    assert workflow.complete(job, **report)["status"] == "running"
    workflow.complete(job, compute_node_id=node, attempt_id=2)
    assert workflow.results(job) == [(0, 1, "failed", 1, False), (0, 2, "completed", 0, True)]


def test_stale_reports_of_several_attempts_are_stored_each_as_its_own(workflow, retried, listed):
    retried.start(retried.new)
    workflow.retry(retried.id)
    last = workflow.node()
    retried.start(last)
    retried.report(retried.new, "failed", 2)
    retried.report(retried.old, "terminated", 1)
    assert workflow.status(retried.id) == "running"
    retried.report(last, attempt_id=3)
    assert sorted(listed(all_runs=True)) == [(1, "terminated"), (2, "failed"), (3, "completed")]
    assert listed() == [(3, "completed")]


def test_a_stale_report_triggers_no_action_and_no_event(client, workflow, retried):
    action = {
        "workflow_id": workflow.id, "trigger_type": "on_jobs_complete", "action_type": "run_commands",
        "action_config": {"commands": ["x"]}, "job_ids": [retried.id],
    }  # fmt: skip
    client.post(f"{workflow.path}/actions", json=action)
    events = workflow.events()
    retried.report(retried.old)
    assert client.get(f"{workflow.path}/actions/pending").json == []
    assert workflow.events() == events
    retried.start(retried.new)
    retried.report(retried.new, attempt_id=2)
    assert len(client.get(f"{workflow.path}/actions/pending").json) == 1


@pytest.mark.parametrize(
    "change, field",
    [
        ({"compute_node_id": 2**40}, "compute_node_id"),
        ({"run_id": 1}, "run_id"),
        ({"workflow_id": 0}, "workflow_id"),
        ({"status_of_result": "failed"}, "status"),
    ],
)
def test_a_stale_report_must_fit_like_any_other(workflow, retried, change, field):
    sent = {"attempt_id": 1, "compute_node_id": retried.old} | change
    assert workflow.complete(retried.id, status=422, **sent)["error"]["field"] == field
    assert workflow.results(retried.id) == []


def test_a_stale_report_of_an_earlier_run_is_422(workflow, retried):
    workflow.set_run(1)
    workflow.complete(retried.id, status=422, attempt_id=1, compute_node_id=retried.old)
    assert workflow.results(retried.id) == []


def test_a_stale_result_does_not_keep_the_runner_of_a_job_canceled_by_dependency_from_reporting(workflow):
    cause, node = workflow.job(), workflow.node()
    job = workflow.job_in("running", cause)
    workflow.retry(job)
    workflow.complete(job, "failed", attempt_id=1)
    workflow.manage(job, "blocked")
    workflow.complete(cause, "failed")
    assert workflow.status(job) == "canceled"
    workflow.complete(job, attempt_id=2, compute_node_id=node)
    assert workflow.status(job) == "completed"


@pytest.mark.parametrize("how", ["by hand", "by initialize_jobs"])
def test_in_a_job_started_over_in_its_run_the_stored_completion_changes_nothing_and_another_is_422(
    client, workflow, listed, how
):
    job, node = workflow.job(), workflow.node()
    workflow.initialize()
    report = {"to": "terminated", "compute_node_id": node}
    workflow.complete(job, **report)
    if how == "by hand":
        workflow.manage(job, "ready")
    else:
        workflow.initialize()
        assert listed() == []
    assert workflow.claim() == [job]
    workflow.start(job, node)
    for attempt in ({}, {"attempt_id": 1}):
        assert workflow.complete(job, **report, **attempt)["status"] == "running"
        error = workflow.complete(job, status=422, compute_node_id=node, **attempt)["error"]
        assert error["message"] == f"Another result of attempt 1 of job {job} is stored for run 0"
    workflow.retry(job)
    workflow.complete(job, compute_node_id=node)
    assert workflow.status(job) == "completed"
    assert sorted(listed(all_runs=True)) == [(1, "terminated"), (2, "completed")]


# Clients that always send 1, or nothing


@pytest.mark.parametrize("sent", [1, None])
def test_from_the_node_that_runs_the_job_a_lower_attempt_or_none_is_the_current_one(workflow, retried, listed, sent):
    retried.start(retried.new)
    first = retried.report(retried.new, "failed", sent)
    assert (first["status"], first["attempt_id"]) == ("failed", 2)
    assert listed(all_runs=True) == [(2, "failed")]
    assert retried.report(retried.new, "failed", sent) == first, "sent again after a lost answer"
    assert listed(all_runs=True) == [(2, "failed")]
    workflow.retry(retried.id)
    retried.start(retried.new)
    retried.report(retried.new, "completed", sent)
    assert listed(all_runs=True) == [(2, "failed"), (3, "completed")]
    assert workflow.statuses(retried.id, retried.dependent) == ["completed", "ready"]


def test_a_simple_client_ends_its_attempt_although_a_stale_result_of_attempt_1_is_stored(workflow, retried, listed):
    retried.report(retried.old, "failed")
    retried.start(retried.new)
    retried.report(retried.new)
    assert workflow.statuses(retried.id, retried.dependent) == ["completed", "ready"]
    assert listed(all_runs=True) == [(1, "failed"), (2, "completed")]
    assert retried.report(retried.new)["status"] == "completed"
    assert retried.report(retried.old, "failed")["status"] == "completed"
    assert len(listed(all_runs=True)) == 2


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word not in COMPLETE])
def test_without_attempt_id_a_result_is_that_of_the_jobs_attempt_from_whatever_node(workflow, retried, status):
    retried.move(status)
    if status in ("disabled", "pending_failed"):
        workflow.complete(retried.id, status=409, compute_node_id=retried.old)
        assert workflow.results(retried.id) == []
    else:
        retried.report(retried.old, attempt_id=None)
        assert workflow.results(retried.id) == [(0, 2, "completed", 0, True)]


def test_a_result_created_without_attempt_id_is_that_of_the_jobs_attempt(workflow, retried, listed):
    workflow.client.post("/results", json=workflow.result(retried.id))
    assert listed() == [(2, "completed")]


# Where the count begins


def attempt(workflow, job):
    return workflow.client.get(f"/jobs/{job}").json["attempt_id"]


def finished_in_two_attempts(workflow):
    """A job that failed and was retried in run 1, and one that waits for it and was retried too."""
    workflow.set_run(1)
    jobs = [workflow.job()]
    jobs.append(workflow.job(jobs[0]))
    workflow.initialize()
    for job in jobs:
        workflow.complete(job, "failed" if job == jobs[1] else "completed", run_id=1)
        if job == jobs[0]:
            workflow.manage(job, "running", run_id=1)
        workflow.retry(job, run_id=1)
        workflow.complete(job, run_id=1)
    assert [attempt(workflow, job) for job in jobs] == [2, 2]
    return jobs


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_in_the_next_run_jobs_are_at_attempt_1_again(client, workflow, only_uninitialized):
    first, second = finished_in_two_attempts(workflow)
    workflow.set_run(2)
    assert [attempt(workflow, job) for job in (first, second)] == [2, 2], "they do not run again yet"
    client.post(f"{workflow.path}/reset_job_status")
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert [attempt(workflow, job) for job in (first, second)] == [1, 1]
    workflow.complete(first, run_id=2)
    assert workflow.claim() == [second]
    assert attempt(workflow, second) == 1
    workflow.complete(second, run_id=2)
    assert workflow.results(second)[-1] == (2, 1, "completed", 0, True)


def test_in_the_same_run_attempts_go_on_through_resets_and_initialization(client, workflow):
    first, second = finished_in_two_attempts(workflow)
    client.post(f"{workflow.path}/reset_job_status")
    workflow.initialize()
    workflow.complete(first, run_id=1, attempt_id=3)
    workflow.manage(second, "uninitialized", run_id=1)
    workflow.manage(second, "ready", run_id=1)
    assert [attempt(workflow, job) for job in (first, second)] == [2, 2]


def test_a_retried_job_that_is_claimed_and_given_back_keeps_its_attempt(workflow, retried):
    """Its run has no result of it: a runner that retries reports nothing for the old attempt."""
    retried.move("pending")
    workflow.manage(retried.id, "ready")
    assert attempt(workflow, retried.id) == 2
    workflow.retry(retried.id, status=422)
    retried.start(retried.new)
    workflow.initialize()
    assert attempt(workflow, retried.id) == 2, "what still runs is stale"


@pytest.mark.parametrize("status", ["ready", "pending", "running", "uninitialized"])
def test_a_finished_job_set_back_by_hand_in_a_later_run_is_at_attempt_1(workflow, status):
    job, _ = finished_in_two_attempts(workflow)
    workflow.set_run(2)
    assert workflow.manage(job, status, run_id=2)["attempt_id"] == 1


def test_a_job_that_waits_while_the_next_run_begins_is_at_attempt_1(workflow):
    dependency = workflow.job()
    job = workflow.job_in("running", dependency)
    workflow.retry(job)
    workflow.manage(job, "blocked")
    workflow.set_run(1)
    assert attempt(workflow, job) == 1
    workflow.complete(dependency, run_id=1)
    assert workflow.claim() == [job]


def test_a_job_with_a_result_in_the_run_keeps_its_attempt(workflow):
    job = workflow.job_in("running")
    workflow.retry(job)
    workflow.manage(job, "running")
    workflow.set_run(1)
    workflow.complete(job, "failed", run_id=1)
    workflow.manage(job, "ready", run_id=1)
    assert attempt(workflow, job) == 2


def test_a_retry_counts_on_from_the_last_attempt_in_a_later_run_too(workflow):
    job = workflow.job_in("failed")
    workflow.retry(job)
    workflow.complete(job, "failed")
    workflow.set_run(1)
    assert workflow.retry(job, run_id=1)["attempt_id"] == 3
    workflow.manage(job, "running", run_id=1)
    workflow.manage(job, "ready", run_id=1)
    assert attempt(workflow, job) == 3
