"""Who may do what: every operation, asked by everybody, with and without access control.

A new route gets its rule here.
"""

import pytest
from calls import ALL_ROUTES, new_group, prepared_call

ANONYMOUS, STRANGER, MEMBER, OWNER, GROUP_ADMIN, ADMIN = "anonymous", "eve", "mel", "u", "gus", "root"
CALLERS = {ANONYMOUS, STRANGER, MEMBER, OWNER, GROUP_ADMIN, ADMIN}

# Who may, under access control. The workflow is the owner's and shared with a group of the member and the group admin;
# the group of the path is another one, with the same people in the same roles.
MAY = {
    "everybody": CALLERS,
    "users": CALLERS - {ANONYMOUS},
    "workflow": {MEMBER, OWNER, GROUP_ADMIN, ADMIN},
    "hidden": {MEMBER, OWNER, GROUP_ADMIN, ADMIN},  # for all others it is not there: 404
    "share": {OWNER, ADMIN},
    "unshare": {OWNER, GROUP_ADMIN, ADMIN},
    "group": {GROUP_ADMIN, ADMIN},
    "self": {MEMBER, ADMIN},  # the user of the path is the member
    "admin": {ADMIN},
}

RULES = {
    "everybody": """
        system.ping system.get_version
        workflows.list_workflows
    """,
    "users": "workflows.create_workflow",
    "workflow": """
        workflows.get_workflow workflows.update_workflow workflows.delete_workflow
        workflows.get_workflow_status workflows.update_workflow_status workflows.reset_workflow_status
        workflows.cancel_workflow workflows.initialize_jobs workflows.process_changed_job_inputs
        workflows.reset_job_status workflows.claim_next_jobs workflows.claim_jobs_based_on_resources
        workflows.is_workflow_complete workflows.is_workflow_uninitialized workflows.get_ready_job_requirements
        workflows.list_job_ids workflows.list_required_existing_files workflows.list_missing_user_data
        workflows.list_job_dependencies workflows.list_job_file_relationships
        workflows.list_job_user_data_relationships
        jobs.create_job jobs.create_jobs jobs.get_job jobs.list_jobs jobs.update_job jobs.delete_job jobs.delete_jobs
        jobs.start_job jobs.complete_job jobs.manage_status_change jobs.manage_status_change_by_body jobs.retry_job
        workflows.archive_workflow workflows.get_running_jobs workflows.get_slurm_job_correlations
        workflow_actions.update_workflow_action workflow_actions.delete_workflow_action
        jobs.batch_complete_jobs jobs.spawn_jobs files.create_files user_data.create_user_data_list
        files.create_file files.get_file files.list_files files.update_file files.delete_file files.delete_files
        user_data.create_user_data user_data.get_user_data user_data.list_user_data user_data.update_user_data
        user_data.delete_user_data user_data.delete_all_user_data
        resource_requirements.create_resource_requirements resource_requirements.get_resource_requirements
        resource_requirements.list_resource_requirements resource_requirements.update_resource_requirements
        resource_requirements.delete_resource_requirement resource_requirements.delete_resource_requirements
        compute_nodes.create_compute_node compute_nodes.get_compute_node compute_nodes.list_compute_nodes
        compute_nodes.update_compute_node compute_nodes.delete_compute_node compute_nodes.delete_compute_nodes
        compute_nodes.heartbeat compute_nodes.give_back_jobs
        results.create_result results.get_result results.list_results results.update_result results.delete_result
        results.delete_results
        events.create_event events.get_event events.list_events events.update_event events.delete_event
        events.delete_events event_stream.stream_events
        failure_handlers.create_failure_handler failure_handlers.get_failure_handler
        failure_handlers.list_failure_handlers failure_handlers.delete_failure_handler
        local_schedulers.create_local_scheduler local_schedulers.get_local_scheduler
        local_schedulers.list_local_schedulers local_schedulers.update_local_scheduler
        local_schedulers.delete_local_scheduler local_schedulers.delete_local_schedulers
        slurm_schedulers.create_slurm_scheduler slurm_schedulers.get_slurm_scheduler
        slurm_schedulers.list_slurm_schedulers slurm_schedulers.update_slurm_scheduler
        slurm_schedulers.delete_slurm_scheduler slurm_schedulers.delete_slurm_schedulers
        scheduled_compute_nodes.create_scheduled_compute_node scheduled_compute_nodes.get_scheduled_compute_node
        scheduled_compute_nodes.list_scheduled_compute_nodes scheduled_compute_nodes.update_scheduled_compute_node
        scheduled_compute_nodes.delete_scheduled_compute_node scheduled_compute_nodes.delete_scheduled_compute_nodes
        slurm_stats.create_slurm_stats slurm_stats.list_slurm_stats
        ro_crate_entities.create_ro_crate_entity ro_crate_entities.get_ro_crate_entity
        ro_crate_entities.list_ro_crate_entities ro_crate_entities.update_ro_crate_entity
        ro_crate_entities.delete_ro_crate_entity ro_crate_entities.delete_ro_crate_entities
        workflow_actions.create_workflow_action workflow_actions.get_workflow_actions
        workflow_actions.get_pending_actions workflow_actions.claim_action
        remote_workers.create_remote_workers remote_workers.list_remote_workers remote_workers.delete_remote_worker
        access_groups.list_workflow_groups
    """,
    "hidden": "tasks.get_task tasks.get_active_task_for_workflow",
    "share": "access_groups.add_workflow_to_group",
    "unshare": "access_groups.remove_workflow_from_group",
    "group": "access_groups.add_user_to_group access_groups.remove_user_from_group",
    "self": "access_groups.list_user_groups access_groups.check_workflow_access",
    "admin": """
        access_groups.create_access_group access_groups.list_access_groups access_groups.get_access_group
        access_groups.delete_access_group access_groups.list_group_members admin.list_admin_audit_log
        admin.admin_sql admin.admin_api_stats admin.admin_api_events_stream
    """,
}
RULE_OF = {endpoint: rule for rule, endpoints in RULES.items() for endpoint in endpoints.split()}


