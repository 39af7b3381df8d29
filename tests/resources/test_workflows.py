"""Workflows: create, read, list, change, delete, and the run state."""

import re
import uuid

import pytest
from workflow import COMPLETE, Workflow

from torc_server.schemas.fields import JOB_STATUSES

EVERYTHING = {
    "name": "n", "user": "me", "description": "d", "compute_node_expiration_buffer_seconds": 1,
    "compute_node_wait_for_new_jobs_seconds": 2, "compute_node_ignore_workflow_completion": True,
    "compute_node_wait_for_healthy_database_minutes": 3, "compute_node_min_time_for_new_jobs_seconds": 4,
    "resource_monitor_config": "{}", "slurm_defaults": "{}", "use_pending_failed": True, "enable_ro_crate": True,
    "project": "p", "metadata": "[]", "slurm_config": "s", "execution_config": "e",
}  # fmt: skip
NEVER_UPDATED = ("compute_node_min_time_for_new_jobs_seconds", "resource_monitor_config", "slurm_defaults")


@pytest.fixture
def user():
    """A user name of this test, so that lists hold its workflows only."""
    return uuid.uuid4().hex


# Create and read


def test_create_answers_what_was_sent_and_the_keys_of_the_server(client):
    created = client.post("/workflows", json={"name": "n", "user": "me"}).json
    assert created == {
        "id": created["id"], "name": "n", "user": "me", "status_id": created["id"], "timestamp": created["timestamp"],
        "run_id": 0, "is_canceled": False, "is_archived": False,
    }  # fmt: skip


def test_the_timestamp_is_utc_with_milliseconds_and_set_by_the_server(client):
    body = {"name": "n", "user": "me", "timestamp": "x", "id": 5, "status_id": 5}
    created = client.post("/workflows", json=body).json
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created["timestamp"])
    assert client.get(f"/workflows/{created['id']}").json["timestamp"] == created["timestamp"]


def test_get_shows_the_stored_defaults_and_leaves_out_what_is_unset(workflow):
    assert workflow.client.get(workflow.path).json == workflow.created | {
        "compute_node_wait_for_new_jobs_seconds": 90,
        "compute_node_ignore_workflow_completion": False,
        "compute_node_wait_for_healthy_database_minutes": 20,
        "compute_node_min_time_for_new_jobs_seconds": 300,
    }


def test_every_field_is_stored(client):
    created = client.post("/workflows", json=EVERYTHING).json
    assert created.items() >= EVERYTHING.items()
    assert client.get(f"/workflows/{created['id']}").json == created


def test_names_need_not_be_unique_and_null_is_the_same_as_absent(client):
    first, second = (client.post("/workflows", json={"name": "n", "user": "u", "project": None}).json for _ in "12")
    assert first["id"] < second["id"] and "project" not in second


def test_a_new_workflow_has_the_requirements_named_default(workflow):
    assert workflow.sql(
        """
        SELECT name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s
        FROM torc.resource_requirements WHERE workflow_id = %s
        """,
        workflow.id,
    ) == [("default", 1, 0, 1, "1m", "P0DT1M", 1048576, 60)]


