"""How many statements each endpoint sends: one; a second one sets the timeout of those that may take long.

A new route gets its budget here.
"""

import psycopg
import pytest
from calls import ROUTES, prepared_call

from torc_server.connections import Connection

BUDGET = {
    0: "system.ping system.get_version",
    1: """
        workflows.create_workflow workflows.get_workflow workflows.update_workflow workflows.get_workflow_status
        workflows.update_workflow_status workflows.reset_workflow_status workflows.is_workflow_complete
        workflows.is_workflow_uninitialized workflows.get_ready_job_requirements workflows.list_job_ids
        workflows.list_required_existing_files workflows.list_missing_user_data
        workflows.claim_next_jobs workflows.claim_jobs_based_on_resources
        jobs.create_job jobs.get_job jobs.update_job jobs.delete_job jobs.start_job jobs.complete_job
        jobs.manage_status_change jobs.manage_status_change_by_body jobs.retry_job jobs.batch_complete_jobs
        jobs.spawn_jobs
        files.create_file files.get_file files.update_file files.delete_file
        user_data.create_user_data user_data.get_user_data user_data.update_user_data user_data.delete_user_data
        resource_requirements.create_resource_requirements resource_requirements.get_resource_requirements
        resource_requirements.update_resource_requirements
        compute_nodes.create_compute_node compute_nodes.get_compute_node compute_nodes.update_compute_node
        compute_nodes.delete_compute_node compute_nodes.heartbeat
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
        workflow_actions.get_pending_actions workflow_actions.claim_action workflow_actions.delete_workflow_action
        workflows.archive_workflow tasks.get_task tasks.get_active_task_for_workflow
        remote_workers.create_remote_workers remote_workers.list_remote_workers remote_workers.delete_remote_worker
        access_groups.create_access_group access_groups.get_access_group access_groups.delete_access_group
        access_groups.add_user_to_group access_groups.remove_user_from_group
        access_groups.add_workflow_to_group access_groups.remove_workflow_from_group
        access_groups.check_workflow_access
    """,
    2: """
        workflows.list_workflows workflows.delete_workflow workflows.cancel_workflow workflows.initialize_jobs
        workflows.process_changed_job_inputs workflows.reset_job_status
        workflows.list_job_dependencies workflows.list_job_file_relationships
        workflows.list_job_user_data_relationships
        jobs.create_jobs jobs.list_jobs jobs.delete_jobs compute_nodes.give_back_jobs
        files.create_files user_data.create_user_data_list
        workflows.get_running_jobs workflows.get_slurm_job_correlations
        workflow_actions.update_workflow_action
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
        access_groups.list_access_groups access_groups.list_group_members access_groups.list_user_groups
        access_groups.list_workflow_groups admin.list_admin_audit_log
    """,
    3: "admin.admin_api_stats",
    5: "admin.admin_sql",
}
STATEMENTS = {endpoint: count for count, endpoints in BUDGET.items() for endpoint in endpoints.split()}


@pytest.fixture
def sent(monkeypatch):
    """The statements that psycopg sends from now on, as they come."""
    statements = []

    def counting(call):
        def counted(self, query, *args, **kwargs):
            statements.append(query)
            return call(self, query, *args, **kwargs)

        return counted

    for name in ("first", "_send"):
        monkeypatch.setattr(Connection, name, counting(getattr(Connection, name)))
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
