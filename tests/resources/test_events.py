"""Stored events: create, read, list, change, delete."""

import time

import pytest


@pytest.fixture
def store(workflow):
    """Store an event of the workflow; return the answer."""

    def create(data, status=200, **fields):
        body = {"workflow_id": workflow.id, "data": data} | fields
        return workflow.client.post("/events", json=body, status=status).json

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of events."""

    def listed(**params):
        answer = workflow.client.get("/events", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        assert answer["events"] == answer["items"]
        return [item["id"] for item in answer["items"]]

    return listed


@pytest.fixture
def at(workflow):
    """Store an event under a time of our choice, which only SQL can; return its id."""

    def create(timestamp):
        statement = """INSERT INTO torc.event (workflow_id, "timestamp", data) VALUES (%s, %s, 'null') RETURNING id"""
        return workflow.sql(statement, workflow.id, timestamp)[0]

    return create


@pytest.mark.parametrize("fields", [{}, {"timestamp": 5}, {"timestamp": None}])
def test_the_time_is_the_servers_in_milliseconds_whatever_is_sent(workflow, store, fields):
    before = time.time()
    created = store({"a": 1}, **fields)
    assert abs(created["timestamp"] / 1000 - before) < 60
    assert created.keys() == {"id", "workflow_id", "timestamp", "data"}
    assert workflow.client.get(f"/events/{created['id']}").json == created


@pytest.mark.parametrize(
    "data",
    [
        None,
        False,
        0,
        "",
        [],
        {},
        {"a": None, "b": [None, {"c": None}]},
        [1.5, "x"],
        "\U0001f600",
        -(2**80),
    ],
)
def test_every_json_value_is_data_null_too(workflow, store, data):
    created = store(data)
    stored = workflow.client.get(f"/events/{created['id']}").json
    listed = workflow.client.get("/events", params={"workflow_id": workflow.id}).json["items"]
    assert stored == created and listed == [created]
    assert "data" in created and created["data"] == data and type(created["data"]) is type(data)


def test_data_and_workflow_id_are_required(workflow):
    for body, field in (({"workflow_id": workflow.id}, "data"), ({"data": 1}, "workflow_id")):
        assert workflow.client.post("/events", json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("timestamp", "now"),
        ("timestamp", 1.0),
        ("data", "\0"),
        ("data", [{"a": "\ud800"}]),
    ],
)
def test_a_field_that_does_not_fit_is_422_naming_it(store, listed, field, value):
    assert store(**{"data": 1, "status": 422} | {field: value})["error"]["field"] == field
    assert listed() == []


def test_the_oldest_event_comes_first_and_the_newest_can_be_asked_for(workflow, at, listed):
    late, early = at(2000), at(1000)
    assert listed() == [late, early]
    assert listed(sort_by="timestamp") == [early, late]
    params = {"workflow_id": workflow.id, "sort_by": "timestamp", "reverse_sort": True, "limit": 1}
    assert [item["id"] for item in workflow.client.get("/events", params=params).json["items"]] == [late]


def test_after_timestamp_is_exclusive(at, listed):
    at(1000)
    same, later = at(1001), at(1002)
    assert listed(after_timestamp=1000) == [same, later]
    assert listed(after_timestamp=1001) == [later]
    assert listed(after_timestamp=1002) == []
    assert len(listed(after_timestamp=-1)) == 3


def test_the_category_is_under_the_first_of_four_keys_that_has_a_value(store, listed):
    keys = ["category", "event_type", "type", "action"]
    ids = [store({key: "x"})["id"] for key in keys]
    ids.append(store({"category": None, "event_type": None, "type": "x", "action": "y"})["id"])
    for index in range(3):  # the earlier key wins
        ids.append(store({keys[index]: "x", keys[index + 1]: "y"})["id"])
        store({keys[index]: "y", keys[index + 1]: "x"})
    for data in (None, "x", ["x"], {"other": "x"}, {"category": ["x"]}):
        store(data)
    assert listed(category="x") == ids
    assert listed(category="X") == listed(category="") == []


def test_lists_sort_by_the_text_of_data(store, listed):
    a, b, c = (store(data)["id"] for data in (9, "x", 10))
    assert listed(sort_by="data") == [b, c, a]


def test_events_of_the_server_are_in_the_list_under_their_category(workflow, listed):
    workflow.client.put(f"{workflow.path}/cancel")
    assert len(listed(category="workflow_canceled")) == 1


@pytest.mark.parametrize("data", [None, 5, "text", [1, None], {"workflow_id": 0, "data": {"a": None}}])
def test_put_replaces_data_by_the_whole_body_and_keeps_the_rest(workflow, store, data):
    created = store({"old": True})
    target = f"/events/{created['id']}"
    assert workflow.client.put(target, json=data).json == created | {"data": data}
    assert workflow.client.get(target).json == created | {"data": data}


@pytest.mark.parametrize(
    "body, status",
    [
        ('"\\u0000"', 422),
        ("", 400),
        ("{", 400),
        ("NaN", 400),
        ('{"a":1,"a":2}', 422),
    ],
)
def test_put_of_what_is_no_storable_json_changes_nothing(workflow, store, body, status):
    created = store(1)
    target = f"/events/{created['id']}"
    headers = {"Content-Type": "application/json"}
    assert workflow.client.put(target, body=body, headers=headers, status=status).json["error"]["message"]
    workflow.client.put(target, body="1", headers={"Content-Type": "text/plain"}, status=415)
    assert workflow.client.get(target).json == created


def test_delete_answers_the_event(workflow, store):
    created = store({"a": None})
    assert workflow.client.delete(f"/events/{created['id']}").json == created
    workflow.client.get(f"/events/{created['id']}", status=404)


def test_bulk_delete_answers_the_count_and_leaves_other_workflows_alone(client, workflow, store, listed):
    store(1), store(2)
    other = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    kept = client.post("/events", json={"workflow_id": other, "data": 1}).json
    for count in (2, 0):
        assert client.delete("/events", params={"workflow_id": workflow.id}).json == {"count": count}
    assert listed() == []
    assert client.get(f"/events/{kept['id']}").json == kept


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_an_unknown_event_is_404_in_the_words_of_the_contract(client, method):
    body = {"json": {}} if method == "put" else {}
    message = getattr(client, method)("/events/999999999", status=404, **body).json["error"]["message"]
    assert message == "Resource not found in event with ID: 999999999"
