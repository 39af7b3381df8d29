"""What works on a whole workflow: resets, cancel, changed inputs; and what is read off a whole workflow."""

import pytest
from workflow import Workflow

from torc_server.schemas.fields import JOB_STATUSES

FAILED = ("failed", "canceled", "terminated", "pending_failed")


def reset(workflow, status=200, **params):
    return workflow.client.post(f"{workflow.path}/reset_job_status", params=params, status=status).json


def changed(workflow, **params):
    """The names that process_changed_job_inputs gives."""
    answer = workflow.client.post(f"{workflow.path}/process_changed_job_inputs", params=params).json
    assert answer.keys() == {"reinitialized_jobs"}
    return answer["reinitialized_jobs"]


def get(workflow, name, **params):
    return workflow.client.get(f"{workflow.path}/{name}", params=params).json


# reset_job_status


def test_reset_makes_every_job_uninitialized_but_disabled_ones_and_counts_them(workflow):
    jobs = [workflow.job_in(word, workflow.job()) for word in JOB_STATUSES if word != "disabled"]
    disabled = workflow.job_in("disabled", workflow.job())
    assert reset(workflow) == {"workflow_id": workflow.id, "updated_count": 9, "status": "uninitialized"}
    assert workflow.status(disabled) == "disabled"
    assert workflow.statuses(*jobs) == ["uninitialized"] * len(jobs)
    assert reset(workflow)["updated_count"] == 0


def test_reset_keeps_run_attempts_and_results_and_forgets_active_nodes(client, workflow):
    done = workflow.job_in("completed")
    workflow.set_run(5)
    node, job = workflow.node(), workflow.job_in("pending", run_id=5)
    workflow.start(job, node, run_id=5)
    workflow.retry(job, run_id=5)
    reset(workflow)
    assert client.get(f"{workflow.path}/status").json["run_id"] == 5
    assert client.get(f"/jobs/{job}").json["attempt_id"] == 2
    assert workflow.results(done) == [(0, 1, "completed", 0, True)]
    assert workflow.active_on(node) == []


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_failed_only_resets_failed_canceled_terminated_and_pending_failed_jobs(workflow, status):
    job = workflow.job_in(status)
    assert reset(workflow, failed_only=True) == {
        "workflow_id": workflow.id, "updated_count": int(status in FAILED), "status": "uninitialized",
        "reset_type": "failed_only",
    }  # fmt: skip
    assert workflow.status(job) == ("uninitialized" if status in FAILED else status)


@pytest.mark.parametrize("cause", FAILED)
@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word not in ("blocked", *FAILED)])
def test_failed_only_resets_everything_downstream_of_a_failure_but_not_of_a_pending_one(workflow, cause, status):
    failed = workflow.job_in(cause)
    direct = workflow.job_in(status, failed)
    below = workflow.job_in(status, direct)
    bystander = workflow.job_in("completed")
    assert reset(workflow, failed_only=True)["updated_count"] == 1
    after = status if cause == "pending_failed" or status == "disabled" else "uninitialized"
    assert workflow.statuses(failed, direct, below) == ["uninitialized", after, after]
    assert workflow.status(bystander) == "completed"


def test_the_count_of_failed_only_holds_canceled_dependents_but_not_what_is_reset_below(workflow):
    cause = workflow.job()
    canceled = workflow.job(cause)
    stubborn = workflow.job(cause, cancel_on_blocking_job_failure=False)
    below = workflow.job(stubborn)
    workflow.initialize()
    workflow.complete(cause, "failed")
    assert workflow.statuses(cause, canceled, stubborn, below) == ["failed", "canceled", "ready", "blocked"]
    assert reset(workflow, failed_only=True)["updated_count"] == 2
    assert workflow.statuses(cause, canceled, stubborn, below) == ["uninitialized"] * 4


def test_failed_only_forgets_the_active_node_of_the_failed_jobs_only(workflow):
    node = workflow.node()
    failed, running = workflow.job_in("pending"), workflow.job_in("pending")
    workflow.start(failed, node)
    workflow.start(running, node)
    workflow.manage(failed, "pending_failed")
    reset(workflow, failed_only=True)
    assert workflow.active_on(node) == [running]


