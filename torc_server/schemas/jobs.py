"""Jobs: shell commands with their relations, requirements and status."""

from typing import Any

from marshmallow import ValidationError, validates_schema

from torc_server.schemas import fields
from torc_server.schemas.common import (
    MAX_LIMIT,
    Answer,
    Model,
    PageAnswer,
    Query,
    SortedPage,
    StrictModel,
    WorkflowPart,
)


class ComputeNodeSchedule(Model):
    """Compute nodes that a client wants for a job. Accepted and echoed, never stored."""

    scheduler_id = fields.Integer("Id of the scheduler that is to provide the nodes.", example=4, required=True)
    num_jobs = fields.Integer(
        "How many jobs to submit to the scheduler, each one allocation.", example=2, required=True
    )
    max_parallel_jobs = fields.Integer(
        "How many jobs a worker may run at once; absent: as many as fit.", example=8, allow_none=True
    )
    start_one_worker_per_node = fields.Boolean(
        "Whether each node of an allocation gets its own worker.", example=False, allow_none=True
    )


class JobModel(WorkflowPart):
    """A job: a shell command, with what it waits for, reads, writes and needs.

    Relation lists without ids are left out of answers.
    """

    id = fields.RowId(example=12)
    name = fields.String("Name; several jobs may have the same.", example="train", required=True)
    command = fields.String("Command line that workers run in a shell.", example="python train.py", required=True)
    invocation_script = fields.String(
        "Program that workers put before the command, to prepare its environment.",
        example="bash with_environment.sh",
        allow_none=True,
    )
    status = fields.JobStatus(
        "Where the job is. A create ignores it, and an update may only disable an uninitialized job.",
        example="uninitialized",
        default="uninitialized",
        allow_none=True,
    )
    cancel_on_blocking_job_failure = fields.Boolean(
        "Whether the job is canceled, and not released, when a job that it depends on fails.",
        example=True,
        default=True,
        allow_none=True,
    )
    supports_termination = fields.Boolean(
        "Whether the command ends in good order when a worker terminates it; the worker then waits for its exit.",
        example=False,
        default=False,
        allow_none=True,
    )
    depends_on_job_ids = fields.IdList(
        "Ids of the jobs that must be complete before this one is ready; initialize_jobs adds those that produce its "
        "inputs.",
        example=[10, 11],
        allow_none=True,
    )
    input_file_ids = fields.IdList("Ids of the files that the job reads.", example=[21], allow_none=True)
    output_file_ids = fields.IdList("Ids of the files that the job writes.", example=[22, 23], allow_none=True)
    input_user_data_ids = fields.IdList("Ids of the user data that the job reads.", example=[31], allow_none=True)
    output_user_data_ids = fields.IdList("Ids of the user data that the job writes.", example=[32], allow_none=True)
    resource_requirements_id = fields.Integer(
        "Id of the resource requirements; absent in a create: those of the workflow that are named default.",
        example=5,
        allow_none=True,
    )
    scheduler_id = fields.Integer(
        "Id of the scheduler whose workers are meant to run the job; absent: any. It need not exist.",
        example=4,
        allow_none=True,
    )
    failure_handler_id = fields.Integer(
        "Id of the failure handler that workers ask what to do when the job fails. Set by a create only.",
        example=2,
        allow_none=True,
    )
    attempt_id = fields.Integer(
        "Number of the current attempt in the run: retry_job raises it, and when the job is to run in a later run it "
        "is 1 again. What requests say is not stored.",
        example=1,
        default=1,
        allow_none=True,
    )
    priority = fields.Integer(
        "Jobs with a higher one are claimed first.", example=10, minimum=0, default=0, allow_none=True
    )
    schedule_compute_nodes = fields.Object(ComputeNodeSchedule, "Echoed by a create, never stored.", allow_none=True)
    env = fields.Environment(
        "Environment variables of the job. A create puts them on top of those of the workflow; read back are both "
        "together, which an update may repeat and not change.",
        owner="job",
        example={"OMP_NUM_THREADS": "4"},
        allow_none=True,
    )
    labels = fields.Labels(
        "Only workers that have all of these labels claim the job. They may change at any time; an empty list clears "
        "them.",
        example=["gpu"],
        allow_none=True,
    )
    origin = fields.String(
        "How the job came to be or to run again: retry or spawn; absent: it was declared. Given by the server.",
        example="retry",
        dump_only=True,
        allow_none=True,
    )
    start_time = fields.String(
        "When the present execution started: UTC, ISO 8601. Given by the server.",
        example="2026-01-31T08:00:00.000000+00:00",
        dump_only=True,
        allow_none=True,
    )
    compute_node_id = fields.Integer(
        "Id of the compute node that runs the job. Given by the server.", example=3, dump_only=True, allow_none=True
    )


class JobsModel(Model):
    """Jobs to be created together."""

    jobs = fields.Objects(JobModel, "1 to 100000 jobs of one workflow, each with another name.", required=True)


class CreateJobsResponse(Answer):
    """The jobs that were created."""

    jobs = fields.Objects(JobModel, "The jobs in the order of the request, each with its id.", allow_none=True)


