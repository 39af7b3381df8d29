"""Workflows: create, read, change, run, and what can be read off the whole of one."""

import json
from functools import partial
from typing import Any

from flask import Blueprint, Response, current_app, request

from torc_server import current, wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.node_watch import heard_of
from torc_server.observer import audited
from torc_server.repository import long_value, sql, value
from torc_server.schemas.tasks import TaskModel
from torc_server.schemas.workflows import (
    ArchiveWorkflowRequest,
    ClaimByResources,
    ClaimJobsBasedOnResources,
    ClaimNextJobs,
    ClaimNextJobsResponse,
    ComputeNodesResources,
    GetReadyJobRequirementsResponse,
    GetRunningJobs,
    GetSlurmJobCorrelations,
    InitializeJobs,
    InitializeJobsResponse,
    IsCompleteResponse,
    IsUninitializedResponse,
    ListJobDependencies,
    ListJobDependenciesResponse,
    ListJobFileRelationships,
    ListJobFileRelationshipsResponse,
    ListJobIdsResponse,
    ListJobUserDataRelationships,
    ListJobUserDataRelationshipsResponse,
    ListMissingUserDataResponse,
    ListRequiredExistingFilesResponse,
    ListWorkflows,
    ListWorkflowsResponse,
    ProcessChangedJobInputs,
    ProcessChangedJobInputsResponse,
    ReadyJobRequirements,
    RelationshipPage,
    ResetJobStatus,
    ResetJobStatusResponse,
    ResetWorkflowStatus,
    RunningJobsResponse,
    SlurmJobCorrelationsResponse,
    WorkflowAndStatusModel,
    WorkflowModel,
    WorkflowStatusModel,
    WorkflowStatusResponse,
)

DEFAULT_CLAIM = 10  # jobs, when claim_next_jobs is asked without a number

blueprint = Blueprint("workflows", __name__)


@blueprint.post("/workflows")
@wire.body(WorkflowModel)
@wire.answers(WorkflowModel, {403: "Access control is enforced, and the caller is anonymous."})
def create_workflow(body):
    """Create a workflow.

    It comes with run 0 and with resource requirements named default, which jobs without others get: 1 CPU, 1 MiB of
    memory, 1 minute. The owner is the user who is logged in; only without a login is it the user that is sent. The
    answer is what was sent, with id, status_id and timestamp; the defaults of absent fields show up when it is read.
    """
    return wire.json_text(value(sql.workflows.create_workflow, body=json.dumps(body)))


@blueprint.get("/workflows")
@wire.query(ListWorkflows)
@wire.answers(ListWorkflowsResponse)
def list_workflows(query):
    """List the workflows that the caller may see.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list. Where access control is
    enforced, the list holds the caller's own workflows and those that are shared with a group of the caller; system
    administrators see all.
    """
    return wire.page(sql.workflows.list_workflows, ListWorkflows, query, alias="workflows")


@blueprint.get("/workflows/<int64:id>")
@direct
@wire.answers(WorkflowModel)
def get_workflow(id):
    """Get a workflow.

    The run, and whether it is canceled or archived, are in its status. Unset fields are left out.
    """
    return value(sql.workflows.get_workflow, workflow_id=id)


@blueprint.put("/workflows/<int64:id>")
@wire.body(WorkflowModel)
@wire.answers(
    WorkflowModel,
    {
        403: "The caller may not use the workflow, or wants to give away one that belongs to somebody else. Only where "
        "access control is enforced."
    },
)
@audited
def update_workflow(id, body):
    """Change a workflow.

    name and user are always stored, other fields if they are given; absent ones keep their value and cannot be cleared.
    compute_node_min_time_for_new_jobs_seconds, resource_monitor_config and slurm_defaults are fixed at creation and
    ignored here. Where access control is enforced, only the owner and system administrators may change the user.
    """
    return wire.json_text(value(sql.workflows.update_workflow, workflow_id=id, body=json.dumps(body)))


