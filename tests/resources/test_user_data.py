"""User data: create with its jobs, read, list, change, delete."""

import threading

import pytest


@pytest.fixture
def store(workflow):
    """Store user data of the workflow; return the answer."""

    def create(params=None, status=200, **fields):
        body = {"workflow_id": workflow.id, "name": "d"} | fields
        return workflow.client.post("/user_data", json=body, params=params, status=status).json

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of user data."""

    def listed(**params):
        answer = workflow.client.get("/user_data", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


def test_create_answers_what_was_sent_and_get_shows_the_stored_default(workflow, store):
    created = store(name="config", data={"rate": 0.001, "size": 32}, id=0)
    sent = {"workflow_id": workflow.id, "name": "config", "data": {"rate": 0.001, "size": 32}}
    assert created == sent | {"id": created["id"]}
    assert workflow.client.get(f"/user_data/{created['id']}").json == created | {"is_ephemeral": False}


def test_a_sent_is_ephemeral_is_stored_and_echoed(workflow, store):
    created = store(is_ephemeral=True)
    assert created["is_ephemeral"] is True
    assert workflow.client.get(f"/user_data/{created['id']}").json == created


@pytest.mark.parametrize(
    "data",
    [
        False,
        0,
        "",
        {},
        [],
        1.5,
        "text",
        [1, None, {"a": None}],
        {"a": None, "b": {"c": [None]}},
        2**70,
        "\U0001f600",
    ],
)
def test_every_json_value_but_null_is_data_and_nulls_inside_it_stay(workflow, store, data):
    created = store(data=data)
    stored = workflow.client.get(f"/user_data/{created['id']}").json
    assert created["data"] == stored["data"] == data
    assert type(stored["data"]) is type(data)


@pytest.mark.parametrize("fields", [{}, {"data": None}])
def test_no_data_and_null_are_the_same_and_left_out_of_answers_and_lists(workflow, store, fields):
    created = store(**fields)
    assert "data" not in created
    assert "data" not in workflow.client.get(f"/user_data/{created['id']}").json
    [item] = workflow.client.get("/user_data", params={"workflow_id": workflow.id}).json["items"]
    assert item == created | {"is_ephemeral": False}


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("name", None),
        ("name", 1),
        ("is_ephemeral", 1),
        ("is_ephemeral", "true"),
        ("data", "\0"),
        ("data", {"\0": 1}),
        ("data", ["\ud800"]),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_create_links_the_consumer_and_the_producer(workflow, store, listed):
    consumer, producer = workflow.job(), workflow.job()
    both = store(params={"consumer_job_id": consumer, "producer_job_id": producer})["id"]
    store()
    assert workflow.client.get(f"/jobs/{consumer}").json["input_user_data_ids"] == [both]
    assert workflow.client.get(f"/jobs/{producer}").json["output_user_data_ids"] == [both]
    assert listed(consumer_job_id=consumer) == listed(producer_job_id=producer) == [both]
    assert listed(consumer_job_id=producer) == []


@pytest.mark.parametrize("parameter", ["consumer_job_id", "producer_job_id"])
def test_an_unknown_job_is_422_naming_the_parameter_and_nothing_is_stored(workflow, store, listed, parameter):
    job = workflow.job()
    params = {"consumer_job_id": job, "producer_job_id": job} | {parameter: 10**12}
    error = store(params=params, status=422)["error"]
    assert (error["field"], error["value"]) == (parameter, 10**12)
    assert listed() == []
    assert "output_user_data_ids" not in workflow.client.get(f"/jobs/{job}").json


@pytest.mark.parametrize("parameter", ["consumer_job_id", "producer_job_id"])
def test_a_job_of_another_workflow_is_422_naming_the_parameter(client, workflow, listed, parameter):
    other = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    body = {"workflow_id": other, "name": "d"}
    params = {parameter: workflow.job()}
    assert client.post("/user_data", json=body, params=params, status=422).json["error"]["field"] == parameter
    assert client.get("/user_data", params={"workflow_id": other}).json["total_count"] == 0


def test_a_job_that_is_being_deleted_is_never_linked(workflow, database, store):
    """The create waits for the delete (workflow lock) and then finds no job."""
    job = workflow.job()
    answers = []
    create = threading.Thread(target=lambda: answers.append(store(params={"consumer_job_id": job}, status=422)))
    with database.transaction():
        workflow.sql("SELECT pg_advisory_xact_lock(%s)::text", workflow.id)
        create.start()
        create.join(0.3)
        assert answers == []
        database.execute("DELETE FROM torc.job WHERE id = %s", [job])
    create.join(10)
    assert answers[0]["error"]["field"] == "consumer_job_id"
    assert workflow.sql("SELECT count(*) FROM torc.job_input_user_data WHERE job_id = %s", job) == [0]


def test_the_name_filter_is_a_part_of_the_name_without_regard_to_case_and_wildcards_are_literal(store, listed):
    plain, percent, underscore, backslash = (store(name=n)["id"] for n in ["MyConfig", "100%", "a_b", "c\\d"])
    assert listed(name="config") == listed(name="MYCONF") == [plain]
    assert listed(name="%") == [percent]
    assert listed(name="_") == [underscore]
    assert listed(name="\\") == [backslash]
    assert listed(name="%config") == []
    assert listed(name="") == [plain, percent, underscore, backslash]


def test_the_is_ephemeral_filter_works_both_ways(store, listed):
    kept, gone = store()["id"], store(is_ephemeral=True)["id"]
    assert listed(is_ephemeral=False) == [kept]
    assert listed(is_ephemeral=True) == [gone]


def test_lists_sort_by_name_by_is_ephemeral_and_by_the_text_of_data(store, listed):
    a = store(name="b", data=10)["id"]
    b = store(name="a", data=9, is_ephemeral=True)["id"]
    c = store(name="c")["id"]
    assert listed(sort_by="name") == [b, a, c]
    assert listed(sort_by="data") == [c, a, b]
    assert listed(sort_by="is_ephemeral", reverse_sort=True)[0] == b


def test_put_keeps_data_and_is_ephemeral_when_they_are_absent_or_null(workflow, store):
    created = store(data={"a": 1}, is_ephemeral=True)
    target = f"/user_data/{created['id']}"
    for more in ({}, {"data": None, "is_ephemeral": None}):
        body = {"workflow_id": workflow.id, "name": "new"} | more
        assert workflow.client.put(target, json=body).json == created | {"name": "new"}
    assert workflow.client.get(target).json == created | {"name": "new"}


def test_put_replaces_data_as_a_whole(workflow, store):
    created = store(data={"a": 1, "b": 2})
    body = {"workflow_id": workflow.id, "name": "d", "data": {"a": None}, "is_ephemeral": True}
    assert workflow.client.put(f"/user_data/{created['id']}", json=body).json == body | {"id": created["id"]}


def test_put_needs_workflow_id_and_name_and_does_not_move_the_record(workflow, store):
    created = store(data=1)
    target = f"/user_data/{created['id']}"
    other = workflow.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    assert workflow.client.put(target, json={"name": "n"}, status=422).json["error"]["field"] == "workflow_id"
    assert workflow.client.put(target, json={"workflow_id": other}, status=422).json["error"]["field"] == "name"
    moved = workflow.client.put(target, json={"workflow_id": other, "name": "n"}, status=422).json
    assert moved["error"]["field"] == "workflow_id"
    assert workflow.client.get(target).json == created | {"is_ephemeral": False}


def test_delete_answers_the_record_and_forgets_its_links(workflow, store):
    job = workflow.job()
    created = store(params={"producer_job_id": job}, data=1, is_ephemeral=False)
    assert workflow.client.delete(f"/user_data/{created['id']}").json == created
    workflow.client.get(f"/user_data/{created['id']}", status=404)
    assert "output_user_data_ids" not in workflow.client.get(f"/jobs/{job}").json


def test_bulk_delete_answers_a_message_and_the_count_under_both_names(workflow, store, listed):
    store(), store()
    for count in (2, 0):
        assert workflow.client.delete("/user_data", params={"workflow_id": workflow.id}).json == {
            "message": f"Deleted {count} user data records for workflow {workflow.id}",
            "deleted_count": count,
            "count": count,
        }
    assert listed() == []


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_an_unknown_record_is_404_in_the_words_of_the_contract(client, method):
    body = {"json": {"workflow_id": 1, "name": "n"}} if method == "put" else {}
    message = getattr(client, method)("/user_data/999999999", status=404, **body).json["error"]["message"]
    assert message == "Resource not found in user_data with ID: 999999999"
