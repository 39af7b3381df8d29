"""Slurm schedulers: create, read, list, change, delete."""

import pytest

REQUIRED = {"account": "project", "nodes": 2, "walltime": "04:00:00"}
EVERYTHING = REQUIRED | {
    "name": "short", "gres": "gpu:2", "mem": "180G", "ntasks_per_node": 4, "partition": "debug", "qos": "high",
    "tmp": "1T", "extra": "--reservation=x", "serialize_allocations": True,
}  # fmt: skip
COLUMNS = ("id", "workflow_id", *EVERYTHING)


@pytest.fixture
def store(workflow):
    """Store a Slurm scheduler of the workflow; return the answer."""

    def store(status=200, **fields):
        body = {"workflow_id": workflow.id} | REQUIRED | fields
        return workflow.client.post("/slurm_schedulers", json=body, status=status).json

    return store


@pytest.fixture
def listed(workflow):
    """The ids of a list of Slurm schedulers."""

    def listed(**params):
        answer = workflow.client.get("/slurm_schedulers", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


def test_every_field_is_stored(workflow, store):
    created = store(id=0, **EVERYTHING)
    assert created == {"id": created["id"], "workflow_id": workflow.id} | EVERYTHING
    assert workflow.client.get(f"/slurm_schedulers/{created['id']}").json == created
    assert workflow.client.get("/slurm_schedulers", params={"workflow_id": workflow.id}).json["items"] == [created]


def test_the_optional_fields_also_the_name_may_be_absent_and_are_left_out(workflow, store):
    created = store(**{name: None for name in EVERYTHING if name not in REQUIRED})
    assert created == {"id": created["id"], "workflow_id": workflow.id, "serialize_allocations": False} | REQUIRED
    assert workflow.client.get(f"/slurm_schedulers/{created['id']}").json == created


@pytest.mark.parametrize("field", ["workflow_id", *REQUIRED])
def test_a_required_field_must_be_there_on_create_and_on_put(workflow, store, field):
    body = {"workflow_id": workflow.id} | REQUIRED
    del body[field]
    assert workflow.client.post("/slurm_schedulers", json=body, status=422).json["error"]["field"] == field
    path = f"/slurm_schedulers/{store()['id']}"
    assert workflow.client.put(path, json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        *((name, None) for name in ("workflow_id", *REQUIRED)),
        *((name, 1) for name in EVERYTHING if name not in ("nodes", "ntasks_per_node")),
        *((name, value) for name in ("nodes", "ntasks_per_node") for value in ("1", 1.5, True, 2**63)),
        ("account", "\0"),
        ("extra", "\ud800"),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


@pytest.mark.parametrize("column", COLUMNS)
def test_the_list_sorts_by_every_column(store, listed, column):
    smallest = {str: "", bool: False, int: -1}
    changed = {name: smallest[type(value)] for name, value in EVERYTHING.items()}
    ids = [store(**EVERYTHING)["id"], store(**changed)["id"]]
    expected = ids if column in ("id", "workflow_id") else ids[::-1]
    assert listed(sort_by=column) == expected
    assert listed(sort_by=column, reverse_sort=True) == expected[::-1]


def test_an_unknown_sort_column_silently_means_id(store, listed):
    ids = [store(account=account)["id"] for account in "ba"]
    assert listed(sort_by="status") == ids
    assert listed(sort_by="status", reverse_sort=True) == ids[::-1]


def test_the_list_comes_in_pages_without_other_workflows(workflow, store, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    ids = [store()["id"] for _ in range(3)]
    store(workflow_id=other)
    answer = client.get("/slurm_schedulers", params={"workflow_id": workflow.id, "offset": 2, "limit": 5}).json
    assert [item["id"] for item in answer.pop("items")] == ids[2:]
    assert answer == {"offset": 2, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": False}


def test_put_overwrites_the_required_fields_and_keeps_the_optional_ones_that_are_absent_or_null(workflow, store):
    created = store(**EVERYTHING)
    path = f"/slurm_schedulers/{created['id']}"
    new = {"workflow_id": workflow.id, "account": "other", "nodes": 5, "walltime": "1", "qos": None, "mem": "1G"}
    assert workflow.client.put(path, json=new).json == created | new | {"qos": "high"}
    assert workflow.client.get(path).json == created | new | {"qos": "high"}


def test_put_changes_every_field(workflow, store):
    created = store()
    path = f"/slurm_schedulers/{created['id']}"
    others = {str: "new", bool: not EVERYTHING["serialize_allocations"], int: 77}
    changed = {name: others[type(value)] for name, value in EVERYTHING.items()}
    assert workflow.client.put(path, json={"workflow_id": workflow.id, "id": 0} | changed).json == created | changed


def test_put_does_not_move_to_another_workflow(workflow, store, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    created = store()
    path = f"/slurm_schedulers/{created['id']}"
    refused = client.put(path, json={"workflow_id": other} | REQUIRED | {"nodes": 9}, status=422).json["error"]
    assert refused["field"] == "workflow_id"
    assert client.get(path).json == created


def test_delete_answers_the_scheduler_and_jobs_keep_its_id(workflow, store, listed):
    created = store(name="n")
    job = workflow.job(scheduler_id=created["id"])
    assert workflow.client.delete(f"/slurm_schedulers/{created['id']}").json == created
    assert listed() == []
    assert workflow.client.get(f"/jobs/{job}").json["scheduler_id"] == created["id"]


def test_bulk_delete_counts_and_leaves_other_workflows_alone(workflow, store, client, listed):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    kept = store(workflow_id=other)
    store(), store()
    assert client.delete("/slurm_schedulers", params={"workflow_id": workflow.id}).json == {"count": 2}
    assert client.delete("/slurm_schedulers", params={"workflow_id": workflow.id}).json == {"count": 0}
    assert listed() == []
    assert client.get(f"/slurm_schedulers/{kept['id']}").json == kept


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {}),
        ("delete", {}),
        ("put", {"json": {"workflow_id": 1} | REQUIRED}),
    ],
)
def test_an_unknown_scheduler_is_404_naming_the_table(client, method, arguments):
    error = getattr(client, method)("/slurm_schedulers/999999999", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Resource not found in slurm_scheduler with ID: 999999999"}


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {"params": {"workflow_id": 999999999}}),
        ("delete", {"params": {"workflow_id": 999999999}}),
        ("post", {"json": {"workflow_id": 999999999} | REQUIRED}),
    ],
)
def test_an_unknown_workflow_is_404_for_list_create_and_bulk_delete(client, method, arguments):
    error = getattr(client, method)("/slurm_schedulers", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Workflow not found with ID: 999999999"}


@pytest.mark.parametrize("method", ["get", "delete"])
def test_the_workflow_id_of_lists_and_bulk_deletes_is_required(client, method):
    assert getattr(client, method)("/slurm_schedulers", status=400).json["error"]["field"] == "workflow_id"
