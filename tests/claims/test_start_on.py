"""Claims with start_on: the jobs come running on a compute node, in the transaction of the claim."""

import json

import pytest
from workflow import Workflow

WORKER = {"num_cpus": 64, "memory_gb": 256, "num_gpus": 4, "num_nodes": 1}


def claim(workflow, node, status=200, limit=10, labels=(), **query):
    path = f"{workflow.path}/claim_next_jobs"
    params = {"start_on": node, "limit": limit, "labels": ",".join(labels)} | query
    return workflow.client.post(path, params=params, status=status).json


def fit(workflow, node, status=200, limit=10, labels=(), **worker):
    path = f"{workflow.path}/claim_jobs_based_on_resources/{limit}"
    body = WORKER | {"labels": list(labels)} | worker
    return workflow.client.post(path, json=body, params={"start_on": node}, status=status).json


both = pytest.mark.parametrize("take", [claim, fit])


@both
@pytest.mark.parametrize("labels", [(), ("gpu",)])
def test_claimed_jobs_run_on_the_node_since_the_claim(workflow, take, labels):
    node = workflow.node()
    jobs = [workflow.job_in("ready", labels=list(labels)) for _ in range(3)]
    taken = take(workflow, node, limit=2, labels=labels)["jobs"]
    assert [job["id"] for job in taken] == jobs[:2]
    for job in taken:
        stored = workflow.client.get(f"/jobs/{job['id']}").json
        assert stored["status"] == job["status"] == "running"
        assert stored["compute_node_id"] == job["compute_node_id"] == node
        assert stored["start_time"] == job["start_time"]
    assert workflow.status(jobs[2]) == "ready"
    assert workflow.active_on(node) == jobs[:2]
    running = workflow.client.get(f"{workflow.path}/running_jobs").json["items"]
    assert [item["job_id"] for item in running] == jobs[:2]


@both
def test_a_job_that_was_started_by_its_claim_may_be_started_again_on_that_node_and_is_completed(workflow, take):
    node, job = workflow.node(), workflow.job_in("ready")
    take(workflow, node)
    workflow.start(job, node)
    workflow.start(job, workflow.node(), status=409)
    workflow.complete(job, compute_node_id=node)
    assert workflow.active_on(node) == []


@pytest.mark.parametrize("path, body", [("claim_next_jobs", {}), ("claim_jobs_based_on_resources/10", WORKER)])
def test_without_start_on_jobs_are_pending_and_on_no_node(workflow, path, body):
    job = workflow.job_in("ready")
    [taken] = workflow.client.post(f"{workflow.path}/{path}", json=body).json["jobs"]
    assert taken["status"] == workflow.status(job) == "pending"
    assert not {"start_time", "compute_node_id"} & taken.keys()


def test_what_fills_the_rest_of_a_worker_starts_too(workflow):
    node, four = workflow.node(), workflow.requirements(num_cpus=4)
    large = [workflow.job_in("ready", resource_requirements_id=four) for _ in range(2)]
    small = workflow.job_in("ready", resource_requirements_id=workflow.requirements(num_cpus=1))
    taken = fit(workflow, node, limit=2, num_cpus=5)["jobs"]
    assert [(job["id"], job["status"]) for job in taken] == [(large[0], "running"), (small, "running")]


@both
def test_a_node_that_is_unknown_not_active_or_of_another_workflow_is_422(workflow, take):
    job, ended = workflow.job_in("ready"), workflow.node()
    workflow.sql("UPDATE torc.compute_node SET is_active = false WHERE id = %s RETURNING id", ended)
    foreign = Workflow(workflow.client, workflow.database).node()
    for node in (10**12, ended, foreign):
        error = take(workflow, node, status=422)["error"]
        assert (error["field"], error["value"]) == ("start_on", node)
    assert workflow.status(job) == "ready"


@both
def test_a_node_that_is_unknown_is_422_also_if_nothing_is_ready(workflow, take):
    take(workflow, 10**12, status=422)
    workflow.client.put(f"{workflow.path}/cancel")
    take(workflow, 10**12, status=422)


@pytest.mark.parametrize("node", ["", "x", "1.0", "9" * 30])
def test_a_start_on_that_is_no_id_is_400(workflow, node):
    assert claim(workflow, node, status=400)["error"]["field"] == "start_on"


@both
def test_open_streams_hear_of_each_job_that_starts(workflow, take):
    node, jobs = workflow.node(), [workflow.job_in("ready") for _ in range(2)]
    workflow.sql(
        """
        INSERT INTO torc.event_stream (workflow_id, expires_at)
        VALUES (%s, now() + interval '1 min') RETURNING id
        """,
        workflow.id,
    )
    workflow.database.execute(f"LISTEN torc_workflow_{workflow.id}")
    take(workflow, node)
    heard = [json.loads(each.payload) for each in workflow.database.notifies(timeout=5, stop_after=2)]
    workflow.database.execute(f"UNLISTEN torc_workflow_{workflow.id}")
    assert [event["data"] for event in heard] == [
        {"job_id": job, "job_name": "j", "compute_node_id": node, "run_id": 0} for job in jobs
    ]
    assert {event["event_type"] for event in heard} == {"job_started"}


@both
def test_these_claims_are_counted_as_the_others_are(workflow, take):
    metrics = workflow.client.app.extensions["metrics"]

    def counted():
        samples = {sample.name: sample.value for family in metrics.registry().collect() for sample in family.samples
                   if sample.labels.get("result", "jobs") == "jobs"}  # fmt: skip
        return samples["torc_claims_total"], samples["torc_jobs_claimed_total"]

    for _ in range(2):
        workflow.job_in("ready")
    claims, jobs = counted()
    take(workflow, workflow.node())
    assert counted() == (claims + 1, jobs + 2)


def test_a_workflow_that_is_initialized_again_takes_back_what_a_claim_has_started(workflow):
    node, job = workflow.node(), workflow.job_in("ready")
    claim(workflow, node)
    assert workflow.initialize(keep_running=True)["jobs_kept"] == 1
    assert workflow.initialize()["jobs_taken_back"] == 1
    assert workflow.active_on(node) == [] and workflow.status(job) == "ready"
