"""What can be read off a workflow beside its rows: running jobs, Slurm jobs; and the archive."""

import json

import pytest


@pytest.fixture
def slurm(workflow):
    """slurm(4711): a compute node in a scheduled one that Slurm knows by that id."""

    def node(slurm_id, node_type="slurm"):
        scheduled = workflow.client.post("/scheduled_compute_nodes", json={
            "workflow_id": workflow.id, "scheduler_id": slurm_id, "scheduler_config_id": 1, "scheduler_type": "slurm",
            "status": "active",
        }).json["id"]  # fmt: skip
        return workflow.client.post("/compute_nodes", json={
            "workflow_id": workflow.id, "hostname": f"host{slurm_id}", "pid": 1, "start_time": "now", "num_cpus": 1,
            "memory_gb": 1, "num_gpus": 0, "num_nodes": 1, "compute_node_type": node_type, "is_active": True,
            "scheduler": {"scheduler_id": scheduled},
        }).json["id"]  # fmt: skip

    return node


def running_on(workflow, node, **fields):
    job = workflow.job_in("pending", **fields)
    workflow.start(job, node)
    return job


def items(workflow, what, **params):
    return workflow.client.get(f"{workflow.path}/{what}", params=params).json["items"]


# Running jobs


def test_running_jobs_are_those_that_a_node_of_the_workflow_runs(workflow, slurm):
    first = running_on(workflow, slurm(4711), name="a")
    second = running_on(workflow, workflow.node(), name="b")
    workflow.job_in("running", name="without a node")
    workflow.job_in("pending")
    running = items(workflow, "running_jobs")
    for item in running:
        assert item.pop("start_time") == workflow.client.get(f"/jobs/{item['job_id']}").json["start_time"]
    assert running == [
        {"job_id": first, "job_name": "a", "compute_node_name": "host4711", "scheduler_type": "slurm",
         "scheduler_job_id": "4711"},
        {"job_id": second, "job_name": "b", "compute_node_name": "h", "scheduler_type": "local"},
    ]  # fmt: skip
    workflow.complete(first)
    assert [item["job_id"] for item in items(workflow, "running_jobs")] == [second]


def test_running_jobs_come_in_pages(workflow):
    node = workflow.node()
    jobs = [running_on(workflow, node) for _ in range(3)]
    page = workflow.client.get(f"{workflow.path}/running_jobs", params={"offset": 1, "limit": 1}).json
    assert [item["job_id"] for item in page.pop("items")] == jobs[1:2]
    assert page == {"offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True}


@pytest.mark.parametrize("scheduler_id", [None, "7", 1.5, -1, 10**30, {}])
def test_a_node_that_names_no_scheduled_node_has_no_scheduler_job(workflow, scheduler_id):
    node = workflow.node()
    workflow.sql(
        """
        UPDATE torc.compute_node SET scheduler = jsonb_build_object('scheduler_id', %s::jsonb)
        WHERE id = %s RETURNING 1
        """,
        json.dumps(scheduler_id), node,
    )  # fmt: skip
    running_on(workflow, node)
    assert "scheduler_job_id" not in items(workflow, "running_jobs")[0]


# Slurm jobs


def test_slurm_job_correlations_come_from_all_results_each_pair_once_by_the_text_of_the_id(workflow, slurm):
    nodes = {number: slurm(number) for number in (9, 10)}
    local = slurm(11, node_type="local")
    jobs = [workflow.job(name=name) for name in "ab"]
    for run, (job, node) in enumerate([(0, nodes[9]), (0, nodes[9]), (1, nodes[9]), (0, nodes[10]), (1, local)]):
        result = workflow.result(jobs[job], run_id=run) | {"compute_node_id": node}
        workflow.client.post("/results", json=result | {"attempt_id": 1})
    assert items(workflow, "slurm_job_correlations") == [
        {"slurm_job_id": "10", "job_id": jobs[0], "job_name": "a"},
        {"slurm_job_id": "9", "job_id": jobs[0], "job_name": "a"},
        {"slurm_job_id": "9", "job_id": jobs[1], "job_name": "b"},
    ]
    assert items(workflow, "slurm_job_correlations", offset=2)[0]["job_id"] == jobs[1]


@pytest.mark.parametrize("what", ["running_jobs", "slurm_job_correlations"])
def test_they_are_404_for_an_unknown_workflow_and_refuse_negative_limits(workflow, what):
    workflow.client.get(f"/workflows/999999999/{what}", status=404)
    workflow.client.get(f"{workflow.path}/{what}", params={"limit": -1}, status=422)


# The archive


def test_a_workflow_goes_into_the_archive_and_comes_out_again(workflow):
    for archived in (True, True, False):
        answer = workflow.client.post(f"{workflow.path}/archive", json={"is_archived": archived}).json
        assert answer["id"] == workflow.id
        assert workflow.client.get(f"{workflow.path}/status").json["is_archived"] == archived
        workflow.client.post(f"{workflow.path}/reset_status", params={"force": True}, status=422 if archived else 200)
    stored = [event for event in workflow.events() if event["action"] == "archive_workflow"]
    assert [(event["workflow_id"], event["is_archived"]) for event in stored] == [
        (workflow.id, True), (workflow.id, True), (workflow.id, False)
    ]  # fmt: skip


def test_an_archived_workflow_still_claims_and_is_canceled_by_nothing(workflow):
    job = workflow.job()
    workflow.initialize()
    workflow.client.put(f"{workflow.path}/cancel")
    workflow.client.post(f"{workflow.path}/archive", json={"is_archived": True})
    assert workflow.client.get(f"{workflow.path}/status").json["is_canceled"]
    workflow.set_run(0)
    workflow.client.post(f"{workflow.path}/archive", json={"is_archived": True})
    assert workflow.claim() == [job]
