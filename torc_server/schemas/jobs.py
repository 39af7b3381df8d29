"""Jobs: shell commands with their relations, requirements and status."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, Query, SortedPage


class ComputeNodeSchedule(Model):
    """Compute nodes to schedule for a job. Accepted and echoed, never stored."""

    scheduler_id = fields.Integer(required=True)
    num_jobs = fields.Integer(required=True)
    max_parallel_jobs = fields.Integer(allow_none=True)
    start_one_worker_per_node = fields.Boolean(allow_none=True)


class JobModel(Model):
    """A job of a workflow."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(required=True)
    command = fields.String(required=True)
    invocation_script = fields.String(allow_none=True)
    status = fields.JobStatus(allow_none=True)
    cancel_on_blocking_job_failure = fields.Boolean(allow_none=True)
    supports_termination = fields.Boolean(allow_none=True)
    depends_on_job_ids = fields.IdList(allow_none=True)
    input_file_ids = fields.IdList(allow_none=True)
    output_file_ids = fields.IdList(allow_none=True)
    input_user_data_ids = fields.IdList(allow_none=True)
    output_user_data_ids = fields.IdList(allow_none=True)
    resource_requirements_id = fields.Integer(allow_none=True)
    scheduler_id = fields.Integer(allow_none=True)
    failure_handler_id = fields.Integer(allow_none=True)
    attempt_id = fields.Integer(allow_none=True)
    priority = fields.Integer(minimum=0, allow_none=True)
    schedule_compute_nodes = fields.Object(ComputeNodeSchedule, allow_none=True)


class ListJobs(SortedPage):
    """Filters of list_jobs."""

    columns = (
        "id", "workflow_id", "name", "command", "cancel_on_blocking_job_failure", "supports_termination",
        "resource_requirements_id", "invocation_script", "status", "scheduler_id", "failure_handler_id", "attempt_id",
        "priority",
    )  # fmt: skip

    workflow_id = fields.QueryInteger(required=True)
    status = fields.QueryJobStatus()
    needs_file_id = fields.QueryInteger()
    upstream_job_id = fields.QueryInteger()
    active_compute_node_id = fields.QueryInteger()
    include_relationships = fields.QueryBoolean(load_default=False)


class RetryJob(Query):
    """max_retries: the highest attempt, 32 bits."""

    max_retries = fields.QueryInteger(required=True, minimum=-(2**31), maximum=2**31 - 1)


class ManageStatusChange(Model):
    """The body of the documentation page's form: the status that is wanted, and the run (default: the current one)."""

    target_status = fields.JobStatus(required=True)
    run_id = fields.Integer(allow_none=True)
