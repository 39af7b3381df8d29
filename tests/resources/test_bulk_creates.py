"""bulk_files and bulk_user_data: many rows in one call, all or none."""

import json

import pytest

# (path, key of body and answer, a row)
BULKS = [
    pytest.param("/bulk_files", "files", {"name": "f", "path": "/f"}, id="bulk_files"),
    pytest.param("/bulk_user_data", "user_data", {"name": "d", "data": {"x": [1, None]}}, id="bulk_user_data"),
]
bulks = pytest.mark.parametrize("path, key, row", BULKS)


def listed(workflow, key):
    return workflow.client.get(f"/{key}", params={"workflow_id": workflow.id}).json["items"]


@bulks
def test_rows_are_created_in_the_order_of_the_request(workflow, path, key, row):
    rows = [row | {"workflow_id": workflow.id, "name": f"n{7 * i % 500}", "id": 5} for i in range(500)]
    made = workflow.client.post(path, json={key: rows}).json[key]
    assert [each["name"] for each in made] == [each["name"] for each in rows]
    assert [each["id"] for each in made] == sorted({each["id"] for each in made})
    assert listed(workflow, key) == made


def test_files_come_with_their_times_and_user_data_without_what_they_lack(workflow):
    files = [{"workflow_id": workflow.id, "name": "a", "path": "/a", "st_mtime": 1.5},
             {"workflow_id": workflow.id, "name": "b", "path": "/b", "st_mtime": None}]  # fmt: skip
    made = workflow.client.post("/bulk_files", json={"files": files}).json["files"]
    assert [file.get("st_mtime") for file in made] == [1.5, None]
    data = [{"workflow_id": workflow.id, "name": "a", "data": None},
            {"workflow_id": workflow.id, "name": "b", "data": 0, "is_ephemeral": True}]  # fmt: skip
    made = workflow.client.post("/bulk_user_data", json={"user_data": data}).json["user_data"]
    assert [(each.get("data", "none"), each["is_ephemeral"]) for each in made] == [("none", False), (0, True)]


@bulks
def test_names_that_are_there_already_may_come_again(workflow, path, key, row):
    for _ in range(2):
        workflow.client.post(path, json={key: [row | {"workflow_id": workflow.id}]})
    assert [each["name"] for each in listed(workflow, key)] == [row["name"]] * 2


@bulks
@pytest.mark.parametrize("number", [3, 20_000])
def test_a_name_twice_in_a_request_is_refused_and_nothing_is_created(workflow, path, key, row, number):
    """Also where both are far apart, in different pieces of the body."""
    rows = [row | {"workflow_id": workflow.id, "name": f"a network {i}"} for i in range(number)]
    rows[-1]["name"] = rows[0]["name"]
    error = workflow.client.post(path, json={key: rows}, status=422).json["error"]
    last = number - 1
    assert error["message"] == f"Duplicate name in bulk create request: {key}[0] and {key}[{last}]"
    assert error["field"] == f"{key}[{last}].name"
    assert listed(workflow, key) == []


@bulks
@pytest.mark.parametrize("number", [2, 20_000])
def test_rows_of_two_workflows_are_refused_and_nothing_is_created(workflow, client, path, key, row, number):
    other = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    rows = [row | {"workflow_id": workflow.id, "name": str(i)} for i in range(number)]
    rows[-1]["workflow_id"] = other
    message = client.post(path, json={key: rows}, status=422).json["error"]["message"]
    assert message.endswith(
        f"in a batch must have the same workflow_id. Found workflow_ids: {workflow.id} and {other}"
    )  # fmt: skip
    assert listed(workflow, key) == []


@bulks
@pytest.mark.parametrize("body, message", [
    ({}, "{key}: must be a list of {key}"),
    ({"{key}": []}, "A bulk create requires a non-empty `{key}` array"),
])  # fmt: skip
def test_a_request_without_rows_is_refused(client, path, key, row, body, message):
    body = json.loads(json.dumps(body).replace("{key}", key))
    error = client.post(path, json=body, status=422).json["error"]
    assert (error["message"], error["field"]) == (message.replace("{key}", key), key)


@bulks
def test_rows_of_an_unknown_workflow_are_404(client, path, key, row):
    client.post(path, json={key: [row | {"workflow_id": 999_999_999}]}, status=404)


@bulks
def test_more_than_100000_rows_are_refused(workflow, path, key, row):
    rows = [{"workflow_id": workflow.id, "name": str(i)} | {k: v for k, v in row.items() if k == "path"}
            for i in range(100_001)]  # fmt: skip
    message = workflow.client.post(path, json={key: rows}, status=422).json["error"]["message"]
    assert message == f"Too many {key} in batch: 100001. Maximum is 100000"
    assert listed(workflow, key) == []
