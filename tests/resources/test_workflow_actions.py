"""Workflow actions: how they are stored and claimed, and when their counters move."""

import multiprocessing

import psycopg
import pytest
from workflow import Workflow

COMMANDS = {"commands": ["echo hello"]}


@pytest.fixture
def add(workflow):
    """add("on_jobs_ready", job_ids=[…]) stores an action and returns its id."""

    def add(trigger_type, status=200, **fields):
        body = {"workflow_id": workflow.id, "trigger_type": trigger_type, "action_type": "run_commands",
                "action_config": COMMANDS} | fields  # fmt: skip
        return workflow.client.post(f"{workflow.path}/actions", json=body, status=status).json.get("id")

    return add


def actions(workflow):
    return {a["id"]: a for a in workflow.client.get(f"{workflow.path}/actions").json}


def pending(workflow, *trigger_types):
    found = workflow.client.get(f"{workflow.path}/actions/pending", params={"trigger_type": trigger_types}).json
    return [action["id"] for action in found]


def count(workflow, action):
    return actions(workflow)[action]["trigger_count"]


def claim(workflow, action, status=200, **body):
    return workflow.client.post(f"{workflow.path}/actions/{action}/claim", json=body, status=status).json


# Stored


def test_create_answers_what_is_stored(workflow):
    jobs = [workflow.job(), workflow.job()]
    body = {"workflow_id": 999_999_999, "trigger_type": "on_jobs_ready", "action_type": "other", "job_ids": jobs,
            "action_config": {"a": None}, "required_triggers": 7, "executed_at": "then", "executed_by": 3}  # fmt: skip
    answer = workflow.client.post(f"{workflow.path}/actions", json=body).json
    assert answer == actions(workflow)[answer["id"]]
    assert (answer["workflow_id"], answer["job_ids"], answer["required_triggers"]) == (workflow.id, jobs, 2)


@pytest.mark.parametrize("trigger_type", ["on_jobs_ready", "on_jobs_complete", "on_workflow_start"])
def test_a_list_with_a_job_that_is_missing_or_of_another_workflow_is_refused(workflow, client, trigger_type):
    job = workflow.job()
    foreign = Workflow(client, workflow.database).job()
    for unknown in (999_999_999, foreign, 0, -1):
        body = {"workflow_id": workflow.id, "trigger_type": trigger_type, "action_type": "x", "action_config": {},
                "job_ids": [job, unknown]}  # fmt: skip
        error = client.post(f"{workflow.path}/actions", json=body, status=422).json["error"]
        assert (error["field"], error["value"]) == ("job_ids", unknown)
    assert actions(workflow) == {}


def test_required_triggers_is_computed_and_a_null_inside_the_configuration_is_kept(workflow, add):
    jobs = [workflow.job()] * 2 + [workflow.job()]
    some = add("on_jobs_complete", job_ids=jobs, required_triggers=9, action_type="x", action_config={"a": None})
    none = add("on_jobs_ready")
    start = add("on_workflow_start", required_triggers=5)
    stored = actions(workflow)
    assert [stored[a]["required_triggers"] for a in (some, none, start)] == [3, 1, 1]
    assert stored[some]["action_config"] == {"a": None}
    assert stored[some]["job_ids"] == jobs
    assert not {"executed_at", "executed_by"} & set(stored[some])


def test_an_unknown_trigger_is_stored_and_never_fires(workflow, add):
    action = add("on_full_moon")
    workflow.initialize()
    assert action in actions(workflow)
    assert pending(workflow) == []


@pytest.mark.parametrize(
    "action_type, config, reason",
    [
        ("other", [], "action_config must be an object"),
        ("run_commands", None, "action_config must be an object"),
        ("run_commands", {"commands": ["a"], "x": 1}, "only 'commands' field is allowed"),
        ("run_commands", {}, "only 'commands' field is allowed"),
        ("run_commands", {"commands": "a"}, "'commands' must be an array"),
        ("run_commands", {"commands": []}, "'commands' array cannot be empty"),
        ("run_commands", {"commands": ["a", 1]}, "'commands[1]' must be a string"),
        ("schedule_nodes", {"z": 1, "b": 2}, "Unsupported field for action_type 'schedule_nodes'"),
        ("schedule_nodes", {"scheduler_id": 1.0}, "'scheduler_id' must be an integer"),
        ("schedule_nodes", {"scheduler_id": True}, "'scheduler_id' must be an integer"),
        ("schedule_nodes", {"scheduler_type": None}, "'scheduler_type' must be a string"),
        ("schedule_nodes", {"num_allocations": "1"}, "'num_allocations' must be an integer"),
        ("schedule_nodes", {"start_one_worker_per_node": 1}, "'start_one_worker_per_node' must be a boolean"),
    ],
)
def test_a_configuration_that_does_not_fit_its_action_type_is_refused(workflow, action_type, config, reason):
    body = {"workflow_id": 1, "trigger_type": "t", "action_type": action_type, "action_config": config}
    error = workflow.client.post(f"{workflow.path}/actions", json=body, status=422).json["error"]
    assert (error["field"], reason in error["message"]) == ("action_config", True)
    assert actions(workflow) == {}


