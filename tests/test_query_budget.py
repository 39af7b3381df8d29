"""How many statements each endpoint sends: one; a second one sets the timeout of those that may take long.

Whoever adds a route says here what it may cost.
"""

import psycopg
import pytest

from torc_server.app import create_app
from torc_server.settings import Settings
from torc_server.wire import BASE_PATH

BUDGET = {
    0: "system.ping system.get_version",
    1: """
        workflows.create_workflow workflows.get_workflow workflows.update_workflow workflows.get_workflow_status
        workflows.update_workflow_status workflows.reset_workflow_status workflows.is_workflow_complete
        workflows.is_workflow_uninitialized workflows.get_ready_job_requirements workflows.list_job_ids
        workflows.list_required_existing_files workflows.list_missing_user_data
        workflows.claim_next_jobs workflows.claim_jobs_based_on_resources
        jobs.create_job jobs.get_job jobs.update_job jobs.delete_job jobs.start_job jobs.complete_job
        jobs.manage_status_change jobs.manage_status_change_by_body jobs.retry_job
        files.create_file files.get_file files.update_file files.delete_file
        user_data.create_user_data user_data.get_user_data user_data.update_user_data user_data.delete_user_data
        resource_requirements.create_resource_requirements resource_requirements.get_resource_requirements
        resource_requirements.update_resource_requirements
        compute_nodes.create_compute_node compute_nodes.get_compute_node compute_nodes.update_compute_node
        compute_nodes.delete_compute_node
        results.create_result results.get_result results.update_result results.delete_result
        events.create_event events.get_event events.update_event events.delete_event
        failure_handlers.create_failure_handler failure_handlers.get_failure_handler
        local_schedulers.create_local_scheduler local_schedulers.get_local_scheduler
        local_schedulers.update_local_scheduler local_schedulers.delete_local_scheduler
        slurm_schedulers.create_slurm_scheduler slurm_schedulers.get_slurm_scheduler
        slurm_schedulers.update_slurm_scheduler slurm_schedulers.delete_slurm_scheduler
        scheduled_compute_nodes.create_scheduled_compute_node scheduled_compute_nodes.get_scheduled_compute_node
        scheduled_compute_nodes.update_scheduled_compute_node scheduled_compute_nodes.delete_scheduled_compute_node
        slurm_stats.create_slurm_stats
        ro_crate_entities.create_ro_crate_entity ro_crate_entities.get_ro_crate_entity
        ro_crate_entities.update_ro_crate_entity ro_crate_entities.delete_ro_crate_entity
        workflow_actions.create_workflow_action workflow_actions.get_workflow_actions
        workflow_actions.get_pending_actions workflow_actions.claim_action
        remote_workers.create_remote_workers remote_workers.list_remote_workers remote_workers.delete_remote_worker
    """,
    2: """
        workflows.list_workflows workflows.delete_workflow workflows.cancel_workflow workflows.initialize_jobs
        workflows.process_changed_job_inputs workflows.reset_job_status
        workflows.list_job_dependencies workflows.list_job_file_relationships
        workflows.list_job_user_data_relationships
        jobs.create_jobs jobs.list_jobs jobs.delete_jobs
        files.list_files files.delete_files
        user_data.list_user_data user_data.delete_all_user_data
        resource_requirements.list_resource_requirements resource_requirements.delete_resource_requirements
        resource_requirements.delete_resource_requirement
        compute_nodes.list_compute_nodes compute_nodes.delete_compute_nodes
        results.list_results results.delete_results
        events.list_events events.delete_events
        failure_handlers.list_failure_handlers failure_handlers.delete_failure_handler
        local_schedulers.list_local_schedulers local_schedulers.delete_local_schedulers
        slurm_schedulers.list_slurm_schedulers slurm_schedulers.delete_slurm_schedulers
        scheduled_compute_nodes.list_scheduled_compute_nodes scheduled_compute_nodes.delete_scheduled_compute_nodes
        slurm_stats.list_slurm_stats
        ro_crate_entities.list_ro_crate_entities ro_crate_entities.delete_ro_crate_entities
    """,
}
STATEMENTS = {endpoint: count for count, endpoints in BUDGET.items() for endpoint in endpoints.split()}

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
    "workflow_actions": {"trigger_type": "on_workflow_start", "action_type": "x", "action_config": {}},
}  # fmt: skip

