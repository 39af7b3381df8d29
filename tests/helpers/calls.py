"""A valid call of every route, read off the application so that none can be forgotten."""

import uuid

import contract
import pytest

from torc_server.bodies import BASE_PATH

# What a row of each collection is made from; also the body of its PUT. A job is added where one is named.
ROWS = {
    "workflows": {"name": "w", "user": "u"},
    "jobs": {"name": "j", "command": "c"},
    "files": {"name": "f", "path": "/f"},
    "user_data": {"name": "d", "data": {"x": 1}},
    "resource_requirements": {"name": "r", "memory": "1g", "runtime": "PT1M"},
    "compute_nodes": {
        "hostname": "h", "pid": 1, "start_time": "now", "num_cpus": 1, "memory_gb": 1, "num_gpus": 0, "num_nodes": 1,
        "compute_node_type": "local", "is_active": True,
    },
    "results": {
        "job_id": ..., "compute_node_id": ..., "run_id": 0, "attempt_id": 1, "return_code": 0, "exec_time_minutes": 1,
        "completion_time": "now", "status": "completed",
    },
    "events": {"data": {"x": 1}},
    "failure_handlers": {"name": "h", "rules": "[]"},
    "local_schedulers": {"memory": "1g", "num_cpus": 1},
    "slurm_schedulers": {"name": "s", "account": "a", "nodes": 1, "walltime": "1:00:00"},
    "scheduled_compute_nodes": {
        "scheduler_id": 1, "scheduler_config_id": 1, "scheduler_type": "slurm", "status": "pending",
    },
    "slurm_stats": {"job_id": ..., "run_id": 0, "attempt_id": 1},
    "ro_crate_entities": {"entity_id": "e", "entity_type": "File", "metadata": "{}"},
    "access_groups": {"name": "g", "description": "a group"},
    "workflow_actions": {"trigger_type": "on_workflow_start", "action_type": "x", "action_config": {}},
}  # fmt: skip

# The status in which a job must be for the call, and what the call needs beside the path.
JOB_STATUS = {
    "jobs.start_job": "pending",
    "jobs.complete_job": "running",
    "jobs.batch_complete_jobs": "running",
    "jobs.retry_job": "failed",
    "jobs.spawn_jobs": "running",
}
BODIES = {
    "workflows.update_workflow_status": {"run_id": 0, "is_canceled": False},
    "workflows.claim_jobs_based_on_resources": {"num_cpus": 9, "memory_gb": 9, "num_gpus": 0, "num_nodes": 1},
    "jobs.manage_status_change_by_body": {"target_status": "ready"},
    "jobs.create_jobs": {"jobs": [ROWS["jobs"] | {"name": name} for name in "abc"]},
    "jobs.spawn_jobs": {"jobs": [{"name": "spawned", "command": "c"}], "state": {"x": 1}},
    "files.create_files": {"files": [ROWS["files"] | {"name": name} for name in "abc"]},
    "user_data.create_user_data_list": {"user_data": [ROWS["user_data"] | {"name": name} for name in "abc"]},
    "jobs.complete_job": ROWS["results"],
    "jobs.batch_complete_jobs": {
        "completions": [{"job_id": ..., "status": "completed", "run_id": 0, "result": ROWS["results"]}]
    },
    "admin.admin_sql": {"sql": "DELETE FROM event WHERE id = 0", "write": True},
    "remote_workers.create_remote_workers": ["me@host"],
    "workflow_actions.claim_action": {},
    "workflow_actions.update_workflow_action": {"note": 1},
    "workflows.archive_workflow": {"is_archived": True},
    "access_groups.add_user_to_group": {"user_name": "someone", "group_id": 0, "role": "member"},
}
# What a path's {id} is an id of, by the path's first part, for rows that are made before the call.
OWN_ID = {"workflows": "workflow_id", "jobs": "job_id", "compute_nodes": "compute_node_id", "access_groups": "group_id"}
PATH_VALUES = {"limit": 5, "run_id": 0, "status": "completed", "worker": "me@host", "user_name": "someone"}