def test_schedule_nodes_takes_all_of_its_keys_or_none(workflow, add):
    full = {"scheduler_id": 1, "scheduler_type": "slurm", "num_allocations": 2, "start_one_worker_per_node": True,
            "max_parallel_jobs": 3}  # fmt: skip
    assert add("t", action_type="schedule_nodes", action_config=full)
    assert add("t", action_type="schedule_nodes", action_config={})


def test_executed_at_may_be_any_text_and_is_not_stored(workflow, add):
    action = add("t", executed_at="long ago", executed_by=10**15)
    assert not {"executed_at", "executed_by"} & set(actions(workflow)[action])


def test_actions_of_an_unknown_workflow_are_404(client):
    body = {"workflow_id": 1, "trigger_type": "t", "action_type": "x", "action_config": {}}
    for method, path, json in (("GET", "", {}), ("GET", "/pending", {}), ("POST", "", body), ("POST", "/1/claim", {})):
        client.request(method, f"/workflows/999999999/actions{path}", json=json, status=404)


# Claimed


def test_the_second_claim_of_an_action_is_409_and_the_first_says_who(workflow, add):
    action, node = add("on_workflow_start"), workflow.node()
    assert claim(workflow, action, compute_node_id=node) == {"action_id": action, "success": True}
    error = claim(workflow, action, status=409)["error"]
    assert error == {"error": "Conflict", "message": f"Action {action} already claimed", "claimed": False}
    stored = actions(workflow)[action]
    assert (stored["executed"], stored["executed_by"]) == (True, node)
    assert stored["executed_at"].endswith("+00:00")


def test_an_action_can_be_claimed_before_it_is_pending_and_by_nobody_in_particular(workflow, add):
    action = add("on_workflow_complete")
    claim(workflow, action)
    assert "executed_by" not in actions(workflow)[action]


def test_a_persistent_action_may_be_claimed_again_and_stays_pending(workflow, add):
    action, node = add("on_worker_start", persistent=True), workflow.node()
    workflow.initialize()
    for _ in range(2):
        claim(workflow, action, compute_node_id=node)
    assert pending(workflow) == [action]
    assert not actions(workflow)[action]["executed"]
    assert "executed_by" not in actions(workflow)[action]


def test_a_claim_for_an_unknown_node_is_422_and_claims_nothing(workflow, add):
    action = add("on_workflow_start")
    error = claim(workflow, action, status=422, compute_node_id=999_999_999)["error"]
    assert error["field"] == "compute_node_id"
    assert not actions(workflow)[action]["executed"]


def test_a_claim_needs_an_action_of_that_workflow(workflow, add, client):
    action = add("on_workflow_start")
    other = client.post("/workflows", json={"name": "o", "user": "u"}).json["id"]
    claim(workflow, 999_999_999, status=404)
    client.post(f"/workflows/{other}/actions/{action}/claim", json={}, status=404)
    client.post(f"{workflow.path}/actions/{action}/claim", json=[], status=422)
    client.post(f"{workflow.path}/actions/{action}/claim", status=415)


def test_a_deleted_node_is_forgotten_as_the_one_that_executed(workflow, add):
    action, node = add("on_workflow_start"), workflow.node()
    claim(workflow, action, compute_node_id=node)
    workflow.client.delete(f"/compute_nodes/{node}")
    assert "executed_by" not in actions(workflow)[action]


# Triggered


def test_pending_takes_trigger_types_several_times_and_an_empty_one_matches_nothing(workflow, add):
    start, worker = add("on_workflow_start"), add("on_worker_complete")
    workflow.initialize()
    assert pending(workflow) == [start, worker]
    assert pending(workflow, "on_workflow_start", "on_worker_complete") == [start, worker]
    assert pending(workflow, "on_worker_complete") == [worker]
    assert pending(workflow, "") == []