@pytest.mark.parametrize("failed_only, count", [(False, 2), (True, 1)])
def test_reset_stores_an_event(workflow, failed_only, count):
    workflow.job_in("failed")
    workflow.job_in("ready")
    reset(workflow, failed_only=failed_only)
    assert workflow.events() == [{
        "category": "user_action", "action": "reset_job_status", "user": "anonymous", "workflow_id": workflow.id,
        "failed_only": failed_only, "updated_count": count,
    }]  # fmt: skip


def test_reset_jobs_can_be_initialized_and_run_again(workflow):
    cause = workflow.job()
    dependent = workflow.job(cause)
    workflow.initialize()
    workflow.complete(cause, "failed")
    reset(workflow, failed_only=True)
    workflow.set_run(1)
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(cause, dependent) == ["ready", "blocked"]
    workflow.complete(cause, run_id=1)
    assert workflow.status(dependent) == "ready"


def test_failed_only_must_be_true_or_false(workflow):
    reset(workflow, 400, failed_only="1")


# cancel


def cancel(workflow):
    return workflow.client.put(f"{workflow.path}/cancel").json


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_cancel_moves_pending_and_running_jobs_only(workflow, status):
    job = workflow.job_in(status)
    cancel(workflow)
    assert workflow.status(job) == ("canceled" if status in ("pending", "running") else status)
    assert workflow.violations() == []


def test_cancel_answers_the_workflow_stores_no_results_and_may_be_repeated(client, workflow):
    job = workflow.job_in("running")
    workflow.set_run(2)
    state = {
        "id": workflow.id, "run_id": 2, "is_canceled": True, "is_archived": False,
        "has_detected_need_to_run_completion_script": False,
    }  # fmt: skip
    assert cancel(workflow) == client.get(workflow.path).json | state
    assert cancel(workflow) == client.get(workflow.path).json | state
    assert client.get(f"{workflow.path}/status").json.items() >= state.items()
    assert workflow.results(job) == []
    message = f"Workflow {workflow.id} (run_id=2) was canceled"
    event = {"category": "workflow_canceled", "message": message, "workflow_id": workflow.id, "run_id": 2}
    event["user"] = "anonymous"
    assert workflow.events() == [event, event]


def test_dependents_of_canceled_jobs_follow_all_the_way_down(workflow):
    job = workflow.job()
    first = workflow.job(job)
    second = workflow.job(first)
    stubborn = workflow.job(job, cancel_on_blocking_job_failure=False)
    workflow.initialize()
    workflow.manage(job, "running")
    cancel(workflow)
    assert workflow.statuses(job, first, second, stubborn) == ["canceled", "canceled", "canceled", "ready"]


def test_a_running_job_of_a_canceled_workflow_can_no_longer_be_completed(workflow):
    job = workflow.job_in("running")
    cancel(workflow)
    workflow.complete(job, status=422)
    assert workflow.results(job) == []


def test_cancel_deactivates_the_nodes_of_the_workflow(client, workflow):
    node, other = workflow.node(), Workflow(client, workflow.database).node()
    cancel(workflow)
    states = workflow.sql("SELECT is_active FROM torc.compute_node WHERE id = ANY (%s) ORDER BY id", [node, other])
    assert states == [False, True]


# process_changed_job_inputs


def test_an_event_tells_of_a_call_that_is_no_dry_run_also_if_nothing_has_changed(workflow):
    job = workflow.job(name="one")
    workflow.initialize()
    for command, names in (("c", []), ("d", ["one"])):
        workflow.manage(job, "uninitialized")
        put(workflow, job, name="one", command=command)
        assert changed(workflow, dry_run=True) == changed(workflow, dry_run=False) == names
        events = workflow.client.get("/events", params={"workflow_id": workflow.id}).json["items"]
        assert events[-1]["data"] == {
            "category": "user_action", "action": "process_changed_job_inputs", "user": "anonymous",
            "workflow_id": workflow.id, "reinitialized_count": len(names), "reinitialized_jobs": names,
        }  # fmt: skip
    assert len(events) == 2


