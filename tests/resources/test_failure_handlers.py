"""Failure handlers: create, read, list, delete, and what jobs see of it."""

import pytest

RULES = '[{"exit_codes": [1, 137], "max_retries": 3}]'


@pytest.fixture
def store(workflow):
    """Store a failure handler of the workflow; return the answer."""

    def store(status=200, **fields):
        body = {"workflow_id": workflow.id, "name": "h", "rules": RULES} | fields
        return workflow.client.post("/failure_handlers", json=body, status=status).json

    return store


@pytest.fixture
def listed(workflow):
    """The answer of the list."""

    def listed(status=200, **params):
        return workflow.client.get(f"{workflow.path}/failure_handlers", params=params, status=status).json

    return listed


def test_create_answers_what_was_sent_with_an_id_of_the_server_and_get_returns_it(workflow, store):
    created = store(id=0, message="no field")
    assert created == {"id": created["id"], "workflow_id": workflow.id, "name": "h", "rules": RULES}
    assert created["id"] > 0
    assert workflow.client.get(f"/failure_handlers/{created['id']}").json == created


@pytest.mark.parametrize("rules", ["", "no JSON at all {", "null", "[]", "\U0001f600\n\t"])
def test_rules_are_text_that_nobody_reads(workflow, store, rules):
    assert workflow.client.get(f"/failure_handlers/{store(rules=rules)['id']}").json["rules"] == rules


def test_names_need_not_be_unique(store):
    assert store(name="same")["id"] < store(name="same")["id"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("workflow_id", "1"),
        ("workflow_id", 2**63),
        ("name", None),
        ("name", 1),
        ("name", "\0"),
        ("rules", None),
        ("rules", []),
        ("rules", {}),
        ("rules", "\ud800"),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed()["total_count"] == 0


@pytest.mark.parametrize("field", ["workflow_id", "name", "rules"])
def test_a_required_field_must_be_there(workflow, field):
    body = {"workflow_id": workflow.id, "name": "h", "rules": "[]"}
    del body[field]
    assert workflow.client.post("/failure_handlers", json=body, status=422).json["error"]["field"] == field


def test_the_list_is_by_id_in_pages_of_its_own_workflow(workflow, store, listed, client):
    ids = [store(name=name)["id"] for name in "cab"]
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    store(workflow_id=other)
    answer = listed(offset=1, limit=1)
    assert [item["id"] for item in answer.pop("items")] == ids[1:2]
    assert answer == {"offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True}
    assert [item["id"] for item in listed(sort_by="name", reverse_sort=True)["items"]] == ids


def test_there_is_no_bulk_delete_and_no_put(workflow, store):
    assert workflow.client.delete(f"{workflow.path}/failure_handlers", status=405).headers["allow"] == "GET,HEAD"
    path = f"/failure_handlers/{store()['id']}"
    assert workflow.client.put(path, json={}, status=405).headers["allow"] == "DELETE,GET,HEAD"
    assert workflow.client.get("/failure_handlers", status=405).headers["allow"] == "POST"


def test_delete_answers_the_handler_and_a_message(workflow, store, listed):
    created = store()
    deleted = workflow.client.delete(f"/failure_handlers/{created['id']}").json
    assert deleted == created | {"message": "Failure handler deleted successfully"}
    assert listed()["items"] == []


def test_jobs_of_a_deleted_handler_stay_without_one_and_other_jobs_keep_theirs(workflow, store):
    gone, kept = store()["id"], store()["id"]
    job, other = workflow.job(failure_handler_id=gone), workflow.job(failure_handler_id=kept)
    workflow.client.delete(f"/failure_handlers/{gone}")
    assert "failure_handler_id" not in workflow.client.get(f"/jobs/{job}").json
    assert workflow.client.get(f"/jobs/{other}").json["failure_handler_id"] == kept


@pytest.mark.parametrize("method", ["get", "delete"])
def test_an_unknown_handler_is_404_naming_the_table(client, method):
    error = getattr(client, method)("/failure_handlers/999999999", status=404).json["error"]
    assert error == {"error": "NotFound", "message": "Resource not found in failure_handler with ID: 999999999"}


def test_an_unknown_workflow_is_404_for_create_and_list(client, store):
    message = "Workflow not found with ID: 999999999"
    assert store(workflow_id=999999999, status=404)["error"]["message"] == message
    assert client.get("/workflows/999999999/failure_handlers", status=404).json["error"]["message"] == message


@pytest.mark.parametrize(
    "params, code",
    [
        ({"limit": 100001}, 422),
        ({"limit": -1}, 422),
        ({"offset": -1}, 422),
        ({"limit": "x"}, 400),
        ({"offset": ""}, 400),
    ],
)
def test_a_page_out_of_bounds_is_refused_naming_the_parameter(listed, params, code):
    assert listed(status=code, **params)["error"]["field"] == next(iter(params))


def test_handlers_go_with_their_workflow(client, store):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    handler = store(workflow_id=other)["id"]
    client.delete(f"/workflows/{other}")
    client.get(f"/failure_handlers/{handler}", status=404)