def test_an_empty_list_of_jobs_is_pending_at_once_and_a_missing_one_never(workflow, add):
    empty = add("on_jobs_ready", job_ids=[])
    add("on_jobs_ready")
    workflow.complete(workflow.job())
    workflow.initialize()
    assert pending(workflow) == [empty]


def test_initialize_counts_jobs_that_are_there_already(workflow, add):
    done, ready = workflow.job_in("completed"), workflow.job()
    blocked = workflow.job(ready)
    all_ready = add("on_jobs_ready", job_ids=[done, ready, blocked, blocked])
    complete = add("on_jobs_complete", job_ids=[done, done, ready])
    workflow.initialize()
    assert (count(workflow, all_ready), count(workflow, complete)) == (2, 2)


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_initialize_arms_an_action_again_keeps_executed_at_and_drops_recovery_actions(
    workflow, add, only_uninitialized
):
    trigger = "on_workflow_complete" if only_uninitialized else "on_workflow_start"
    action, recovery = add(trigger), add(trigger, is_recovery=True)
    for executed in (action, recovery):
        claim(workflow, executed)
    workflow.initialize(only_uninitialized=only_uninitialized)
    stored = actions(workflow)
    assert list(stored) == [action]
    assert stored[action]["executed"] is False
    assert stored[action]["trigger_count"] == (0 if only_uninitialized else 1)
    assert "executed_at" in stored[action]


def test_a_partial_initialize_does_not_repeat_what_was_executed_and_whose_cause_was_not_reset(workflow, add):
    done, node = workflow.job_in("completed"), workflow.node()
    other = workflow.job()
    kept = [add("on_workflow_start"), add("on_jobs_ready", job_ids=[done]), add("on_jobs_complete", job_ids=[done])]
    armed = [add("on_jobs_ready", job_ids=[done, other]), add("on_jobs_complete", job_ids=[done, done, other]),
             add("on_jobs_ready", job_ids=[]), add("on_worker_start"), add("on_worker_complete")]  # fmt: skip
    waiting = add("on_jobs_complete", job_ids=[done])
    for action in kept + armed:
        claim(workflow, action, compute_node_id=node)
    workflow.initialize(only_uninitialized=True)
    stored = actions(workflow)
    assert [(stored[a]["executed"], stored[a].get("executed_by")) for a in kept] == [(True, node)] * 3
    assert [(stored[a]["executed"], stored[a].get("executed_by")) for a in armed] == [(False, None)] * 5
    assert [count(workflow, a) for a in kept + armed[:2]] == [1, 1, 1, 2, 2]
    assert waiting in pending(workflow)
    assert not {*kept} & {*pending(workflow)}
    workflow.initialize()
    assert {*kept} <= {*pending(workflow)}


# Jobs that are deleted


def delete_by_job(workflow, job):
    workflow.client.delete(f"/jobs/{job}")


def delete_by_requirements(workflow, job):
    requirements = workflow.client.get(f"/jobs/{job}").json["resource_requirements_id"]
    workflow.client.delete(f"/resource_requirements/{requirements}")


def delete_by_sql(workflow, job):
    workflow.database.execute("DELETE FROM torc.job WHERE id = %s", [job])


@pytest.mark.parametrize("delete", [delete_by_job, delete_by_requirements, delete_by_sql])
def test_a_deleted_job_leaves_the_lists_and_an_action_waits_for_the_others_only(workflow, add, delete):
    gone, first, last = workflow.job(resource_requirements_id=workflow.requirements()), workflow.job(), workflow.job()
    action = add("on_jobs_complete", job_ids=[gone, first, gone, last])
    start = add("on_workflow_start", job_ids=[gone])
    delete(workflow, gone)
    stored = actions(workflow)
    assert (stored[action]["job_ids"], stored[action]["required_triggers"]) == ([first, last], 2)
    assert (stored[start]["job_ids"], stored[start]["required_triggers"]) == ([], 1)
    workflow.complete(first)
    assert pending(workflow) == []
    workflow.complete(last)
    assert pending(workflow) == [action]