# Have tests of their own: these need a password file or are outside the base path. Endpoints and whole blueprints.
ELSEWHERE = ("admin.reload_auth", "health", "metrics", "api_docs", "dashboard")
URLS = contract.app().url_map
ALL_ROUTES = [
    pytest.param(rule, method, id=f"{method} {rule.rule.removeprefix(BASE_PATH)}")
    for rule in URLS.iter_rules()
    if rule.endpoint not in ELSEWHERE and rule.endpoint.split(".")[0] not in ELSEWHERE
    for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
]
STREAMS = ("event_stream.stream_events", "admin.admin_api_events_stream")  # have no end
ROUTES = [route for route in ALL_ROUTES if route.values[0].endpoint not in STREAMS]


def prepared_call(workflow, rule, method, **given):
    """The path and arguments of a call that succeeds, all rows made that it needs; `given`: parts of the path."""
    collection, action = rule.endpoint.split(".")
    job = workflow.job_in(JOB_STATUS.get(rule.endpoint, "uninitialized"))
    values = PATH_VALUES | {"workflow_id": workflow.id, "job_id": job, "compute_node_id": workflow.node()} | given
    if rule.endpoint == "jobs.manage_status_change":
        values["status"] = "ready"
    if rule.endpoint == "remote_workers.delete_remote_worker":
        workflow.client.post(f"{workflow.path}/remote_workers", json=BODIES["remote_workers.create_remote_workers"])
    if "action_id" in rule.arguments:
        action = with_ids(ROWS["workflow_actions"], values)
        values["action_id"] = workflow.client.post(f"{workflow.path}/actions", json=action).json["id"]

    own_id = OWN_ID.get(rule.rule.removeprefix(BASE_PATH).split("/")[1])
    if "group_id" in rule.arguments | {own_id}:
        prepare_group(workflow, rule, values)
    if own_id:
        values["id"] = values[own_id]
    if rule.endpoint == "tasks.get_task":
        path = f"{workflow.path}/initialize_jobs?async=true"
        values["id"] = workflow.client.post(path, status=202).json["id"]

    body = with_ids(BODIES.get(rule.endpoint, ROWS.get(collection)), values)
    if collection == "access_groups" and "name" in body:
        body["name"] = uuid.uuid4().hex  # no two groups have the same

    for name in rule.arguments - values.keys():
        values[name] = workflow.client.post(f"/{collection}", json=body).json["id"]
    path = URLS.bind("").build(rule.endpoint, {name: values[name] for name in rule.arguments}, method)

    if rule.endpoint in BODIES or method in ("POST", "PUT") and action.startswith(("create_", "update_")):
        return path.removeprefix(BASE_PATH), {"json": body}
    params = {"workflow_id": workflow.id, "max_retries": 5}
    return path.removeprefix(BASE_PATH), {"params": {} if own_id == "workflow_id" else params}


def prepare_group(workflow, rule, values):
    """Make the group of a path, and what is to be taken from it."""
    values.setdefault("group_id", new_group(workflow.client))
    path = f"/access_groups/{values['group_id']}"
    if rule.endpoint == "access_groups.remove_user_from_group":
        member = BODIES["access_groups.add_user_to_group"] | {"user_name": values["user_name"]}
        workflow.client.post(f"{path}/members", json=member)
    if rule.endpoint == "access_groups.remove_workflow_from_group":
        workflow.client.post(workflow.path + path)


def new_group(client, **members):
    """Create a group whose members have these roles; return its id."""
    group = client.post("/access_groups", json={"name": uuid.uuid4().hex}).json["id"]
    for user, role in members.items():
        member = {"user_name": user, "group_id": group, "role": role}
        client.post(f"/access_groups/{group}/members", json=member)
    return group


def with_ids(body, values):
    """The body with the ids that it needs."""
    if not isinstance(body, dict):
        return body
    if "state" in body:  # of spawn_jobs, whose jobs are of the workflow of their caller
        return body
    for key in ("jobs", "completions", "files", "user_data"):
        if key in body:
            return {key: [with_ids(row, values) for row in body[key]]}
    if "result" in body:
        body = body | {"result": with_ids(body["result"], values)}
    return {"workflow_id": values["workflow_id"]} | {k: values[k] if v is ... else v for k, v in body.items()}