def test_jobs_that_were_never_initialized_are_passed_over(workflow):
    workflow.job()
    assert changed(workflow) == []


def test_nothing_is_changed_right_after_initialize(workflow):
    file, data = workflow.file(), workflow.user_data('{"a": 1}')
    workflow.job(output_file_ids=[file], input_user_data_ids=[data])
    workflow.job(input_file_ids=[file])
    workflow.initialize()
    assert changed(workflow) == []


def put(workflow, job, **fields):
    body = {"workflow_id": workflow.id, "name": "j", "command": "c"} | fields
    workflow.client.put(f"/jobs/{job}", json=body)


@pytest.mark.parametrize(
    "fields, counts",
    [
        ({"invocation_script": "i"}, True), ({"invocation_script": ""}, False), ({"priority": 5}, False),
        ({"cancel_on_blocking_job_failure": False}, False), ({"supports_termination": True}, False),
        ({"scheduler_id": 7}, False), ({"name": "other"}, False), ({"command": "other"}, True),
        ({"depends_on_job_ids": []}, True),
    ],
)  # fmt: skip
def test_which_fields_of_a_job_count_as_its_inputs(workflow, fields, counts):
    job = workflow.job(workflow.job(), name="j")
    workflow.initialize()
    workflow.manage(job, "uninitialized")
    put(workflow, job, **fields)
    assert changed(workflow) == ([fields.get("name", "j")] if counts else [])


def test_a_change_that_is_undone_is_none(workflow):
    dependency = workflow.job()
    job = workflow.job(dependency, name="j")
    workflow.initialize()
    workflow.manage(job, "uninitialized")
    put(workflow, job, command="other", depends_on_job_ids=[])
    put(workflow, job, command="another", depends_on_job_ids=[dependency])
    assert changed(workflow, dry_run=True) == ["j"]
    put(workflow, job, depends_on_job_ids=[dependency])
    assert changed(workflow, dry_run=True) == []
    put(workflow, job, command="other")
    workflow.initialize()
    assert changed(workflow, dry_run=True) == []
    put(workflow, job, command="other", invocation_script="i")
    assert changed(workflow, dry_run=True) == ["j"]


def test_a_deleted_dependency_counts(client, workflow):
    first, second = workflow.job(), workflow.job()
    job = workflow.job(first, second, name="j")
    workflow.job(name="without dependencies")
    workflow.initialize()
    client.delete(f"/jobs/{first}")
    client.delete(f"/jobs/{second}")
    assert changed(workflow, dry_run=True) == ["j"]
    client.delete(f"/jobs/{job}")
    assert changed(workflow) == []


def test_a_job_that_was_added_after_initialize_is_not_named(client, workflow):
    workflow.job()
    workflow.initialize()
    dependency = workflow.job()
    job = workflow.job(dependency, name="j")
    put(workflow, job, command="other")
    client.delete(f"/jobs/{dependency}")
    assert changed(workflow) == []


def test_a_change_by_a_statement_counts_if_it_was_announced(workflow):
    job = workflow.job(name="changed")
    workflow.initialize()
    workflow.sql("SELECT torc.keep_input_hashes(ARRAY[%s])", job)
    workflow.sql("UPDATE torc.job SET command = 'other' WHERE id = %s RETURNING id", job)
    assert changed(workflow, dry_run=True) == ["changed"]
    workflow.sql("UPDATE torc.job SET command = 'c' WHERE id = %s RETURNING id", job)
    assert changed(workflow) == []


def test_requirements_do_not_count_as_inputs(workflow):
    job = workflow.job()
    workflow.initialize()
    put(workflow, job, resource_requirements_id=workflow.requirements())
    assert changed(workflow) == []


