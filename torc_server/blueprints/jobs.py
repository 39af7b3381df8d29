"""Jobs: create, read, change, and the transitions of one job."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.bulk import Rows
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.node_watch import heard_of
from torc_server.observer import audited
from torc_server.repository import long_value, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.jobs import (
    CreateJobsResponse,
    JobModel,
    JobsModel,
    ListJobs,
    ListJobsResponse,
    ManageStatusChange,
    RetryJob,
    SpawnJobsRequest,
    SpawnJobsResponse,
)
from torc_server.schemas.results import BatchCompleteJobsRequest, BatchCompleteJobsResponse, ResultModel

blueprint = Blueprint("jobs", __name__)
exact_job = ExactTypes(JobModel())

UNRELATED = "A value breaks a rule, or a related row does not exist or is of another workflow; the message says which."
SET_STATUS_ERRORS = {
    409: "The job cannot be blocked: it waits for no dependency.",
    422: "Such a status takes complete_job, or the run is not the current one of the workflow.",
}


@blueprint.post("/jobs")
@wire.body(JobModel)
@wire.answers(JobModel, {422: UNRELATED})
def create_job(body):
    """Create a job.

    It is uninitialized until initialize_jobs, whatever status is sent. Related jobs, files and user data must be of the
    same workflow, without an id twice in a list; the resource requirements and the failure handler must exist. The
    answer is what was sent, with the id, the status and the resource requirements; the defaults of other absent fields
    show up when the job is read.
    """
    jobs = json.dumps([body])
    return wire.json_text(value(sql.jobs.create_job, workflow_id=body["workflow_id"], jobs=jobs))


@blueprint.post("/bulk_jobs")
@wire.takes(JobsModel())
@wire.answers(CreateJobsResponse, {422: f"Two jobs of the request have the same name. {UNRELATED}"})
@lane("walks")
def create_jobs():
    """Create up to 100000 jobs of one workflow.

    All or none are created, in the order of the request and with ascending ids; the same rules hold for each as for a
    single create. A job may depend on stored jobs and on earlier ones of the request. The ids of those are not known
    beforehand, so relate them through files and user data instead. No two jobs of a request may have the same name;
    jobs that are there already may.
    """
    with Rows("jobs", exact_job, has_unique_names=True) as jobs:
        jobs.read()
        jobs.refuse_empty()
        return wire.spooled_pieces(sql.jobs.create_jobs, jobs, "jobs", workflow_id=jobs.first["workflow_id"])


@blueprint.get("/jobs")
@wire.query(ListJobs)
@wire.answers(ListJobsResponse)
def list_jobs(query):
    """List the jobs of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list, and an id that does not
    exist in a filter leaves nothing of it. Relation lists are in it only with include_relationships.
    """
    return wire.page(sql.jobs.list_jobs, ListJobs, query, alias="jobs")


@blueprint.delete("/jobs")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_jobs(query):
    """Delete all jobs of a workflow.

    Their results, Slurm statistics and dependencies go with them, whatever their status; files and user data stay. The
    answer says how many jobs were deleted.
    """
    return wire.json_value({"count": long_value(sql.jobs.delete_jobs, **query)})


@blueprint.get("/jobs/<int64:id>")
@direct
@wire.answers(JobModel)
def get_job(id):
    """Get a job with its relations.

    The five relation lists are ascending; depends_on_job_ids also holds the dependencies that initialize_jobs added.
    Lists without ids and unset fields are left out.
    """
    return value(sql.jobs.get_job, job_id=id)


@blueprint.put("/jobs/<int64:id>")
@wire.body(JobModel)
@wire.answers(
    JobModel, {422: "The status does not allow that change, the field never changes, or a related row does not exist."}
)
def update_job(id, body):
    """Change a job.

    Absent optional fields keep their value. In any status: invocation_script, cancel_on_blocking_job_failure,
    supports_termination, priority, resource_requirements_id and scheduler_id. Only while the job is uninitialized:
    name, command, depends_on_job_ids (replaced as a whole, an empty list clears it) and the status, which can become
    disabled and nothing else. The lists of files and user data never change, nor does workflow_id; failure_handler_id
    and attempt_id are ignored. A job may be sent back as it was read. The answer is the job with its relations.
    """
    return wire.json_text(value(sql.jobs.update_job, job_id=id, body=json.dumps(body)))


@blueprint.delete("/jobs/<int64:id>")
@wire.answers(JobModel)
@audited
def delete_job(id):
    """Delete a job.

    The answer is the job that was deleted, which may be in any status. Its results, Slurm statistics and dependencies
    go with it. Its dependents go on as if it had completed: a blocked one that waited for nothing else is released, and
    those that were canceled because this job failed come back.
    """
    return wire.json_text(value(sql.jobs.delete_job, job_id=id))


@blueprint.put("/jobs/<int64:id>/start_job/<int64:run_id>/<int64:compute_node_id>")
@direct
@wire.answers(
    JobModel,
    {
        409: "The job is not pending: it has to be claimed first.",
        422: "The run is not the current one of the workflow, or the compute node does not exist.",
    },
)
def start_job(id, run_id, compute_node_id):
    """Start a claimed job on a compute node.

    A pending job becomes running and the node its active compute node; open event streams hear of it. Sent again for
    the same node while the job runs, the call is answered as before. The answer is the job with its relations.
    """
    text = value(sql.jobs.start_job, job_id=id, run_id=run_id, compute_node_id=compute_node_id)
    heard_of(compute_node_id, works=True)
    return text


@blueprint.post("/jobs/<int64:id>/complete_job/<job_status:status>/<int64:run_id>")
@direct
@wire.body(ResultModel)
@wire.answers(
    JobModel,
    {
        409: "The job is disabled or pending_failed.",
        422: "The status is not terminal, the job is complete already, another result of this run and attempt is "
        "stored, the result is of another job, workflow, run or status, or the compute node does not exist.",
    },
)
def complete_job(id, status, run_id, body):
    """Complete a job: store its result, release or cancel its dependents.

    All of it happens or none. The job gets the status of the path: completed, failed, canceled or terminated, which
    count as complete, or pending_failed, which keeps dependents blocked. A blocked dependent that waits for nothing
    else becomes ready; but if a job that it depends on ended otherwise than completed and its own
    cancel_on_blocking_job_failure is true, it becomes canceled, without a result, and so on all the way down. Actions
    that waited for any of it become pending.

    The job need not be running. The result's own status must be that of the path. Its attempt_id is the job's unless
    given; from the compute node that runs the job, a lower one is taken as the job's too. From elsewhere a lower one is
    a stale report: its result is stored as that of its attempt, never as the current one, and the job is left alone.
    The same call sent again, with the same value in every field, is answered with the job as it is and changes nothing.
    """
    text = value(sql.jobs.complete_job, job_id=id, status=status, run_id=run_id, result=json.dumps(body))
    heard_of(body["compute_node_id"])
    return text


@blueprint.post("/workflows/<int64:id>/batch_complete_jobs")
@direct
@wire.body(BatchCompleteJobsRequest)
@wire.answers(BatchCompleteJobsResponse)
def batch_complete_jobs(id, body):
    """Complete many jobs of a workflow in one call.

    The outcome is that of complete_job, called for one entry after the other, but it is stored in one transaction and
    at a fraction of the cost. An entry that complete_job would refuse is listed under errors with the reason, and the
    others are stored all the same; only a body that breaks a rule is refused as a whole. An entry that is stored
    already, with the same value in every field, counts as completed: after a lost answer the same batch may be sent
    again. So does a stale report, which is stored as the result of its attempt and leaves the job alone.
    """
    completions = body["completions"]
    text = value(sql.jobs.batch_complete_jobs, workflow_id=id, completions=json.dumps(completions))
    heard_of(*{completion["result"]["compute_node_id"] for completion in completions})
    return text


@blueprint.post("/jobs/<int64:id>/spawn_jobs")
@wire.body(SpawnJobsRequest)
@wire.answers(
    SpawnJobsResponse,
    {
        422: "The job is not running, some of the names exist and some do not, the lineage has as many generations as "
        "it may, the requirements or a dependency are unknown, or the new jobs wait for each other in a circle."
    },
)
def spawn_jobs(id, body):
    """Add jobs that wait for a running job, from within that job.

    All or none are added. They are blocked until the calling job and what they depend on is complete, and then become
    ready, or are canceled if it failed, as all jobs. Their env is that of the workflow, and the name of the lineage in
    TORC_ORCHESTRATOR_LINEAGE_ID; their origin is spawn.

    The calls of a lineage are counted by user data that keeps the state of each; its name is __torc_lineage__, then the
    lineage, then __g and the number in six digits. There may be as many as dynamic_jobs.max_iterations of the workflow
    says, by default 1000. Without jobs, a state is kept as the final one, under the name with __final. When jobs of all
    names of a call exist, it is answered with their ids and changes nothing, so a job that is retried may call as
    before.
    """
    return wire.json_text(value(sql.jobs.spawn_jobs, job_id=id, request=json.dumps(body)))


@blueprint.put("/jobs/<int64:id>/manage_status_change/<job_status:status>/<int64:run_id>")
@wire.answers(JobModel, SET_STATUS_ERRORS)
def manage_status_change(id, status, run_id):
    """Set the status of a job by hand.

    Any status but completed, failed, canceled and terminated, from any status; ready gives a claimed job back. The
    status that the job has already changes nothing, and then the run is not compared. When a complete job becomes
    uninitialized, so do its direct dependents that are completed or failed; jobs that were canceled because it failed
    wait again. Actions on ready jobs do not count a job that is made ready by hand. The answer is the job with its
    relations.
    """
    return wire.json_text(value(sql.jobs.manage_status_change, job_id=id, status=status, run_id=run_id))


@blueprint.post("/jobs/<int64:id>/manage_status_change")
@wire.body(ManageStatusChange)
@wire.answers(JobModel, SET_STATUS_ERRORS)
def manage_status_change_by_body(id, body):
    """Set the status of a job by hand, with a body.

    The form of the documentation page; the same rules as with the status and the run in the path. Without run_id the
    current run is meant.
    """
    return wire.json_text(
        value(
            sql.jobs.manage_status_change, job_id=id, status=body["target_status"], run_id=body.get("run_id")
        )
    )  # fmt: skip


@blueprint.post("/jobs/<int64:id>/retry/<int64:run_id>")
@wire.query(RetryJob)
@wire.answers(
    JobModel,
    {
        422: "The job is not running, failed or terminated, its attempts are used up, max_retries is out of bounds, or "
        "the run is not the current one of the workflow."
    },
)
def retry_job(id, run_id, query):
    """Make a running, failed or terminated job ready for its next attempt.

    attempt_id grows by one; it must be below max_retries before. Results of earlier attempts stay, and jobs that were
    canceled because this one failed wait for it again. An event is stored. The answer is the job without its relation
    lists.
    """
    return wire.json_text(value(sql.jobs.retry_job, job_id=id, run_id=run_id, **query))
