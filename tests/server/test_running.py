"""Transitions of one job: start, complete, manage_status_change, retry, and what they do downstream."""

import json
import threading

import psycopg
import pytest
from workflow import COMPLETE, NOT_COMPLETE, Workflow

from torc_server.schemas.fields import JOB_STATUSES

TERMINAL = (*COMPLETE, "pending_failed")
RETRYABLE = ("running", "failed", "terminated")


# start_job


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_only_a_pending_job_can_be_started(client, workflow, status):
    job, node = workflow.job_in(status, workflow.job()), workflow.node()
    if status == "pending":
        started = workflow.start(job, node)
        assert started["status"] == "running"
        assert started == client.get(f"/jobs/{job}").json
        assert workflow.active_on(node) == [job]
    else:
        error = workflow.start(job, node, status=409)["error"]
        assert error["error"] == "Conflict" and status in error["message"]
        assert workflow.status(job) == status
        assert workflow.active_on(node) == []


def test_start_sent_again_for_the_same_node_answers_as_before_and_for_another_is_409(workflow):
    job, node, other = workflow.job_in("pending"), workflow.node(), workflow.node()
    assert workflow.start(job, node) == workflow.start(job, node)
    workflow.start(job, other, status=409)
    assert workflow.active_on(node) == [job]


def test_start_with_another_run_is_422_and_changes_nothing(workflow):
    job, node = workflow.job_in("pending"), workflow.node()
    error = workflow.start(job, node, run_id=7, status=422)["error"]
    assert error["message"] == "Run ID mismatch: provided 7 but workflow status has 0"
    assert workflow.status(job) == "pending"
    workflow.set_run(7)
    workflow.start(job, node, run_id=7)


def test_start_on_an_unknown_node_is_422_and_on_a_node_of_another_workflow_works(client, workflow):
    job = workflow.job_in("pending")
    assert workflow.start(job, 2**40, status=422)["error"]["field"] == "compute_node_id"
    assert workflow.status(job) == "pending"
    foreign = Workflow(client, workflow.database).node()
    workflow.start(job, foreign)
    assert workflow.active_on(foreign) == [job]


def test_start_does_not_look_at_the_canceled_flag(workflow):
    job = workflow.job_in("pending")
    workflow.set_run(0, is_canceled=True)
    assert workflow.start(job, workflow.node())["status"] == "running"


# complete_job: each status × each target


def answer_to_completion(status, target):
    if target not in TERMINAL or status in COMPLETE:
        return 422
    return 409 if status in ("disabled", "pending_failed") else 200


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_complete_from_a_status_to_each_status(client, workflow, status):
    for target in JOB_STATUSES:
        job = workflow.job_in(status, workflow.job())
        stored = workflow.results(job)
        expected = answer_to_completion(status, target)
        answer = workflow.complete(job, target, status=expected, attempt_id=5)
        if expected == 200:
            assert answer == client.get(f"/jobs/{job}").json
            assert answer["status"] == target
            assert len(workflow.results(job)) == len(stored) + 1
        else:
            assert workflow.status(job) == status
            assert workflow.results(job) == stored


def test_the_refusals_of_complete_say_why(workflow):
    job = workflow.job_in("completed")
    message = workflow.complete(job, "ready", status=422)["error"]["message"]
    assert message == "Status 'ready' is not a terminal status for job completion"
    message = workflow.complete(job, "failed", status=422)["error"]["message"]
    assert message == f"Job {job} is already complete with status completed"
    disabled = workflow.job_in("disabled")
    message = workflow.complete(disabled, status=409)["error"]["message"]
    assert message == f"Job {disabled} has status disabled and cannot be completed"


def test_a_completion_stores_the_result_as_sent_with_the_jobs_attempt_as_its_default(workflow):
    job = workflow.job_in("running")
    metrics = {
        "peak_memory_bytes": 2**40, "avg_memory_bytes": 0, "peak_cpu_percent": 99.5, "avg_cpu_percent": 3,
        "return_code": -128, "exec_time_minutes": 12, "completion_time": "any text",
    }  # fmt: skip
    workflow.complete(job, "failed", **metrics)
    assert workflow.results(job) == [(0, 1, "failed", -128, True)]
    assert workflow.sql(
        """
        SELECT to_jsonb(result) - '{id,job_id,compute_node_id,exit_code,stdout,stderr,is_current}'::text[]
        FROM torc.result WHERE job_id = %s
        """,
        job,
    ) == [metrics | {"workflow_id": workflow.id, "run_id": 0, "attempt_id": 1, "status": "failed"}]