@pytest.mark.parametrize(
    "stored, now, counts",
    [
        ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1}', False), ("[1, 2]", "[2, 1]", True), ('{"a": 1}', '{"a": 2}', True),
        (None, "1", True), ("1", None, True), ('"1"', "1", True),
    ],
)  # fmt: skip
def test_the_data_of_inputs_counts_the_order_of_its_keys_does_not(workflow, stored, now, counts):
    data = workflow.user_data(stored)
    workflow.job(name="reads", input_user_data_ids=[data])
    workflow.job(name="writes", output_user_data_ids=[data])
    workflow.initialize()
    workflow.database.execute("UPDATE torc.user_data SET data = %s::jsonb WHERE id = %s", [now, data])
    assert changed(workflow) == (["reads"] if counts else [])


def test_the_modification_time_of_a_file_does_not_count(client, workflow):
    file = workflow.file(st_mtime=1.0)
    workflow.job(input_file_ids=[file])
    workflow.initialize()
    client.put(f"/files/{file}", json={"workflow_id": workflow.id, "name": "f", "path": "/f", "st_mtime": 2.0})
    assert changed(workflow) == []


def test_a_derived_edge_counts_and_a_deleted_file_too(client, workflow):
    file = workflow.file()
    workflow.job(name="reads", input_file_ids=[file])
    workflow.initialize()
    client.delete(f"/files/{file}")
    assert changed(workflow) == ["reads"]


def test_a_changed_job_that_is_disabled_stays_disabled_and_is_not_named(workflow):
    job = workflow.job(name="j")
    workflow.initialize()
    put(workflow, job, invocation_script="new")
    workflow.manage(job, "disabled")
    assert changed(workflow, dry_run=True) == changed(workflow) == []
    workflow.manage(job, "ready")
    assert changed(workflow) == ["j"]


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word not in ("blocked", "disabled")])
def test_changed_jobs_become_uninitialized_whatever_their_status_unless_it_is_a_dry_run(workflow, status):
    job = workflow.job(name="j")
    dependent = workflow.job(job, name="below")
    workflow.initialize()
    put(workflow, job, invocation_script="new")
    if status in ("completed", "failed", "canceled", "terminated"):
        workflow.complete(job, status)
    else:
        workflow.manage(job, status)
    before = workflow.statuses(job, dependent)
    assert changed(workflow, dry_run=True) == ["j"]
    assert workflow.statuses(job, dependent) == before
    assert changed(workflow, dry_run=False) == ["j"]
    assert workflow.status(job) == "uninitialized"


def test_dependents_of_changed_jobs_keep_their_status_and_the_same_names_come_until_initialize(workflow):
    first = workflow.job(name="first")
    second = workflow.job(first, name="second")
    workflow.initialize()
    workflow.complete(first)
    workflow.complete(second)
    for job, name in ((second, "second"), (first, "first")):
        put(workflow, job, name=name, invocation_script="new")
    workflow.manage(second, "running")
    assert changed(workflow) == ["first", "second"]
    workflow.manage(second, "pending")
    assert changed(workflow, dry_run=True) == ["first", "second"]
    assert workflow.status(second) == "pending"
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(first, second) == ["ready", "blocked"]
    assert changed(workflow) == []


def test_a_changed_job_that_had_failed_takes_back_what_it_had_canceled(workflow):
    cause = workflow.job()
    canceled = workflow.job(cause)
    workflow.initialize()
    workflow.complete(cause, "failed")
    put(workflow, cause, invocation_script="mended")
    assert changed(workflow) == ["j"]
    assert workflow.statuses(cause, canceled) == ["uninitialized", "blocked"]


def test_dry_run_must_be_true_or_false_and_any_body_is_ignored(client, workflow):
    path = f"{workflow.path}/process_changed_job_inputs"
    client.post(path, params={"dry_run": "1"}, status=400)
    client.post(path, json={})
    client.post(path, body="{broken")