# The status in which a job must be for the call, and what the call needs beside the path.
JOB_STATUS = {"jobs.start_job": "pending", "jobs.complete_job": "running", "jobs.retry_job": "failed"}
BODIES = {
    "workflows.update_workflow_status": {"run_id": 0, "is_canceled": False},
    "workflows.claim_jobs_based_on_resources": {"num_cpus": 9, "memory_gb": 9, "num_gpus": 0, "num_nodes": 1},
    "jobs.manage_status_change_by_body": {"target_status": "ready"},
    "jobs.create_jobs": {"jobs": [ROWS["jobs"]] * 3},
    "jobs.complete_job": ROWS["results"],
    "remote_workers.create_remote_workers": ["me@host"],
    "workflow_actions.claim_action": {},
}
PATH_VALUES = {"limit": 5, "run_id": 0, "status": "completed", "worker": "me@host"}

# Have tests of their own: a stream has no end, the others need a password file or are outside the base path.
ELSEWHERE = ("event_stream.stream_events", "admin.reload_auth", "health.healthz", "health.readyz")
URLS = create_app(Settings(), "").url_map
ROUTES = [
    pytest.param(rule, method, id=f"{method} {rule.rule.removeprefix(BASE_PATH)}")
    for rule in URLS.iter_rules()
    if rule.endpoint not in ELSEWHERE
    for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
]


@pytest.fixture
def sent(monkeypatch):
    """The statements that psycopg sends from now on, as they come."""
    statements = []

    def counting(call):
        def counted(self, query, *args, **kwargs):
            statements.append(query)
            return call(self, query, *args, **kwargs)

        return counted

    for name in ("execute", "executemany", "stream", "copy"):
        monkeypatch.setattr(psycopg.Cursor, name, counting(getattr(psycopg.Cursor, name)))
    return statements


@pytest.mark.parametrize("rule, method", ROUTES)
def test_an_endpoint_sends_as_many_statements_as_its_budget_says(workflow, sent, rule, method):
    assert rule.endpoint in STATEMENTS, "say in BUDGET how many statements this new endpoint may send"
    path, arguments = prepared_call(workflow, rule, method)
    del sent[:]
    workflow.client.request(method, path, **arguments)
    assert len(sent) == STATEMENTS[rule.endpoint], sent


def prepared_call(workflow, rule, method):
    """The path and arguments of a call that succeeds, all rows made that it needs."""
    collection, action = rule.endpoint.split(".")
    job = workflow.job_in(JOB_STATUS.get(rule.endpoint, "uninitialized"))
    values = PATH_VALUES | {"workflow_id": workflow.id, "job_id": job, "compute_node_id": workflow.node()}
    if rule.endpoint == "jobs.manage_status_change":
        values["status"] = "ready"
    if rule.endpoint == "remote_workers.delete_remote_worker":
        workflow.client.post(f"{workflow.path}/remote_workers", json=BODIES["remote_workers.create_remote_workers"])
    if rule.endpoint == "workflow_actions.claim_action":
        action = with_ids(ROWS["workflow_actions"], values)
        values["action_id"] = workflow.client.post(f"{workflow.path}/actions", json=action).json["id"]

    body = with_ids(BODIES.get(rule.endpoint, ROWS.get(collection)), values)
    for name in rule.arguments - values.keys():
        values[name] = workflow.client.post(f"/{collection}", json=body).json["id"]
    path = URLS.bind("").build(rule.endpoint, {name: values[name] for name in rule.arguments}, method)

    if rule.endpoint in BODIES or method in ("POST", "PUT") and action.startswith(("create_", "update_")):
        return path.removeprefix(BASE_PATH), {"json": body}
    params = {"workflow_id": workflow.id, "max_retries": 5}
    return path.removeprefix(BASE_PATH), {"params": {} if "workflow_id" in rule.arguments else params}


def with_ids(body, values):
    """The body with the ids that it needs."""
    if not isinstance(body, dict):
        return body
    if "jobs" in body:
        return {"jobs": [with_ids(job, values) for job in body["jobs"]]}
    return {"workflow_id": values["workflow_id"]} | {k: values[k] if v is ... else v for k, v in body.items()}
