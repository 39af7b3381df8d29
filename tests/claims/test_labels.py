"""Labels: which workers may claim a job, and how lists and the status of a workflow tell of them."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

WORKER = {"num_cpus": 64, "memory_gb": 256, "num_gpus": 4, "num_nodes": 1}


def ready(workflow, *labels, **fields):
    return workflow.job_in("ready", labels=list(labels), **fields)


def fit(workflow, *labels, limit=10, **fields):
    path = f"{workflow.path}/claim_jobs_based_on_resources/{limit}"
    answer = workflow.client.post(path, json=WORKER | {"labels": list(labels)} | fields).json
    return [job["id"] for job in answer["jobs"]]


def claim(workflow, *labels, **params):
    return workflow.claim(labels=",".join(labels), **params)


@pytest.mark.parametrize("take", [claim, fit])
@pytest.mark.parametrize(
    "worker, gets",
    [
        ((), [0]), (("gpu",), [1]), (("big",), [2]), (("gpu", "big"), [1, 2, 3]), (("zz",), []),
        (("GPU",), []), (("gpu", "big", "zz"), [1, 2, 3]), (("gp",), []),
    ],
)  # fmt: skip
def test_a_worker_gets_jobs_whose_labels_it_has_and_without_labels_only_such_jobs(workflow, take, worker, gets):
    jobs = [ready(workflow, *labels) for labels in ((), ("gpu",), ("big",), ("big", "gpu"))]
    assert take(workflow, *worker) == [jobs[place] for place in gets]
    assert take(workflow, *worker) == []


@pytest.mark.parametrize("take", [claim, fit])
def test_jobs_of_several_label_sets_come_by_priority(workflow, take):
    jobs = [ready(workflow, *labels, priority=p) for p, labels in ((1, ("a",)), (3, ("b",)), (2, ("a", "b")), (9, ()))]
    assert take(workflow, "a", "b", limit=2) == [jobs[1], jobs[2]]
    assert take(workflow, "a", "b") == [jobs[0]]


def test_labels_of_a_resource_claim_hold_in_the_fallback_and_in_what_is_tried_once_more(workflow):
    ready(workflow)
    pinned = ready(workflow, "gpu", scheduler_id=1)
    assert fit(workflow, "gpu") == [pinned]
    four = workflow.requirements(num_cpus=4)
    large = [ready(workflow, "gpu", resource_requirements_id=four) for _ in range(2)]
    small = ready(workflow, "gpu", resource_requirements_id=workflow.requirements(num_cpus=1))
    assert fit(workflow, "gpu", limit=2, num_cpus=5) == [large[0], small]


@pytest.mark.parametrize("take", [claim, fit])
def test_workers_with_labels_that_claim_at_once_get_each_job_once(workflow, take):
    jobs = [ready(workflow, *labels) for labels in (("a",), ("b",), ("a", "b")) for _ in range(10)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: take(workflow, "a", "b", limit=3), range(12)))
    assert sorted(chain.from_iterable(taken)) == sorted(jobs)


def test_labels_are_sorted_each_once_and_come_with_claims(workflow):
    body = {"workflow_id": workflow.id, "name": "j", "command": "c", "labels": ["b", "a", "b"]}
    created = workflow.client.post("/jobs", json=body).json
    assert created["labels"] == ["a", "b"]
    workflow.manage(created["id"], "ready")
    assert workflow.client.get(f"/jobs/{created['id']}").json["labels"] == ["a", "b"]
    path = f"{workflow.path}/claim_next_jobs"
    [claimed] = workflow.client.post(path, params={"labels": ",b,,a"}).json["jobs"]
    assert claimed["labels"] == ["a", "b"]


def test_labels_may_be_replaced_and_cleared_in_any_status(workflow):
    job = ready(workflow, "a")
    body = {"workflow_id": workflow.id, "name": "j", "command": "c"}
    assert workflow.client.put(f"/jobs/{job}", json=body).json["labels"] == ["a"]
    assert workflow.client.put(f"/jobs/{job}", json=body | {"labels": ["c", "b"]}).json["labels"] == ["b", "c"]
    assert claim(workflow, "a") == []
    assert "labels" not in workflow.client.put(f"/jobs/{job}", json=body | {"labels": []}).json
    assert claim(workflow) == [job]


@pytest.mark.parametrize("label", ["", " a", "a ", "a,b", "\t"])
def test_what_is_no_label_is_422(workflow, label):
    body = {"workflow_id": workflow.id, "name": "j", "command": "c", "labels": [label]}
    assert workflow.client.post("/jobs", json=body, status=422).json["error"]["field"] == "labels"
    workflow.client.post("/bulk_jobs", json={"jobs": [body]}, status=422)
    job = workflow.job()
    workflow.client.put(f"/jobs/{job}", json=body, status=422)
    path = f"{workflow.path}/claim_jobs_based_on_resources/1"
    workflow.client.post(path, json=WORKER | {"labels": [label]}, status=422)


def test_a_claim_with_a_label_that_is_none_is_422(workflow):
    path = f"{workflow.path}/claim_next_jobs"
    assert workflow.client.post(path, params={"labels": "a, b"}, status=422).json["error"]["field"] == "labels"


def test_a_list_is_filtered_by_the_labels_of_a_worker(workflow):
    jobs = [ready(workflow, *labels) for labels in ((), ("gpu",), ("big", "gpu"))]
    for labels, places in (("", [0]), ("gpu", [1]), ("gpu,big", [1, 2]), ("zz", [])):
        params = {"workflow_id": workflow.id, "labels": labels}
        page = workflow.client.get("/jobs", params=params).json
        assert [job["id"] for job in page["items"]] == [jobs[place] for place in places]


def test_the_status_counts_ready_jobs_that_no_active_node_has_the_labels_for(workflow):
    ready(workflow, "a")
    ready(workflow, "b", "a")
    ready(workflow, "b", "a")
    ready(workflow)
    status = workflow.client.get(f"{workflow.path}/status").json
    assert status["unserved_ready_labels"] == {"a": 1, "a,b": 2}
    node = {
        "workflow_id": workflow.id, "hostname": "h", "pid": 1, "start_time": "x", "compute_node_type": "local",
        "is_active": True, "labels": ["c", "a"],
    }  # fmt: skip
    created = workflow.client.post("/compute_nodes", json=WORKER | node).json
    assert workflow.client.get(f"/compute_nodes/{created['id']}").json["labels"] == ["a", "c"]
    assert workflow.client.get(f"{workflow.path}/status").json["unserved_ready_labels"] == {"a,b": 2}
    workflow.client.post("/compute_nodes", json=WORKER | node | {"labels": ["a", "b"]})
    assert "unserved_ready_labels" not in workflow.client.get(f"{workflow.path}/status").json
