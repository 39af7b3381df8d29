"""Changes by hand are on record: who, what, when, in the transaction of the change."""

import time

import psycopg
import pytest
from calls import ALL_ROUTES, STREAMS, new_group, prepared_call

from torc_server import htpasswd

ENDPOINTS = """
    workflows.cancel_workflow workflows.update_workflow_status workflows.reset_workflow_status
    workflows.reset_job_status workflows.delete_workflow jobs.delete_job jobs.delete_jobs files.delete_files
    user_data.delete_all_user_data results.delete_results events.delete_events compute_nodes.delete_compute_nodes
    compute_nodes.give_back_jobs
    local_schedulers.delete_local_schedulers slurm_schedulers.delete_slurm_schedulers
    scheduled_compute_nodes.delete_scheduled_compute_nodes ro_crate_entities.delete_ro_crate_entities
    resource_requirements.delete_resource_requirements resource_requirements.delete_resource_requirement
    access_groups.create_access_group access_groups.delete_access_group access_groups.add_user_to_group
    access_groups.remove_user_from_group access_groups.add_workflow_to_group access_groups.remove_workflow_from_group
    admin.admin_sql compute_nodes.give_back_jobs
"""
AUDITED = ENDPOINTS.split()
OWNER_CHANGES = "workflows.update_workflow"


def entries(client, **params):
    return client.get("/admin/audit-log", params=params).json["items"]


def newest(client):
    return next(iter(entries(client, limit=1)), {"id": 0})


@pytest.mark.parametrize("rule, method", ALL_ROUTES)
def test_a_change_by_hand_is_one_entry_and_one_line_and_other_calls_are_none(workflow, caplog, rule, method):
    if rule.endpoint in STREAMS:
        return
    path, arguments = prepared_call(workflow, rule, method)
    before = newest(workflow.client)["id"]
    caplog.clear()
    workflow.client.request(method, path, **arguments)
    added = [entry for entry in entries(workflow.client, limit=5) if entry["id"] > before]
    lines = [record for record in caplog.records if record.name == "torc_server.audit"]
    assert len(added) == (rule.endpoint in AUDITED)
    if rule.endpoint != OWNER_CHANGES:
        assert len(lines) == len(added)
    if added:
        assert added[0]["user_name"] == "anonymous"
        assert added[0]["success"] and added[0]["committed"] and added[0]["is_write"]
        assert abs(added[0]["timestamp"] / 1000 - time.time()) < 60
        if "workflow_id" in added[0]:
            assert added[0]["workflow_id"] == workflow.id
        assert lines[0].fields["action"] == rule.endpoint.split(".")[1]