@pytest.mark.parametrize("trigger_type", ["on_jobs_ready", "on_jobs_complete"])
def test_an_action_whose_jobs_are_all_deleted_never_fires(workflow, add, trigger_type):
    done, open_job = workflow.job_in("completed"), workflow.job()
    action = add(trigger_type, job_ids=[done, open_job])
    workflow.initialize()
    workflow.client.delete("/jobs", params={"workflow_id": workflow.id})
    workflow.initialize()
    stored = actions(workflow)[action]
    assert (stored["job_ids"], stored["trigger_count"], stored["required_triggers"]) == ([], 0, 1)
    assert pending(workflow) == []


def test_what_a_deleted_job_has_counted_leaves_the_count(workflow, add):
    done, other, last = workflow.job(), workflow.job(), workflow.job()
    action = add("on_jobs_complete", job_ids=[done, other, last])
    workflow.complete(done)
    workflow.complete(other)
    delete_by_job(workflow, done)
    assert (count(workflow, action), pending(workflow)) == (1, [])
    workflow.complete(last)
    assert pending(workflow) == [action]


def test_an_action_fires_when_the_job_that_it_still_waited_for_is_deleted(workflow, add):
    done, never = workflow.job(), workflow.job()
    action = add("on_jobs_complete", job_ids=[done, never])
    workflow.complete(done)
    delete_by_job(workflow, never)
    assert pending(workflow) == [action]


def test_a_dependent_that_a_deletion_releases_counts_and_the_deleted_job_does_not(workflow, add):
    first = workflow.job()
    second = workflow.job(first)
    action = add("on_jobs_ready", job_ids=[first, second])
    workflow.initialize()
    assert count(workflow, action) == 1
    delete_by_job(workflow, first)
    assert (count(workflow, action), pending(workflow)) == (1, [action])


def test_deleting_a_requirement_of_another_workflow_takes_its_jobs_out_of_the_actions_here(workflow, add, client):
    owner = Workflow(client, workflow.database)
    requirements = owner.requirements()
    gone, job = workflow.job(resource_requirements_id=requirements), workflow.job()
    action = add("on_jobs_complete", job_ids=[gone, job])
    client.delete(owner.path)
    assert actions(workflow)[action]["job_ids"] == [job]


def test_the_invariants_name_a_job_that_an_action_lists_and_that_does_not_exist(workflow, add):
    action = add("on_jobs_complete", job_ids=[workflow.job()])
    change = "UPDATE torc.workflow_action SET job_ids = job_ids || %s::bigint[] WHERE id = %s"
    workflow.database.execute(change, [[999_999_999], action])
    assert workflow.violations() == [
        (None, f"action {action} lists job 999999999, which is missing or in another workflow"),
        (None, f"action {action} lists job 999999999 1 times, workflow_action_job says 0"),
    ]
    workflow.client.delete(workflow.path)


def test_a_trigger_count_at_the_end_of_64_bits_stays_there(workflow, add):
    job = workflow.job()
    low = add("on_jobs_complete", job_ids=[job, job], trigger_count=-(2**63))
    high = add("on_jobs_complete", job_ids=[job, job], trigger_count=2**63 - 1)
    fails = workflow.job()
    canceled = workflow.job(fails)
    taken_back = add("on_jobs_complete", job_ids=[canceled], trigger_count=-(2**63))
    workflow.complete(job)
    assert (count(workflow, low), count(workflow, high)) == (0, 2**63 - 1)
    workflow.initialize()
    workflow.complete(fails, "failed")
    workflow.retry(fails)
    assert count(workflow, taken_back) == 0


def test_released_jobs_count_for_on_jobs_ready_in_the_completing_call(workflow, add):
    first = workflow.job()
    second, third = workflow.job(first), workflow.job(first)
    action = add("on_jobs_ready", job_ids=[second, third])
    workflow.initialize()
    assert pending(workflow) == []
    workflow.complete(first)
    assert pending(workflow) == [action]


@pytest.mark.parametrize("word", ["completed", "failed", "canceled", "terminated", "pending_failed"])
def test_every_terminal_status_counts_for_on_jobs_complete(workflow, add, word):
    job = workflow.job()
    action = add("on_jobs_complete", job_ids=[job])
    workflow.complete(job, word)
    assert pending(workflow) == [action]


def test_an_identical_completion_sent_again_does_not_count_again(workflow, add):
    job, other = workflow.job(), workflow.job()
    action = add("on_jobs_complete", job_ids=[job, other])
    for _ in range(2):
        workflow.complete(job)
    assert count(workflow, action) == 1


