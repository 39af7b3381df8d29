"""Results: create in both forms, which is the current one, read, list, change, delete."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from support import wait_for
from workflow import Workflow

from torc_server.schemas.fields import JOB_STATUSES

MEASURED = {"peak_memory_bytes": 10, "avg_memory_bytes": 5, "peak_cpu_percent": 99.5, "avg_cpu_percent": 50.25}
PAGE = {"exit_code": 0, "stdout": "Job completed successfully", "stderr": ""}


@pytest.fixture
def store(workflow):
    """Store a result of a job; return the answer. Without fields: what the contract requires."""

    def create(job, answers=200, **fields):
        return workflow.client.post("/results", json=workflow.result(job) | fields, status=answers).json

    return create


@pytest.fixture
def store_short(workflow):
    """Store a result in the form of the documentation page; return the answer."""

    def create(job, answers=200, **fields):
        body = {"workflow_id": workflow.id, "job_id": job} | PAGE | fields
        return workflow.client.post("/results", json=body, status=answers).json

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of results."""

    def listed(**params):
        answer = workflow.client.get("/results", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


@pytest.fixture
def other(client, database):
    """A second workflow."""
    return Workflow(client, database)


def test_create_answers_what_was_sent_with_its_id_and_get_shows_attempt_1(workflow, store):
    job = workflow.job()
    created = store(job, more="ignored", id=0)
    assert created == workflow.result(job) | {"id": created["id"], "job_name": "j"}
    assert workflow.client.get(f"/results/{created['id']}").json == created | {"attempt_id": 1}


def test_every_field_is_stored(workflow, store):
    created = store(workflow.job(), attempt_id=3, **MEASURED)
    assert created.items() >= (MEASURED | {"attempt_id": 3}).items()
    assert workflow.client.get(f"/results/{created['id']}").json == created


@pytest.mark.parametrize(
    "field",
    [
        "job_id",
        "workflow_id",
        "run_id",
        "compute_node_id",
        "return_code",
        "exec_time_minutes",
        "completion_time",
        "status",
    ],
)
def test_a_missing_or_null_required_field_is_422_naming_it(workflow, listed, field):
    body = workflow.result(workflow.job())
    for wrong in ({k: v for k, v in body.items() if k != field}, body | {field: None}):
        assert workflow.client.post("/results", json=wrong, status=422).json["error"]["field"] == field
    assert listed() == []


@pytest.mark.parametrize(
    "field, value",
    [
        ("run_id", "0"),
        ("return_code", 1.0),
        ("exec_time_minutes", "1"),
        ("completion_time", 1),
        ("status", "done"),
        ("status", 5),
        ("peak_memory_bytes", 2**63),
        ("avg_cpu_percent", True),
        ("exit_code", "0"),
        ("stdout", 1),
    ],
)
def test_a_field_of_the_wrong_type_is_422_naming_it(workflow, store, listed, field, value):
    assert store(workflow.job(), answers=422, **{field: value})["error"]["field"] == field
    assert listed() == []


@pytest.mark.parametrize("word", JOB_STATUSES)
def test_a_result_may_have_any_status_and_the_job_keeps_its_own(workflow, store_short, store, word):
    job = workflow.job()
    body = workflow.result(job) | {"status": word}
    assert workflow.client.post("/results", json=body).json["status"] == word
    assert workflow.status(job) == "uninitialized"


def test_a_job_that_is_unknown_or_of_another_workflow_is_422(workflow, other, store, listed):
    for job in (10**12, other.job()):
        error = store(job, answers=422)["error"]
        assert (error["field"], error["value"]) == ("job_id", job)
    assert listed() == []


def test_a_compute_node_need_only_exist(workflow, other, store):
    assert store(workflow.job(), compute_node_id=other.node())["id"]
    assert store(workflow.job(), compute_node_id=10**12, answers=422)["error"]["field"] == "compute_node_id"


def test_a_second_result_of_the_same_attempt_is_409_and_the_first_stays_current(workflow, store, listed):
    job = workflow.job()
    first = store(job)["id"]
    error = store(job, attempt_id=1, answers=409)["error"]
    assert error["error"] == "Conflict"
    assert error["message"] == "Another row already has this job_id, run_id, attempt_id"
    assert listed() == [first]


def test_the_newest_result_of_a_job_is_the_current_one_and_all_runs_shows_the_others(workflow, store, listed):
    job, another = workflow.job(), workflow.job()
    old, new = store(job, run_id=1)["id"], store(job, run_id=0)["id"]
    of_another = store(another)["id"]
    assert listed() == listed(all_runs=False) == [new, of_another]
    assert listed(all_runs=True) == [old, new, of_another]
    assert listed(run_id=1) == []
    assert listed(run_id=1, all_runs=True) == [old]


def test_initialize_takes_the_current_mark_from_results_of_unfinished_jobs(workflow, store, listed):
    result = store(workflow.job())["id"]
    workflow.initialize()
    assert listed() == []
    assert listed(all_runs=True) == [result]


def test_each_filter_is_equality(workflow, store, listed):
    first, second = workflow.job(), workflow.job()
    a = store(first)["id"]
    b = store(second, run_id=2, return_code=3, status="failed", compute_node_id=workflow.node())["id"]
    node = workflow.client.get(f"/results/{b}").json["compute_node_id"]
    assert listed(job_id=first) == [a]
    assert listed(run_id=2) == listed(return_code=3) == listed(status="failed") == listed(compute_node_id=node) == [b]
    assert listed(run_id=2, return_code=0) == listed(job_id=10**12) == []
    workflow.client.get("/results", params={"workflow_id": workflow.id, "status": "5"}, status=400)


def test_lists_sort_by_status_in_the_order_of_the_contract_and_unset_values_first(workflow, store, listed):
    a = store(workflow.job(), status="failed", peak_memory_bytes=1)["id"]
    b = store(workflow.job(), status="completed")["id"]
    c = store(workflow.job(), status="canceled", peak_memory_bytes=2)["id"]
    assert listed(sort_by="status") == [b, a, c]
    assert listed(sort_by="peak_memory_bytes") == [b, a, c]
    assert listed(sort_by="peak_memory_bytes", reverse_sort=True) == [c, a, b]


# The form of the documentation page


def test_the_short_form_is_filled_in_from_the_job_the_workflow_and_the_clock(workflow, store_short):
    node = workflow.node()
    workflow.node()
    job = workflow.job()
    workflow.set_run(4)
    workflow.database.execute("UPDATE torc.job SET attempt_id = 2 WHERE id = %s", [job])
    created = store_short(job)
    assert created == PAGE | {
        "id": created["id"], "workflow_id": workflow.id, "job_id": job, "job_name": "j", "return_code": 0,
        "status": "completed",
        "run_id": 4, "attempt_id": 2, "exec_time_minutes": 0, "compute_node_id": node,
        "completion_time": created["completion_time"],
    }  # fmt: skip
    assert abs(datetime.now(UTC) - datetime.fromisoformat(created["completion_time"])) < timedelta(minutes=1)
    assert workflow.client.get(f"/results/{created['id']}").json == created


@pytest.mark.parametrize("code, status", [(0, "completed"), (1, "failed"), (-9, "failed")])
def test_the_status_of_the_short_form_follows_from_its_exit_code(workflow, store_short, code, status):
    workflow.node()
    created = store_short(workflow.job(), exit_code=code)
    assert (created["status"], created["return_code"], created["exit_code"]) == (status, code, code)


def test_what_is_sent_in_the_short_form_is_not_replaced(workflow, store_short):
    workflow.node()
    sent = {
        "run_id": 9, "attempt_id": 8, "return_code": 7, "status": "terminated", "completion_time": "then",
        "exec_time_minutes": 1.5, "compute_node_id": workflow.node(),
    }  # fmt: skip
    assert store_short(workflow.job(), **sent).items() >= (sent | PAGE).items()


def test_the_short_form_names_the_node_that_the_job_runs_on(workflow, store_short):
    workflow.node()
    job, node = workflow.job(), workflow.node()
    workflow.initialize()
    workflow.claim()
    workflow.start(job, node)
    assert store_short(job)["compute_node_id"] == node


def test_the_short_form_in_a_workflow_without_nodes_is_422_naming_compute_node_id(workflow, other, store_short, listed):
    other.node()
    assert store_short(workflow.job(), answers=422)["error"]["field"] == "compute_node_id"
    assert listed() == []


def test_stdout_and_stderr_are_kept_in_the_long_form_too_and_left_out_when_unset(workflow, store):
    created = store(workflow.job(), stdout="o", stderr="e")
    assert (created["stdout"], created["stderr"]) == ("o", "e")
    assert "exit_code" not in created
    assert not {"stdout", "stderr", "exit_code"} & store(workflow.job()).keys()


# Change and delete


def test_put_writes_only_the_writable_fields(workflow, store):
    job = workflow.job()
    created = store(job, attempt_id=2, **MEASURED)
    changes = {
        "run_id": 5, "return_code": 6, "exec_time_minutes": 7.5, "completion_time": "later", "status": "failed",
    }  # fmt: skip
    ignored = {"attempt_id": 9, "compute_node_id": 10**12, "peak_memory_bytes": 1, "avg_cpu_percent": None}
    ignored |= {"exit_code": 1, "stdout": "x", "stderr": "x"}
    target = f"/results/{created['id']}"
    assert workflow.client.put(target, json=created | changes | ignored).json == created | changes
    assert workflow.client.get(target).json == created | changes


def test_put_needs_every_required_field(workflow, store):
    created = store(workflow.job())
    target = f"/results/{created['id']}"
    for field in ("job_id", "workflow_id", "run_id", "compute_node_id", "return_code", "exec_time_minutes", "status"):
        body = {k: v for k, v in created.items() if k != field}
        assert workflow.client.put(target, json=body | PAGE, status=422).json["error"]["field"] == field


def test_a_result_stays_with_its_workflow_and_its_job(workflow, other, store):
    created = store(workflow.job())
    target = f"/results/{created['id']}"
    for field, value in (("workflow_id", other.id), ("job_id", workflow.job()), ("job_id", other.job())):
        error = workflow.client.put(target, json=created | {field: value}, status=422).json["error"]
        assert (error["field"], error["value"]) == (field, value)
    assert workflow.client.get(target).json == created | {"attempt_id": 1, "job_name": "j"}


def test_put_into_the_run_of_another_result_is_409_and_put_does_not_change_which_is_current(workflow, store, listed):
    job = workflow.job()
    old, new = store(job, run_id=1), store(job, run_id=2)
    target = f"/results/{old['id']}"
    workflow.client.put(target, json=old | {"run_id": 2}, status=409)
    workflow.client.put(target, json=old | {"run_id": 3})
    assert listed() == [new["id"]]


def test_delete_answers_the_result_and_no_older_one_takes_its_place(workflow, store, listed):
    job = workflow.job()
    old, new = store(job, run_id=1), store(job, run_id=2)
    assert workflow.client.delete(f"/results/{new['id']}").json == new | {"attempt_id": 1}
    workflow.client.get(f"/results/{new['id']}", status=404)
    assert listed() == []
    assert listed(all_runs=True) == [old["id"]]


def test_bulk_delete_answers_the_count_of_all_runs(workflow, store, listed):
    job = workflow.job()
    store(job, run_id=1), store(job, run_id=2)
    for count in (2, 0):
        assert workflow.client.delete("/results", params={"workflow_id": workflow.id}).json == {"count": count}
    assert listed(all_runs=True) == []


def test_deleting_a_job_deletes_its_results(workflow, store, listed):
    job = workflow.job()
    store(job)
    workflow.client.delete(f"/jobs/{job}")
    assert listed(all_runs=True) == []


def test_of_results_stored_at_the_same_time_one_is_current(workflow, store, listed):
    job = workflow.job()
    workflow.node()
    body = workflow.result(job)
    answers = []

    def send(run_id):
        answers.append(workflow.client.post("/results", json=body | {"run_id": run_id}, status=None).status_code)

    threads = [threading.Thread(target=send, args=[run_id]) for run_id in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    assert len(listed()) == 1
    assert len(listed(all_runs=True)) == 6


def test_a_result_waits_for_whoever_holds_the_workflow(workflow, database):
    body = workflow.result(workflow.job())
    answers = []
    post = threading.Thread(target=lambda: answers.append(workflow.client.post("/results", json=body).json))
    with database.transaction():
        workflow.sql("SELECT pg_advisory_xact_lock(%s)::text", workflow.id)
        post.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = %s"
        wait_for(lambda: workflow.sql(waits, workflow.id)[0], what="the result to wait")
        assert answers == []
    post.join(10)
    assert answers[0]["id"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_an_unknown_result_is_404_in_the_words_of_the_contract(client, workflow, method):
    body = {"json": workflow.result(1)} if method == "put" else {}
    message = getattr(client, method)("/results/999999999", status=404, **body).json["error"]["message"]
    assert message == "Resource not found in result with ID: 999999999"
