"""Local schedulers: create, read, list with filters, change, delete."""

import pytest


@pytest.fixture
def store(workflow):
    """Store a local scheduler of the workflow; return the answer."""

    def store(status=200, **fields):
        body = {"workflow_id": workflow.id} | fields
        return workflow.client.post("/local_schedulers", json=body, status=status).json

    return store


@pytest.fixture
def listed(workflow):
    """The ids of a list of local schedulers."""

    def listed(**params):
        answer = workflow.client.get("/local_schedulers", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


def test_create_answers_what_was_sent_and_get_leaves_out_the_name_which_is_not_stored(workflow, store):
    created = store(id=0, name="laptop", memory="32g", num_cpus=8)
    stored = {"id": created["id"], "workflow_id": workflow.id, "memory": "32g", "num_cpus": 8}
    assert created == stored | {"name": "laptop"}
    assert workflow.client.get(f"/local_schedulers/{created['id']}").json == stored
    assert workflow.client.get("/local_schedulers", params={"workflow_id": workflow.id}).json["items"] == [stored]


@pytest.mark.parametrize("fields", [{}, {"memory": None, "num_cpus": None, "name": None}])
def test_memory_and_num_cpus_may_be_absent_and_are_left_out(workflow, store, fields):
    created = store(**fields)
    assert created == {"id": created["id"], "workflow_id": workflow.id}
    assert workflow.client.get(f"/local_schedulers/{created['id']}").json == created


def test_memory_is_text_that_nobody_reads(workflow, store):
    created = store(memory="as much as there is", num_cpus=-1)
    assert workflow.client.get(f"/local_schedulers/{created['id']}").json == created


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("workflow_id", True),
        ("memory", 32),
        ("memory", "\0"),
        ("num_cpus", "8"),
        ("num_cpus", 1.0),
        ("num_cpus", 2**63),
        ("num_cpus", True),
        ("name", 1),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_the_filters_are_equality_and_count_rightly(store, listed):
    small, large, unset = (store(memory="1g", num_cpus=1), store(memory="64g", num_cpus=64), store())
    assert listed(memory="1g") == [small["id"]]
    assert listed(num_cpus=64) == [large["id"]]
    assert listed(memory="64g", num_cpus=1) == []
    assert listed(memory="") == []
    assert listed() == [small["id"], large["id"], unset["id"]]


@pytest.mark.parametrize("column", ["id", "workflow_id", "memory", "num_cpus"])
def test_the_list_sorts_by_every_column_unset_values_first(store, listed, column):
    ids = [store(memory="b", num_cpus=1)["id"], store(memory="a", num_cpus=2)["id"], store()["id"]]
    first, second, unset = ids
    expected = {"memory": [unset, second, first], "num_cpus": [unset, first, second]}.get(column, ids)
    assert listed(sort_by=column) == expected
    assert listed(sort_by=column, reverse_sort=True) == expected[::-1]


def test_an_unknown_sort_column_silently_means_id(store, listed):
    ids = [store(memory=memory)["id"] for memory in "ba"]
    assert listed(sort_by="name") == listed(sort_by="memory; DROP TABLE x") == ids


def test_the_list_comes_in_pages_without_other_workflows(workflow, store, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    ids = [store()["id"] for _ in range(3)]
    store(workflow_id=other)
    answer = client.get("/local_schedulers", params={"workflow_id": workflow.id, "offset": 1, "limit": 1}).json
    assert [item["id"] for item in answer.pop("items")] == ids[1:2]
    assert answer == {"offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True}


def test_put_keeps_what_is_absent_or_null(workflow, store):
    created = store(memory="1g", num_cpus=1)
    path = f"/local_schedulers/{created['id']}"
    body = {"workflow_id": workflow.id, "memory": "2g", "num_cpus": None, "name": "n", "id": 0}
    assert workflow.client.put(path, json=body).json == created | {"memory": "2g"}
    assert workflow.client.put(path, json={"workflow_id": workflow.id, "num_cpus": 2}).json == created | {
        "memory": "2g", "num_cpus": 2,
    }  # fmt: skip
    assert workflow.client.get(path).json == created | {"memory": "2g", "num_cpus": 2}


def test_put_does_not_move_to_another_workflow(workflow, store, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    created = store(memory="1g")
    path = f"/local_schedulers/{created['id']}"
    refused = client.put(path, json={"workflow_id": other, "memory": "2g"}, status=422).json["error"]
    assert refused["field"] == "workflow_id"
    assert client.get(path).json == created


def test_put_requires_the_workflow_id(workflow, store):
    path = f"/local_schedulers/{store()['id']}"
    assert workflow.client.put(path, json={"memory": "1g"}, status=422).json["error"]["field"] == "workflow_id"


def test_delete_answers_the_scheduler(workflow, store, listed):
    created = store(memory="1g", num_cpus=1)
    assert workflow.client.delete(f"/local_schedulers/{created['id']}").json == created
    assert listed() == []


def test_bulk_delete_counts_and_leaves_other_workflows_alone(workflow, store, client, listed):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    kept = store(workflow_id=other)
    store(), store()
    assert client.delete("/local_schedulers", params={"workflow_id": workflow.id}).json == {"count": 2}
    assert client.delete("/local_schedulers", params={"workflow_id": workflow.id}).json == {"count": 0}
    assert listed() == []
    assert client.get(f"/local_schedulers/{kept['id']}").json == kept


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {}),
        ("delete", {}),
        ("put", {"json": {"workflow_id": 1}}),
    ],
)
def test_an_unknown_scheduler_is_404_naming_the_table(client, method, arguments):
    error = getattr(client, method)("/local_schedulers/999999999", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Resource not found in local_scheduler with ID: 999999999"}


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {"params": {"workflow_id": 999999999}}),
        ("delete", {"params": {"workflow_id": 999999999}}),
        ("post", {"json": {"workflow_id": 999999999}}),
    ],
)
def test_an_unknown_workflow_is_404_for_list_create_and_bulk_delete(client, method, arguments):
    error = getattr(client, method)("/local_schedulers", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Workflow not found with ID: 999999999"}


@pytest.mark.parametrize(
    "params, code",
    [
        ({"num_cpus": "x"}, 400),
        ({"num_cpus": ""}, 400),
        ({"limit": 100001}, 422),
        ({"offset": -1}, 422),
        ({"reverse_sort": "1"}, 400),
        ({"memory": ["1g", "2g"]}, 400),
    ],
)
def test_a_query_that_does_not_fit_is_refused_naming_the_parameter(workflow, params, code):
    query = {"workflow_id": workflow.id} | params
    answer = workflow.client.get("/local_schedulers", params=query, status=code).json
    assert answer["error"]["field"] == next(iter(params))


@pytest.mark.parametrize("method", ["get", "delete"])
def test_the_workflow_id_of_lists_and_bulk_deletes_is_required(client, method):
    assert getattr(client, method)("/local_schedulers", status=400).json["error"]["field"] == "workflow_id"
