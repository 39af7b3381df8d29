"""Scheduled compute nodes: create, read, list, replace, delete, and what their end does to compute nodes."""

import pytest

FIELDS = {"scheduler_id": 4711, "scheduler_config_id": 1, "scheduler_type": "slurm", "status": "pending"}


@pytest.fixture
def store(workflow):
    """Store a scheduled compute node of the workflow; return the answer."""

    def store(status_code=200, **fields):
        body = {"workflow_id": workflow.id} | FIELDS | fields
        return workflow.client.post("/scheduled_compute_nodes", json=body, status=status_code).json

    return store


@pytest.fixture
def listed(workflow):
    """The ids of a list of scheduled compute nodes."""

    def listed(**params):
        answer = workflow.client.get("/scheduled_compute_nodes", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


@pytest.fixture
def set_status(workflow):
    """Change the status of a scheduled compute node by PUT."""

    def set_status(node, status):
        body = {name: value for name, value in node.items() if name != "id"} | {"status": status}
        return workflow.client.put(f"/scheduled_compute_nodes/{node['id']}", json=body).json

    return set_status


@pytest.fixture
def compute_node(workflow):
    """Create a compute node with the given scheduler; return its id."""

    def create(scheduler, is_active=True, workflow_id=workflow.id):
        body = {
            "workflow_id": workflow_id, "hostname": "h", "pid": 1, "start_time": "t", "num_cpus": 1, "memory_gb": 1,
            "num_gpus": 0, "num_nodes": 1, "compute_node_type": "slurm", "scheduler": scheduler, "is_active": is_active,
        }  # fmt: skip
        return workflow.client.post("/compute_nodes", json=body).json["id"]

    return create


@pytest.fixture
def active(workflow):
    """The ids of the active compute nodes, or of the inactive ones."""

    def active(is_active=True):
        params = {"workflow_id": workflow.id, "is_active": is_active}
        answer = workflow.client.get("/compute_nodes", params=params).json
        assert answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return active


def test_create_answers_what_was_sent_with_an_id_and_get_returns_it(workflow, store):
    created = store(id=0)
    assert created == {"id": created["id"], "workflow_id": workflow.id} | FIELDS
    assert workflow.client.get(f"/scheduled_compute_nodes/{created['id']}").json == created
    answer = workflow.client.get("/scheduled_compute_nodes", params={"workflow_id": workflow.id}).json
    assert answer["items"] == [created]


def test_status_and_type_are_free_text_and_the_ids_name_nothing_that_must_exist(workflow, store):
    created = store(status="anything", scheduler_type="", scheduler_id=-1, scheduler_config_id=2**63 - 1)
    assert workflow.client.get(f"/scheduled_compute_nodes/{created['id']}").json == created


@pytest.mark.parametrize("field", ["workflow_id", *FIELDS])
def test_every_field_must_be_there_on_create_and_on_put(workflow, store, field):
    body = {"workflow_id": workflow.id} | FIELDS
    del body[field]
    assert workflow.client.post("/scheduled_compute_nodes", json=body, status=422).json["error"]["field"] == field
    path = f"/scheduled_compute_nodes/{store()['id']}"
    assert workflow.client.put(path, json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        *((name, None) for name in ("workflow_id", *FIELDS)),
        *(
            (name, value)
            for name in ("scheduler_id", "scheduler_config_id")
            for value in ("1", 1.5, True, -(2**63) - 1)
        ),
        ("status", 1),
        ("status", "\0"),
        ("scheduler_type", []),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status_code=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_the_filters_are_equality_and_count_rightly(store, listed):
    first, second = store()["id"], store(scheduler_id=-5, scheduler_config_id=2, status="active")["id"]
    assert listed(scheduler_id=4711) == [first]
    assert listed(scheduler_id=-5) == [second]
    assert listed(scheduler_config_id=2) == [second]
    assert listed(status="pending") == [first]
    assert listed(status="pend") == []
    assert listed(scheduler_id=4711, status="active") == []


@pytest.mark.parametrize("value", ["x", "", "1.5", "4711x", "99999999999999999999"])
@pytest.mark.parametrize("name", ["scheduler_id", "scheduler_config_id"])
def test_an_id_filter_that_is_no_number_matches_nothing(store, listed, name, value):
    store()
    assert listed(**{name: value}) == []


@pytest.mark.parametrize("column", ["id", "workflow_id", *FIELDS])
def test_the_list_sorts_by_every_column(store, listed, column):
    smallest = {"scheduler_id": -1, "scheduler_config_id": -1, "scheduler_type": "", "status": ""}
    ids = [store()["id"], store(**smallest)["id"]]
    expected = ids if column in ("id", "workflow_id") else ids[::-1]
    assert listed(sort_by=column) == expected
    assert listed(sort_by=column, reverse_sort=True) == expected[::-1]


def test_the_list_comes_in_pages_without_other_workflows(workflow, store, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    ids = [store()["id"] for _ in range(3)]
    store(workflow_id=other)
    answer = client.get("/scheduled_compute_nodes", params={"workflow_id": workflow.id, "offset": 1, "limit": 1}).json
    assert [item["id"] for item in answer.pop("items")] == ids[1:2]
    assert answer == {"offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True}


def test_put_replaces_all_five_fields_whatever_the_status_was(workflow, store):
    created = store(status="complete")
    path = f"/scheduled_compute_nodes/{created['id']}"
    new = {"scheduler_id": 1, "scheduler_config_id": 2, "scheduler_type": "other", "status": "pending"}
    assert workflow.client.put(path, json={"workflow_id": workflow.id, "id": 0} | new).json == created | new
    assert workflow.client.get(path).json == created | new


def test_put_does_not_move_to_another_workflow_and_deactivates_nothing(workflow, store, compute_node, active, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    created = store()
    node = compute_node({"scheduler_id": created["id"]})
    path = f"/scheduled_compute_nodes/{created['id']}"
    body = FIELDS | {"workflow_id": other, "status": "complete"}
    assert client.put(path, json=body, status=422).json["error"]["field"] == "workflow_id"
    assert client.get(path).json == created
    assert active() == [node]


@pytest.mark.parametrize("status", ["complete", "canceled"])
def test_compute_nodes_of_an_allocation_that_is_over_are_no_longer_active(
    workflow, store, set_status, compute_node, active, status
):
    created, running = store(), store()
    over = [compute_node({"scheduler_id": created["id"], "type": "slurm", "slurm_job_id": 9}) for _ in range(2)]
    others = [
        compute_node({"scheduler_id": running["id"]}),
        compute_node({"scheduler_id": str(created["id"])}),  # a text is not the number, as in the filter of the list
        compute_node({"slurm_job_id": created["id"]}),
        compute_node(created["id"]),
        compute_node(None),
    ]
    assert set_status(created, status)["status"] == status
    assert active() == others
    assert active(False) == over
    linked = workflow.client.get(
        "/compute_nodes", params={"workflow_id": workflow.id, "scheduled_compute_node_id": created["id"]}
    ).json["items"]
    assert [(node["id"], node["is_active"]) for node in linked] == [(node, False) for node in over]


@pytest.mark.parametrize("status", ["pending", "active", "completed", "Complete", "cancelled", ""])
def test_no_other_status_deactivates_compute_nodes(store, set_status, compute_node, active, status):
    created = store()
    node = compute_node({"scheduler_id": created["id"]})
    set_status(created, status)
    assert active() == [node]


def test_a_compute_node_that_never_said_whether_it_is_active_is_inactive_afterwards(
    store, set_status, compute_node, active
):
    created = store()
    node = compute_node({"scheduler_id": created["id"]}, is_active=None)
    assert active(False) == []
    set_status(created, "complete")
    assert active(False) == [node]


def test_compute_nodes_of_other_workflows_with_the_same_number_stay_active(client, store, set_status, compute_node):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    created = store()
    node = compute_node({"scheduler_id": created["id"]}, workflow_id=other)
    set_status(created, "complete")
    assert client.get(f"/compute_nodes/{node}").json["is_active"] is True


def test_completing_twice_is_fine_and_the_workflow_can_then_be_reset(workflow, store, set_status):
    created = store()
    workflow.client.post(f"{workflow.path}/reset_status", status=422)
    assert set_status(created, "complete") == set_status(created, "complete")
    workflow.client.post(f"{workflow.path}/reset_status")


def test_delete_answers_the_node_and_its_compute_nodes_are_no_longer_active(
    workflow, store, compute_node, active, listed
):
    created, other = store(), store()
    node, kept = compute_node({"scheduler_id": created["id"]}), compute_node({"scheduler_id": other["id"]})
    assert workflow.client.delete(f"/scheduled_compute_nodes/{created['id']}").json == created
    assert listed() == [other["id"]]
    assert (active(), active(False)) == ([kept], [node])


def test_bulk_delete_deactivates_the_compute_nodes_of_all_that_it_deletes(
    workflow, store, compute_node, active, client
):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    nodes = [compute_node({"scheduler_id": store()["id"]}) for _ in range(2)]
    local = compute_node(None)
    elsewhere = compute_node({"scheduler_id": store(workflow_id=other)["id"]}, workflow_id=other)
    assert client.delete("/scheduled_compute_nodes", params={"workflow_id": workflow.id}).json == {"count": 2}
    assert (active(), active(False)) == ([local], nodes)
    assert client.get(f"/compute_nodes/{elsewhere}").json["is_active"] is True


def test_bulk_delete_counts_and_leaves_other_workflows_alone(workflow, store, client, listed):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    kept = store(workflow_id=other)
    store(), store()
    assert client.delete("/scheduled_compute_nodes", params={"workflow_id": workflow.id}).json == {"count": 2}
    assert client.delete("/scheduled_compute_nodes", params={"workflow_id": workflow.id}).json == {"count": 0}
    assert listed() == []
    assert client.get(f"/scheduled_compute_nodes/{kept['id']}").json == kept


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {}),
        ("delete", {}),
        ("put", {"json": {"workflow_id": 1} | FIELDS}),
    ],
)
def test_an_unknown_node_is_404_naming_the_table_and_no_value_of_the_request(client, method, arguments):
    error = getattr(client, method)("/scheduled_compute_nodes/999999999", status=404, **arguments).json["error"]
    message = "Resource not found in scheduled_compute_node with ID: 999999999"
    assert error == {"error": "NotFound", "message": message}


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {"params": {"workflow_id": 999999999}}),
        ("delete", {"params": {"workflow_id": 999999999}}),
        ("post", {"json": {"workflow_id": 999999999} | FIELDS}),
    ],
)
def test_an_unknown_workflow_is_404_for_list_create_and_bulk_delete(client, method, arguments):
    error = getattr(client, method)("/scheduled_compute_nodes", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Workflow not found with ID: 999999999"}


@pytest.mark.parametrize("method", ["get", "delete"])
def test_the_workflow_id_of_lists_and_bulk_deletes_is_required(client, method):
    assert getattr(client, method)("/scheduled_compute_nodes", status=400).json["error"]["field"] == "workflow_id"
