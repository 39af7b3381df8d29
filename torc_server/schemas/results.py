"""Results: how one attempt at a job ended."""

from marshmallow import ValidationError, validates_schema

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class ResultModel(Model):
    """The result of one attempt at a job. exit_code, stdout and stderr are those of the documentation page."""

    job_id = fields.Integer(required=True)
    workflow_id = fields.Integer(required=True)
    run_id = fields.Integer(required=True)
    attempt_id = fields.Integer(allow_none=True)
    compute_node_id = fields.Integer(required=True)
    return_code = fields.Integer(required=True)
    exec_time_minutes = fields.Float(required=True)
    completion_time = fields.String(required=True)
    status = fields.JobStatus(required=True)
    peak_memory_bytes = fields.Integer(allow_none=True)
    avg_memory_bytes = fields.Integer(allow_none=True)
    peak_cpu_percent = fields.Float(allow_none=True)
    avg_cpu_percent = fields.Float(allow_none=True)
    exit_code = fields.Integer(allow_none=True)
    stdout = fields.String(allow_none=True)
    stderr = fields.String(allow_none=True)


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
    def require_all_without_exit_code(self, data, **kwargs):
        missing = [name for name in self.filled_in if name not in data]
        if missing and data.get("exit_code") is None:
            raise ValidationError("Missing data for required field.", missing[0])


class ListResults(SortedPage):
    """Filters of list_results. Without all_runs only the current result of each job."""

    columns = (
        "id", "job_id", "workflow_id", "run_id", "attempt_id", "return_code", "exec_time_minutes", "completion_time",
        "status", "compute_node_id", "peak_memory_bytes", "avg_memory_bytes", "peak_cpu_percent", "avg_cpu_percent",
    )  # fmt: skip

    workflow_id = fields.QueryInteger(required=True)
    job_id = fields.QueryInteger()
    run_id = fields.QueryInteger()
    return_code = fields.QueryInteger()
    status = fields.QueryJobStatus()
    compute_node_id = fields.QueryInteger()
    all_runs = fields.QueryBoolean(load_default=False)