def test_a_job_that_stands_twice_in_the_list_counts_twice(workflow, add):
    job, other = workflow.job(), workflow.job()
    action = add("on_jobs_complete", job_ids=[job, job, other])
    workflow.complete(job)
    assert count(workflow, action) == 2


def test_jobs_canceled_by_a_failure_count_as_complete_down_to_the_last_level(workflow, add):
    first = workflow.job()
    second = workflow.job(first)
    third = workflow.job(second)
    action = add("on_jobs_complete", job_ids=[second, third])
    workflow.initialize()
    workflow.complete(first, "failed")
    assert pending(workflow) == [action]


def test_a_job_canceled_by_a_failure_counts_once_for_on_jobs_ready(workflow, add):
    fails, works = workflow.job(), workflow.job()
    canceled, released = workflow.job(fails), workflow.job(works)
    action = add("on_jobs_ready", job_ids=[canceled, released])
    workflow.initialize()
    workflow.complete(fails, "failed")
    assert (count(workflow, action), pending(workflow)) == (1, [])
    workflow.complete(works)
    assert pending(workflow) == [action]


def test_on_jobs_ready_is_not_pending_when_all_of_its_jobs_are_canceled_by_a_failure(workflow, add):
    fails = workflow.job()
    action = add("on_jobs_ready", job_ids=[workflow.job(fails), workflow.job(fails)])
    workflow.initialize()
    workflow.complete(fails, "failed")
    assert pending(workflow) == []
    workflow.retry(fails)
    workflow.complete(fails, attempt_id=2)
    assert pending(workflow) == [action]


def test_taking_a_cancellation_back_takes_its_counts_back(workflow, add):
    fails, works = workflow.job(), workflow.job()
    canceled, released = workflow.job(fails), workflow.job(works)
    ready = add("on_jobs_ready", job_ids=[canceled, released])
    complete = add("on_jobs_complete", job_ids=[canceled, released])
    workflow.initialize()
    workflow.complete(fails, "failed")
    workflow.complete(works)
    assert (count(workflow, ready), count(workflow, complete)) == (2, 1)
    workflow.retry(fails)
    assert (count(workflow, ready), count(workflow, complete)) == (1, 0)
    assert pending(workflow) == []
    workflow.complete(fails, attempt_id=2)
    assert pending(workflow) == [ready]


def test_retry_and_manage_status_change_never_count_for_on_jobs_ready(workflow, add):
    failed, blocked = workflow.job_in("failed"), workflow.job_in("blocked")
    action = add("on_jobs_ready", job_ids=[failed, blocked])
    workflow.retry(failed)
    workflow.manage(blocked, "ready")
    assert count(workflow, action) == 0


def test_canceling_a_workflow_counts_for_nothing_by_itself(workflow, add):
    job = workflow.job_in("running")
    jobs, whole = add("on_jobs_complete", job_ids=[job]), add("on_workflow_complete")
    workflow.client.put(f"{workflow.path}/cancel")
    assert (count(workflow, jobs), count(workflow, whole)) == (0, 0)


def test_on_workflow_complete_fires_with_the_last_completion_only(workflow, add):
    first, last = workflow.job(), workflow.job()
    workflow.client.put(
        f"/jobs/{workflow.job()}",
        json={"workflow_id": workflow.id, "name": "j", "command": "c", "status": "disabled"},
    )
    action = add("on_workflow_complete")
    workflow.complete(first)
    assert pending(workflow) == []
    workflow.complete(last)
    assert (pending(workflow), count(workflow, action)) == ([action], 1)


def test_on_workflow_complete_fires_when_the_last_open_jobs_are_canceled_by_a_failure(workflow, add):
    first = workflow.job()
    workflow.job(workflow.job(first))
    action = add("on_workflow_complete")
    workflow.initialize()
    workflow.complete(first, "failed")
    assert pending(workflow) == [action]


def test_a_pending_failed_job_keeps_the_workflow_open(workflow, add):
    add("on_workflow_complete")
    workflow.complete(workflow.job(), "pending_failed")
    assert pending(workflow) == []


# At the same time

WORKFLOWS, LAST = 400, 4


def complete_one_of_each(conninfo, barrier, completions):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        barrier.wait()
        for job, result in completions:
            connection.execute("SELECT torc.complete_job(%s, 'completed', 0, %s)", [job, result])