@pytest.mark.parametrize("target", TERMINAL)
def test_a_result_with_another_status_than_the_path_is_422_and_nothing_happens(workflow, target):
    job = workflow.job_in("running")
    for other in set(JOB_STATUSES) - {target}:
        error = workflow.complete(job, target, status=422, status_of_result=other)["error"]
        assert (error["field"], error["value"]) == ("status", other)
        assert error["message"] == f"ResultModel status {other} does not match target status {target}"
    assert workflow.status(job) == "running"
    assert workflow.results(job) == []


def test_the_newest_result_is_the_current_one(workflow):
    job = workflow.job_in("running")
    workflow.complete(job, "failed")
    workflow.retry(job)
    workflow.complete(job, attempt_id=2)
    assert workflow.results(job) == [(0, 1, "failed", 1, False), (0, 2, "completed", 0, True)]


@pytest.mark.parametrize("target", TERMINAL)
def test_the_identical_completion_sent_again_is_answered_as_before(workflow, target):
    job = workflow.job_in("running")
    first = workflow.complete(job, target)
    assert workflow.complete(job, target) == first
    assert len(workflow.results(job)) == 1
    assert workflow.events() == []


@pytest.mark.parametrize(
    "change",
    [
        {"return_code": 9}, {"attempt_id": 2}, {"exec_time_minutes": 0.25}, {"completion_time": "later"},
        {"peak_memory_bytes": 1}, {"avg_memory_bytes": 1}, {"peak_cpu_percent": 1}, {"avg_cpu_percent": 1},
        {"stdout": ""}, {"stderr": ""}, {"exit_code": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_completion_sent_again_with_something_else_in_it_is_422(workflow, change):
    job = workflow.job_in("running")
    workflow.complete(job, "failed")
    error = workflow.complete(job, "failed", status=422, **change)["error"]
    assert error["message"] == f"Job {job} is already complete with status failed"
    workflow.complete(job, "canceled", status=422)
    workflow.complete(job, "failed", status=422, compute_node_id=workflow.node())
    assert len(workflow.results(job)) == 1


def test_another_result_of_a_stored_attempt_is_422_and_the_job_stays_as_it_is(workflow):
    job = workflow.job_in("running")
    workflow.complete(job, "pending_failed")
    workflow.manage(job, "running")
    dependent = workflow.job_in("blocked", job)
    error = workflow.complete(job, status=422)["error"]
    assert (error["field"], error["value"]) == ("attempt_id", 1)
    assert error["message"] == f"Another result of attempt 1 of job {job} is stored for run 0"
    assert workflow.statuses(job, dependent) == ["running", "blocked"]
    assert workflow.results(job) == [(0, 1, "pending_failed", 1, True)]
    workflow.complete(job, attempt_id=2)
    assert workflow.statuses(job, dependent) == ["completed", "ready"]


@pytest.mark.parametrize(
    "change, field",
    [
        ({"job_id": 0}, "job_id"), ({"workflow_id": 0}, "workflow_id"), ({"run_id": 3}, "run_id"),
        ({"compute_node_id": 2**40}, "compute_node_id"), ({"status": "done"}, "status"),
        ({"return_code": 1.0}, "return_code"), ({"return_code": None}, "return_code"),
        ({"exec_time_minutes": "1"}, "exec_time_minutes"), ({"completion_time": 5}, "completion_time"),
        ({"peak_memory_bytes": 1.5}, "peak_memory_bytes"), ({"attempt_id": "1"}, "attempt_id"),
    ],
)  # fmt: skip
def test_a_result_that_does_not_fit_is_422_naming_the_field_and_nothing_happens(workflow, change, field):
    node, job = workflow.node(), workflow.job_in("pending")
    workflow.start(job, node)
    body = workflow.result(job) | change
    answer = workflow.client.post(f"/jobs/{job}/complete_job/completed/0", json=body, status=422).json
    assert answer["error"]["field"] == field
    assert workflow.status(job) == "running"
    assert workflow.results(job) == []
    assert workflow.active_on(node) == [job]


@pytest.mark.parametrize("field", [
    "job_id", "workflow_id", "run_id", "compute_node_id", "return_code", "exec_time_minutes", "completion_time",
    "status",
])  # fmt: skip
def test_a_result_needs_all_its_required_fields(workflow, field):
    job = workflow.job_in("running")
    body = workflow.result(job)
    del body[field]
    answer = workflow.client.post(f"/jobs/{job}/complete_job/completed/0", json=body, status=422).json
    assert answer["error"]["field"] == field


@pytest.mark.parametrize("path_run, body_run", [(1, 0), (0, 1), (1, 1)])
def test_completion_with_another_run_is_422_and_stores_no_result(workflow, path_run, body_run):
    job = workflow.job_in("running")
    body = workflow.result(job) | {"run_id": body_run}
    answer = workflow.client.post(f"/jobs/{job}/complete_job/completed/{path_run}", json=body, status=422).json
    assert answer["error"]["message"] == "Run ID mismatch: provided 1 but workflow status has 0"
    assert workflow.status(job) == "running"
    assert workflow.results(job) == []


def test_a_word_that_is_no_status_is_400_in_a_path(workflow):
    job = workflow.job_in("running")
    workflow.complete(job, "done", status=400)
    workflow.complete(job, "5", status=400)
    workflow.manage(job, "Ready", status=400)


def test_completing_an_unknown_job_is_404(client, workflow):
    client.post("/jobs/0/complete_job/completed/0", json=workflow.result(0), status=404)


# complete_job: dependents


def test_dependents_wait_for_all_and_are_released_in_the_completing_call(workflow):
    first, second = workflow.job(), workflow.job()
    one, both = workflow.job(first), workflow.job(first, second)
    workflow.initialize()
    workflow.complete(first)
    assert workflow.statuses(one, both) == ["ready", "blocked"]
    workflow.complete(second)
    assert workflow.statuses(one, both) == ["ready", "ready"]
    assert workflow.claim() == [one, both]


@pytest.mark.parametrize("status", ["failed", "canceled", "terminated"])
@pytest.mark.parametrize("return_code", [0, 1])
def test_failure_cancels_the_whole_closure_by_status_whatever_the_return_code(workflow, status, return_code):
    cause = workflow.job()
    chain = [cause]
    for _ in range(4):
        chain.append(workflow.job(chain[-1]))
    workflow.initialize()
    workflow.complete(cause, status, return_code=return_code)
    assert workflow.statuses(*chain) == [status, *["canceled"] * 4]
    assert [workflow.results(job) for job in chain[1:]] == [[]] * 4


def test_a_job_completed_with_a_bad_return_code_cancels_nothing(workflow):
    job = workflow.job()
    dependent = workflow.job(job)
    workflow.initialize()
    workflow.complete(job, "completed", return_code=1)
    assert workflow.status(dependent) == "ready"


def test_a_dependent_that_does_not_ask_for_cancellation_becomes_ready_and_shields_what_is_below(workflow):
    cause = workflow.job()
    stubborn = workflow.job(cause, cancel_on_blocking_job_failure=False)
    below, beside = workflow.job(stubborn), workflow.job(stubborn, cause)
    workflow.initialize()
    workflow.complete(cause, "failed")
    assert workflow.statuses(stubborn, below, beside) == ["ready", "blocked", "blocked"]
    workflow.complete(stubborn)
    assert workflow.statuses(below, beside) == ["ready", "canceled"]


def test_a_failed_dependency_cancels_only_when_the_others_are_complete_too(workflow):
    failing, running = workflow.job(), workflow.job()
    dependent = workflow.job(failing, running)
    below = workflow.job(dependent)
    workflow.initialize()
    workflow.complete(failing, "failed")
    assert workflow.statuses(dependent, below) == ["blocked", "blocked"]
    workflow.complete(running)
    assert workflow.statuses(dependent, below) == ["canceled", "canceled"]


def test_a_diamond_is_canceled_once(workflow):
    cause, free = workflow.job(), workflow.job()
    left, right = workflow.job(cause), workflow.job(cause)
    bottom = workflow.job(left, right, free)
    last = workflow.job(bottom)
    workflow.initialize()
    workflow.complete(cause, "failed")
    assert workflow.statuses(left, right, bottom, last) == ["canceled", "canceled", "blocked", "blocked"]
    workflow.complete(free)
    assert workflow.statuses(bottom, last) == ["canceled", "canceled"]


@pytest.mark.parametrize("status", ["disabled", "pending_failed"])
def test_a_disabled_or_pending_failed_dependency_keeps_dependents_blocked(workflow, status):
    job = workflow.job()
    dependent = workflow.job(job)
    workflow.initialize()
    workflow.manage(job, "running")
    if status == "pending_failed":
        workflow.complete(job, status)
        assert len(workflow.results(job)) == 1
    else:
        workflow.manage(job, status)
    assert workflow.status(dependent) == "blocked"


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word != "blocked"])
def test_only_blocked_jobs_are_canceled_or_released(workflow, status):
    cause = workflow.job()
    dependent = workflow.job_in(status, cause)
    workflow.complete(cause, "failed")
    assert workflow.status(dependent) == status


def test_a_failure_is_remembered_across_runs_and_initialization(workflow):
    failing, running = workflow.job(), workflow.job()
    dependent = workflow.job(failing, running)
    workflow.initialize()
    workflow.complete(failing, "failed")
    workflow.set_run(1)
    workflow.initialize(only_uninitialized=True)
    workflow.complete(running, run_id=1)
    assert workflow.status(dependent) == "canceled"


# complete_job of a job that was canceled by dependency


def canceled_by_dependency(workflow):
    """A failed job, a job canceled by it, and one canceled by that."""
    cause = workflow.job()
    middle = workflow.job(cause)
    below = workflow.job(middle)
    workflow.initialize()
    workflow.complete(cause, "failed")
    assert workflow.statuses(cause, middle, below) == ["failed", "canceled", "canceled"]
    return cause, middle, below


@pytest.mark.parametrize(
    "target, below_after",
    [("completed", "ready"), ("failed", "canceled"), ("canceled", "canceled"), ("terminated", "canceled"),
     ("pending_failed", "blocked")],
)  # fmt: skip
def test_the_runner_of_a_job_canceled_by_dependency_knows_better(workflow, target, below_after):
    cause, middle, below = canceled_by_dependency(workflow)
    workflow.complete(middle, target)
    assert workflow.statuses(cause, middle, below) == ["failed", target, below_after]
    assert len(workflow.results(middle)) == 1
    again = "failed" if target == "completed" else "completed"
    workflow.complete(middle, again, status=409 if target == "pending_failed" else 422, attempt_id=2)


def test_a_job_canceled_by_dependency_with_a_result_in_this_run_is_already_complete(workflow):
    cause = workflow.job()
    job = workflow.job_in("completed", cause)
    workflow.manage(job, "blocked")
    workflow.complete(cause, "failed")
    assert workflow.status(job) == "canceled"
    workflow.complete(job, attempt_id=2, status=422)
    workflow.set_run(1)
    workflow.complete(job, run_id=1)
    assert workflow.status(job) == "completed"


def test_a_job_canceled_by_its_own_runner_is_complete(workflow):
    job = workflow.job_in("canceled")
    workflow.complete(job, attempt_id=2, status=422)


def test_a_job_completed_by_its_runner_is_not_taken_back_with_the_cause(workflow):
    cause, middle, below = canceled_by_dependency(workflow)
    workflow.complete(middle, "failed")
    workflow.retry(cause)
    assert workflow.statuses(cause, middle, below) == ["ready", "failed", "canceled"]


# Taking back


@pytest.mark.parametrize("how", ["retry", "manage", "reset", "reset failed only", "delete"])
def test_cancellation_is_taken_back_all_the_way_down_when_the_cause_goes_away(client, workflow, how):
    cause, middle, below = canceled_by_dependency(workflow)
    expected = ["ready", "blocked", "blocked"]
    if how == "retry":
        workflow.retry(cause)
    elif how == "manage":
        workflow.manage(cause, "running")
        expected[0] = "running"
    elif how == "delete":
        client.delete(f"/jobs/{cause}")
        expected[1] = "ready"
    else:
        client.post(f"{workflow.path}/reset_job_status", params={"failed_only": how != "reset"})
        expected = ["uninitialized"] * 3
    assert workflow.statuses(*([cause] if how != "delete" else []), middle, below) == expected[how == "delete" :]


def test_a_job_with_another_failed_dependency_waits_again_and_is_canceled_again(workflow):
    first, second = workflow.job(), workflow.job()
    dependent = workflow.job(first, second)
    below = workflow.job(dependent)
    workflow.initialize()
    workflow.complete(first, "failed")
    workflow.complete(second, "failed")
    assert workflow.statuses(dependent, below) == ["canceled", "canceled"]
    workflow.retry(first)
    assert workflow.statuses(dependent, below) == ["blocked", "blocked"]
    workflow.complete(first, attempt_id=2)
    assert workflow.statuses(dependent, below) == ["canceled", "canceled"]
    workflow.retry(second)
    workflow.complete(second, attempt_id=2)
    assert workflow.statuses(dependent, below) == ["ready", "blocked"]


def test_a_failure_retried_and_completed_lets_everything_run(workflow):
    cause, middle, below = canceled_by_dependency(workflow)
    workflow.retry(cause)
    workflow.complete(cause, attempt_id=2)
    assert workflow.statuses(middle, below) == ["ready", "blocked"]
    workflow.complete(middle)
    assert workflow.status(below) == "ready"


def test_a_job_that_was_canceled_otherwise_is_not_taken_back(workflow):
    cause = workflow.job_in("failed")
    canceled = workflow.job_in("canceled", cause)
    workflow.retry(cause)
    assert workflow.status(canceled) == "canceled"


def test_a_release_is_not_lost_beside_a_cancellation_and_a_release_at_the_same_time(database_url, workflow):
    """cause → victim → below; cause → heir → last; other → last: `last` is touched from both sides at once."""
    cause, other = workflow.job(), workflow.job()
    victim, heir = workflow.job(cause), workflow.job(cause, cancel_on_blocking_job_failure=False)
    workflow.job(victim)
    last = workflow.job(heir, other)
    workflow.initialize()
    result = json.dumps(workflow.result(other))
    with psycopg.connect(database_url) as beside:
        beside.execute("SELECT torc.complete_job(%s, 'completed', 0, %s)", [other, result])
        completing = threading.Thread(target=workflow.complete, args=(cause, "failed"))
        completing.start()
        completing.join(0.3)  # it waits for `beside` if it touches `last`
    completing.join()
    assert workflow.statuses(victim, heir, last) == ["canceled", "ready", "blocked"]
    workflow.complete(heir)
    assert workflow.status(last) == "ready"


# manage_status_change: each status × each target


def answer_to_change(status, target):
    if target in COMPLETE:
        return 422
    return 409 if target == "blocked" and status != "blocked" else 200


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_manage_from_a_status_to_each_status(client, workflow, status):
    for target in JOB_STATUSES:
        job = workflow.job_in(status)
        expected = answer_to_change(status, target)
        answer = workflow.manage(job, target, status=expected)
        if expected == 200:
            assert answer["status"] == target
            assert answer == client.get(f"/jobs/{job}").json
        else:
            assert workflow.status(job) == status


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_job_with_an_open_dependency_can_be_made_blocked_and_anything_else_that_is_not_complete(workflow, status):
    for target in NOT_COMPLETE:
        assert workflow.manage(workflow.job_in(status, workflow.job()), target)["status"] == target


@pytest.mark.parametrize("target", COMPLETE)
def test_a_completion_status_is_refused_before_the_job_is_looked_for(client, target):
    error = client.put(f"/jobs/0/manage_status_change/{target}/0", status=422).json["error"]
    assert error["message"] == (
        f"Cannot set completion status '{target}' via manage_status_change. Use complete_job API instead."
    )


def test_the_same_status_again_changes_nothing_and_does_not_look_at_the_run(workflow):
    job = workflow.job_in("pending")
    assert workflow.manage(job, "pending", run_id=99)["status"] == "pending"


def test_manage_with_another_run_is_422_and_changes_nothing(workflow):
    job = workflow.job_in("ready")
    error = workflow.manage(job, "running", run_id=3, status=422)["error"]
    assert error["message"] == "Run ID mismatch: provided 3 but workflow status has 0"
    assert workflow.status(job) == "ready"


def test_the_documentation_pages_form_takes_the_status_in_the_body_and_the_current_run(client, workflow):
    job = workflow.job_in("ready")
    path = f"/jobs/{job}/manage_status_change"
    workflow.set_run(4)
    assert client.post(path, json={"target_status": "running"}).json["status"] == "running"
    assert client.post(path, json={"target_status": "ready", "run_id": 4}).json == client.get(f"/jobs/{job}").json
    client.post(path, json={"target_status": "running", "run_id": 3}, status=422)
    client.post(path, json={"target_status": "completed"}, status=422)
    client.post(path, json={"target_status": "blocked"}, status=409)
    assert client.post(path, json={"target_status": "done"}, status=422).json["error"]["field"] == "target_status"
    assert client.post(path, json={}, status=422).json["error"]["field"] == "target_status"
    client.post(path, status=415)


@pytest.mark.parametrize("status", COMPLETE)
def test_from_complete_to_uninitialized_finished_direct_dependents_follow(workflow, status):
    job = workflow.job_in(status)
    direct = [workflow.job_in(word, job) for word in JOB_STATUSES if word != "blocked"]
    below = workflow.job_in("completed", direct[JOB_STATUSES.index("completed") - 1])
    before = workflow.statuses(*direct)
    workflow.manage(job, "uninitialized")
    after = ["uninitialized" if word in ("completed", "failed") else word for word in before]
    assert workflow.statuses(*direct) == after
    assert workflow.status(below) == "completed"


@pytest.mark.parametrize("status", [word for word in NOT_COMPLETE if word not in ("uninitialized", "blocked")])
def test_from_any_other_status_to_uninitialized_dependents_stay(workflow, status):
    job = workflow.job_in(status)
    dependents = [workflow.job_in(word, job) for word in ("completed", "failed")]
    workflow.manage(job, "uninitialized")
    assert workflow.statuses(*dependents) == ["completed", "failed"]


@pytest.mark.parametrize("target", ["ready", "pending", "running", "disabled", "pending_failed"])
def test_from_complete_to_elsewhere_finished_dependents_stay_and_later_ones_wait(workflow, target):
    job = workflow.job_in("completed")
    finished, pending = workflow.job_in("completed", job), workflow.job(job)
    workflow.manage(job, target)
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(finished, pending) == ["completed", "blocked"]


def test_a_completed_dependent_made_uninitialized_carries_on_downstream_in_the_counts(workflow):
    job = workflow.job_in("completed")
    middle = workflow.job_in("failed", job)
    below = workflow.job(middle)
    workflow.complete(below)
    workflow.manage(job, "uninitialized")
    assert workflow.statuses(job, middle, below) == ["uninitialized", "uninitialized", "completed"]
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(job, middle, below) == ["ready", "blocked", "blocked"]


def test_a_canceled_job_managed_to_ready_is_no_longer_canceled_by_dependency(workflow):
    cause, middle, below = canceled_by_dependency(workflow)
    workflow.manage(middle, "ready")
    assert workflow.statuses(cause, middle, below) == ["failed", "ready", "blocked"]
    workflow.retry(cause)
    assert workflow.statuses(middle, below) == ["ready", "blocked"]


# retry


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_only_a_running_failed_or_terminated_job_can_be_retried(workflow, status):
    job = workflow.job_in(status)
    if status in RETRYABLE:
        retried = workflow.retry(job)
        assert (retried["status"], retried["attempt_id"]) == ("ready", 2)
        assert retried == workflow.client.get(f"/jobs/{job}").json
        assert workflow.claim() == [job]
    else:
        message = workflow.retry(job, status=422)["error"]["message"]
        assert message == f"Job cannot be retried: status is {status}, must be running, failed or terminated"
        assert workflow.status(job) == status
        assert workflow.events() == []


def test_retry_answers_the_job_without_relations(workflow):
    job = workflow.job_in("failed", workflow.job(), scheduler_id=3, input_file_ids=[workflow.file()])
    retried = workflow.retry(job)
    assert retried["scheduler_id"] == 3
    assert not {"depends_on_job_ids", "input_file_ids"} & retried.keys()


def test_max_retries_is_the_highest_attempt(workflow):
    job = workflow.job_in("failed")
    message = workflow.retry(job, max_retries=1, status=422)["error"]["message"]
    assert message == "Job cannot be retried: attempt_id=1 >= max_retries=1"
    assert workflow.retry(job, max_retries=3)["attempt_id"] == 2
    workflow.manage(job, "running")
    assert workflow.retry(job, max_retries=3)["attempt_id"] == 3
    workflow.manage(job, "running")
    workflow.retry(job, max_retries=3, status=422)
    assert workflow.status(job) == "running"


@pytest.mark.parametrize(
    "params, status",
    [({}, 400), ({"max_retries": "x"}, 400), ({"max_retries": 2**31}, 422), ({"max_retries": -1}, 422)],
)
def test_max_retries_is_required_and_of_32_bits(client, workflow, params, status):
    client.post(f"/jobs/{workflow.job_in('failed')}/retry/0", params=params, status=status)


def test_retry_with_another_run_is_422_and_changes_nothing(workflow):
    job = workflow.job_in("failed")
    workflow.retry(job, run_id=2, status=422)
    assert workflow.status(job) == "failed"
    assert workflow.events() == []


def test_retry_stores_an_event(workflow):
    workflow.set_run(3)
    job = workflow.job(name="fragile")
    workflow.manage(job, "running", run_id=3)
    workflow.retry(job, run_id=3)
    assert workflow.events() == [{
        "event_type": "job_retried", "job_id": job, "job_name": "fragile", "previous_attempt": 1, "new_attempt": 2,
        "run_id": 3, "message": "Job with name = fragile retried: attempt 1 -> 2",
    }]  # fmt: skip


def test_retry_leaves_results_and_released_dependents_alone(workflow):
    job = workflow.job()
    released = workflow.job(job, cancel_on_blocking_job_failure=False)
    workflow.initialize()
    workflow.complete(job, "failed")
    workflow.retry(job)
    assert workflow.results(job) == [(0, 1, "failed", 1, True)]
    assert workflow.status(released) == "ready"


# active_compute_node_id


def running_on(workflow, node):
    job = workflow.job_in("pending")
    workflow.start(job, node)
    return job


def test_the_active_node_is_forgotten_by_complete(workflow):
    node = workflow.node()
    workflow.complete(running_on(workflow, node), "pending_failed")
    assert workflow.active_on(node) == []


def test_the_active_node_is_forgotten_by_retry_and_kept_by_manage_and_cancel(client, workflow):
    node = workflow.node()
    retried, managed, canceled = (running_on(workflow, node) for _ in range(3))
    workflow.retry(retried)
    workflow.manage(managed, "ready")
    client.put(f"{workflow.path}/cancel")
    assert workflow.status(canceled) == "canceled"
    assert workflow.active_on(node) == [managed, canceled]


def test_the_active_node_is_replaced_by_the_next_start(workflow):
    first, second = workflow.node(), workflow.node()
    job = running_on(workflow, first)
    workflow.manage(job, "pending")
    workflow.start(job, second)
    assert (workflow.active_on(first), workflow.active_on(second)) == ([], [job])


def test_the_active_node_is_forgotten_with_the_node(workflow):
    node = workflow.node()
    job = running_on(workflow, node)
    workflow.database.execute("DELETE FROM torc.compute_node WHERE id = %s", [node])
    assert workflow.status(job) == "running"
    assert workflow.active_on(node) == []