# required_existing_files and missing_user_data


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_files_that_should_exist_are_unproduced_inputs_and_outputs_of_completed_jobs(workflow, status):
    source, product, between, idle = (workflow.file() for _ in range(4))
    producer = workflow.job_in(status, input_file_ids=[source], output_file_ids=[product, between])
    workflow.job(producer, input_file_ids=[between, source])
    expected = [source, product, between] if status == "completed" else [source]
    assert get(workflow, "required_existing_files") == {"files": expected}
    assert idle not in expected


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_user_data_is_missing_without_data_if_unproduced_or_produced_by_a_completed_job(workflow, status):
    source, product, between, idle = (workflow.user_data() for _ in range(4))
    there = workflow.user_data('{"x": 1}')
    producer = workflow.job_in(status, input_user_data_ids=[source, there], output_user_data_ids=[product, between])
    workflow.job(producer, input_user_data_ids=[between])
    expected = [source, product, between] if status == "completed" else [source]
    assert get(workflow, "missing_user_data") == {"user_data": expected}
    assert idle not in expected


def test_both_are_empty_lists_in_an_empty_workflow(workflow):
    assert get(workflow, "required_existing_files") == {"files": []}
    assert get(workflow, "missing_user_data") == {"user_data": []}


# ready_job_requirements


def test_nothing_ready_needs_nothing(workflow):
    workflow.job_in("pending")
    assert get(workflow, "ready_job_requirements") == {
        "num_jobs": 0, "num_cpus": 0, "num_gpus": 0, "memory_gb": 0, "max_num_nodes": 0, "max_runtime": "PT0S",
    }  # fmt: skip


def test_sums_that_leave_64_bits_are_the_largest_and_the_smallest_number_that_fits(workflow):
    for sign, total in ((1, 2**63 - 1), (-1, -(2**63))):
        workflow.client.delete("/jobs", params={"workflow_id": workflow.id})
        most = workflow.requirements(num_cpus=sign * (2**63 - 1), num_gpus=sign * (2**63 - 1), memory="8388607t")
        for _ in range(2):
            workflow.job(resource_requirements_id=most)
        workflow.initialize()
        needs = get(workflow, "ready_job_requirements")
        assert (needs["num_cpus"], needs["num_gpus"], needs["num_jobs"]) == (total, total, 2)


def test_ready_jobs_need_the_sum_of_cpus_gpus_memory_and_the_most_nodes_and_time(workflow):
    for needs in (
        {"num_cpus": 3, "memory": "512m", "num_gpus": 1, "num_nodes": 2, "runtime": "PT90M"},
        {"num_cpus": 2, "memory": "2g", "num_gpus": 0, "num_nodes": 1, "runtime": "P1DT1S"},
    ):
        workflow.job_in("ready", resource_requirements_id=workflow.requirements(**needs))
    workflow.job_in("running", resource_requirements_id=workflow.requirements(num_cpus=99))
    assert get(workflow, "ready_job_requirements") == {
        "num_jobs": 2, "num_cpus": 5, "num_gpus": 1, "memory_gb": 2.5, "max_num_nodes": 2, "max_runtime": "P1DT1S",
    }  # fmt: skip


def test_with_a_scheduler_its_own_and_unpinned_jobs_count(workflow):
    for scheduler in (1, 2, None):
        workflow.job_in("ready", scheduler_id=scheduler)
    counts = [get(workflow, "ready_job_requirements", **p)["num_jobs"] for p in (
        {}, {"scheduler_config_id": 1}, {"scheduler_config_id": 9},
    )]  # fmt: skip
    assert counts == [3, 2, 1]


# Relationship lists


def test_job_dependencies_name_both_jobs_and_hold_derived_edges_only_after_initialize(workflow):
    file = workflow.file()
    first, second = workflow.job(name="1", output_file_ids=[file]), workflow.job(name="2")
    third = workflow.job(second, name="3", input_file_ids=[file])
    edge = {"job_id": third, "job_name": "3", "workflow_id": workflow.id}
    explicit = edge | {"depends_on_job_id": second, "depends_on_job_name": "2"}
    derived = edge | {"depends_on_job_id": first, "depends_on_job_name": "1"}
    assert get(workflow, "job_dependencies") == {
        "items": [explicit], "offset": 0, "max_limit": 100000, "count": 1, "total_count": 1, "has_more": False,
    }  # fmt: skip
    workflow.initialize()
    assert get(workflow, "job_dependencies")["items"] == [derived, explicit]