class ListJobs(SortedPage):
    """Filters of list_jobs."""

    columns = (
        "id", "workflow_id", "name", "command", "cancel_on_blocking_job_failure", "supports_termination",
        "resource_requirements_id", "invocation_script", "status", "scheduler_id", "failure_handler_id", "attempt_id",
        "priority", "env", "labels", "origin",
    )  # fmt: skip
    page_after = "upstream_job_id"

    workflow_id = fields.QueryInteger("Id of the workflow whose jobs are listed.", example=7, required=True)
    status = fields.QueryJobStatus("Only jobs with this status.")
    needs_file_id = fields.QueryInteger("Only jobs that read this file.", example=21)
    upstream_job_id = fields.QueryInteger("Only jobs that depend directly on this one.", example=10)
    include_relationships = fields.QueryBoolean(
        "Whether the jobs come with their relation lists.", example=True, load_default=False
    )
    active_compute_node_id = fields.QueryInteger(
        "Only jobs that this compute node has started and nobody has completed, retried or reset since.", example=3
    )
    origin_is_set = fields.QueryBoolean(
        "true: only jobs that were retried or spawned; false: only the others; absent: both.", example=True
    )
    name = fields.QueryString("Only jobs whose name holds this text, in upper or lower case.", example="train")
    command = fields.QueryString("Only jobs whose command holds this text, in upper or lower case.", example="python")
    labels = fields.QueryString(
        "Labels of a worker, with commas between them: only jobs that it may claim, so only jobs with labels. Empty: "
        "only jobs without labels.",
        example="gpu,large",
    )


class ListJobsResponse(PageAnswer):
    """A page of jobs."""

    items = fields.Objects(JobModel, "The jobs of this page.", required=True)
    jobs = fields.Objects(JobModel, "The same as items, under the name that the documentation page uses.")


class QueryAttempt(fields.QueryInteger):
    """The number of an attempt, 32 bits."""

    openapi = {"type": "integer", "format": "int32"}


class RetryJob(Query):
    """max_retries: the highest attempt."""

    max_retries = QueryAttempt(
        "The highest attempt that may be made, the first included: 3 allows two retries.",
        example=3,
        required=True,
        minimum=-(2**31),
        maximum=2**31 - 1,
    )


class ManageStatusChange(Model):
    """The status that a job is to get."""

    target_status = fields.JobStatus(
        "Any status that is not completed, failed, canceled or terminated.", example="ready", required=True
    )
    run_id = fields.Integer("The run that the caller believes in; absent: the current one.", example=1, allow_none=True)


class SpawnJobModel(StrictModel):
    """A job that a running job adds, and that waits for it. Other keys are refused."""

    name = fields.String(
        "Name; no job of the workflow may have it yet, and no other one of the request.",
        example="step_2",
        required=True,
    )
    command = fields.String("Command line that workers run in a shell.", example="python step.py 2", required=True)
    resource_requirements = fields.String(
        "Name of the resource requirements; absent: those of the workflow that are named default.",
        example="small",
        allow_none=True,
    )
    priority = fields.Integer(
        "Jobs with a higher one are claimed first.", example=10, minimum=0, default=0, allow_none=True
    )
    cancel_on_blocking_job_failure = fields.Boolean(
        "Whether the job is canceled, and not released, when a job that it depends on fails.",
        example=True,
        default=True,
        allow_none=True,
    )
    depends_on = fields.Texts(
        "Names of further jobs that it waits for: of the same request, or else of the workflow.",
        example=["step_1"],
        allow_none=True,
    )
    labels = fields.Labels(
        "Only workers that have all of these labels claim the job.", example=["gpu"], allow_none=True
    )


class SpawnJobsRequest(StrictModel):
    """Jobs that a running job adds. Other keys are refused."""

    jobs = fields.Objects(
        SpawnJobModel, "Up to 100000 jobs; none: the state is the final one of the lineage.", required=True
    )
    lineage = fields.String(
        "What the calls that follow each other belong to; absent: the name of the calling job. Spawned jobs find it in "
        "their environment, as TORC_ORCHESTRATOR_LINEAGE_ID.",
        example="optimize",
        allow_none=True,
    )
    state = fields.Json(
        "Any JSON value, kept in the user data of this generation of the lineage.", example={"best": 0.25}
    )

    @validates_schema
    def have_different_names(self, data: dict[str, Any], **kwargs: Any) -> None:
        if len(data["jobs"]) > MAX_LIMIT:
            raise ValidationError(f"Too many jobs in batch: {len(data['jobs'])}. Maximum is {MAX_LIMIT}", "jobs")
        names = set()
        for number, job in enumerate(data["jobs"]):
            if job["name"] in names:
                reason = f"duplicate name {job['name']!r} in spawn batch"
                raise ValidationError({"jobs": {number: {"name": [reason]}}})
            names.add(job["name"])


class SpawnJobsResponse(Answer):
    """The jobs that were added."""

    spawned_job_ids = fields.IdList("Ids of the jobs, in the order of the request.", example=[21, 22], required=True)
    iteration = fields.Integer(
        "How many generations the lineage has: calls that have added jobs.", example=2, required=True
    )