# What changes a workflow, or anything in it.
CHANGING = [
    route for route in ALL_ROUTES if RULE_OF.get(route.values[0].endpoint) == "workflow" and route.values[1] != "GET"
]


@pytest.fixture
def prepare(access):
    """Make a shared workflow and a call in it; return path and arguments."""

    def prepare(rule, method):
        people = {MEMBER: "member", GROUP_ADMIN: "admin"}
        workflow = access.workflow(user=OWNER)
        access.client.post(f"{workflow.path}/access_groups/{new_group(access.client, **people)}")
        given = {"user_name": MEMBER} if RULE_OF[rule.endpoint] == "self" else {}
        return prepared_call(workflow, rule, method, group_id=new_group(access.client, **people), **given)

    return prepare


def calls_of(users, prepare, rule, method):
    """Each user with a call of the operation; calls that change nothing are made once for all of them."""
    call = None
    for user in users:
        call = call if call and method == "GET" else prepare(rule, method)
        yield user, call


@pytest.mark.parametrize("rule, method", ALL_ROUTES)
def test_under_access_control_all_others_are_refused_and_change_nothing(access, prepare, rule, method):
    """The first tests of this file, because they read all that is stored."""
    path, arguments = prepare(rule, method)
    stored = access.rows()
    for user in CALLERS - MAY[RULE_OF[rule.endpoint]]:
        status, kind = (404, "NotFound") if RULE_OF[rule.endpoint] == "hidden" else (403, "Forbidden")
        answer = access.user(user).request(method, path, status=status, **arguments)
        assert answer.json["error"]["error"] == kind
        assert user == ANONYMOUS or user not in answer.text.split()
    assert access.rows() == stored


@pytest.mark.parametrize("rule, method", ALL_ROUTES)
def test_under_access_control_an_operation_is_for_those_whom_its_rule_names(access, prepare, rule, method):
    assert rule.endpoint in RULE_OF, "say in RULES who may use this new endpoint"
    for user, (path, arguments) in calls_of(MAY[RULE_OF[rule.endpoint]], prepare, rule, method):
        access.user(user).request(method, path, **arguments)


@pytest.mark.parametrize("rule, method", CHANGING)
def test_an_outsider_does_not_wait_for_the_locks_of_a_workflow(access, prepare, rule, method):
    path, arguments = prepare(rule, method)
    access.database.execute("SELECT pg_advisory_lock(id) FROM torc.workflow")
    try:
        access.user(STRANGER).request(method, path, status=403, **arguments)
    finally:
        access.database.execute("SELECT pg_advisory_unlock_all()")


@pytest.mark.parametrize("rule, method", ALL_ROUTES)
def test_without_access_control_everybody_may_do_everything(access, prepare, rule, method):
    for user, (path, arguments) in calls_of(CALLERS, prepare, rule, method):
        access.user(user, enforced=False).request(method, path, **arguments)


def test_every_rule_is_of_an_endpoint():
    assert RULE_OF.keys() == {route.values[0].endpoint for route in ALL_ROUTES}