@pytest.mark.parametrize("kind", ["file", "user_data"])
def test_a_file_or_user_data_has_a_row_for_each_pair_of_producer_and_consumer(workflow, kind):
    make = workflow.file if kind == "file" else workflow.user_data
    both, produced, consumed, _untouched = make(), make(), make(), make()
    makers = [workflow.job(name=f"m{i}", **{f"output_{kind}_ids": [both, produced][: 2 - i]}) for i in range(2)]
    takers = [workflow.job(name=f"t{i}", **{f"input_{kind}_ids": [both, consumed][: 2 - i]}) for i in range(2)]

    def row(item, maker=None, taker=None):
        name = {"file_name": "f", "file_path": "/f"} if kind == "file" else {"user_data_name": "d"}
        row = {f"{kind}_id": item, "workflow_id": workflow.id} | name
        if maker is not None:
            row |= {"producer_job_id": makers[maker], "producer_job_name": f"m{maker}"}
        if taker is not None:
            row |= {"consumer_job_id": takers[taker], "consumer_job_name": f"t{taker}"}
        return row

    expected = [row(both, m, t) for m in (0, 1) for t in (0, 1)] + [row(produced, 0), row(consumed, None, 0)]
    answer = get(workflow, f"job_{kind}_relationships")
    assert answer["items"] == expected
    assert (answer["count"], answer["total_count"]) == (6, 6)
    assert get(workflow, f"job_{kind}_relationships", offset=4, limit=1)["items"] == expected[4:5]


@pytest.mark.parametrize("name", ["job_dependencies", "job_file_relationships", "job_user_data_relationships"])
def test_relationship_lists_cut_a_limit_that_is_too_large_and_refuse_negative_ones(client, workflow, name):
    workflow.job(workflow.job(output_file_ids=[workflow.file()], output_user_data_ids=[workflow.user_data()]))
    assert get(workflow, name, limit=10**9)["count"] == 1
    zero = get(workflow, name, limit=0)
    assert (zero["items"], zero["total_count"], zero["has_more"]) == ([], 1, True)
    for params in ({"limit": -1}, {"offset": -1}):
        client.get(f"{workflow.path}/{name}", params=params, status=422)


def test_dependencies_are_sorted_by_job_dependency_or_workflow_and_by_job_for_any_other_name(workflow):
    first, second = workflow.job(name="z"), workflow.job(name="y")
    third, fourth = workflow.job(second, name="x"), workflow.job(first, second, name="w")

    def edges(**params):
        items = get(workflow, "job_dependencies", **params)["items"]
        return [(item["job_id"], item["depends_on_job_id"]) for item in items]

    by_job = [(third, second), (fourth, first), (fourth, second)]
    for name in ("job_id", "workflow_id", "job_name", "nonsense"):
        assert edges(sort_by=name) == by_job
        assert edges(sort_by=name, reverse_sort=True) == by_job[::-1]
    assert edges(sort_by="depends_on_job_id") == [(fourth, first), (third, second), (fourth, second)]


@pytest.mark.parametrize("kind", ["file", "user_data"])
def test_file_and_user_data_relationships_are_sorted_by_their_id_for_any_name(workflow, kind):
    make = workflow.file if kind == "file" else workflow.user_data
    items = [make() for _ in range(3)]
    workflow.job(**{f"input_{kind}_ids": items})
    for name in ("workflow_id", f"{kind}_name", "producer_job_id", "nonsense"):
        for reverse in (False, True):
            listed = get(workflow, f"job_{kind}_relationships", sort_by=name, reverse_sort=reverse)["items"]
            assert [item[f"{kind}_id"] for item in listed] == (items[::-1] if reverse else items)
