"""Jobs: create one or many, read, list, change, delete."""

import json

import pytest
from workflow import Workflow

from torc_server.schemas.fields import JOB_STATUSES

LISTS = ("depends_on_job_ids", "input_file_ids", "output_file_ids", "input_user_data_ids", "output_user_data_ids")


def related_id(workflow, field):
    """A new row of the workflow that may stand in the relation list."""
    if field == "depends_on_job_ids":
        return workflow.job()
    return workflow.file() if "file" in field else workflow.user_data()


def handler(workflow):
    return workflow.sql(
        "INSERT INTO torc.failure_handler (workflow_id, name, rules) VALUES (%s, 'h', '[]') RETURNING id", workflow.id
    )[0]


def job_ids(workflow):
    return workflow.client.get(f"{workflow.path}/job_ids").json["job_ids"]


# Create


def test_create_answers_what_was_sent_the_status_and_the_default_requirements(client, workflow):
    body = {"workflow_id": workflow.id, "name": "n", "command": "c"}
    created = client.post("/jobs", json=body).json
    (default,) = workflow.sql("SELECT id FROM torc.resource_requirements WHERE workflow_id = %s", workflow.id)
    assert created == body | {
        "id": created["id"], "status": "uninitialized", "resource_requirements_id": default,
    }  # fmt: skip


def test_get_shows_the_stored_defaults_and_leaves_out_what_is_unset(client, workflow):
    created = client.post("/jobs", json={"workflow_id": workflow.id, "name": "n", "command": "c"}).json
    assert client.get(f"/jobs/{created['id']}").json == created | {
        "cancel_on_blocking_job_failure": True, "supports_termination": False, "attempt_id": 1, "priority": 0,
    }  # fmt: skip


def test_create_echoes_sent_fields_even_those_that_are_never_stored(client, workflow):
    dependency, file, data = workflow.job(), workflow.file(), workflow.user_data()
    body = {
        "workflow_id": workflow.id, "name": "n", "command": "c", "invocation_script": "i",
        "cancel_on_blocking_job_failure": False, "supports_termination": True, "priority": 3, "scheduler_id": 77,
        "failure_handler_id": handler(workflow), "resource_requirements_id": workflow.requirements(),
        "depends_on_job_ids": [dependency], "input_file_ids": [file], "output_file_ids": [],
        "input_user_data_ids": [data], "output_user_data_ids": [], "attempt_id": 5,
        "schedule_compute_nodes": {"scheduler_id": 1, "num_jobs": 2},
    }  # fmt: skip
    created = client.post("/jobs", json=body | {"id": 1, "status": "ready"}).json
    assert created == body | {"id": created["id"], "status": "uninitialized"}
    stored = client.get(f"/jobs/{created['id']}").json
    never_stored = ("schedule_compute_nodes", "output_file_ids", "output_user_data_ids")
    assert stored == {k: v for k, v in created.items() if k not in never_stored} | {"attempt_id": 1}


def test_create_keeps_the_order_of_sent_lists_and_get_sorts_them(client, workflow):
    first, second = workflow.job(), workflow.job()
    body = {"workflow_id": workflow.id, "name": "n", "command": "c", "depends_on_job_ids": [second, first]}
    created = client.post("/jobs", json=body).json
    assert created["depends_on_job_ids"] == [second, first]
    assert workflow.depends_on(created["id"]) == [first, second]


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_requested_status_is_ignored(workflow, status):
    assert workflow.status(workflow.job(status=status)) == "uninitialized"


