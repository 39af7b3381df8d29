"""The settings of a workflow that workers read: what the server takes in requests. sql/functions/common/dialect.sql
says what clients get to see of them."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, StrictModel

MODES = ("direct", "slurm", "auto")
STDIO_MODES = ("separate", "combined", "no_stdout", "no_stderr", "none")
GRANULARITIES = ("summary", "time_series")


class StdioConfig(StrictModel):
    """What becomes of the output of a job."""

    delete_on_success = fields.Boolean(
        "Whether to delete the output of jobs that succeed.", example=False, allow_none=True
    )
    mode = fields.Word(
        "Which streams are kept, and whether in one file.",
        enumeration="StdioMode",
        words=STDIO_MODES,
        example="separate",
        allow_none=True,
    )


class ExecutionConfig(StrictModel):
    """How workers run and end jobs."""

    enable_cpu_bind = fields.Boolean("Whether Slurm binds jobs to CPUs.", example=False, allow_none=True)
    job_stdio_overrides = fields.ObjectsByName(
        StdioConfig, "stdio of single jobs, by their names.", example={"train": {"mode": "combined"}}, allow_none=True
    )
    limit_resources = fields.Boolean("Whether workers hold jobs to their requirements.", example=True, allow_none=True)
    mode = fields.Word(
        "How workers start jobs: themselves, by srun, or whichever fits.",
        enumeration="ExecutionMode",
        words=MODES,
        example="direct",
        allow_none=True,
    )
    oom_exit_code = fields.Integer("Return code of jobs that were out of memory.", example=137, allow_none=True)
    sigkill_headroom_seconds = fields.Integer(
        "How long before the end of the allocation jobs are killed.", unit="seconds", example=60, allow_none=True
    )
    sigterm_lead_seconds = fields.Integer(
        "How long before that they get termination_signal.", unit="seconds", example=30, allow_none=True
    )
    srun_mpi = fields.String("The option --mpi of srun.", example="none", allow_none=True)
    srun_termination_signal = fields.String("The option --signal of srun.", example="TERM@120", allow_none=True)
    staggered_start = fields.Boolean("Whether workers start one after the other.", example=True, allow_none=True)
    stdio = fields.Object(StdioConfig, "What becomes of the output of jobs.", allow_none=True)
    termination_signal = fields.String("The signal that ends a job.", example="SIGTERM", allow_none=True)
    timeout_exit_code = fields.Integer("Return code of jobs that ran out of time.", example=152, allow_none=True)


class JobMonitorConfig(Model):
    """How workers watch each job."""

    enabled = fields.Boolean("Whether they do.", example=True, default=False, allow_none=True)
    granularity = fields.Word(
        "Whether only a summary is kept.",
        enumeration="MonitorGranularity",
        words=GRANULARITIES,
        example="summary",
        default="summary",
        allow_none=True,
    )


class ComputeNodeMonitorConfig(Model):
    """How workers watch their compute node."""

    cpu = fields.Boolean("Whether the CPUs.", example=True, default=True, allow_none=True)
    enabled = fields.Boolean("Whether they do.", example=True, default=False, allow_none=True)
    granularity = fields.Word(
        "Whether only a summary is kept.",
        enumeration="MonitorGranularity",
        words=GRANULARITIES,
        example="summary",
        default="summary",
        allow_none=True,
    )
    memory = fields.Boolean("Whether the memory.", example=True, default=True, allow_none=True)


class ResourceMonitorConfig(Model):
    """How workers watch the use of CPUs and memory."""

    compute_node = fields.Object(ComputeNodeMonitorConfig, "How they watch their compute node.", allow_none=True)
    enabled = fields.Boolean("Whether they do.", example=True, default=False, allow_none=True)
    flush_interval_seconds = fields.Integer(
        "How often samples are written.", unit="seconds", example=300, default=300, allow_none=True
    )
    generate_plots = fields.Boolean("Whether plots are drawn.", example=False, default=False, allow_none=True)
    granularity = fields.Word(
        "Whether only a summary is kept.",
        enumeration="MonitorGranularity",
        words=GRANULARITIES,
        example="summary",
        default="summary",
        allow_none=True,
    )
    jobs = fields.Object(JobMonitorConfig, "How they watch each job.", allow_none=True)
    sample_interval_seconds = fields.Integer(
        "How often a sample is taken.", unit="seconds", example=10, default=10, allow_none=True
    )


class DynamicJobsConfig(StrictModel):
    """Limits of jobs that add jobs."""

    max_iterations = fields.Integer(
        "How often the jobs of one lineage may add jobs.", example=1000, minimum=1, default=1000, allow_none=True
    )
