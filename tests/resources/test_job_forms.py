"""A job is the same JSON wherever it is answered: no answer forgets a column, or a field of the contract."""

import pytest

from torc_server.schemas.jobs import JobModel

BY_THE_SERVER = {"id", "status", "attempt_id", "origin", "start_time", "compute_node_id"}
NOT_STORED = {"schedule_compute_nodes"}  # only answered by the create
LISTS = {
    "depends_on_job_ids", "input_file_ids", "output_file_ids", "input_user_data_ids", "output_user_data_ids",
}  # fmt: skip
NOT_IN_CLAIMS = {"depends_on_job_ids", "input_file_ids", "input_user_data_ids", "scheduler_id"}
INTERNAL = {  # columns that no answer has
    "open_dependencies", "failed_dependencies", "canceled_by_dependency", "has_dependencies", "has_links",
    "attempt_run_id", "ready_at", "claimed_at",
}  # fmt: skip
RENAMED = {"active_compute_node_id": "compute_node_id"}


@pytest.fixture
def sent(workflow):
    """A JobModel with all that a client may say of a job, and no value that is a default."""
    client = workflow.client
    handler = client.post("/failure_handlers", json={"workflow_id": workflow.id, "name": "h", "rules": "[]"}).json["id"]
    before = workflow.job()
    workflow.complete(before)
    return {
        "workflow_id": workflow.id, "name": 'n "1"', "command": "c \\ é", "invocation_script": "bash x",
        "cancel_on_blocking_job_failure": False, "supports_termination": True, "depends_on_job_ids": [before],
        "input_file_ids": [workflow.file("a")], "output_file_ids": [workflow.file("b"), workflow.file("c")],
        "input_user_data_ids": [workflow.user_data()], "output_user_data_ids": [workflow.user_data()],
        "resource_requirements_id": workflow.requirements(), "scheduler_id": 7, "failure_handler_id": handler,
        "priority": 3, "env": {"A": "b"}, "labels": ["gpu"],
        "schedule_compute_nodes": {"scheduler_id": 4, "num_jobs": 2},
    }  # fmt: skip


def without(keys, job):
    return {key: value for key, value in job.items() if key not in keys}


def claim(workflow, how, **params):
    if how == "claim_next_jobs":
        answer = workflow.client.post(f"{workflow.path}/{how}", params=params | {"labels": "gpu", "limit": 1})
    else:
        worker = {"num_cpus": 9, "memory_gb": 9, "num_gpus": 9, "num_nodes": 9, "labels": ["gpu"]}
        answer = workflow.client.post(f"{workflow.path}/{how}/1", params=params, json=worker)
    [job] = answer.json["jobs"]
    return job


def test_each_column_of_a_job_is_answered_or_known_to_be_internal(database):
    named = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'torc.job'::regclass AND attnum > 0"
    columns = {name for (name,) in database.execute(f"{named} AND NOT attisdropped")}
    answered = {RENAMED.get(column, column) for column in columns - INTERNAL}
    assert answered | LISTS == {*JobModel().fields} - NOT_STORED


def test_a_create_answers_each_field_that_was_sent(client, workflow, sent):
    assert sent.keys() == {*JobModel().fields} - BY_THE_SERVER, "a new field: say here what it may be"
    [created] = client.post("/bulk_jobs", json={"jobs": [sent]}).json["jobs"]
    assert created == sent | {"id": created["id"], "status": "uninitialized"}
    alone = client.post("/jobs", json=sent | {"name": "alone"}).json
    assert alone == created | {"id": alone["id"], "name": "alone"}


@pytest.mark.parametrize("how", ["claim_next_jobs", "claim_jobs_based_on_resources"])
def test_all_other_answers_are_that_of_get_job(client, workflow, sent, how):
    job = client.post("/jobs", json=sent).json["id"]
    stored = {"status": "ready", "id": job, "attempt_id": 1}
    workflow.manage(job, "ready")
    got = client.get(f"/jobs/{job}").json
    assert got == without(NOT_STORED, sent) | stored
    listed = client.get("/jobs", params={"workflow_id": workflow.id, "include_relationships": True}).json["items"]
    assert got in listed
    listed = client.get("/jobs", params={"workflow_id": workflow.id}).json["items"]
    assert without(LISTS, got) in listed

    node = workflow.node()
    assert claim(workflow, how, compute_node_id=node) == without(NOT_IN_CLAIMS, got) | {"status": "pending"}
    workflow.manage(job, "ready")
    claimed = claim(workflow, how, start_on=node)
    running = client.get(f"/jobs/{job}").json
    assert running == got | {"status": "running", "compute_node_id": node, "start_time": running["start_time"]}
    assert claimed == without(NOT_IN_CLAIMS, running)
    workflow.retry(job)
    got = client.get(f"/jobs/{job}").json
    assert (got["origin"], got["attempt_id"]) == ("retry", 2)
    claimed = claim(workflow, how, start_on=node)
    assert claimed == without(NOT_IN_CLAIMS, client.get(f"/jobs/{job}").json)
    result = workflow.result(job) | {"compute_node_id": node, "attempt_id": 2}
    completed = client.post(f"/jobs/{job}/complete_job/completed/0", json=result).json
    assert completed == got | {"status": "completed"}
    assert completed == client.get(f"/jobs/{job}").json
