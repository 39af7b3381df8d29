"""Workflows, their run state, claims, and the lists below a workflow."""

from torc_server.schemas import fields
from torc_server.schemas.common import MAX_LIMIT, Model, Page, Query, SortedPage


class WorkflowModel(Model):
    """A workflow. The configuration fields are opaque text."""

    name = fields.String(required=True)
    user = fields.String(required=True)
    description = fields.String(allow_none=True)
    compute_node_expiration_buffer_seconds = fields.Integer(allow_none=True)
    compute_node_wait_for_new_jobs_seconds = fields.Integer(allow_none=True)
    compute_node_ignore_workflow_completion = fields.Boolean(allow_none=True)
    compute_node_wait_for_healthy_database_minutes = fields.Integer(allow_none=True)
    compute_node_min_time_for_new_jobs_seconds = fields.Integer(allow_none=True)
    resource_monitor_config = fields.String(allow_none=True)
    slurm_defaults = fields.String(allow_none=True)
    use_pending_failed = fields.Boolean(allow_none=True)
    enable_ro_crate = fields.Boolean(allow_none=True)
    project = fields.String(allow_none=True)
    metadata = fields.String(allow_none=True)
    slurm_config = fields.String(allow_none=True)
    execution_config = fields.String(allow_none=True)


class WorkflowStatusModel(Model):
    """The run state of a workflow. On PUT, absent flags are stored as false."""

    run_id = fields.Integer(required=True)
    is_canceled = fields.Boolean(required=True)
    is_archived = fields.Boolean(allow_none=True)
    has_detected_need_to_run_completion_script = fields.Boolean(allow_none=True)


class ListWorkflows(SortedPage):
    """Filters of list_workflows. description matches a part, without regard to case."""

    columns = (
        "id", "name", "user", "description", "timestamp", "compute_node_expiration_buffer_seconds",
        "compute_node_wait_for_new_jobs_seconds", "compute_node_ignore_workflow_completion",
        "compute_node_wait_for_healthy_database_minutes", "compute_node_min_time_for_new_jobs_seconds",
        "resource_monitor_config", "slurm_defaults", "use_pending_failed", "enable_ro_crate", "project", "metadata",
        "status_id", "run_id", "is_archived", "is_canceled", "has_detected_need_to_run_completion_script",
    )  # fmt: skip

    name = fields.QueryString()
    user = fields.QueryString()
    description = fields.QueryString()
    is_archived = fields.QueryBoolean()


class InitializeJobs(Query):
    """only_uninitialized: leave finished jobs alone; clear_ephemeral_user_data: empty what is to be produced again."""

    only_uninitialized = fields.QueryBoolean(load_default=False)
    clear_ephemeral_user_data = fields.QueryBoolean(load_default=False)


class ProcessChangedJobInputs(Query):
    """dry_run: name the changed jobs, change nothing."""

    dry_run = fields.QueryBoolean(load_default=False)


class ResetJobStatus(Query):
    """failed_only: only failed, canceled, terminated and pending_failed jobs, and what lies downstream."""

    failed_only = fields.QueryBoolean(load_default=False)


class ResetWorkflowStatus(Query):
    """force: even while jobs or nodes are pending or active."""

    force = fields.QueryBoolean(load_default=False)


class ReadyJobRequirements(Query):
    """scheduler_config_id: only jobs that a worker of that scheduler may claim."""

    scheduler_config_id = fields.QueryInteger()


class ClaimNextJobs(Query):
    """limit: how many jobs at most. num_jobs is the documentation page's name for it; limit wins."""

    limit = fields.QueryInteger(minimum=0, maximum=MAX_LIMIT)
    num_jobs = fields.QueryInteger(minimum=0, maximum=MAX_LIMIT)


class ClaimJobsBasedOnResources(Query):
    """strict_scheduler_match: never fall back to jobs pinned to other schedulers."""

    strict_scheduler_match = fields.QueryBoolean(load_default=False)


class ComputeNodesResources(Model):
    """What a worker has free: cpus, GiB of memory and gpus per node."""

    num_cpus = fields.Integer(required=True)
    memory_gb = fields.Float(required=True)
    num_gpus = fields.Integer(required=True)
    num_nodes = fields.Integer(required=True)
    time_limit = fields.String(allow_none=True)
    scheduler_config_id = fields.Integer(allow_none=True)


class RelationshipPage(Page):
    """A page of a list below a workflow. A limit beyond the maximum is cut, not refused."""

    limit = fields.QueryInteger(minimum=0, load_default=MAX_LIMIT)
    max_limit = MAX_LIMIT
    sort_by = fields.QueryString()
    reverse_sort = fields.QueryBoolean(load_default=False)


class ListJobDependencies(RelationshipPage):
    """Order of list_job_dependencies."""

    columns = ("job_id", "depends_on_job_id", "workflow_id")
    default_column = "job_id"
    ties = ("job_id", "depends_on_job_id")


class ListJobFileRelationships(RelationshipPage):
    """Order of list_job_file_relationships."""

    columns = ("workflow_id",)
    default_column = "file_id"
    ties = ("file_id", "producer_job_id", "consumer_job_id")


class ListJobUserDataRelationships(RelationshipPage):
    """Order of list_job_user_data_relationships."""

    columns = ("workflow_id",)
    default_column = "user_data_id"
    ties = ("user_data_id", "producer_job_id", "consumer_job_id")
