"""Remote workers: bare arrays of addresses, added, listed and deleted one by one."""

import threading
from urllib.parse import quote

import pytest


@pytest.fixture
def add(workflow):
    """Post a list of workers; return the answer."""

    def add(*workers, status=200):
        return workflow.client.post(f"{workflow.path}/remote_workers", json=workers, status=status).json

    return add


@pytest.fixture
def listed(workflow):
    """The texts of the list."""

    def listed():
        items = workflow.client.get(f"{workflow.path}/remote_workers").json
        assert all(item.keys() == {"worker", "workflow_id"} and item["workflow_id"] == workflow.id for item in items)
        return [item["worker"] for item in items]

    return listed


def test_every_string_that_was_sent_is_answered_in_its_order_repeated_ones_too(workflow, add, listed):
    sent = ["user@host:22", "a", "user@host:22"]
    assert add(*sent) == [{"worker": worker, "workflow_id": workflow.id} for worker in sent]
    assert listed() == ["a", "user@host:22"]


def test_a_known_worker_is_answered_like_a_new_one(workflow, add, listed):
    assert add("a") == add("a") == [{"worker": "a", "workflow_id": workflow.id}]
    assert [item["worker"] for item in add("b", "a")] == ["b", "a"]
    assert listed() == ["a", "b"]


def test_no_workers_are_answered_by_an_empty_array(add, listed):
    assert listed() == []
    assert add() == []
    assert listed() == []


def test_the_list_is_in_byte_order(add, listed):
    workers = ["é", "b", "B", "a", "[::1]:22", "A", "_", "10", "9"]
    add(*workers)
    assert listed() == sorted(workers, key=str.encode)


def test_workers_are_neither_trimmed_nor_checked(add, listed):
    workers = ["", " a ", "a\nb", "\U0001f600", "x" * 1000]
    add(*workers)
    assert listed() == sorted(workers)


@pytest.mark.parametrize(
    "worker",
    [
        "user@host:22",
        "[::1]:22",
        "a/b",
        "/a",
        "a//b/",
        "a b",
        "a%2Fb",
        "100%",
        "é\U0001f600",
        "a?b#c",
        "a+b",
        "..",
        "a\nb",
    ],
)
def test_a_worker_is_deleted_by_its_percent_encoded_text(workflow, add, listed, worker):
    add(worker, "other")
    deleted = workflow.client.delete(f"{workflow.path}/remote_workers/{quote(worker, safe='')}").json
    assert deleted == {"worker": worker, "workflow_id": workflow.id}
    assert listed() == ["other"]


def test_a_slash_may_also_come_as_it_is(workflow, add, listed):
    add("a/b")
    workflow.client.delete(f"{workflow.path}/remote_workers/a/b")
    assert listed() == []


@pytest.mark.parametrize("worker", ["connection-timeout.network", "A", "a ", "a/"])
def test_an_unknown_worker_is_404_without_its_text(workflow, add, listed, worker):
    add("a")
    answer = workflow.client.delete(f"{workflow.path}/remote_workers/{quote(worker, safe='')}", status=404).json
    message = f"Worker not found for workflow {workflow.id}"
    assert answer == {"error": {"error": "NotFound", "message": message}}
    assert listed() == ["a"]


def test_a_worker_of_another_workflow_stays(workflow, add, client):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    add("a")
    client.delete(f"/workflows/{other}/remote_workers/a", status=404)
    client.post(f"/workflows/{other}/remote_workers", json=["a"])
    client.delete(f"{workflow.path}/remote_workers/a")
    assert client.get(f"/workflows/{other}/remote_workers").json == [{"worker": "a", "workflow_id": other}]


@pytest.mark.parametrize("body", [{}, {"workers": ["a"]}, "a", 1, None, True])
def test_a_body_that_is_no_array_is_422(workflow, body):
    answer = workflow.client.post(f"{workflow.path}/remote_workers", json=body, status=422).json
    assert answer["error"]["error"] == "UnprocessableEntity"


@pytest.mark.parametrize("item", [1, None, True, ["a"], {}, "\0", "\ud800"])
def test_an_item_that_is_no_text_is_422_naming_it_and_nothing_is_stored(add, listed, item):
    assert add("a", item, "b", status=422)["error"]["field"] == "[1]"
    assert listed() == []


@pytest.mark.parametrize(
    "body, headers, code",
    [
        ("", {"Content-Type": "application/json"}, 400),
        ('["a"', {"Content-Type": "application/json"}, 400),
        ('["a"]', {"Content-Type": "text/plain"}, 415),
        ('["a"]', {}, 415),
    ],
)
def test_the_body_must_be_json_and_say_so(workflow, listed, body, headers, code):
    workflow.client.post(f"{workflow.path}/remote_workers", body=body, headers=headers, status=code)
    assert listed() == []


def test_a_worker_too_long_for_the_key_is_422_and_the_server_goes_on(add, listed):
    too_long = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(3000))  # compresses badly
    assert add("a", too_long, status=422)["error"]["error"] == "UnprocessableEntity"
    assert listed() == []


def test_a_nul_in_the_path_is_400(workflow):
    workflow.client.delete(f"{workflow.path}/remote_workers/a%00b", status=400)


def test_an_unknown_workflow_is_404_for_create_list_and_delete(client):
    path = "/workflows/999999999/remote_workers"
    for error in (
        client.post(path, json=["a"], status=404), client.post(path, json=[], status=404),
        client.get(path, status=404), client.delete(f"{path}/a", status=404),
    ):  # fmt: skip
        assert error.json["error"]["message"] == "Workflow not found with ID: 999999999"


def test_the_same_workers_added_at_once_in_different_orders_are_stored_once(add, listed):
    workers = [f"w{i:03}" for i in range(200)]
    answers = []
    threads = [
        threading.Thread(target=lambda order=order: answers.append(len(add(*workers[::order]))))
        for order in [1, -1] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert listed() == workers


def test_workers_go_with_their_workflow(client, database):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    client.post(f"/workflows/{other}/remote_workers", json=["a"])
    client.delete(f"/workflows/{other}")
    count = database.execute("SELECT count(*) FROM torc.remote_worker WHERE workflow_id = %s", [other]).fetchone()
    assert count == (0,)
