"""Results: how one attempt at a job ended."""

from typing import Any

from marshmallow import ValidationError, validates_schema

from torc_server.schemas import fields
from torc_server.schemas.common import Answer, Model, PageAnswer, SortedPage


class ResultModel(Model):
    """How one attempt at a job ended, and what it used. A job has at most one result for each run and attempt."""

    id = fields.RowId(example=31)
    job_id = fields.Integer("Id of the job.", example=12, required=True)
    workflow_id = fields.Integer("Id of the workflow of the job.", example=7, required=True)
    run_id = fields.Integer("Run of the workflow in which the attempt was made.", example=1, required=True)
    attempt_id = fields.Integer(
        "Number of the attempt within the run, as the job has it. Absent: the job's current attempt.",
        example=1,
        allow_none=True,
    )
    compute_node_id = fields.Integer("Id of the compute node that ran the job.", example=3, required=True)
    return_code = fields.Integer("What the command returned; 0 by convention means success.", example=0, required=True)
    exec_time_minutes = fields.Float("How long the attempt ran.", unit="minutes", example=12.5, required=True)
    completion_time = fields.String(
        "When the attempt ended; free text, an RFC 3339 time by convention.",
        example="2026-01-01T00:12:30.000Z",
        required=True,
    )
    status = fields.JobStatus(
        "How the attempt ended, whatever return_code says; in complete_job the status of the path, elsewhere any.",
        example="completed",
        required=True,
    )
    peak_memory_bytes = fields.Integer(
        "Most memory in use at a time. Absent: not measured.", unit="bytes", example=1073741824, allow_none=True
    )
    avg_memory_bytes = fields.Integer(
        "Memory in use on average. Absent: not measured.", unit="bytes", example=536870912, allow_none=True
    )
    peak_cpu_percent = fields.Float(
        "Highest CPU use, where 100 is one CPU. Absent: not measured.", unit="percent", example=398.5, allow_none=True
    )
    avg_cpu_percent = fields.Float(
        "CPU use on average, where 100 is one CPU. Absent: not measured.",
        unit="percent",
        example=187.25,
        allow_none=True,
    )
    exit_code = fields.Integer(
        "What the command returned, in the short form of create_result; kept beside return_code.",
        example=0,
        allow_none=True,
    )
    stdout = fields.String(
        "Standard output of the command, where a client has sent it.", example="done\n", allow_none=True
    )
    stderr = fields.String(
        "Standard error of the command, where a client has sent it.", example="warning: slow disk\n", allow_none=True
    )
    job_name = fields.String("Name of the job. Given by the server.", example="train", dump_only=True, allow_none=True)


class NewResult(ResultModel):
    """A result to be stored. With exit_code, the form of the documentation page, the server fills in what is absent."""

    filled_in = ("run_id", "compute_node_id", "return_code", "exec_time_minutes", "completion_time", "status")

    run_id = fields.Integer()
    compute_node_id = fields.Integer()
    return_code = fields.Integer()
    exec_time_minutes = fields.Float()
    completion_time = fields.String()
    status = fields.JobStatus()

    @validates_schema
    def require_all_without_exit_code(self, data: dict[str, Any], **kwargs: Any) -> None:
        missing = [name for name in self.filled_in if name not in data]
        if missing and data.get("exit_code") is None:
            raise ValidationError("Missing data for required field.", missing[0])


class JobCompletionEntry(Model):
    """One completion of a batch: what complete_job takes in its path and its body."""

    job_id = fields.Integer("Id of the job.", example=12, required=True)
    status = fields.JobStatus(
        "The status that the job is to get: completed, failed, canceled, terminated or pending_failed.",
        example="completed",
        required=True,
    )
    run_id = fields.Integer("The current run of the workflow.", example=1, required=True)
    result = fields.Object(ResultModel, "How the attempt ended; of the same job, status and run.", required=True)


class BatchCompleteJobsRequest(Model):
    """Jobs that have ended."""

    completions = fields.Objects(
        JobCompletionEntry, "The completions, of jobs of one workflow, in the order in which they count.", required=True
    )


class JobCompletionError(Answer):
    """A completion of a batch that was refused."""

    job_id = fields.Integer("Id of the job, as the request named it.", example=13, required=True)
    message = fields.String(
        "Why the completion was refused.", example="Job 13 is already complete with status failed", required=True
    )


class BatchCompleteJobsResponse(Answer):
    """What became of each completion of a batch."""

    completed = fields.ListOfIntegers(
        "Ids of the jobs whose completion is stored now, in the order of the request.", example=[12], required=True
    )
    errors = fields.Objects(
        JobCompletionError, "The completions that were refused, in the order of the request.", required=True
    )


class ListResults(SortedPage):
    """Filters of list_results. Without all_runs only the current result of each job."""

    columns = (
        "id", "job_id", "workflow_id", "run_id", "attempt_id", "return_code", "exec_time_minutes", "completion_time",
        "status", "compute_node_id", "peak_memory_bytes", "avg_memory_bytes", "peak_cpu_percent", "avg_cpu_percent",
    )  # fmt: skip
    page_after = "compute_node_id"

    workflow_id = fields.QueryInteger("Id of the workflow whose results are listed.", example=7, required=True)
    job_id = fields.QueryInteger("Only those of this job.", example=12)
    run_id = fields.QueryInteger("Only those of this run of the workflow.", example=1)
    return_code = fields.QueryInteger("Only those with this return code.", example=0)
    status = fields.QueryJobStatus("Only those with this status.")
    compute_node_id = fields.QueryInteger("Only those of jobs that this compute node ran.", example=3)
    all_runs = fields.QueryBoolean(
        "true: all results; false: only the current one of each job.", example=True, load_default=False
    )


class ListResultsResponse(PageAnswer):
    """A page of results."""

    items = fields.Objects(ResultModel, "The results of this page.", required=True)