@pytest.mark.parametrize(
    "change, field",
    [
        ({"name": None}, "name"), ({"command": 1}, "command"), ({"priority": -1}, "priority"),
        ({"priority": 1.0}, "priority"), ({"priority": True}, "priority"), ({"scheduler_id": "1"}, "scheduler_id"),
        ({"status": "done"}, "status"), ({"status": 2}, "status"), ({"command": "a\0"}, "command"),
        ({"name": "\ud800"}, "name"), ({"supports_termination": 1}, "supports_termination"),
        ({"input_file_ids": 1}, "input_file_ids"), ({"input_file_ids": ["1"]}, "input_file_ids"),
        ({"schedule_compute_nodes": {"num_jobs": 1}}, "schedule_compute_nodes.scheduler_id"),
        ({"scheduler_id": 2**63}, "scheduler_id"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_fit_is_422_naming_the_field(client, workflow, change, field):
    body = {"workflow_id": workflow.id, "name": "n", "command": "c"} | change
    assert client.post("/jobs", json=body, status=422).json["error"]["field"] == field
    error = client.post("/bulk_jobs", json={"jobs": [body]}, status=422).json["error"]
    assert error["field"] == f"jobs[0].{field}"
    job = workflow.job()
    assert client.put(f"/jobs/{job}", json=body, status=422).json["error"]["field"] == field
    assert job_ids(workflow) == [job]


@pytest.mark.parametrize("field", ["workflow_id", "name", "command"])
def test_a_job_without_a_required_field_is_422_naming_it(client, workflow, field):
    body = {"workflow_id": workflow.id, "name": "n", "command": "c"}
    del body[field]
    assert client.post("/jobs", json=body, status=422).json["error"]["field"] == field
    assert client.put(f"/jobs/{workflow.job()}", json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize("field", LISTS)
def test_a_related_id_that_is_unknown_or_foreign_or_twice_is_422_and_nothing_is_stored(client, workflow, field):
    mine, foreign = related_id(workflow, field), related_id(Workflow(client, workflow.database), field)
    before = job_ids(workflow)
    good = {"workflow_id": workflow.id, "name": "n", "command": "c"}
    for ids in ([mine, 2**40], [foreign, mine], [mine, mine], [-1]):
        bad = good | {field: ids}
        assert client.post("/jobs", json=bad, status=422).json["error"]["field"] == field
        error = client.post("/bulk_jobs", json={"jobs": [good, bad | {"name": "m"}]}, status=422).json["error"]
        assert error["field"].removeprefix("jobs[1].") == field
    assert job_ids(workflow) == before


@pytest.mark.parametrize("field", ["resource_requirements_id", "failure_handler_id"])
def test_unknown_requirements_or_an_unknown_handler_are_422_and_those_of_another_workflow_do(client, workflow, field):
    good = {"workflow_id": workflow.id, "name": "n", "command": "c"}
    assert client.post("/jobs", json=good | {field: 2**40}, status=422).json["error"]["field"] == field
    client.post("/bulk_jobs", json={"jobs": [good, good | {"name": "m", field: 2**40}]}, status=422)
    assert job_ids(workflow) == []
    other = Workflow(client, workflow.database)
    foreign = other.requirements() if field == "resource_requirements_id" else handler(other)
    assert client.post("/jobs", json=good | {field: foreign}).json[field] == foreign


def test_a_scheduler_id_need_not_exist(client, workflow):
    assert client.get(f"/jobs/{workflow.job(scheduler_id=2**50)}").json["scheduler_id"] == 2**50


def test_without_default_requirements_a_job_must_name_its_own(client, workflow):
    own = workflow.requirements()
    workflow.database.execute(
        "DELETE FROM torc.resource_requirements WHERE workflow_id = %s AND name = 'default'", [workflow.id]
    )
    good = {"workflow_id": workflow.id, "name": "n", "command": "c"}
    assert client.post("/jobs", json=good, status=422).json["error"]["field"] == "resource_requirements_id"
    client.post("/bulk_jobs", json={"jobs": [good | {"name": "m", "resource_requirements_id": own}, good]}, status=422)
    assert job_ids(workflow) == []
    client.post("/jobs", json=good | {"resource_requirements_id": own})
    client.post("/bulk_jobs", json={"jobs": [good | {"resource_requirements_id": own}]})


def test_a_job_in_an_unknown_workflow_is_404(client):
    body = {"workflow_id": 0, "name": "n", "command": "c"}
    client.post("/jobs", json=body, status=404)
    client.post("/bulk_jobs", json={"jobs": [body]}, status=404)
    for method in ("GET", "DELETE"):
        client.request(method, "/jobs", params={"workflow_id": 0}, status=404)
        assert client.request(method, "/jobs", status=400).json["error"]["field"] == "workflow_id"


def test_job_names_need_not_be_unique(workflow):
    assert workflow.job(name="same") < workflow.job(name="same")


# Create many


@pytest.mark.parametrize("sent", [7, "x", None, {}, "\0"])
def test_an_id_that_is_sent_with_a_new_job_is_ignored_whatever_it_is(client, workflow, sent):
    job = {"workflow_id": workflow.id, "name": "j", "command": "c", "id": sent}
    given = client.post("/jobs", json=job).json["id"]
    (other,) = client.post("/bulk_jobs", json={"jobs": [job]}).json["jobs"]
    assert given not in (sent, other["id"]) and client.get(f"/jobs/{other['id']}").json["name"] == "j"


def test_bulk_answers_in_the_order_of_the_request_and_ids_ascend(client, workflow):
    jobs = [{"workflow_id": workflow.id, "name": f"n{i}", "command": "c"} for i in range(50)]
    created = client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]
    assert [job["name"] for job in created] == [job["name"] for job in jobs]
    ids = [job["id"] for job in created]
    assert ids == sorted(ids) == job_ids(workflow)


def test_bulk_echoes_as_create_does(client, workflow):
    file = workflow.file()
    full = {"workflow_id": workflow.id, "name": "ä\u2028\n", "command": "c", "input_file_ids": [file], "priority": 2}
    short = {"workflow_id": workflow.id, "name": "n", "command": "c", "invocation_script": None, "colour": {"x": None}}
    first, second = client.post("/bulk_jobs", json={"jobs": [full, short]}).json["jobs"]
    assert first == client.post("/jobs", json=full).json | {"id": first["id"]}
    assert second == client.post("/jobs", json=short).json | {"id": second["id"]}
    assert first["input_file_ids"] == [file] and not {"priority", "invocation_script", "colour"} & second.keys()


def test_bulk_stores_nulls_as_absent_and_nothing_that_is_never_stored(client, workflow):
    body = {"workflow_id": workflow.id, "name": "n", "command": "c", "priority": None, "depends_on_job_ids": None,
            "id": 1, "attempt_id": 9, "status": "ready", "schedule_compute_nodes": None}  # fmt: skip
    (created,) = client.post("/bulk_jobs", json={"jobs": [body]}).json["jobs"]
    stored = client.get(f"/jobs/{created['id']}").json
    assert (stored["priority"], stored["attempt_id"], stored["status"]) == (0, 1, "uninitialized")


def test_bulk_stores_all_or_none(client, workflow):
    first, bad, last = ({"workflow_id": workflow.id, "name": name, "command": "c"} for name in "abc")
    for wrong in ({"priority": -1}, {"input_file_ids": [2**40]}, {"failure_handler_id": 2**40}):
        client.post("/bulk_jobs", json={"jobs": [first, bad | wrong, last]}, status=422)
    client.post("/bulk_jobs", json={"jobs": [first, 7, last]}, status=422)
    assert job_ids(workflow) == []


def test_bulk_jobs_of_two_workflows_are_422_naming_both(client, workflow):
    other = Workflow(client, workflow.database)
    jobs = [{"workflow_id": w.id, "name": "n", "command": "c"} for w in (workflow, other)]
    message = client.post("/bulk_jobs", json={"jobs": jobs}, status=422).json["error"]["message"]
    assert message == (
        f"All jobs in a batch must have the same workflow_id. Found workflow_ids: {workflow.id} and {other.id}"
    )
    assert job_ids(workflow) == job_ids(other) == []


@pytest.mark.parametrize("body", [{}, [], {"jobs": None}, {"jobs": {}}, {"jobs": [None]}, {"jobs": [[]]}])
def test_a_bulk_that_is_not_a_list_of_objects_is_422(client, body):
    client.post("/bulk_jobs", json=body, status=422)


@pytest.mark.parametrize("path", ["/jobs", "/bulk_jobs"])
def test_a_body_that_is_not_strict_json_is_refused(client, path):
    headers = {"Content-Type": "application/json"}
    empty = '{"jobs": []}'
    for body in (
        "", "{", "{} {}", '{"jobs": [NaN]}', b'{"a": "\xff"}', "[" * 100000, empty.encode("utf-16"),
        empty.encode("utf-8-sig"),
    ):  # fmt: skip
        client.post(path, body=body, headers=headers, status=400)
    client.post(path, body='{"jobs": [], "jobs": []}', headers=headers, status=422)
    client.post(path, body='{"jobs": []}', headers={"Content-Type": "text/plain"}, status=415)


def test_a_bulk_of_more_than_100000_jobs_is_422(client, workflow):
    jobs = ",".join([json.dumps({"workflow_id": workflow.id, "name": "n", "command": "c"})] * 100001)
    headers = {"Content-Type": "application/json"}
    error = client.post("/bulk_jobs", body=f'{{"jobs":[{jobs}]}}', headers=headers, status=422).json["error"]
    assert error["message"] == "Too many jobs in batch: 100001. Maximum is 100000"
    assert job_ids(workflow) == []


def test_bulk_jobs_may_depend_on_stored_jobs_and_their_state_counts(workflow):
    done, failed, open_job = workflow.job_in("completed"), workflow.job_in("failed"), workflow.job_in("ready")
    first = workflow.job(done, failed, cancel_on_blocking_job_failure=False)
    second = workflow.job(done, open_job)
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(first, second) == ["ready", "blocked"]


def test_a_bulk_job_may_depend_neither_on_itself_nor_on_a_later_one(client, workflow):
    last = workflow.job()
    job = {"workflow_id": workflow.id, "command": "c", "depends_on_job_ids": [last + 1]}
    jobs = [job | {"name": name} for name in "ab"]
    error = client.post("/bulk_jobs", json={"jobs": jobs}, status=422).json["error"]
    assert error["field"] == "depends_on_job_ids"


# Read


@pytest.mark.parametrize("method, path, body", [
    ("GET", "", None), ("DELETE", "", None), ("PUT", "", {"workflow_id": 1, "name": "n", "command": "c"}),
    ("PUT", "/start_job/0/1", None), ("PUT", "/manage_status_change/ready/0", None),
    ("POST", "/retry/0?max_retries=3", None), ("POST", "/manage_status_change", {"target_status": "ready"}),
])  # fmt: skip
def test_an_unknown_job_is_404(client, method, path, body):
    arguments = {} if body is None else {"json": body}
    error = client.request(method, f"/jobs/0{path}", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Job not found with ID: 0"}


def test_an_id_that_is_not_an_integer_of_64_bits_is_400(client):
    for text in ("x", "1.0", "9223372036854775808", "1_0", "%20"):
        client.get(f"/jobs/{text}", status=400)


def test_get_has_all_five_relation_lists_and_leaves_out_empty_ones(client, workflow):
    lists = {field: [related_id(workflow, field) for _ in "12"] for field in LISTS}
    job = client.post("/jobs", json={"workflow_id": workflow.id, "name": "n", "command": "c"} | lists).json["id"]
    assert client.get(f"/jobs/{job}").json.items() >= lists.items()
    assert not set(LISTS) & client.get(f"/jobs/{workflow.job()}").json.keys()


# List


def listed(workflow, **params):
    answer = workflow.client.get("/jobs", params={"workflow_id": workflow.id} | params).json
    return [job["id"] for job in answer["items"]]


def test_a_list_of_jobs_has_the_envelope_and_its_items_twice(client, workflow):
    jobs = [workflow.job() for _ in range(3)]
    Workflow(client, workflow.database).job()
    answer = client.get("/jobs", params={"workflow_id": workflow.id, "offset": 1, "limit": 1}).json
    assert [job["id"] for job in answer["items"]] == [jobs[1]]
    assert answer.pop("jobs") == answer.pop("items")
    assert answer == {"offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True}


def test_a_list_has_relations_only_when_asked_and_otherwise_is_as_get(client, workflow):
    workflow.job(workflow.job(), input_file_ids=[workflow.file()], output_user_data_ids=[workflow.user_data()])
    jobs = [client.get(f"/jobs/{i}").json for i in job_ids(workflow)]
    params = {"workflow_id": workflow.id}
    assert client.get("/jobs", params=params | {"include_relationships": True}).json["items"] == jobs
    without = [{k: v for k, v in job.items() if k not in LISTS} for job in jobs]
    assert client.get("/jobs", params=params).json["items"] == without


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_list_filters_by_status(workflow, status):
    jobs = {word: workflow.job_in(word) for word in JOB_STATUSES if word != "blocked"}
    jobs["blocked"] = workflow.job_in("blocked", jobs["ready"])
    assert listed(workflow, status=status) == [jobs[status]]


def test_a_list_filters_by_needed_file_upstream_job_and_active_node_together(workflow):
    file, other_file, node = workflow.file(), workflow.file(), workflow.node()
    upstream = workflow.job(output_file_ids=[file])
    needs = workflow.job(input_file_ids=[file, other_file])
    both = workflow.job(upstream, input_file_ids=[file])
    workflow.job_in("pending", upstream, input_file_ids=[file])
    below = workflow.job(both)
    workflow.manage(both, "pending")
    workflow.start(both, node)
    assert needs in listed(workflow, needs_file_id=file) and upstream not in listed(workflow, needs_file_id=file)
    assert listed(workflow, needs_file_id=other_file) == [needs]
    assert listed(workflow, upstream_job_id=both) == [below]
    direct = listed(workflow, upstream_job_id=upstream)
    assert both in direct and below not in direct
    assert listed(workflow, active_compute_node_id=node) == [both]
    everything = {"status": "running", "needs_file_id": file, "upstream_job_id": upstream}
    assert listed(workflow, active_compute_node_id=node, **everything) == [both]
    assert listed(workflow, needs_file_id=other_file, upstream_job_id=upstream) == []


@pytest.mark.parametrize("name", ["needs_file_id", "upstream_job_id", "active_compute_node_id"])
def test_an_unknown_id_in_a_filter_gives_an_empty_list(client, workflow, name):
    workflow.job()
    answer = client.get("/jobs", params={"workflow_id": workflow.id, name: 2**40}).json
    assert (answer["items"], answer["total_count"]) == ([], 0)


@pytest.mark.parametrize(
    "params, status",
    [
        ({"status": "done"}, 400), ({"status": "2"}, 400), ({"limit": 100001}, 422), ({"limit": -1}, 422),
        ({"offset": -1}, 422), ({"needs_file_id": "x"}, 400), ({"include_relationships": "yes"}, 400),
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_is_refused_naming_the_parameter(client, workflow, params, status):
    answer = client.get("/jobs", params={"workflow_id": workflow.id} | params, status=status).json
    assert answer["error"]["field"] in params


def test_a_list_is_sorted_by_each_column_unset_values_first_ids_break_ties(workflow):
    fields = [
        {"name": "b", "command": "y", "priority": 2, "scheduler_id": 5, "invocation_script": "s",
         "supports_termination": True, "cancel_on_blocking_job_failure": False},
        {"name": "B", "command": "y", "resource_requirements_id": workflow.requirements()},
        {"name": "a", "command": "Z", "priority": 1, "scheduler_id": 4, "failure_handler_id": handler(workflow)},
        {},
    ]  # fmt: skip
    jobs = [workflow.job(**f) for f in fields]
    for job, status in zip(jobs, ("pending_failed", "completed", "disabled", "ready"), strict=True):
        workflow.complete(job) if status == "completed" else workflow.manage(job, status)
    workflow.manage(jobs[3], "running")
    workflow.retry(jobs[3])
    stored = [workflow.client.get(f"/jobs/{job}").json for job in jobs]
    columns = stored[0].keys() | stored[1].keys() | stored[2].keys()
    assert len(columns) == 13
    for column in columns:
        rank = JOB_STATUSES.index if column == "status" else lambda value: value
        expected = sorted(stored, key=lambda j: (column in j, column in j and rank(j[column]), j["id"]))
        expected = [job["id"] for job in expected]
        assert listed(workflow, sort_by=column) == expected, column
        assert listed(workflow, sort_by=column, reverse_sort=True) == expected[::-1], column


def test_an_unknown_sort_column_silently_means_id(workflow):
    first, second = workflow.job(), workflow.job()
    assert listed(workflow, sort_by="open_dependencies") == [first, second]
    assert listed(workflow, sort_by="nonsense", reverse_sort=True) == [second, first]


def test_job_ids_are_ascending_with_their_count(client, workflow):
    assert client.get(f"{workflow.path}/job_ids").json == {"job_ids": [], "count": 0}
    jobs = [workflow.job() for _ in range(3)]
    assert client.get(f"{workflow.path}/job_ids").json == {"job_ids": jobs, "count": 3}


# Change


def put(workflow, job, expected=200, **fields):
    """PUT a job as `workflow.job` makes it, with other fields; `expected` is the HTTP status."""
    body = {"workflow_id": workflow.id, "name": "j", "command": "c"} | fields
    return workflow.client.put(f"/jobs/{job}", json=body, status=expected).json


def test_put_keeps_what_is_absent_and_answers_the_stored_job(client, workflow):
    file = workflow.file()
    job = workflow.job(workflow.job(), invocation_script="i", priority=4, scheduler_id=5, input_file_ids=[file])
    before = client.get(f"/jobs/{job}").json
    changed = {"name": "new", "command": "other"}
    assert put(workflow, job, priority=None, **changed) == before | changed
    assert client.get(f"/jobs/{job}").json == before | changed


def test_a_job_can_be_put_back_as_it_was_read_in_any_status(client, workflow):
    for status in JOB_STATUSES:
        job = workflow.job_in(status)
        stored = client.get(f"/jobs/{job}").json
        assert client.put(f"/jobs/{job}", json=stored).json == stored


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_some_fields_can_be_changed_in_any_status(workflow, status):
    job = workflow.job_in(status)
    changes = {
        "invocation_script": "i", "cancel_on_blocking_job_failure": False, "supports_termination": True,
        "priority": 7, "resource_requirements_id": workflow.requirements(), "scheduler_id": 9,
    }  # fmt: skip
    assert put(workflow, job, **changes).items() >= (changes | {"status": status}).items()


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word != "uninitialized"])
@pytest.mark.parametrize("field", ["name", "command", "status", *LISTS])
def test_other_fields_only_while_uninitialized_and_the_message_says_so(client, workflow, status, field):
    job = workflow.job_in(status)
    before = client.get(f"/jobs/{job}").json
    value = {"name": "new", "command": "new", "status": "disabled" if status != "disabled" else "uninitialized"}
    changed = value[field] if field in value else [related_id(workflow, field)]
    message = put(workflow, job, 422, **{field: changed})["error"]["message"]
    assert message == (
        f"Cannot update job {job} when status is '{status}' - most updates are only allowed when status is "
        f"'uninitialized'. Changed fields: [{field}]"
    )
    assert client.get(f"/jobs/{job}").json == before


def test_the_refusal_names_all_changed_fields(workflow):
    job = workflow.job_in("ready")
    message = put(workflow, job, 422, name="x", command="y", input_file_ids=[workflow.file()])["error"]["message"]
    assert message.endswith("Changed fields: [name, command, input_file_ids]")


def test_another_order_of_a_list_is_no_change(workflow):
    first, second, files = workflow.job(), workflow.job(), [workflow.file(), workflow.file()]
    job = workflow.job(first, second, input_file_ids=files)
    put(workflow, job, depends_on_job_ids=[second, first], input_file_ids=files[::-1])
    assert workflow.depends_on(job) == [first, second]
    workflow.manage(job, "ready")
    put(workflow, job, depends_on_job_ids=[first, second], input_file_ids=files)
    put(workflow, job, depends_on_job_ids=[second, first])
    put(workflow, job, input_file_ids=files[::-1])
    put(workflow, job, 422, depends_on_job_ids=[second])
    assert workflow.depends_on(job) == [first, second]


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word not in ("uninitialized", "disabled")])
def test_the_status_of_an_uninitialized_job_can_only_become_disabled(workflow, status):
    job = workflow.job()
    message = put(workflow, job, 422, status=status)["error"]["message"]
    assert message == "Cannot update job status - this field is immutable after job creation (except to Disabled)"
    assert put(workflow, job, status="uninitialized")["status"] == "uninitialized"


def test_disabling_works_together_with_other_changes_and_cannot_be_undone(workflow):
    dependency, job = workflow.job(), workflow.job()
    changed = put(workflow, job, status="disabled", name="off", depends_on_job_ids=[dependency])
    assert (changed["status"], changed["name"], changed["depends_on_job_ids"]) == ("disabled", "off", [dependency])
    put(workflow, job, 422, name="off", status="uninitialized")
    assert put(workflow, job, name="off", status="disabled")["status"] == "disabled"


@pytest.mark.parametrize("field", LISTS[1:])
def test_file_and_user_data_lists_never_change(client, workflow, field):
    stored, other = related_id(workflow, field), related_id(workflow, field)
    job = workflow.job(**{field: [stored]})
    for ids in ([], [other], [stored, other], [2**40]):
        message = put(workflow, job, 422, **{field: ids})["error"]["message"]
        assert message == f"Cannot modify {field} - this field is immutable after job creation"
    assert put(workflow, job, **{field: [stored]})[field] == [stored]


def test_a_status_that_is_refused_is_named_before_a_list_that_is_fixed(workflow):
    error = put(workflow, workflow.job(), 422, status="ready", input_file_ids=[workflow.file()])["error"]
    assert error["field"] == "status"


def test_workflow_handler_and_attempt_never_change(client, workflow):
    other, job = Workflow(client, workflow.database), workflow.job()
    put(workflow, job, failure_handler_id=handler(workflow), attempt_id=8, id=1)
    stored = client.get(f"/jobs/{job}").json
    assert "failure_handler_id" not in stored and stored["attempt_id"] == 1
    assert put(workflow, job, 422, workflow_id=other.id)["error"]["field"] == "workflow_id"


def test_unknown_requirements_are_422_on_put_and_nothing_changes(workflow):
    job = workflow.job()
    error = put(workflow, job, 422, name="new", resource_requirements_id=2**40)["error"]
    assert error["field"] == "resource_requirements_id"
    assert workflow.client.get(f"/jobs/{job}").json["name"] == "j"


def test_dependencies_can_be_set_replaced_and_cleared_while_uninitialized(workflow):
    first, second, job = workflow.job(), workflow.job(), workflow.job()
    for ids in ([first], [first, second], [second], []):
        assert put(workflow, job, depends_on_job_ids=ids).get("depends_on_job_ids", []) == ids
        assert workflow.violations() == []
    assert put(workflow, job).get("depends_on_job_ids") is None


def test_dependencies_that_are_unknown_foreign_twice_or_the_job_itself_are_422_and_nothing_changes(client, workflow):
    first, job, foreign = workflow.job(), workflow.job(), Workflow(client, workflow.database).job()
    put(workflow, job, depends_on_job_ids=[first])
    for ids in ([2**40], [foreign], [first, first], [first, job]):
        error = put(workflow, job, 422, name="new", depends_on_job_ids=ids)["error"]
        assert error["field"] == "depends_on_job_ids"
    assert workflow.depends_on(job) == [first]
    assert client.get(f"/jobs/{job}").json["name"] == "j"


def test_edited_dependencies_decide_what_initialize_does(workflow):
    done, running, job = workflow.job_in("completed"), workflow.job_in("running"), workflow.job()
    put(workflow, job, depends_on_job_ids=[done, running])
    workflow.initialize(only_uninitialized=True)
    assert workflow.statuses(running, job) == ["ready", "blocked"]
    workflow.complete(running)
    assert workflow.status(job) == "ready"


# Delete


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_job_can_be_deleted_in_any_status_and_is_answered_with_its_relations(client, workflow, status):
    job = workflow.job_in(status, workflow.job(), output_file_ids=[workflow.file()])
    stored = client.get(f"/jobs/{job}").json
    assert client.delete(f"/jobs/{job}").json == stored
    client.get(f"/jobs/{job}", status=404)
    client.delete(f"/jobs/{job}", status=404)


def test_deleting_the_last_open_dependency_releases_a_blocked_job_and_its_failure_is_forgotten(workflow):
    failed, open_job = workflow.job_in("failed"), workflow.job()
    dependent = workflow.job(failed, open_job)
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(dependent) == "blocked"
    workflow.client.delete(f"/jobs/{failed}")
    assert workflow.status(dependent) == "blocked"
    workflow.client.delete(f"/jobs/{open_job}")
    assert workflow.status(dependent) == "ready"
    assert workflow.depends_on(dependent) == []


def test_deleting_the_open_dependency_of_a_job_with_a_failed_one_cancels_it(workflow):
    failed, open_job = workflow.job_in("failed"), workflow.job()
    dependent = workflow.job(failed, open_job)
    below = workflow.job(dependent)
    workflow.initialize(only_uninitialized=True)
    workflow.client.delete(f"/jobs/{open_job}")
    assert workflow.statuses(dependent, below) == ["canceled", "canceled"]


def test_deleting_the_cause_takes_back_a_cancellation_all_the_way_down(workflow):
    cause = workflow.job()
    first = workflow.job(cause)
    second = workflow.job(first)
    workflow.initialize()
    workflow.complete(cause, "failed")
    assert workflow.statuses(first, second) == ["canceled", "canceled"]
    workflow.client.delete(f"/jobs/{cause}")
    assert workflow.statuses(first, second) == ["ready", "blocked"]


def test_deleting_a_job_leaves_jobs_alone_that_are_not_blocked(workflow):
    dependency = workflow.job()
    dependents = [workflow.job_in(word, dependency) for word in JOB_STATUSES if word != "blocked"]
    before = workflow.statuses(*dependents)
    workflow.client.delete(f"/jobs/{dependency}")
    assert workflow.statuses(*dependents) == before


def test_deleted_jobs_leave_no_rows_behind(workflow):
    file, data = workflow.file(), workflow.user_data()
    dependency = workflow.job(input_file_ids=[file], output_user_data_ids=[data])
    job = workflow.job(dependency, output_file_ids=[file], input_user_data_ids=[data])
    workflow.manage(dependency, "ready")
    workflow.complete(job)
    for deleted in (job, dependency):
        workflow.client.delete(f"/jobs/{deleted}")
    for table in ("job_internal", "job_depends_on", "job_input_file", "job_output_file", "job_input_user_data",
                  "job_output_user_data", "result"):  # fmt: skip
        query = f"SELECT count(*) FROM torc.{table} WHERE job_id = ANY (%s)"  # noqa: S608
        assert workflow.sql(query, [job, dependency]) == [0], table


def test_bulk_delete_answers_the_count_and_deletes_the_jobs_of_one_workflow(client, workflow):
    other = Workflow(client, workflow.database)
    kept = other.job()
    assert client.delete("/jobs", params={"workflow_id": workflow.id}).json == {"count": 0}
    workflow.complete(workflow.job(workflow.job()), "failed")
    assert client.delete("/jobs", params={"workflow_id": workflow.id}).json == {"count": 2}
    assert job_ids(workflow) == [] and job_ids(other) == [kept]
