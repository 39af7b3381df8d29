"""Files: create, read, list, change, delete."""

import pytest


@pytest.fixture
def file(workflow):
    """Store a file of the workflow; return the answer."""

    def create(name="f", path="/f", **fields):
        return workflow.client.post(
            "/files", json={"workflow_id": workflow.id, "name": name, "path": path} | fields
        ).json  # fmt: skip

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of files."""

    def listed(**params):
        answer = workflow.client.get("/files", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


def test_create_answers_what_was_sent_with_its_id(workflow, file):
    created = file(name="in", path="/data/in.csv", st_mtime=1.5, more="ignored", id=0)
    assert created == {
        "id": created["id"], "workflow_id": workflow.id, "name": "in", "path": "/data/in.csv", "st_mtime": 1.5,
    }  # fmt: skip
    assert workflow.client.get(f"/files/{created['id']}").json == created


def test_an_unset_st_mtime_is_left_out_and_null_is_the_same_as_absent(workflow, file):
    created = file(st_mtime=None)
    assert "st_mtime" not in created
    assert "st_mtime" not in workflow.client.get(f"/files/{created['id']}").json


def test_names_and_paths_need_not_be_unique_and_may_be_empty(file):
    assert file(name="", path="")["id"] < file(name="", path="")["id"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("workflow_id", "1"),
        ("name", None),
        ("name", 1),
        ("path", None),
        ("st_mtime", "1"),
    ],
)
def test_a_field_of_the_wrong_type_is_422_naming_it(workflow, field, value):
    body = {"workflow_id": workflow.id, "name": "n", "path": "p"} | {field: value}
    assert workflow.client.post("/files", json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize("field", ["workflow_id", "name", "path"])
def test_a_missing_field_is_422_naming_it_on_post_and_put(workflow, file, field):
    body = {"workflow_id": workflow.id, "name": "n", "path": "p"}
    del body[field]
    target = f"/files/{file()['id']}"
    assert workflow.client.post("/files", json=body, status=422).json["error"]["field"] == field
    assert workflow.client.put(target, json=body, status=422).json["error"]["field"] == field


def test_filters_by_name_and_path_are_equality(file, listed):
    one, other = file(name="a", path="/1")["id"], file(name="ab", path="/2")["id"]
    assert listed() == [one, other]
    assert listed(name="a") == [one]
    assert listed(name="A") == []
    assert listed(path="/2") == [other]


def test_filters_by_producer_list_each_file_once_and_is_output_false_filters_nothing(workflow, file, listed):
    made, free = file()["id"], file()["id"]
    producer, _ = (workflow.job(output_file_ids=[made]) for _ in range(2))
    assert listed(is_output=True) == [made]
    assert listed(is_output=False) == [made, free]
    assert listed(produced_by_job_id=producer) == [made]
    assert listed(produced_by_job_id=producer + 10**9) == []


def test_a_page_has_the_envelope_of_the_contract_and_its_items_under_files_too(workflow, file):
    files = [file(name=str(n)) for n in range(3)]
    params = {"workflow_id": workflow.id, "offset": 1, "limit": 1}
    assert workflow.client.get("/files", params=params).json == {
        "items": files[1:2], "files": files[1:2], "offset": 1, "max_limit": 100000, "count": 1, "total_count": 3,
        "has_more": True,
    }  # fmt: skip


def test_limit_0_has_more_and_an_offset_behind_the_end_has_not(workflow, file):
    file()
    empty = workflow.client.get("/files", params={"workflow_id": workflow.id, "limit": 0}).json
    assert (empty["items"], empty["has_more"], empty["total_count"]) == ([], True, 1)
    behind = workflow.client.get("/files", params={"workflow_id": workflow.id, "offset": 5}).json
    assert (behind["items"], behind["has_more"], behind["offset"]) == ([], False, 5)


def test_a_list_can_be_sorted_and_an_unknown_column_is_the_default(file, listed):
    a, b, c = (file(name=name, st_mtime=st_mtime)["id"] for name, st_mtime in [("b", None), ("B", 2.0), ("a", 1.0)])
    assert listed(sort_by="name") == [b, c, a]  # bytewise
    assert listed(sort_by="st_mtime") == [a, c, b]  # unset first
    assert listed(sort_by="st_mtime", reverse_sort=True) == [b, c, a]
    assert listed(sort_by="id; DROP TABLE torc.file") == [a, b, c]
    assert listed(sort_by="nonsense", reverse_sort=True) == [c, b, a]


def test_put_replaces_the_file_and_clears_an_absent_st_mtime(workflow, file):
    created = file(st_mtime=1.0)
    target = f"/files/{created['id']}"
    body = {"workflow_id": workflow.id, "name": "new", "path": "/new"}
    assert workflow.client.put(target, json=body).json == body | {"id": created["id"]}
    assert workflow.client.get(target).json == body | {"id": created["id"]}


def test_a_file_cannot_move_to_another_workflow(workflow, file):
    created = file()
    other = workflow.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    target = f"/files/{created['id']}"
    error = workflow.client.put(target, json=created | {"workflow_id": other}, status=422).json["error"]
    assert (error["field"], error["value"]) == ("workflow_id", other)
    assert workflow.client.get(target).json == created


def test_delete_answers_the_file_and_forgets_its_links(workflow, file):
    created = file()
    job = workflow.job(input_file_ids=[created["id"]])
    assert workflow.client.delete(f"/files/{created['id']}").json == created
    workflow.client.get(f"/files/{created['id']}", status=404)
    assert "input_file_ids" not in workflow.client.get(f"/jobs/{job}").json


def test_bulk_delete_answers_the_count_under_both_names(workflow, file, listed):
    file(), file()
    for count in (2, 0):
        answer = workflow.client.delete("/files", params={"workflow_id": workflow.id}).json
        assert answer == {"count": count, "deleted_count": count}
    assert listed() == []


def test_bulk_delete_leaves_other_workflows_alone(workflow, file):
    kept = file()
    other = workflow.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    workflow.client.delete("/files", params={"workflow_id": other})
    assert workflow.client.get(f"/files/{kept['id']}").json == kept


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_an_unknown_file_is_404_in_the_words_of_the_contract(client, method):
    body = {"json": {"workflow_id": 1, "name": "n", "path": "p"}} if method == "put" else {}
    assert getattr(client, method)("/files/999999999", status=404, **body).json == {
        "error": {"error": "NotFound", "message": "Resource not found in file with ID: 999999999"}
    }


def test_no_answer_to_a_refused_file_call_repeats_text_of_the_user(workflow, file):
    text = "connection timeout network"
    bodies = [{"name": text, "path": 1}, {"name": text, "path": text, "st_mtime": text}, {"name": text}]
    target = f"/files/{file()['id']}"
    for body in bodies:
        body["workflow_id"] = workflow.id
        for answer in (
            workflow.client.post("/files", json=body, status=422),
            workflow.client.put(target, json=body, status=422),
        ):
            assert text not in answer.text
