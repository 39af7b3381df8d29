"""Compute nodes: create in both forms, read, list, change, delete."""

from datetime import UTC, datetime, timedelta

import pytest
from workflow import Workflow

REQUIRED = {
    "hostname": "h", "pid": 7, "start_time": "2026-01-01T00:00:00Z", "num_cpus": 4, "memory_gb": 8.5, "num_gpus": 1,
    "num_nodes": 2, "compute_node_type": "slurm",
}  # fmt: skip
OPTIONAL = {
    "duration_seconds": 1.5, "is_active": True, "time_limit": "PT1H", "scheduler_config_id": 9,
    "scheduler": {"scheduler_id": 5, "type": "slurm", "nothing": None, "list": [None]},
}  # fmt: skip
PAGE = {"hostname": "compute-01", "num_cpus": 32, "memory": "256g", "num_gpus": 8, "is_active": True}


@pytest.fixture
def store(workflow):
    """Store a compute node of the workflow; return the answer. Without fields: what the contract requires."""

    def create(body=REQUIRED, status=200, **fields):
        body = {"workflow_id": workflow.id} | body | fields
        return workflow.client.post("/compute_nodes", json=body, status=status).json

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of compute nodes."""

    def listed(**params):
        answer = workflow.client.get("/compute_nodes", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        assert answer["compute_nodes"] == answer["items"]
        return [item["id"] for item in answer["items"]]

    return listed


def without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


def test_create_answers_what_was_sent_with_its_id_and_is_active_reads_as_false(workflow, store):
    created = store(more="ignored", id=0)
    assert created == REQUIRED | {"id": created["id"], "workflow_id": workflow.id}
    assert workflow.client.get(f"/compute_nodes/{created['id']}").json == created | {"is_active": False}


def test_every_field_is_stored_and_nulls_inside_scheduler_stay(workflow, store):
    created = store(**OPTIONAL)
    assert created == REQUIRED | OPTIONAL | {"id": created["id"], "workflow_id": workflow.id}
    assert workflow.client.get(f"/compute_nodes/{created['id']}").json == created


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_in_an_optional_field_is_the_same_as_absent(workflow, store, field):
    created = store(**{field: None})
    assert field not in created
    assert workflow.client.get(f"/compute_nodes/{created['id']}").json == created | {"is_active": False}


@pytest.mark.parametrize("field", ["workflow_id", *REQUIRED])
def test_null_in_a_required_field_is_422_naming_it(store, listed, field):
    assert store(status=422, **{field: None})["error"]["field"] == field
    assert listed() == []


@pytest.mark.parametrize("field", ["workflow_id", "hostname", "num_cpus", "num_gpus", "memory_gb"])
def test_a_missing_field_without_a_default_is_422_naming_it(workflow, field):
    body = without({"workflow_id": workflow.id} | REQUIRED, field)
    assert workflow.client.post("/compute_nodes", json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        ("pid", 1.0),
        ("num_cpus", "1"),
        ("memory_gb", "8"),
        ("is_active", 1),
        ("scheduler", "\0"),
        ("memory", 8),
        ("duration_seconds", True),
        ("hostname", 1),
    ],
)
def test_a_field_of_the_wrong_type_is_422_naming_it(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_the_form_of_the_documentation_page_gets_its_defaults(workflow, store):
    created = store(PAGE)
    assert created == PAGE | {
        "id": created["id"], "workflow_id": workflow.id, "memory_gb": 256, "pid": 0, "num_nodes": 1,
        "compute_node_type": "local", "start_time": created["start_time"],
    }  # fmt: skip
    assert abs(datetime.now(UTC) - datetime.fromisoformat(created["start_time"])) < timedelta(minutes=1)
    assert workflow.client.get(f"/compute_nodes/{created['id']}").json == created


def test_a_sent_memory_gb_wins_over_memory_and_both_are_given_back(store):
    created = store(memory="1g")
    assert (created["memory_gb"], created["memory"]) == (8.5, "1g")


@pytest.mark.parametrize("body", [REQUIRED, without(REQUIRED, "memory_gb")])
def test_a_memory_that_cannot_be_read_is_422_without_its_text(store, listed, body):
    error = store(body, memory="network timeout", status=422)["error"]
    assert error["field"] == "memory"
    assert "network" not in str(error)
    assert listed() == []


def test_filters_by_hostname_and_by_scheduled_compute_node(store, listed):
    one = store(scheduler={"scheduler_id": 5})["id"]
    other = store(hostname="H", scheduler={"scheduler_id": 6})["id"]
    text = store(hostname="x", scheduler={"scheduler_id": "5"})["id"]
    store(hostname="x", scheduler=[5])
    assert listed(hostname="h") == [one, other]
    assert listed(hostname="%") == []
    assert listed(scheduled_compute_node_id=5) == [one]
    assert listed(scheduled_compute_node_id=7) == []
    assert text in listed(hostname="x")


def test_an_is_active_that_nobody_has_set_matches_neither_true_nor_false(store, listed):
    unset, active, stopped = store()["id"], store(is_active=True)["id"], store(is_active=False)["id"]
    assert listed(is_active=True) == [active]
    assert listed(is_active=False) == [stopped]
    assert listed() == [unset, active, stopped]


def test_total_count_under_a_filter_counts_what_matches(workflow, store):
    active = [store(is_active=True)["id"] for _ in range(3)]
    store()
    params = {"workflow_id": workflow.id, "is_active": True, "limit": 2}
    answer = workflow.client.get("/compute_nodes", params=params).json
    assert [item["id"] for item in answer["items"]] == active[:2]
    assert (answer["count"], answer["total_count"], answer["has_more"]) == (2, 3, True)


def test_lists_sort_by_every_column_but_scheduler(store, listed):
    a = store(num_cpus=2, scheduler={"a": 2})["id"]
    b = store(num_cpus=1, scheduler={"a": 1})["id"]
    assert listed(sort_by="num_cpus") == [b, a]
    assert listed(sort_by="scheduler") == [a, b]


def test_put_writes_required_fields_and_keeps_absent_optional_ones(workflow, store):
    created = store(**OPTIONAL)
    target = f"/compute_nodes/{created['id']}"
    body = REQUIRED | {"workflow_id": workflow.id, "hostname": "new", "pid": 8, "memory_gb": 16}
    assert workflow.client.put(target, json=body).json == created | body
    assert workflow.client.put(target, json=body | dict.fromkeys(OPTIONAL)).json == created | body
    changes = {"duration_seconds": 2, "is_active": False, "scheduler": {"a": None}, "time_limit": ""}
    assert workflow.client.put(target, json=body | changes).json == created | body | changes
    assert workflow.client.get(target).json == created | body | changes


@pytest.mark.parametrize("field", ["workflow_id", *REQUIRED])
def test_put_without_a_required_field_is_422_naming_it(workflow, store, field):
    created = store()
    target = f"/compute_nodes/{created['id']}"
    assert workflow.client.put(target, json=without(created, field), status=422).json["error"]["field"] == field


def test_put_forgets_a_memory_that_no_longer_says_what_memory_gb_says(workflow, store):
    created = store(PAGE)
    target = f"/compute_nodes/{created['id']}"
    body = without(created, "memory")
    assert workflow.client.put(target, json=body).json["memory"] == "256g"
    assert "memory" not in workflow.client.put(target, json=body | {"memory_gb": 128}).json
    answer = workflow.client.put(target, json=without(body, "memory_gb") | {"memory": "64g"}).json
    assert (answer["memory"], answer["memory_gb"]) == ("64g", 64)
    refused = workflow.client.put(target, json=body | {"memory": "network"}, status=422)
    assert refused.json["error"]["field"] == "memory"
    assert "network" not in refused.text


def test_a_node_cannot_move_to_another_workflow(client, workflow, store):
    created = store(is_active=True)
    target = f"/compute_nodes/{created['id']}"
    other = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    assert client.put(target, json=created | {"workflow_id": other}, status=422).json["error"]["field"] == "workflow_id"
    assert client.get(target).json == created


def test_delete_answers_the_node_deletes_its_results_and_leaves_its_jobs(workflow, store):
    created = store(is_active=True)
    done, running = workflow.job(), workflow.job()
    workflow.complete(done, compute_node_id=created["id"])
    workflow.initialize(only_uninitialized=True)
    workflow.claim()
    workflow.start(running, created["id"], run_id=0)
    assert workflow.active_on(created["id"]) == [running]
    assert workflow.client.delete(f"/compute_nodes/{created['id']}").json == created
    workflow.client.get(f"/compute_nodes/{created['id']}", status=404)
    assert workflow.results(done) == []
    assert workflow.statuses(done, running) == ["completed", "running"]
    assert workflow.active_on(created["id"]) == []


def test_bulk_delete_answers_the_count_and_leaves_other_workflows_alone(client, database, workflow, store, listed):
    store(), store()
    other = Workflow(client, database)
    kept = other.node()
    for count in (2, 0):
        assert client.delete("/compute_nodes", params={"workflow_id": workflow.id}).json == {"count": count}
    assert listed() == []
    client.get(f"/compute_nodes/{kept}")


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_an_unknown_node_is_404_in_the_words_of_the_contract(client, method):
    body = {"json": REQUIRED | {"workflow_id": 1}} if method == "put" else {}
    message = getattr(client, method)("/compute_nodes/999999999", status=404, **body).json["error"]["message"]
    assert message == "Resource not found in compute_node with ID: 999999999"