@pytest.mark.parametrize(
    "body, field",
    [
        ({"user": "u"}, "name"),
        ({"name": "n"}, "user"),
        ({"name": None, "user": "u"}, "name"),
        ({"name": 1, "user": "u"}, "name"),
        ({"name": "a\0b", "user": "u"}, "name"),
        ({"name": "n", "user": "u", "metadata": []}, "metadata"),
        ({"name": "n", "user": "u", "use_pending_failed": 1}, "use_pending_failed"),
        ({"name": "n", "user": "u", "compute_node_wait_for_new_jobs_seconds": 1.0},
         "compute_node_wait_for_new_jobs_seconds"),
        ({"name": "n", "user": "u", "compute_node_expiration_buffer_seconds": 2**63},
         "compute_node_expiration_buffer_seconds"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_is_422_naming_the_field(client, workflow, body, field):
    assert client.post("/workflows", json=body, status=422).json["error"]["field"] == field
    assert client.put(workflow.path, json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize("workflow_id", [0, -1, 2**62])
@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", ""), ("DELETE", ""), ("GET", "/status"), ("PUT", "/cancel"), ("POST", "/initialize_jobs"),
        ("POST", "/process_changed_job_inputs"), ("POST", "/reset_job_status"), ("POST", "/reset_status"),
        ("POST", "/claim_next_jobs"), ("GET", "/is_complete"), ("GET", "/is_uninitialized"),
        ("GET", "/ready_job_requirements"), ("GET", "/job_ids"), ("GET", "/required_existing_files"),
        ("GET", "/missing_user_data"), ("GET", "/job_dependencies"), ("GET", "/job_file_relationships"),
        ("GET", "/job_user_data_relationships"),
    ],
)  # fmt: skip
def test_an_unknown_workflow_is_404(client, workflow_id, method, path):
    error = client.request(method, f"/workflows/{workflow_id}{path}", status=404).json["error"]
    assert error == {"error": "NotFound", "message": f"Workflow not found with ID: {workflow_id}"}


def test_an_unknown_workflow_is_404_for_calls_with_a_body(client):
    client.put("/workflows/0", json={"name": "n", "user": "u"}, status=404)
    client.put("/workflows/0/status", json={"run_id": 1, "is_canceled": False}, status=404)
    resources = {"num_cpus": 1, "memory_gb": 1, "num_gpus": 0, "num_nodes": 1}
    client.post("/workflows/0/claim_jobs_based_on_resources/1", json=resources, status=404)


# List


def test_a_list_has_the_envelope_and_its_items_twice(client, user):
    made = [Workflow(client, None, user=user) for _ in range(3)]
    listed = client.get("/workflows", params={"user": user, "limit": 2}).json
    assert [item["id"] for item in listed["items"]] == [made[0].id, made[1].id]
    assert listed.pop("workflows") == listed.pop("items")
    assert listed == {"offset": 0, "max_limit": 100000, "count": 2, "total_count": 3, "has_more": True}


@pytest.mark.parametrize(
    "offset, limit, found, has_more",
    [(0, 0, [], True), (0, 3, [0, 1, 2], False), (1, 1, [1], True), (2, 5, [2], False), (9, 5, [], False)],
)
def test_offset_and_limit_cut_a_page_out(client, user, offset, limit, found, has_more):
    made = [Workflow(client, None, user=user).id for _ in range(3)]
    listed = client.get("/workflows", params={"user": user, "offset": offset, "limit": limit}).json
    assert [item["id"] for item in listed["items"]] == [made[i] for i in found]
    assert (listed["count"], listed["total_count"], listed["has_more"]) == (len(found), 3, has_more)


@pytest.mark.parametrize(
    "params, status",
    [
        ({"limit": 100001}, 422), ({"limit": -1}, 422), ({"offset": -1}, 422), ({"limit": "x"}, 400),
        ({"limit": ""}, 400), ({"offset": "1.0"}, 400), ({"is_archived": "1"}, 400), ({"reverse_sort": "TRUE"}, 400),
        ({"user": ["a", "b"]}, 400),
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_is_refused_naming_the_parameter(client, params, status):
    assert client.get("/workflows", params=params, status=status).json["error"]["field"] in params


def test_name_and_user_filter_by_equality(client, user):
    made = Workflow(client, None, user=user, name=f"{user} a")
    Workflow(client, None, user=user, name=f"{user} ab")
    for params in ({"name": f"{user} a"}, {"name": f"{user} a", "user": user}):
        assert [item["id"] for item in client.get("/workflows", params=params).json["items"]] == [made.id]
    assert client.get("/workflows", params={"name": f"{user} a", "user": "x"}).json["total_count"] == 0


@pytest.mark.parametrize(
    "sought, found",
    [
        ("night", [0]), ("NIGHT", [0]), ("100%", [1]), ("0%d", []), ("a_b", [2]), ("a\\b", [3]), ("_", [2]),
        ("%", [1]), ("\\", [3]), ("b", [2, 3, 4]), ("zzz", []),
    ],
)  # fmt: skip
def test_description_filters_by_a_part_without_case_and_takes_special_characters_literally(client, user, sought, found):
    texts = ["The Nightly run", "100% done", "a_b", "a\\b", "axb"]
    made = [Workflow(client, None, user=user, description=text).id for text in texts]
    Workflow(client, None, user=user)
    listed = client.get("/workflows", params={"user": user, "description": sought}).json
    assert [item["id"] for item in listed["items"]] == [made[i] for i in found]


def test_is_archived_filters_and_without_it_both_kinds_are_listed(client, user):
    kept, archived = (Workflow(client, None, user=user) for _ in "12")
    client.put(f"{archived.path}/status", json={"run_id": 0, "is_canceled": False, "is_archived": True})
    for params, found in (
        ({}, [kept, archived]), ({"is_archived": False}, [kept]), ({"is_archived": True}, [archived])
    ):  # fmt: skip
        items = client.get("/workflows", params={"user": user} | params).json["items"]
        assert [item["id"] for item in items] == [w.id for w in found]


@pytest.mark.parametrize("column", sorted(EVERYTHING.keys() - {"slurm_config", "execution_config"}))
def test_a_list_is_sorted_by_each_column_unset_values_first_ids_break_ties(client, user, column):
    low, high = {int: (1, 2), bool: (False, True), str: ("B", "a")}[type(EVERYTHING[column])]
    if column == "user":
        low = high = user
    values = [{column: high}, {column: low}, {}, {column: low}]
    made = [Workflow(client, None, **{"user": user} | fields).id for fields in values]
    ascending = [client.get(f"/workflows/{i}").json for i in made]
    ascending.sort(key=lambda w: (column in w, w.get(column, 0), w["id"]))
    params = {"user": user, "sort_by": column}
    listed = client.get("/workflows", params=params).json["items"]
    assert [item["id"] for item in listed] == [w["id"] for w in ascending]
    listed = client.get("/workflows", params=params | {"reverse_sort": True}).json["items"]
    assert [item["id"] for item in listed] == [w["id"] for w in reversed(ascending)]


def test_a_list_can_be_sorted_by_the_run_state(client, user):
    made = [Workflow(client, None, user=user) for _ in range(3)]
    for workflow, run_id in zip(made, (5, 3, 4), strict=True):
        workflow.set_run(run_id)
    params = {"user": user, "sort_by": "run_id", "is_archived": False}
    items = client.get("/workflows", params=params).json["items"]
    assert [item["id"] for item in items] == [made[1].id, made[2].id, made[0].id]


@pytest.mark.parametrize("column", ["nonsense", "id; DROP TABLE", "slurm_config", "item", ""])
def test_an_unknown_sort_column_silently_means_id_and_the_direction_still_counts(client, user, column):
    made = [Workflow(client, None, user=user).id for _ in range(2)]
    params = {"user": user, "sort_by": column, "reverse_sort": True}
    items = client.get("/workflows", params=params).json["items"]
    assert [item["id"] for item in items] == made[::-1]


def test_unknown_parameters_and_keys_are_ignored(client, user):
    client.post("/workflows", json={"name": "n", "user": user, "colour": {"x": [1]}})
    assert client.get("/workflows", params={"user": user, "colour": "red"}).json["count"] == 1


# Change


def test_put_changes_what_it_names_keeps_the_rest_and_answers_the_stored_workflow(client):
    created = client.post("/workflows", json=EVERYTHING).json
    path = f"/workflows/{created['id']}"
    assert client.put(path, json={"name": "new", "user": "me", "project": None}).json == created | {"name": "new"}
    assert client.get(path).json == created | {"name": "new"}


def test_put_updates_every_field_but_those_that_are_fixed(workflow):
    changed = workflow.client.put(workflow.path, json=EVERYTHING).json
    assert changed == workflow.client.get(workflow.path).json
    for name, value in EVERYTHING.items():
        assert (changed.get(name) == value) == (name not in NEVER_UPDATED), name


def test_put_ignores_id_timestamp_and_status_id(workflow):
    body = {"name": "w", "user": "u", "id": 1, "timestamp": "now", "status_id": 1}
    changed = workflow.client.put(workflow.path, json=body).json
    assert changed.items() >= workflow.created.items()


# Delete


def test_delete_answers_the_workflow_and_it_is_gone(client):
    workflow = Workflow(client, None)
    stored = client.get(workflow.path).json
    assert client.delete(workflow.path).json == stored
    client.get(workflow.path, status=404)
    client.delete(workflow.path, status=404)


def test_delete_leaves_no_row_in_any_table(client, database):
    workflow, other = Workflow(client, database), Workflow(client, database)
    file, data = workflow.file(), workflow.user_data("1")
    first = workflow.job(output_file_ids=[file], output_user_data_ids=[data])
    second = workflow.job(first, input_file_ids=[file], input_user_data_ids=[data])
    bystander = other.job(other.job())
    workflow.initialize()
    other.initialize()
    workflow.complete(first)
    workflow.complete(second)
    keys = {"w": workflow.id, "f": file, "j": first}
    for statement in (
        "INSERT INTO torc.slurm_stats (workflow_id, job_id, run_id, attempt_id) VALUES (%(w)s, %(j)s, 0, 1)",
        "INSERT INTO torc.failure_handler (workflow_id, name, rules) VALUES (%(w)s, 'h', '[]')",
        "INSERT INTO torc.event (workflow_id, data) VALUES (%(w)s, '{}')",
        """SELECT torc.create_workflow_action(%(w)s, jsonb_build_object(
               'trigger_type', 'on_jobs_ready', 'action_type', 'x', 'action_config', '{}'::json,
               'job_ids', ARRAY[%(j)s]
           ))""",
        """INSERT INTO torc.scheduled_compute_node
           (workflow_id, scheduler_id, scheduler_config_id, scheduler_type, status)
           VALUES (%(w)s, 1, 1, 'slurm', 'active')""",
        "INSERT INTO torc.local_scheduler (workflow_id) VALUES (%(w)s)",
        "INSERT INTO torc.slurm_scheduler (workflow_id, account, nodes, walltime) VALUES (%(w)s, 'a', 1, '1')",
        "INSERT INTO torc.remote_worker (workflow_id, worker) VALUES (%(w)s, 'me@host')",
        "INSERT INTO torc.task (workflow_id, operation, parameters) VALUES (%(w)s, 'initialize_jobs', '{}')",
        """INSERT INTO torc.ro_crate_entity (workflow_id, file_id, entity_id, entity_type, metadata)
           VALUES (%(w)s, %(f)s, 'e', 'File', '{}')""",
        "SELECT torc.collect_job_names(%(w)s)",
        "INSERT INTO torc.cross_reference VALUES ('compute_node_id', 1, %(w)s)",
    ):
        database.execute(statement, keys)
    before = rows_of(database, workflow.id, [first, second])
    assert [table for table, count in before.items() if not count] == []
    client.delete(workflow.path)
    after = rows_of(database, workflow.id, [first, second])
    assert [table for table, count in after.items() if count] == []
    assert other.status(bystander) == "blocked"
    assert other.violations() == []


def rows_of(database, workflow_id, job_ids):
    """Table -> how many rows belong to the workflow, by workflow_id or by job_id, for every table that has either."""
    columns = database.execute(
        """
        SELECT table_name, array_agg(column_name::text)
        FROM information_schema.columns INNER JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'torc' AND column_name IN ('workflow_id', 'job_id') AND table_type = 'BASE TABLE'
            -- streams expire by themselves; the audit log survives what it is about
            AND table_name NOT IN ('workflow_access_group', 'event_stream', 'admin_audit_log')
        GROUP BY table_name
        """
    ).fetchall()
    counts = {}
    for table, names in columns:
        column, keys = ("workflow_id", [workflow_id]) if "workflow_id" in names else ("job_id", job_ids)
        query = f'SELECT count(*) FROM torc."{table}" WHERE {column} = ANY (%s)'  # noqa: S608
        counts[table] = database.execute(query, [keys]).fetchone()[0]
    return counts


# Run state


def test_a_new_workflow_is_in_run_0_under_its_own_id_with_all_flags_false(workflow):
    assert workflow.client.get(f"{workflow.path}/status").json.items() >= {
        "id": workflow.id, "run_id": 0, "is_canceled": False, "is_archived": False,
        "has_detected_need_to_run_completion_script": False,
    }.items()  # fmt: skip


def test_put_status_stores_absent_flags_as_false_and_answers_what_was_sent(workflow):
    status = {
        "run_id": 7, "is_canceled": True, "is_archived": True, "has_detected_need_to_run_completion_script": True,
    }  # fmt: skip
    path = f"{workflow.path}/status"
    assert workflow.client.put(path, json=status).json == status | {"id": workflow.id}
    assert workflow.client.get(path).json.items() >= (status | {"id": workflow.id}).items()
    short = {"run_id": 3, "is_canceled": False}
    assert workflow.client.put(path, json=short | {"id": 99}).json == short | {"id": workflow.id}
    assert workflow.client.get(path).json.items() >= {
        "id": workflow.id, "run_id": 3, "is_canceled": False, "is_archived": False,
        "has_detected_need_to_run_completion_script": False,
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    "body, field",
    [
        ({"run_id": 1}, "is_canceled"),
        ({"is_canceled": True}, "run_id"),
        ({"run_id": "1", "is_canceled": True}, "run_id"),
    ],
)
def test_put_status_needs_the_run_and_is_canceled(workflow, body, field):
    error = workflow.client.put(f"{workflow.path}/status", json=body, status=422).json["error"]
    assert error["field"] == field


def test_put_status_does_not_touch_jobs(workflow):
    running = workflow.job_in("running")
    workflow.set_run(1, is_canceled=True)
    assert workflow.status(running) == "running"


def test_reset_status_clears_the_flags_begins_the_next_run_and_stores_an_event(workflow):
    body = {"run_id": 4, "is_canceled": True, "has_detected_need_to_run_completion_script": True}
    workflow.client.put(f"{workflow.path}/status", json=body)
    reset = workflow.client.post(f"{workflow.path}/reset_status").json
    assert reset == workflow.client.get(workflow.path).json | {
        "id": workflow.id, "run_id": 5, "is_canceled": False, "is_archived": False,
        "has_detected_need_to_run_completion_script": False,
    }  # fmt: skip
    assert reset.items() & workflow.client.get(f"{workflow.path}/status").json.items() == {
        ("id", workflow.id), ("run_id", 5), ("is_canceled", False), ("is_archived", False),
        ("has_detected_need_to_run_completion_script", False),
    }  # fmt: skip
    assert workflow.events() == [{
        "category": "user_action", "action": "reset_workflow_status", "user": "anonymous", "workflow_id": workflow.id,
        "force": False,
    }]  # fmt: skip


def test_reset_status_is_refused_for_an_archived_workflow_even_by_force(workflow):
    body = {"run_id": 0, "is_canceled": True, "is_archived": True}
    workflow.client.put(f"{workflow.path}/status", json=body)
    for force in (False, True):
        params = {"force": force}
        error = workflow.client.post(f"{workflow.path}/reset_status", params=params, status=422).json["error"]
        assert error["message"] == "Cannot reset archived workflow status. Unarchive the workflow first."
    assert workflow.client.get(f"{workflow.path}/status").json["is_canceled"] is True
    assert workflow.events() == []


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_reset_status_is_refused_while_jobs_are_pending_or_running_unless_forced(workflow, status):
    job = workflow.job_in(status)
    path = f"{workflow.path}/reset_status"
    if status in ("pending", "running"):
        message = workflow.client.post(path, status=422).json["error"]["message"]
        assert message == "Cannot reset workflow status: jobs are currently running or pending submission"
        workflow.client.post(path, params={"force": True})
    else:
        workflow.client.post(path)
    assert workflow.status(job) == status


@pytest.mark.parametrize("status, refused", [("pending", True), ("active", True), ("complete", False)])
def test_reset_status_is_refused_while_scheduled_nodes_are_pending_or_active_unless_forced(workflow, status, refused):
    workflow.database.execute(
        """
        INSERT INTO torc.scheduled_compute_node
            (workflow_id, scheduler_id, scheduler_config_id, scheduler_type, status)
        VALUES (%s, 1, 1, 'slurm', %s)
        """,
        [workflow.id, status],
    )
    path = f"{workflow.path}/reset_status"
    answer = workflow.client.post(path, status=422 if refused else 200).json
    if refused:
        expected = "Cannot reset workflow status: scheduled compute nodes are currently pending or active"
        assert answer["error"]["message"] == expected
        workflow.client.post(path, params={"force": True})


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_workflow_is_complete_when_no_job_is_outside_the_complete_ones_and_disabled(workflow, status):
    workflow.job_in("completed")
    workflow.job_in(status)
    assert workflow.client.get(f"{workflow.path}/is_complete").json == {
        "is_canceled": False, "is_complete": status in (*COMPLETE, "disabled"), "needs_to_run_completion_script": False,
    }  # fmt: skip


def test_a_canceled_workflow_is_complete_at_once_and_the_script_flag_is_passed_on(workflow):
    workflow.job_in("ready")
    body = {"run_id": 0, "is_canceled": True, "has_detected_need_to_run_completion_script": True}
    workflow.client.put(f"{workflow.path}/status", json=body)
    assert workflow.client.get(f"{workflow.path}/is_complete").json == {
        "is_canceled": True, "is_complete": True, "needs_to_run_completion_script": True,
    }  # fmt: skip


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_a_workflow_is_uninitialized_when_every_job_is_uninitialized_or_disabled(workflow, status):
    workflow.job_in("uninitialized")
    workflow.job_in(status)
    expected = {"is_uninitialized": status in ("uninitialized", "disabled")}
    assert workflow.client.get(f"{workflow.path}/is_uninitialized").json == expected


def test_an_empty_workflow_is_both_complete_and_uninitialized(workflow):
    assert workflow.client.get(f"{workflow.path}/is_complete").json["is_complete"] is True
    assert workflow.client.get(f"{workflow.path}/is_uninitialized").json["is_uninitialized"] is True


def test_an_archived_workflow_still_works(workflow):
    body = {"run_id": 0, "is_canceled": False, "is_archived": True}
    workflow.client.put(f"{workflow.path}/status", json=body)
    job = workflow.job()
    workflow.initialize()
    assert workflow.claim() == [job]
    workflow.start(job, workflow.node())
    workflow.complete(job)
    workflow.client.put(workflow.path, json={"name": "w", "user": "u"})
    assert workflow.client.get(f"{workflow.path}/is_complete").json["is_complete"] is True
    assert workflow.client.get(f"{workflow.path}/status").json["is_archived"] is True
