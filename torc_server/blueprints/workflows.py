"""Workflows: create, read, change, run, and what can be read off the whole of one."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, sql, value
from torc_server.schemas.workflows import (
    ClaimJobsBasedOnResources,
    ClaimNextJobs,
    ComputeNodesResources,
    InitializeJobs,
    ListJobDependencies,
    ListJobFileRelationships,
    ListJobUserDataRelationships,
    ListWorkflows,
    ProcessChangedJobInputs,
    ReadyJobRequirements,
    ResetJobStatus,
    ResetWorkflowStatus,
    WorkflowModel,
    WorkflowStatusModel,
)

DEFAULT_CLAIM = 10  # jobs, when claim_next_jobs is asked without a number

blueprint = Blueprint("workflows", __name__)


@blueprint.post("/workflows")
@wire.body(WorkflowModel)
def create_workflow(body):
    """Create a workflow, with run 0 and the resource requirements named default; answer it as it was sent."""
    return wire.json_text(value(sql.workflows.create_workflow, body=json.dumps(body)))


@blueprint.get("/workflows")
@wire.query(ListWorkflows)
def list_workflows(query):
    """List the workflows that the caller may see."""
    return wire.page(sql.workflows.list_workflows, ListWorkflows, query, alias="workflows")


@blueprint.get("/workflows/<int64:id>")
def get_workflow(id):
    """Return one workflow."""
    return wire.json_text(value(sql.workflows.get_workflow, workflow_id=id))


@blueprint.put("/workflows/<int64:id>")
@wire.body(WorkflowModel)
def update_workflow(id, body):
    """Change a workflow; absent keys keep their value."""
    return wire.json_text(value(sql.workflows.update_workflow, workflow_id=id, **WorkflowModel.row(body)))


@blueprint.delete("/workflows/<int64:id>")
def delete_workflow(id):
    """Delete a workflow with everything below it and return it."""
    return wire.json_text(long_value(sql.workflows.delete_workflow, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/status")
def get_workflow_status(id):
    """Return the run state of a workflow."""
    return wire.json_text(value(sql.workflows.get_workflow_status, workflow_id=id))


@blueprint.put("/workflows/<int64:id>/status")
@wire.body(WorkflowStatusModel)
def update_workflow_status(id, body):
    """Overwrite the run state of a workflow; answer it as it was sent."""
    value(sql.workflows.update_workflow_status, workflow_id=id, **WorkflowStatusModel.row(body))
    return wire.json_value({"id": id} | body)


@blueprint.put("/workflows/<int64:id>/cancel")
def cancel_workflow(id):
    """Cancel a workflow and its pending and running jobs."""
    return wire.json_text(long_value(sql.workflows.cancel_workflow, workflow_id=id))


@blueprint.post("/workflows/<int64:id>/initialize_jobs")
@wire.query(InitializeJobs)
def initialize_jobs(id, query):
    """Derive the dependencies from files and user data, then set every job to blocked or ready."""
    return wire.json_text(long_value(sql.workflows.initialize_jobs, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/process_changed_job_inputs")
@wire.query(ProcessChangedJobInputs)
def process_changed_job_inputs(id, query):
    """Make the jobs uninitialized whose inputs have changed since they were initialized; answer their names."""
    return wire.json_text(long_value(sql.workflows.process_changed_job_inputs, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/reset_job_status")
@wire.query(ResetJobStatus)
def reset_job_status(id, query):
    """Make jobs uninitialized again: all, or only the failed ones and what lies downstream of them."""
    return wire.json_text(long_value(sql.workflows.reset_job_status, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/reset_status")
@wire.query(ResetWorkflowStatus)
def reset_workflow_status(id, query):
    """Clear the flags of a workflow's run state; run and jobs stay."""
    return wire.json_text(value(sql.workflows.reset_workflow_status, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/claim_next_jobs")
@wire.query(ClaimNextJobs)
def claim_next_jobs(id, query):
    """Claim the next ready jobs, highest priority first, whatever they need."""
    limit = query.get("limit", query.get("num_jobs", DEFAULT_CLAIM))
    return wire.json_text(value(sql.workflows.claim_next_jobs, workflow_id=id, limit=limit))


@blueprint.post("/workflows/<int64:id>/claim_jobs_based_on_resources/<int64:limit>")
@wire.query(ClaimJobsBasedOnResources)
@wire.body(ComputeNodesResources)
def claim_jobs_based_on_resources(id, limit, query, body):
    """Claim ready jobs that fit into a worker's free resources, highest priority first."""
    return wire.json_text(
        value(
            sql.workflows.claim_jobs_based_on_resources,
            workflow_id=id,
            limit=limit,
            strict=query["strict_scheduler_match"],
            resources=json.dumps(body),
        )
    )


@blueprint.get("/workflows/<int64:id>/is_complete")
def is_workflow_complete(id):
    """Say whether a workflow is complete or canceled."""
    return wire.json_text(value(sql.workflows.is_workflow_complete, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/is_uninitialized")
def is_workflow_uninitialized(id):
    """Say whether all jobs of a workflow are uninitialized or disabled."""
    return wire.json_text(value(sql.workflows.is_workflow_uninitialized, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/ready_job_requirements")
@wire.query(ReadyJobRequirements)
def get_ready_job_requirements(id, query):
    """Return what the ready jobs of a workflow need together."""
    return wire.json_text(
        value(
            sql.workflows.ready_job_requirements,
            workflow_id=id,
            scheduler_config_id=query.get("scheduler_config_id"),
        )
    )


@blueprint.get("/workflows/<int64:id>/job_ids")
def list_job_ids(id):
    """List the ids of all jobs of a workflow."""
    return wire.json_text(value(sql.workflows.list_job_ids, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/required_existing_files")
def list_required_existing_files(id):
    """List the files that should exist: inputs that no job produces, and outputs of completed jobs."""
    return wire.json_text(value(sql.workflows.list_required_existing_files, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/missing_user_data")
def list_missing_user_data(id):
    """List the user data without data that should have some."""
    return wire.json_text(value(sql.workflows.list_missing_user_data, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/job_dependencies")
@wire.query(ListJobDependencies)
def list_job_dependencies(id, query):
    """List which job of a workflow depends on which."""
    return relationships(sql.workflows.list_job_dependencies, ListJobDependencies, id, query)


@blueprint.get("/workflows/<int64:id>/job_file_relationships")
@wire.query(ListJobFileRelationships)
def list_job_file_relationships(id, query):
    """List the producers and consumers of the files of a workflow."""
    return relationships(sql.workflows.list_job_file_relationships, ListJobFileRelationships, id, query)


@blueprint.get("/workflows/<int64:id>/job_user_data_relationships")
@wire.query(ListJobUserDataRelationships)
def list_job_user_data_relationships(id, query):
    """List the producers and consumers of the user data of a workflow."""
    return relationships(
        sql.workflows.list_job_user_data_relationships, ListJobUserDataRelationships, id, query
    )  # fmt: skip


def relationships(statement, schema, workflow_id, query):
    query["limit"] = min(query["limit"], schema.max_limit)
    return wire.page(statement, schema, query, workflow_id=workflow_id)