def test_the_entry_names_the_user_and_what_was_done(access):
    workflow = access.workflow(user="olga")
    access.user("olga").put(f"{workflow.path}/cancel")
    found = newest(access.client)
    wanted = {
        "user_name": "olga", "action": "cancel_workflow", "workflow_id": workflow.id,
        "sql_text": f"SELECT torc.cancel_workflow({workflow.id})", "data": {"run_id": 0}, "rows_affected": 0,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_a_refused_change_is_not_on_record(access):
    workflow = access.workflow(user="olga")
    before = newest(access.client)
    access.user("eve").put(f"{workflow.path}/cancel", status=403)
    access.user("eve").delete(workflow.path, status=403)
    assert newest(access.client) == before


def test_entries_survive_what_they_are_about(access):
    workflow = access.workflow(user="olga")
    access.user("olga").delete(workflow.path)
    found = entries(access.client, workflow_id=workflow.id)[0]
    assert (found["action"], found["user_name"], found["data"]["user"]) == ("delete_workflow", "olga", "olga")


def test_a_new_owner_is_on_record_and_a_new_name_is_not(access):
    workflow = access.workflow(user="olga")
    before = newest(access.client)["id"]
    access.user("olga").put(workflow.path, json={"name": "renamed", "user": "olga"})
    assert newest(access.client)["id"] == before
    access.user("olga").put(workflow.path, json={"name": "renamed", "user": "paul"})
    found = newest(access.client)
    assert (found["action"], found["user_name"]) == ("change_workflow_user", "olga")
    assert found["data"] == {"user": "paul", "old_user": "olga"}


def test_changes_of_access_are_on_record(access):
    group = new_group(access.client)
    member = {"user_name": "mel", "group_id": group, "role": "admin"}
    access.user("root").post(f"/access_groups/{group}/members", json=member)
    found = newest(access.client)
    assert (found["user_name"], found["group_id"]) == ("root", group)
    assert found["data"] == {"user_name": "mel", "role": "admin"}
    assert found["sql_text"] == f"SELECT torc.add_user_to_group({group}, 'mel', 'admin')"


def test_an_operator_at_psql_is_named_by_the_role(database, workflow):
    database.execute("SELECT torc.cancel_workflow(%s)", [workflow.id])
    role = database.execute("SELECT current_user").fetchone()[0]
    assert newest(workflow.client)["user_name"] == role


def test_the_events_of_a_cancellation_name_the_user(access):
    workflow = access.workflow(user="olga")
    access.user("olga").put(f"{workflow.path}/cancel")
    events = access.client.get("/events", params={"workflow_id": workflow.id}).json["items"]
    assert [event["data"]["user"] for event in events if event["data"]["category"] == "workflow_canceled"] == ["olga"]


def test_a_reload_of_the_password_file_is_on_record(make_client, tmp_path):
    file = tmp_path / "users"
    file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    client = make_client(auth_file=file)
    client.post("/admin/reload-auth", user=("alice", "long enough"))
    found = newest(client)
    assert (found["user_name"], found["action"], found["data"]) == ("alice", "reload_auth", {"user_count": 1})


def test_administrators_named_at_the_start_are_on_record_once(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for names in (["ann"], ["ann"], ["bob"]):
            connection.execute("SELECT torc.synchronize_admins(%s)", [names])
        found = connection.execute("SELECT data -> 'user_names', rows_affected FROM torc.admin_audit_log").fetchall()
    assert found == [(["ann"], 1), (["bob"], 2)]


def test_the_list_is_newest_first_in_pages_and_bounds_are_moved(workflow):
    for _ in range(3):
        workflow.client.put(f"{workflow.path}/cancel")
    ids = [entry["id"] for entry in entries(workflow.client, workflow_id=workflow.id)]
    assert len(ids) == 3 and ids == sorted(ids, reverse=True)
    page = workflow.client.get("/admin/audit-log", params={"workflow_id": workflow.id, "offset": 1, "limit": 1}).json
    assert ([entry["id"] for entry in page["items"]], page["total_count"], page["has_more"]) == ([ids[1]], 3, True)
    page = workflow.client.get(
        "/admin/audit-log", params={"workflow_id": workflow.id, "offset": -5, "limit": 10**9}
    ).json
    assert (page["offset"], page["count"]) == (0, 3)
    assert workflow.client.get("/admin/audit-log", params={"limit": -1}).json["items"] == []
    assert entries(workflow.client, workflow_id=workflow.id, user_name="nobody") == []


def test_old_entries_are_pruned_in_batches(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for number in range(5):
            connection.execute("SELECT torc.audit(NULL, 'test', %s)", [str(number)])
        connection.execute("""UPDATE torc.admin_audit_log SET "timestamp" = id""")
        counts = [connection.execute("SELECT torc.prune_audit_log(4, 2)").fetchone()[0] for _ in range(3)]
        left = connection.execute("SELECT id FROM torc.admin_audit_log ORDER BY id").fetchall()
    assert (counts, left) == ([2, 1, 0], [(4,), (5,)])


def test_a_change_that_is_rolled_back_is_not_on_record(database, workflow):
    before = newest(workflow.client)
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.execute("SELECT torc.cancel_workflow(%s)", [workflow.id])
        raise ZeroDivisionError
    assert newest(workflow.client) == before
