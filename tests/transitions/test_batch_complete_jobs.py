"""batch_complete_jobs: what many completions in one call leave behind is what they leave behind one by one."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plans import cost, explained
from test_query_budget import sent as statements  # noqa: F401 (a fixture)
from workflow import NOT_COMPLETE, Workflow

from torc_server.schemas.fields import JOB_STATUSES


def entry(workflow, job, to="completed", run_id=0, **result):
    """One completion; `result` replaces what the result would hold."""
    return {
        "job_id": job, "status": to, "run_id": run_id, "result": workflow.result(job, to, run_id) | result
    }  # fmt: skip


def complete(workflow, *entries, status=200):
    """Send a batch; return the ids that are completed, and the message of each that is not."""
    answer = workflow.client.post(
        f"{workflow.path}/batch_complete_jobs", json={"completions": [*entries]}, status=status
    ).json  # fmt: skip
    return answer["completed"], {error["job_id"]: error["message"] for error in answer["errors"]}


# What a batch does


def test_all_jobs_of_a_batch_are_completed_and_their_dependents_follow(workflow):
    jobs = [workflow.job_in("running") for _ in range(3)]
    both, canceled = workflow.job(*jobs[:2]), workflow.job(jobs[2])
    behind = workflow.job(canceled)
    workflow.initialize(keep_running=True)
    for job in jobs:
        workflow.manage(job, "running")
    ended = complete(
        workflow, entry(workflow, jobs[1]), entry(workflow, jobs[0]), entry(workflow, jobs[2], "failed", stderr="no")
    )
    assert ended == ([jobs[1], jobs[0], jobs[2]], {})
    assert workflow.statuses(*jobs, both, canceled, behind) == [
        "completed", "completed", "failed", "ready", "canceled", "canceled",
    ]  # fmt: skip
    assert workflow.results(jobs[2]) == [(0, 1, "failed", 1, True)]


def test_an_empty_batch_completes_nothing(workflow):
    assert complete(workflow) == ([], {})


@pytest.mark.parametrize("status", NOT_COMPLETE)
def test_a_job_may_be_in_any_status_that_complete_job_takes(workflow, status):
    job = workflow.job_in(status)
    completed, errors = complete(workflow, entry(workflow, job))
    assert (completed == [job]) == (status not in ("disabled", "pending_failed"))
    assert workflow.status(job) == ("completed" if completed else status)
    assert [*errors.values()] == ([] if completed else [f"Job {job} has status {status} and cannot be completed"])


def test_a_completed_job_is_on_no_node_any_more(workflow):
    node, job = workflow.node(), workflow.job_in("pending")
    workflow.start(job, node)
    complete(workflow, entry(workflow, job, compute_node_id=node))
    assert workflow.active_on(node) == []


def test_a_pending_failed_job_keeps_its_dependents_blocked(workflow):
    job = workflow.job()
    dependent = workflow.job(job)
    workflow.initialize()
    assert complete(workflow, entry(workflow, job, "pending_failed")) == ([job], {})
    assert workflow.statuses(job, dependent) == ["pending_failed", "blocked"]


def test_a_batch_advances_each_action_by_the_jobs_that_it_waits_for(workflow):
    jobs = [workflow.job() for _ in range(3)]
    released = workflow.job(*jobs)
    path = f"{workflow.path}/actions"
    action = {"workflow_id": workflow.id, "action_type": "x", "action_config": {}}
    for trigger, waits_for in (
        ("on_jobs_complete", jobs), ("on_jobs_ready", [released]), ("on_workflow_complete", [])
    ):  # fmt: skip
        workflow.client.post(path, json=action | {"trigger_type": trigger, "job_ids": waits_for})
    workflow.initialize()
    complete(workflow, *(entry(workflow, job) for job in jobs))
    assert [action["trigger_count"] for action in workflow.client.get(path).json] == [3, 1, 0]
    complete(workflow, entry(workflow, released))
    assert [action["trigger_count"] for action in workflow.client.get(path).json] == [3, 1, 1]


def test_a_large_batch_fires_on_workflow_complete_once(workflow):
    jobs = [workflow.job_in("running") for _ in range(30)]
    action = {"workflow_id": workflow.id, "trigger_type": "on_workflow_complete", "action_type": "x"}
    workflow.client.post(f"{workflow.path}/actions", json=action | {"action_config": {}})
    complete(workflow, *(entry(workflow, job) for job in jobs))
    assert [action["trigger_count"] for action in workflow.client.get(f"{workflow.path}/actions").json] == [1]


def test_an_earlier_entry_counts_for_a_later_one(workflow):
    first = workflow.job()
    second = workflow.job(first)
    third = workflow.job(second)
    path = f"{workflow.path}/actions"
    action = {"workflow_id": workflow.id, "trigger_type": "on_jobs_ready", "action_type": "x", "action_config": {}}
    workflow.client.post(path, json=action | {"job_ids": [second]})
    workflow.initialize()
    ended = complete(workflow, *(entry(workflow, job) for job in (first, second)))
    assert ended == ([first, second], {})
    assert workflow.statuses(first, second, third) == ["completed", "completed", "ready"]
    assert workflow.client.get(path).json[0]["trigger_count"] == 1  # the second was released before it ended


# What is refused, and what is not


def refused_entries(workflow):
    """Entries that complete_job refuses, by what is in the reason."""
    elsewhere = Workflow(workflow.client, workflow.database)
    job, other = workflow.job_in("running"), workflow.job_in("completed")
    return {
        "Job not found with ID": entry(workflow, 10**12),
        f"belongs to workflow_id={elsewhere.id} but batch target is workflow_id={workflow.id}": entry(
            workflow, elsewhere.job_in("running")
        ),
        "is already complete with status completed": entry(workflow, other, return_code=7, attempt_id=2),
        "has status disabled": entry(workflow, workflow.job_in("disabled")),
        "has status pending_failed": entry(workflow, workflow.job_in("pending_failed")),
        "is not a terminal status": entry(workflow, job, "running"),
        "ResultModel job_id": entry(workflow, job, job_id=other),
        "ResultModel workflow_id": entry(workflow, job, workflow_id=elsewhere.id),
        "ResultModel status": entry(workflow, job, status="failed"),
        "Run ID mismatch": entry(workflow, job, run_id=5),
        "mismatch": entry(workflow, job) | {"run_id": 5},
        "compute_node_id: there is no such row": entry(workflow, job, compute_node_id=10**12),
    }


def test_what_complete_job_refuses_is_an_error_of_its_entry_and_changes_nothing(workflow):
    refused = refused_entries(workflow)
    for reason, wrong in refused.items():
        before, behind = workflow.job_in("running"), workflow.job_in("running")
        stored = workflow.sql("SELECT status, attempt_id FROM torc.job WHERE id = %s", wrong["job_id"])
        count = workflow.sql("SELECT count(*) FROM torc.result WHERE job_id = %s", wrong["job_id"])
        completed, errors = complete(workflow, entry(workflow, before), wrong, entry(workflow, behind))
        assert completed == [before, behind]
        assert errors.keys() == {wrong["job_id"]}
        assert reason in errors[wrong["job_id"]]
        assert workflow.statuses(before, behind) == ["completed", "completed"]
        assert workflow.sql("SELECT status, attempt_id FROM torc.job WHERE id = %s", wrong["job_id"]) == stored
        assert workflow.sql("SELECT count(*) FROM torc.result WHERE job_id = %s", wrong["job_id"]) == count


def test_a_batch_that_is_sent_again_is_completed_again_and_changes_nothing(workflow):
    jobs = [workflow.job_in("running") for _ in range(3)]
    batch = [entry(workflow, job, "failed") for job in jobs]
    assert complete(workflow, *batch) == (jobs, {})
    stored = workflow.sql("SELECT result::text FROM torc.result AS result WHERE workflow_id = %s", workflow.id)
    assert complete(workflow, *batch) == (jobs, {})
    again = workflow.sql("SELECT result::text FROM torc.result AS result WHERE workflow_id = %s", workflow.id)
    assert again == stored


def test_a_job_twice_in_a_batch_counts_once_and_its_second_result_must_be_the_same(workflow):
    job, other = workflow.job_in("running"), workflow.job_in("running")
    same = entry(workflow, job)
    completed, errors = complete(
        workflow, same, same, entry(workflow, other), entry(workflow, other, completion_time="later")
    )
    assert completed == [job, job, other]
    assert errors.keys() == {other}
    assert workflow.results(job) == [(0, 1, "completed", 0, True)]


def test_a_stale_report_is_stored_and_leaves_the_job_alone(workflow):
    job = workflow.job_in("failed")
    workflow.retry(job)
    late = entry(workflow, job, attempt_id=1, return_code=9)
    workflow.sql("DELETE FROM torc.result WHERE job_id = %s RETURNING 1", job)
    assert complete(workflow, late) == ([job], {})
    assert workflow.status(job) == "ready"
    assert workflow.results(job) == [(0, 1, "completed", 9, False)]


@pytest.mark.parametrize("wrong, field", [
    ({}, "completions"),
    ({"completions": {}}, "completions"),
    ({"completions": [{}]}, "completions[0].job_id"),
    ({"completions": [{"job_id": 1, "run_id": 0, "result": {}}]}, "completions[0].status"),
    ({"completions": [{"job_id": 1, "run_id": 0, "status": "done", "result": {}}]}, "completions[0].status"),
    ({"completions": [{"job_id": 1, "run_id": 0, "status": "failed", "result": 3}]}, "completions[0].result"),
    ({"completions": [{"job_id": 1, "run_id": 0, "status": "failed", "result": {}}]}, "completions[0].result.job_id"),
])  # fmt: skip
def test_a_body_that_breaks_a_rule_is_refused_as_a_whole(workflow, wrong, field):
    error = workflow.client.post(f"{workflow.path}/batch_complete_jobs", json=wrong, status=422).json["error"]
    assert error["field"].startswith(field)


def test_unknown_keys_and_the_id_of_a_result_are_ignored(workflow):
    job = workflow.job_in("running")
    odd = entry(workflow, job, id="\x00", note="\x00") | {"note": "\ud800"}
    assert complete(workflow, odd) == ([job], {})


def test_a_batch_for_an_unknown_workflow_is_404(client):
    client.post("/workflows/999999999/batch_complete_jobs", json={"completions": []}, status=404)


def test_entries_of_a_watched_workflow_are_events_in_their_order(workflow):
    jobs = [workflow.job_in("running") for _ in range(3)]
    dependent = workflow.job(*jobs)
    workflow.manage(dependent, "blocked")
    workflow.sql(
        """
        INSERT INTO torc.event_stream (workflow_id, expires_at)
        VALUES (%s, now() + interval '1 min') RETURNING id
        """,
        workflow.id,
    )
    workflow.database.execute(f"LISTEN torc_workflow_{workflow.id}")
    complete(workflow, *(entry(workflow, job) for job in reversed(jobs)))
    heard = [notify.payload for notify in workflow.database.notifies(timeout=5, stop_after=4)]
    workflow.database.execute(f"UNLISTEN torc_workflow_{workflow.id}")
    events = [json.loads(payload) for payload in heard]
    assert [(event["event_type"], event["data"]["job_id"]) for event in events] == [
        *(("job_completed", job) for job in reversed(jobs)), ("job_ready", dependent)
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["ready", "running"])
def test_a_result_that_is_stored_for_a_run_to_which_the_workflow_goes_back_is_an_error_of_its_entry(workflow, status):
    job, other = workflow.job_in("completed"), workflow.job()
    workflow.set_run(1)
    workflow.manage(job, "uninitialized", run_id=1)
    workflow.initialize()
    workflow.set_run(0)
    workflow.manage(job, status)
    completed, errors = complete(workflow, entry(workflow, job, return_code=7), entry(workflow, other))
    assert (completed, [*errors]) == ([other], [job])
    assert workflow.status(job) == status


# Many


@pytest.fixture
def crowd(workflow):
    """A function: running jobs, each with two dependents of its own, and three actions that wait for all of them."""

    def make(count):
        def bulk(rows):
            common = {"workflow_id": workflow.id, "command": "c"}
            jobs = [common | {"name": f"j{number}"} | row for number, row in enumerate(rows)]
            return [job["id"] for job in workflow.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]]

        jobs, dependents = bulk([{}] * count), []
        for _ in range(2):
            dependents += bulk([{"depends_on_job_ids": [job]} for job in jobs])
        action = {"workflow_id": workflow.id, "action_type": "x", "action_config": {}}
        for trigger, waits_for in (
            ("on_jobs_complete", jobs), ("on_jobs_ready", dependents), ("on_workflow_complete", [])
        ):  # fmt: skip
            body = action | {"trigger_type": trigger, "job_ids": waits_for}
            workflow.client.post(f"{workflow.path}/actions", json=body)
        workflow.initialize()
        workflow.client.post(
            f"{workflow.path}/claim_next_jobs", params={"limit": count, "start_on": workflow.node()}
        )  # fmt: skip
        return jobs, dependents

    return make


def test_a_batch_of_500_is_one_statement_and_one_transaction_of_which_a_stream_hears_everything(
    workflow,
    crowd,
    statements,  # noqa: F811
):
    jobs, dependents = crowd(500)
    workflow.sql(
        """
        INSERT INTO torc.event_stream (workflow_id, expires_at)
        VALUES (%s, now() + interval '1 min') RETURNING id
        """,
        workflow.id,
    )
    workflow.database.execute(f"LISTEN torc_workflow_{workflow.id}")
    entries = [entry(workflow, job) for job in jobs]
    del statements[:]
    assert complete(workflow, *entries) == (jobs, {})
    assert len(statements) == 1
    heard = [json.loads(each.payload) for each in workflow.database.notifies(timeout=20, stop_after=501)]
    workflow.database.execute(f"UNLISTEN torc_workflow_{workflow.id}")
    assert [event["data"].get("job_id") for event in heard[:500]] == jobs
    assert heard[500]["event_type"] == "job_ready" and heard[500]["data"]["count"] == len(dependents)
    [(transactions,)] = [workflow.sql(
        """
        SELECT count(DISTINCT xmin::text) FROM (
            SELECT xmin FROM torc.result WHERE workflow_id = %s
            UNION ALL SELECT xmin FROM torc.job WHERE workflow_id = %s
            UNION ALL SELECT xmin FROM torc.workflow_action WHERE workflow_id = %s AND trigger_count > 0
        ) AS written
        """,
        workflow.id, workflow.id, workflow.id,
    )]  # fmt: skip
    assert transactions == 1
    actions = workflow.client.get(f"{workflow.path}/actions").json
    assert [action["trigger_count"] for action in actions] == [500, 1000, 0]


def test_what_a_batch_costs_grows_with_its_length_and_is_far_less_than_its_entries_one_by_one(
    workflow, crowd, database_url
):
    jobs, _ = crowd(500)

    def cost_of(statement, *values):
        with explained(database_url) as (session, plans):
            session.execute("SET enable_seqscan = off")  # as in the server's connections
            session.execute(statement, values)
            return cost(plans)

    def batch(count):
        completions = json.dumps([entry(workflow, job) for job in jobs[:count]])
        return cost_of("SELECT torc.batch_complete_jobs(%s, %s)", workflow.id, completions)

    single = "SELECT torc.complete_job(%s, 'completed', 0, %s)"
    one = cost_of(single, jobs[0], json.dumps(workflow.result(jobs[0])))
    half, whole = batch(250), batch(500)
    assert whole < 2.2 * half
    assert whole < 0.5 * 500 * one


# One by one, and together

statuses = st.sampled_from(["running", "running", "pending", "blocked", "ready", *JOB_STATUSES])
graphs = st.lists(
    st.tuples(statuses, st.sets(st.integers(0, 6), max_size=3), st.booleans()), min_size=3, max_size=7
)  # fmt: skip
reports = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from(["completed", "completed", "failed", "terminated", "pending_failed"]),
        st.sampled_from([None, None, 1, 2]), st.integers(0, 1),
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip
actions = st.lists(
    st.tuples(
        st.sampled_from(["on_jobs_complete", "on_jobs_ready", "on_workflow_complete"]),
        st.lists(st.integers(0, 6), max_size=3),
    ),
    max_size=3,
)


@pytest.mark.long
@settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=graphs, sent=reports, waiting=actions, retried=st.sets(st.integers(0, 6), max_size=2))
def test_a_batch_leaves_behind_what_the_same_completions_do_one_by_one(client, database, graph, sent, waiting, retried):
    twins = [Workflow(client, database) for _ in range(2)]
    outcomes = []
    for workflow, in_a_batch in zip(twins, (False, True), strict=True):
        jobs = build(workflow, graph, waiting, retried)
        batch = [
            entry(workflow, jobs[number % len(jobs)], to, attempt_id=attempt, return_code=code)
            for number, to, attempt, code in sent
        ]
        if in_a_batch:
            completed, _ = complete(workflow, *batch)
        else:
            completed = [each["job_id"] for each in batch if accepts(workflow, each)]
        assert workflow.violations() == []
        outcomes.append((numbers(jobs, completed), state(workflow, jobs)))
    assert outcomes[0] == outcomes[1]
    for workflow in twins:
        client.delete(workflow.path)


def build(workflow, graph, waiting, retried):
    jobs = []
    for _, dependencies, cancels in graph:
        earlier = sorted({jobs[number] for number in dependencies if number < len(jobs)})
        jobs.append(workflow.job(*earlier, cancel_on_blocking_job_failure=cancels))
    for trigger, numbers_of_jobs in waiting:
        action = {"workflow_id": workflow.id, "trigger_type": trigger, "action_type": "x", "action_config": {}}
        job_ids = [jobs[number % len(jobs)] for number in numbers_of_jobs]
        workflow.client.post(f"{workflow.path}/actions", json=action | {"job_ids": job_ids})
    workflow.initialize()
    for job, (status, _, _) in zip(jobs, graph, strict=True):
        if status in ("completed", "failed", "canceled", "terminated"):
            workflow.complete(job, status, status=None)
        elif status != workflow.status(job):
            workflow.manage(job, status, status=None)
    for number in retried:
        workflow.retry(jobs[number % len(jobs)], status=None)
    return jobs


def accepts(workflow, completion):
    path = f"/jobs/{completion['job_id']}/complete_job/{completion['status']}/{completion['run_id']}"
    return workflow.client.post(path, json=completion["result"], status=None).status_code == 200


def numbers(jobs, job_ids):
    return [jobs.index(job) for job in job_ids]


def state(workflow, jobs):
    """All that a completion can change, with positions instead of ids."""
    rows = workflow.sql(
        """
        SELECT id, status::text, attempt_id, active_compute_node_id IS NULL, canceled_by_dependency,
            open_dependencies, failed_dependencies
        FROM torc.job WHERE workflow_id = %s ORDER BY id
        """,
        workflow.id,
    )
    counts = workflow.sql(
        "SELECT trigger_count, executed FROM torc.workflow_action WHERE workflow_id = %s ORDER BY id", workflow.id
    )
    return [row[1:] for row in rows], [workflow.results(job) for job in jobs], counts