def test_on_workflow_complete_fires_once_in_each_of_400_workflows_whose_last_four_jobs_end_at_once(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        rows = connection.execute(
            """
            WITH new_workflow AS (
                SELECT (torc.create_workflow('{"name": "w", "user": "u"}') ->> 'id')::bigint AS id
                FROM generate_series(1, %s)
            ),
            node AS (
                INSERT INTO torc.compute_node (
                    workflow_id, hostname, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes, compute_node_type
                )
                SELECT min(id), 'h', 1, 't', 1, 1, 0, 1, 'local' FROM new_workflow
                RETURNING id
            ),
            action AS (
                INSERT INTO torc.workflow_action (workflow_id, trigger_type, action_type, action_config)
                SELECT id, 'on_workflow_complete', 'x', '{}' FROM new_workflow
            ),
            new_job AS (
                INSERT INTO torc.job (workflow_id, name, command, status, resource_requirements_id)
                SELECT new_workflow.id, 'j', 'c', 'running', 1 FROM new_workflow, generate_series(1, %s)
                RETURNING id, workflow_id
            )
            SELECT id, jsonb_build_object(
                'job_id', id, 'workflow_id', workflow_id, 'run_id', 0, 'compute_node_id', (SELECT id FROM node),
                'return_code', 0, 'exec_time_minutes', 0, 'completion_time', 't', 'status', 'completed'
            )::text
            FROM new_job ORDER BY id
            """,
            [WORKFLOWS, LAST],
        ).fetchall()
        spawn = multiprocessing.get_context("spawn")
        barrier = spawn.Barrier(LAST)
        processes = [
            spawn.Process(target=complete_one_of_each, args=(fresh_database_url, barrier, rows[n::LAST]))
            for n in range(LAST)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * LAST
        counts = connection.execute(
            "SELECT trigger_count, count(*) FROM torc.workflow_action GROUP BY trigger_count"
        ).fetchall()
    assert counts == [(1, WORKFLOWS)]


# Changed and deleted


def change(workflow, action, body, status=200):
    return workflow.client.put(f"{workflow.path}/actions/{action}", json=body, status=status).json


def test_the_keys_of_the_body_replace_those_of_the_configuration(workflow, add):
    action = add("on_workflow_start", action_type="schedule_nodes",
                 action_config={"scheduler_id": 1, "num_allocations": 2})  # fmt: skip
    before = actions(workflow)[action]
    changed = change(workflow, action, {"num_allocations": 5, "scheduler_type": "slurm"})
    config = {"scheduler_id": 1, "num_allocations": 5, "scheduler_type": "slurm"}
    assert changed == before | {"action_config": config} == actions(workflow)[action]


def test_an_executed_action_may_be_changed_and_stays_executed(workflow, add):
    action = add("on_workflow_start")
    claim(workflow, action)
    assert change(workflow, action, {"commands": ["other"]})["executed"]


@pytest.mark.parametrize("body, message", [
    ([], "updates body must be a JSON object"),
    ("commands", "updates body must be a JSON object"),
    ({}, "updates body has no fields to merge"),
    ({"commands": []}, "Invalid action_config: 'commands' array cannot be empty"),
    ({"commands": None}, "Invalid action_config: 'commands' must be an array"),
    ({"other": 1}, "Invalid action_config: For action_type 'run_commands', only 'commands' field is allowed"),
])  # fmt: skip
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(workflow, add, body, message):
    action = add("on_workflow_start")
    assert change(workflow, action, body, status=422)["error"]["message"] == message
    assert actions(workflow)[action]["action_config"] == COMMANDS


def test_a_deleted_action_is_gone_with_what_it_counted(workflow, add):
    job = workflow.job()
    action, other = add("on_jobs_complete", job_ids=[job]), add("on_jobs_complete", job_ids=[job])
    answer = workflow.client.delete(f"{workflow.path}/actions/{action}").json
    assert answer == {"message": "Workflow action deleted successfully"}
    workflow.complete(job)
    assert [*actions(workflow)] == [other]
    assert count(workflow, other) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_action_that_the_workflow_does_not_have_is_404(workflow, client, database, add, method):
    action = add("on_workflow_start")
    body = {"json": COMMANDS} if method == "PUT" else {}
    elsewhere = Workflow(client, database)
    for path in (f"{workflow.path}/actions/999999999", f"{elsewhere.path}/actions/{action}"):
        message = client.request(method, path, status=404, **body).json["error"]["message"]
        assert message == f"Action not found with ID: {path.rpartition('/')[2]}"
    client.request(method, f"/workflows/999999999/actions/{action}", status=404, **body)