@blueprint.delete("/workflows/<int64:id>")
@wire.answers(
    WorkflowModel,
    {
        403: "The caller may not use the workflow, or another workflow that needs something of it. Only where access "
        "control is enforced."
    },
)
@lane("walks")
@audited
def delete_workflow(id):
    """Delete a workflow with everything below it.

    Jobs, results, files, user data, requirements, schedulers, nodes, actions, events and all else go, in whatever state
    they are; jobs of another workflow too if they use its requirements, and results from its compute nodes. The answer
    is the workflow that was deleted.
    """
    return wire.json_text(long_value(sql.workflows.delete_workflow, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/status")
@lane("alone")
@direct
@wire.answers(WorkflowStatusResponse)
def get_workflow_status(id):
    """Get the run state of a workflow and a summary of its jobs.

    The number of the current run; whether the workflow is canceled, archived or complete; how many jobs have each
    status, how long they took, and what they run on.
    """
    return value(sql.workflows.get_workflow_status, workflow_id=id)


@blueprint.put("/workflows/<int64:id>/status")
@wire.body(WorkflowStatusModel)
@wire.answers(WorkflowStatusModel)
@wire.deprecated
@audited
def update_workflow_status(id, body):
    """Overwrite the run state of a workflow.

    All of it: absent flags are stored as false, so a call without is_archived takes a workflow out of the archive. The
    run may be any number, also a lower one. Jobs keep their status; those that wait to run and were retried in another
    run are at attempt 1 again. The answer is what was sent, with the id.
    """
    value(sql.workflows.update_workflow_status, workflow_id=id, body=json.dumps(body))
    return wire.json_value({"id": id} | body)


@blueprint.post("/workflows/<int64:id>/archive")
@wire.body(ArchiveWorkflowRequest)
@wire.answers(WorkflowModel)
def archive_workflow(id, body):
    """Put a workflow into the archive, or take it out.

    Archived workflows are listed only where is_archived asks for them, and reset_status refuses them; everything else
    works as before. An event is stored. May be repeated. The answer is the workflow.
    """
    return wire.json_text(value(sql.workflows.archive_workflow, workflow_id=id, is_archived=body["is_archived"]))


@blueprint.get("/workflows/<int64:id>/running_jobs")
@wire.query(GetRunningJobs)
@wire.answers(RunningJobsResponse)
def get_running_jobs(id, query):
    """List the jobs of a workflow that compute nodes run now.

    One page, by id. Jobs whose status was set to running by hand, without a compute node of the workflow, are not in
    it.
    """
    return wire.page(sql.workflows.get_running_jobs, GetRunningJobs, query, workflow_id=id)


@blueprint.get("/workflows/<int64:id>/slurm_job_correlations")
@wire.query(GetSlurmJobCorrelations)
@wire.answers(SlurmJobCorrelationsResponse)
def get_slurm_job_correlations(id, query):
    """List which jobs of a workflow ran in which Slurm jobs.

    One page, by the Slurm job's id as text, then by the job's. From the results of all runs, each pair once.
    """
    return wire.page(sql.workflows.get_slurm_job_correlations, GetSlurmJobCorrelations, query, workflow_id=id)


@blueprint.put("/workflows/<int64:id>/cancel")
@wire.answers(WorkflowAndStatusModel)
@lane("walks")
@audited
def cancel_workflow(id):
    """Cancel a workflow with its pending and running jobs.

    From now on claims get no job and the workflow counts as complete; workers see that from is_complete. Pending
    and running jobs become canceled, without results, and those that depend on them follow as after a failure; ready
    and uninitialized jobs keep their status. Its compute nodes are no longer active, and an event is stored. May be
    repeated. The answer is the workflow.
    """
    return wire.json_text(long_value(sql.workflows.cancel_workflow, workflow_id=id))


@blueprint.post("/workflows/<int64:id>/initialize_jobs")
@wire.query(InitializeJobs)
@wire.answers(
    InitializeJobsResponse,
    {
        409: "With async: a task of the workflow is active that has other parameters; existing_task_id names it.",
        422: "Jobs wait for each other in a circle; the message names them and the way out.",
    },
    accepted=TaskModel,
)
@lane("walks")
def initialize_jobs(id, query):
    """Derive the dependencies and set every job to blocked or ready.

    First a job that reads a file or user data comes to depend on each job that writes them; these dependencies stay.
    Then every uninitialized, pending, running, terminated or pending_failed job becomes blocked if one that it depends
    on is not complete, else ready. Other jobs keep their status, also failed and canceled ones, except that by default
    they become blocked too if they depend on one that is not complete. With only_uninitialized, everything downstream
    of an uninitialized job is made uninitialized first, and only uninitialized jobs can become blocked. Jobs that were
    canceled because of a failure which is gone come back. Disabled jobs stay disabled.

    By default pending and running jobs are taken back, and a worker that still has one runs it beside the next worker.
    With keep_running a running job is left alone while its compute node is active, and a pending job while any compute
    node of the workflow is active, because a claim does not say by which. The answer counts both.

    Actions start again: what was executed may be executed again, recovery actions are deleted. The run and stored
    results stay, but unfinished jobs have no current result any more; a job that was retried in an earlier run is at
    attempt 1 again. Any body is ignored. Nothing is changed if the
    call is refused.

    With async the answer is 202 and a task, which does the same and survives a restart of the server; what would refuse
    the call makes the task fail. For up to 2000 jobs the answer waits until the task is done. While a task of the
    workflow is active, the same call answers that task.
    """
    if query.pop("async"):
        return start_initialization(id, {name: query[name] for name in query if name in request.args})
    return wire.json_text(long_value(sql.workflows.initialize_jobs, workflow_id=id, **query))


def start_initialization(workflow_id, parameters):
    """Make the task, or find the active one, and answer it."""
    call = {"workflow_id": workflow_id, "parameters": json.dumps(parameters)}
    started = json.loads(value(sql.tasks.start_initialization, **call))
    if started["is_small"]:
        return wire.json_text(long_value(sql.tasks.run_task, task_id=started["task"]["id"]), 202)
    current_app.extensions["tasks"].wake()
    return wire.json_value(started["task"], 202)


@blueprint.post("/workflows/<int64:id>/process_changed_job_inputs")
@wire.query(ProcessChangedJobInputs)
@wire.answers(ProcessChangedJobInputsResponse)
@lane("walks")
def process_changed_job_inputs(id, query):
    """Make the jobs uninitialized whose inputs have changed.

    Compared is what each job was when initialize_jobs was called last: command, invocation_script, dependencies, the
    ids of its files and user data, and the data of those that it reads; not the files themselves, and no requirements.
    Jobs become uninitialized whatever their status; their dependents keep theirs, but those that were canceled because
    one of them failed wait again. Disabled jobs and those never initialized are passed over. The same names come again
    until the next initialize_jobs. Unless dry_run is true, an event is stored, also when no inputs have changed.
    """
    return wire.json_text(long_value(sql.workflows.process_changed_job_inputs, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/reset_job_status")
@wire.query(ResetJobStatus)
@wire.answers(ResetJobStatusResponse)
@lane("walks")
@audited
def reset_job_status(id, query):
    """Make jobs uninitialized again.

    All jobs, running ones too; or, with failed_only, the failed, canceled, terminated and pending_failed ones, with
    everything downstream of the first three. Disabled jobs stay disabled. Jobs forget their active compute nodes;
    results, attempts and the run stay. An event is stored. initialize_jobs makes them run again.
    """
    return wire.json_text(long_value(sql.workflows.reset_job_status, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/reset_status")
@wire.query(ResetWorkflowStatus)
@wire.answers(
    WorkflowAndStatusModel,
    {
        422: "The workflow is archived; or, without force, jobs are pending or running, or scheduled compute nodes "
        "pending or active."
    },
)
@audited
def reset_workflow_status(id, query):
    """Begin the next run of a workflow.

    Its run id is raised by 1, and it is neither canceled nor in need of its completion script any more. Jobs keep their
    status; those that wait to run and were retried are at attempt 1 again. An archived workflow is refused even with
    force. An event is stored. The answer is the workflow. For clients of torc 0.22.2, which raise the run id
    themselves, it stays as it is; for torc CLI 0.23 to 0.28 initialize_jobs raises it.
    """
    return wire.json_text(value(sql.workflows.reset_workflow_status, workflow_id=id, **query))


@blueprint.post("/workflows/<int64:id>/claim_next_jobs")
@direct
@wire.query(ClaimNextJobs)
@wire.answers(ClaimNextJobsResponse, {422: "limit is out of bounds, or start_on or compute_node_id is no such node."})
def claim_next_jobs(id, query):
    """Claim the next ready jobs, whatever they need.

    Highest priority first, then lowest id. A worker with labels gets only jobs that have labels, all of them among its
    own; a worker without labels gets only jobs without labels. They become pending, and nobody else gets them:
    start_job is next, or manage_status_change to ready, which gives them back; claims expire only where the server
    gives up silent compute nodes. An empty list means that nothing is ready, or that the workflow is canceled. Claimed
    jobs come with their outputs, without scheduler_id, inputs and dependencies. Any body is ignored.

    With start_on they become running on that compute node instead, as by start_job, and come with start_time and
    compute_node_id.

    With wait the answer comes as soon as there are jobs for the worker, wherever they become ready, and is empty when
    that many seconds are over, at once if the workflow is complete or canceled, and soon after it becomes so or the
    server stops. A claim whose client hangs up while it waits takes no jobs. Proxies in between must wait for the
    answer longer than that. Where the server runs under another worker class than its own, it never waits.
    """
    limit = query.get("limit", query.get("num_jobs", DEFAULT_CLAIM))
    labels = query.get("labels", [])
    start_on, node_id = query["start_on"], query.get("compute_node_id")
    claim = partial(
        value,
        sql.workflows.claim_next_jobs,
        workflow_id=id,
        limit=limit,
        labels=labels,
        start_on=start_on,
        compute_node_id=node_id,
    )
    return _claim(id, query, limit, ("next", *labels), claim)


@blueprint.post("/workflows/<int64:id>/claim_jobs_based_on_resources/<int64:limit>")
@direct
@wire.query(ClaimByResources)
@wire.body(ComputeNodesResources)
@wire.answers(
    ClaimJobsBasedOnResources,
    {
        422: "A value of the body breaks a rule, limit is out of bounds, time_limit is no duration, or start_on is no "
        "active node of the workflow."
    },
)
def claim_jobs_based_on_resources(id, limit, query, body):
    """Claim ready jobs that fit into a worker's free resources.

    Candidates are the first jobs up to the limit that fit by themselves, suit the worker's labels as in
    claim_next_jobs, and are meant for no scheduler or for the worker's own; if there are none, those of any scheduler,
    unless strict_scheduler_match is true. Their order: priority, then what needs most (GPUs, runtime, memory, CPUs),
    then id. They are packed in that order: a job of several nodes takes whole nodes, jobs of one node share what the
    other nodes have together, and what no longer fits is skipped. If that leaves resources unused, further jobs are
    tried once. So the answer can hold fewer jobs than the limit though more are ready; it is empty only if none fits.

    What is claimed becomes pending, or with start_on running, as with claim_next_jobs, and with wait the answer waits
    for jobs that fit, as there. A canceled workflow gives no jobs, and the answer says so in reason.
    """
    strict, resources = query["strict_scheduler_match"], json.dumps(body, sort_keys=True)
    claim = partial(
        value,
        sql.workflows.claim_jobs_based_on_resources,
        workflow_id=id,
        limit=limit,
        strict=strict,
        resources=resources,
        start_on=query["start_on"],
        compute_node_id=query.get("compute_node_id"),
    )
    return _claim(id, query, limit, ("fitting", limit, strict, resources), claim)


def _claim(workflow_id, query, limit, asks, claim):
    """The answer of a claim, which waits for jobs if the query says so."""
    start_on, node_id = query["start_on"], query.get("compute_node_id")
    seconds = query["wait"] if limit else 0
    nodes = [node for node in (start_on, node_id) if node is not None]
    answer = current.extension("waiting_claims").run(workflow_id, seconds, asks, claim, nodes)
    heard_of(start_on, works=True)
    heard_of(node_id)
    return current.extension("metrics").count_claim(answer)


@blueprint.get("/workflows/<int64:id>/is_complete")
@direct
@wire.answers(IsCompleteResponse)
def is_workflow_complete(id):
    """Tell whether a workflow is complete.

    It is when it is canceled or when every job is completed, failed, canceled, terminated or disabled; a workflow
    without jobs is complete. A pending_failed job keeps it open.
    """
    return value(sql.workflows.is_workflow_complete, workflow_id=id)


@blueprint.get("/workflows/<int64:id>/is_uninitialized")
@lane("alone")
@direct
@wire.answers(IsUninitializedResponse)
def is_workflow_uninitialized(id):
    """Tell whether a workflow is uninitialized.

    It is when every job is uninitialized or disabled, and so is a workflow without jobs.
    """
    return value(sql.workflows.is_workflow_uninitialized, workflow_id=id)


@blueprint.get("/workflows/<int64:id>/ready_job_requirements")
@wire.query(ReadyJobRequirements)
@wire.answers(GetReadyJobRequirementsResponse)
def get_ready_job_requirements(id, query):
    """Get what the ready jobs of a workflow need together.

    Sums of CPUs, GPUs and memory, and the largest number of nodes and runtime of a single job.
    """
    return wire.json_text(
        value(
            sql.workflows.ready_job_requirements,
            workflow_id=id,
            scheduler_config_id=query.get("scheduler_config_id"),
        )
    )


@blueprint.get("/workflows/<int64:id>/job_ids")
@wire.answers(ListJobIdsResponse)
def list_job_ids(id):
    """List the ids of all jobs of a workflow.

    All at once, ascending.
    """
    return wire.json_text(value(sql.workflows.list_job_ids, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/required_existing_files")
@wire.answers(ListRequiredExistingFilesResponse)
def list_required_existing_files(id):
    """List the files of a workflow that should exist.

    Those that some job reads and none writes, and those that a completed job writes. Whether they do exist is for the
    client to look: the server never touches files.
    """
    return wire.json_text(value(sql.workflows.list_required_existing_files, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/missing_user_data")
@wire.answers(ListMissingUserDataResponse)
def list_missing_user_data(id):
    """List the user data of a workflow that should have data and have none.

    Those without data that some job reads and none writes, and those that a completed job should have written.
    """
    return wire.json_text(value(sql.workflows.list_missing_user_data, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/job_dependencies")
@wire.query(ListJobDependencies)
@wire.answers(ListJobDependenciesResponse)
def list_job_dependencies(id, query):
    """List which job of a workflow depends on which.

    One page, by job_id unless sort_by says otherwise. Dependencies through files and user data are in it once
    initialize_jobs has derived them.
    """
    return relationships(sql.workflows.list_job_dependencies, ListJobDependencies, id, query)


@blueprint.get("/workflows/<int64:id>/job_file_relationships")
@wire.query(ListJobFileRelationships)
@wire.answers(ListJobFileRelationshipsResponse)
def list_job_file_relationships(id, query):
    """List which jobs of a workflow write and read its files.

    One page, by file_id. A file is in it once for each pair of a job that writes it and one that reads it; a side that
    it lacks is left out, and files without jobs are not listed.
    """
    return relationships(sql.workflows.list_job_file_relationships, ListJobFileRelationships, id, query)


@blueprint.get("/workflows/<int64:id>/job_user_data_relationships")
@wire.query(ListJobUserDataRelationships)
@wire.answers(ListJobUserDataRelationshipsResponse)
def list_job_user_data_relationships(id, query):
    """List which jobs of a workflow write and read its user data.

    One page, by user_data_id. User data are in it once for each pair of a job that writes them and one that reads them;
    a side that they lack is left out, and user data without jobs are not listed.
    """
    return relationships(
        sql.workflows.list_job_user_data_relationships, ListJobUserDataRelationships, id, query
    )  # fmt: skip


def relationships(statement: Any, schema: type[RelationshipPage], workflow_id: int, query: dict) -> Response:
    """A page of a list of relationships, which has a smaller limit than other lists."""
    query["limit"] = min(query["limit"], schema.max_limit)
    return wire.page(statement, schema, query, workflow_id=workflow_id)
