"""Workflows, their run state, claims, and the lists below a workflow."""

from torc_server.schemas import fields
from torc_server.schemas.common import MAX_LIMIT, Answer, Model, Page, PageAnswer, Query, SortedPage
from torc_server.schemas.jobs import JobModel
from torc_server.schemas.workflow_settings import DynamicJobsConfig, ExecutionConfig, ResourceMonitorConfig

MAX_WAIT = 60  # seconds for which a claim may wait for jobs


class WorkflowModel(Model):
    """A workflow: a set of jobs that run together, and how workers are to treat them.

    The compute_node fields and the configurations are for clients and workers: the server keeps them as they are.
    Requests may hold the configurations as JSON objects or as text. In answers, torc 0.22.2 and its successors before
    API 0.18 get text, later ones get objects, and other programs get the form in which they were written.
    """

    id = fields.RowId(example=7)
    name = fields.String("Name; several workflows may have the same.", example="training", required=True)
    user = fields.String(
        "Owner. A create by a user who is logged in makes it that user, whatever is sent.",
        example="alice",
        required=True,
    )
    description = fields.String(
        "What the workflow is for, in words.", example="Trains one model per region", allow_none=True
    )
    timestamp = fields.String(
        "When it was created: UTC, ISO 8601, milliseconds.",
        example="2026-01-31T08:00:00.000Z",
        dump_only=True,
        allow_none=True,
    )
    status_id = fields.Integer(
        "Id of its run state, which is the workflow's own.", example=7, dump_only=True, allow_none=True
    )
    compute_node_expiration_buffer_seconds = fields.Integer(
        "How long before the end of their allocation workers end their jobs; current clients leave that to Slurm.",
        unit="seconds",
        example=180,
        allow_none=True,
    )
    compute_node_wait_for_new_jobs_seconds = fields.Integer(
        "How long a worker without work waits for ready jobs before it exits.",
        unit="seconds",
        example=90,
        default=90,
        allow_none=True,
    )
    compute_node_ignore_workflow_completion = fields.Boolean(
        "Whether workers stay when the workflow is complete.", example=False, default=False, allow_none=True
    )
    compute_node_wait_for_healthy_database_minutes = fields.Integer(
        "How long workers keep trying when the server does not answer.",
        unit="minutes",
        example=20,
        default=20,
        allow_none=True,
    )
    compute_node_min_time_for_new_jobs_seconds = fields.Integer(
        "Workers with less time left than this ask for no more jobs. Fixed at creation.",
        unit="seconds",
        example=300,
        default=300,
        allow_none=True,
    )
    resource_monitor_config = fields.TextOrObject(
        "How workers watch the use of CPUs and memory: a ResourceMonitorConfig, or its text. Fixed at creation.",
        model=ResourceMonitorConfig,
        example={"enabled": True},
        allow_none=True,
    )
    slurm_defaults = fields.TextOrObject(
        "Options of sbatch for all Slurm schedulers of the workflow: an object, or its text. Fixed at creation.",
        example={"account": "research"},
        allow_none=True,
    )
    use_pending_failed = fields.Boolean(
        "Whether workers complete jobs whose failure no handler covers as pending_failed and not as failed.",
        example=False,
        allow_none=True,
    )
    enable_ro_crate = fields.Boolean(
        "Whether initialize_jobs records an RO-Crate entity for each file that has a modification time.",
        example=True,
        allow_none=True,
    )
    project = fields.String("Project that the workflow belongs to.", example="climate", allow_none=True)
    metadata = fields.TextOrObject(
        "Whatever else is to be kept: an object, or text.", example={"ticket": 41}, allow_none=True
    )
    slurm_config = fields.String(
        "How workers use Slurm: the text of a JSON object.", example='{"use_srun": true}', allow_none=True
    )
    execution_config = fields.TextOrObject(
        "How workers run and end jobs: an ExecutionConfig, or text that holds one.",
        model=ExecutionConfig,
        example={"mode": "direct"},
        allow_none=True,
    )
    env = fields.Environment(
        "Environment variables of all jobs of the workflow; a job's own come on top. Fixed at creation.",
        owner="workflow",
        example={"OMP_NUM_THREADS": "4"},
        allow_none=True,
    )
    dynamic_jobs = fields.Object(DynamicJobsConfig, "Limits of jobs that add jobs. Fixed at creation.", allow_none=True)
    submission_directory = fields.String(
        "The directory from which the workflow was submitted. Fixed at creation.",
        example="/home/alice/training",
        allow_none=True,
    )
    access_groups = fields.Names(
        "Names of the access groups that the workflow is shared with. A create shares it; later there are operations "
        "for that.",
        example=["research"],
        allow_none=True,
    )
    run_id = fields.Integer(
        "Number of the current run; given by the server.", example=1, dump_only=True, allow_none=True
    )
    is_canceled = fields.Boolean(
        "Whether the workflow is canceled; given by the server.", example=False, dump_only=True, allow_none=True
    )
    is_archived = fields.Boolean(
        "Whether the workflow is archived; given by the server.", example=False, dump_only=True, allow_none=True
    )


class JobStatusCounts(Answer):
    """How many jobs of a workflow have each status."""

    uninitialized = fields.Integer("Not yet initialized.", example=0, required=True)
    blocked = fields.Integer("Waiting for other jobs.", example=3, required=True)
    ready = fields.Integer("To be claimed.", example=2, required=True)
    pending = fields.Integer("Claimed.", example=0, required=True)
    running = fields.Integer("Started.", example=1, required=True)
    completed = fields.Integer("Succeeded.", example=6, required=True)
    failed = fields.Integer("Failed.", example=0, required=True)
    canceled = fields.Integer("Canceled.", example=0, required=True)
    terminated = fields.Integer("Terminated.", example=0, required=True)
    disabled = fields.Integer("Never to run.", example=0, required=True)
    pending_failed = fields.Integer("Failed, and to be decided about.", example=0, required=True)


class WorkflowStatusModel(Model):
    """The run state of a workflow."""

    id = fields.Integer("Id of the workflow.", example=7, dump_only=True, allow_none=True)
    run_id = fields.Integer(
        "Number of the current run: 0 at first, raised by clients. Results and job transitions name it.",
        example=1,
        required=True,
    )
    is_canceled = fields.Boolean(
        "Whether the workflow is canceled: claims give out nothing, and it counts as complete.",
        example=False,
        required=True,
    )
    is_archived = fields.Boolean(
        "Whether the workflow is put away: lists can leave it out, and its run state cannot be reset.",
        example=False,
        default=False,
        allow_none=True,
    )
    has_detected_need_to_run_completion_script = fields.Boolean(
        "Set by clients, passed on by is_complete as needs_to_run_completion_script.",
        example=False,
        default=False,
        allow_none=True,
    )


class WorkflowAndStatusModel(WorkflowModel):
    """A workflow after a change of its run state."""

    has_detected_need_to_run_completion_script = fields.Boolean(
        "Set by clients, passed on by is_complete as needs_to_run_completion_script.",
        example=False,
        dump_only=True,
        allow_none=True,
    )


class WorkflowStatusResponse(Answer):
    """How a workflow is doing: its run state, its jobs, and what it runs on."""

    id = fields.Integer("Id of the workflow.", example=7, required=True)
    workflow_id = fields.Integer("The same id.", example=7, required=True)
    workflow_name = fields.String("Name of the workflow.", example="training", required=True)
    workflow_user = fields.String("Owner of the workflow.", example="alice", required=True)
    run_id = fields.Integer("Number of the current run.", example=1, required=True)
    is_canceled = fields.Boolean("Whether the workflow is canceled.", example=False, required=True)
    is_archived = fields.Boolean("Whether the workflow is archived.", example=False, required=True)
    is_complete = fields.Boolean("Whether the workflow is complete, as is_complete says.", example=False, required=True)
    has_detected_need_to_run_completion_script = fields.Boolean("Set by clients.", example=False, required=True)
    total_jobs = fields.Integer("How many jobs the workflow has.", example=12, required=True)
    jobs_by_status = fields.Object(JobStatusCounts, "How many jobs have each status.", required=True)
    total_exec_time_minutes = fields.Float(
        "How long the current results took together.", unit="minutes", example=81.5, required=True
    )
    walltime_seconds = fields.Float(
        "From the start of the first current result to the end of the last; absent: there is none.",
        unit="seconds",
        example=640.5,
        allow_none=True,
    )
    active_compute_nodes = fields.Integer("How many compute nodes are active.", example=2, required=True)
    pending_scheduled_nodes = fields.Integer("How many scheduled compute nodes are pending.", example=1, required=True)
    active_scheduled_nodes = fields.Integer("How many scheduled compute nodes are active.", example=1, required=True)
    max_allocation_remaining_seconds = fields.Integer(
        "How much time the active compute node has that ends last; absent: none says when it ends.",
        unit="seconds",
        example=3600,
        allow_none=True,
    )
    runtime_blocked_ready_jobs = fields.Integer(
        "How many ready jobs without labels need more time than every active compute node without labels has left.",
        example=0,
        required=True,
    )
    longest_ready_runtime_seconds = fields.Integer(
        "The longest runtime of a ready job without labels; absent if the time of compute nodes is not limited.",
        unit="seconds",
        example=7200,
        allow_none=True,
    )
    unserved_ready_labels = fields.JsonObject(
        "Ready jobs by their labels, joined by commas, where no active compute node has all of these; absent: none.",
        example={"gpu,large": 3},
        allow_none=True,
    )


class ListWorkflows(SortedPage):
    """Filters of list_workflows. description matches a part, without regard to case."""

    columns = (
        "id", "name", "user", "description", "timestamp", "compute_node_expiration_buffer_seconds",
        "compute_node_wait_for_new_jobs_seconds", "compute_node_ignore_workflow_completion",
        "compute_node_wait_for_healthy_database_minutes", "compute_node_min_time_for_new_jobs_seconds",
        "resource_monitor_config", "slurm_defaults", "use_pending_failed", "enable_ro_crate", "project", "metadata",
        "status_id", "run_id", "is_archived", "is_canceled", "has_detected_need_to_run_completion_script",
        "env", "submission_directory",
    )  # fmt: skip

    name = fields.QueryString("Only workflows with exactly this name.", example="training")
    user = fields.QueryString("Only workflows of this user.", example="alice")
    description = fields.QueryString(
        "Only workflows whose description holds this text, in upper or lower case.", example="region"
    )
    is_archived = fields.QueryBoolean(
        "true: only archived workflows; false: only the others; absent: both.", example=False
    )
    access_group = fields.QueryString("Only workflows that are shared with the group of this name.", example="research")
    older_than = fields.QueryAge(
        "Only workflows in which nothing has happened for so many hours, days or weeks: created, last event and last "
        "result are older.",
        example="90d",
    )
    is_prunable = fields.QueryBoolean(
        "true: only workflows that `torc-server prune` would delete, with older_than as their age: complete, canceled "
        "or archived, no job pending or running, no compute node active, nothing of it used by another workflow; "
        "false: only the others.",
        example=True,
    )


class ListWorkflowsResponse(PageAnswer):
    """A page of workflows."""

    items = fields.Objects(WorkflowModel, "The workflows of this page.", required=True)
    workflows = fields.Objects(WorkflowModel, "The same as items, under the name that the documentation page uses.")


class InitializeJobs(Query):
    """only_uninitialized: leave finished jobs alone; clear_ephemeral_user_data: empty what is to be produced again;
    keep_running: leave jobs alone that an active compute node holds."""

    only_uninitialized = fields.QueryBoolean(
        "Whether to reset what lies downstream of uninitialized jobs and leave other finished jobs alone.",
        example=True,
        load_default=False,
    )
    clear_ephemeral_user_data = fields.QueryBoolean(
        "Whether to empty the ephemeral user data whose producers are not complete afterwards.",
        example=True,
        load_default=False,
    )
    keep_running = fields.QueryBoolean(
        "Whether to leave running jobs alone whose compute node is active, and pending jobs while the workflow has an "
        "active compute node.",
        example=True,
        load_default=False,
    )
    vars()["async"] = fields.QueryBoolean(  # a keyword of Python
        "Whether to answer at once with a task, and do the work after that.", example=True, load_default=False
    )


class InitializeJobsResponse(Answer):
    """What was done, and what became of the jobs that were pending or running."""

    message = fields.String("What was done.", example="Initialized job status", required=True)
    jobs_taken_back = fields.Integer(
        "How many pending and running jobs became ready or blocked; workers may still run them.",
        example=0,
        required=True,
    )
    jobs_kept = fields.Integer(
        "How many pending and running jobs were left alone because of keep_running.", example=2, required=True
    )


class ProcessChangedJobInputs(Query):
    """dry_run: name the changed jobs, change nothing."""

    dry_run = fields.QueryBoolean("Whether only to name the jobs.", example=True, load_default=False)


class ProcessChangedJobInputsResponse(Answer):
    """The jobs whose inputs have changed."""

    reinitialized_jobs = fields.Strings(
        "Names of the jobs whose inputs have changed, by their ids; uninitialized now unless it was a dry run.",
        example=["train", "report"],
        required=True,
    )


class ResetJobStatus(Query):
    """failed_only: only failed, canceled, terminated and pending_failed jobs, and what lies downstream."""

    failed_only = fields.QueryBoolean(
        "Whether only failed, canceled, terminated and pending_failed jobs are reset, with what lies downstream.",
        example=True,
        load_default=False,
    )


class ResetJobStatusResponse(Answer):
    """What was reset."""

    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)
    updated_count = fields.Integer(
        "How many jobs were reset; with failed_only without those that only lay downstream.", example=12, required=True
    )
    status = fields.String("The status that they have now.", example="uninitialized", required=True)
    reset_type = fields.String(
        "failed_only if only such jobs were reset, else absent.", example="failed_only", allow_none=True
    )


class ResetWorkflowStatus(Query):
    """force: even while jobs or nodes are pending or active."""

    force = fields.QueryBoolean(
        "Whether to reset even while jobs are pending or running, or scheduled compute nodes pending or active.",
        example=True,
        load_default=False,
    )


class IsCompleteResponse(Answer):
    """Whether a workflow is complete."""

    is_canceled = fields.Boolean("Whether the workflow is canceled.", example=False, required=True)
    is_complete = fields.Boolean(
        "Whether it is canceled, or every job completed, failed, canceled, terminated or disabled.",
        example=True,
        required=True,
    )
    needs_to_run_completion_script = fields.Boolean(
        "has_detected_need_to_run_completion_script of the run state.", example=False, required=True
    )


class IsUninitializedResponse(Answer):
    """Whether a workflow is uninitialized."""

    is_uninitialized = fields.Boolean("Whether every job is uninitialized or disabled.", example=False, required=True)


class ArchiveWorkflowRequest(Model):
    """Whether a workflow is to be in the archive."""

    is_archived = fields.Boolean("true: into the archive; false: out of it.", example=True, required=True)


class GetRunningJobs(Page):
    """Order of get_running_jobs."""

    default_column = "job_id"
    ties = ("job_id",)
    page_after = "id"


class RunningJobModel(Answer):
    """A job that a compute node runs now."""

    job_id = fields.Integer("Id of the job.", example=12, required=True)
    job_name = fields.String("Its name.", example="train", required=True)
    compute_node_name = fields.String("Host name of the compute node.", example="node07", required=True)
    scheduler_type = fields.String("Type of the compute node.", example="slurm", required=True)
    scheduler_job_id = fields.String(
        "What the scheduler calls the allocation of the node; absent: it has none.", example="4711", allow_none=True
    )
    start_time = fields.String(
        "When the execution started: UTC, ISO 8601.", example="2026-01-31T08:00:00.000000+00:00", allow_none=True
    )


class RunningJobsResponse(PageAnswer):
    """A page of running jobs."""

    items = fields.Objects(RunningJobModel, "The running jobs of this page.", required=True)


class GetSlurmJobCorrelations(Page):
    """Order of get_slurm_job_correlations."""

    default_column = "slurm_job_id"
    ties = ("job_id",)
    page_after = "id"


class SlurmJobCorrelationModel(Answer):
    """A job and a Slurm job in which it ran."""

    slurm_job_id = fields.String("Slurm's id of the allocation.", example="4711", required=True)
    job_id = fields.Integer("Id of the job.", example=12, required=True)
    job_name = fields.String("Its name.", example="train", required=True)


class SlurmJobCorrelationsResponse(PageAnswer):
    """A page of Slurm jobs and what ran in them."""

    items = fields.Objects(SlurmJobCorrelationModel, "The pairs of this page.", required=True)


class ReadyJobRequirements(Query):
    """scheduler_config_id: only jobs that a worker of that scheduler may claim."""

    scheduler_config_id = fields.QueryInteger(
        "Only jobs that are meant for this scheduler or for any; absent: all ready jobs.", example=4
    )


class GetReadyJobRequirementsResponse(Answer):
    """What the ready jobs of a workflow need together; zeros and PT0S if none is ready."""

    num_jobs = fields.Integer("How many jobs are ready.", example=8, required=True)
    num_cpus = fields.Integer("Sum of their CPUs.", example=32, required=True)
    num_gpus = fields.Integer("Sum of their GPUs.", example=2, required=True)
    memory_gb = fields.Float("Sum of their memory.", unit="GiB", example=64.5, required=True)
    max_num_nodes = fields.Integer("The most nodes that one of them needs.", example=1, required=True)
    max_runtime = fields.String(
        "The longest runtime of one of them, an ISO 8601 duration.", example="PT1H30M", required=True
    )


def claiming_node() -> fields.QueryInteger:
    """The parameter compute_node_id of both claims."""
    return fields.QueryInteger(
        "The worker's compute node, if it says so: while the jobs are pending, they are listed as those of the node, "
        "and if the node is given up as silent, they become ready again.",
        example=3,
    )


def start_on() -> fields.QueryInteger:
    """The parameter of both claims that spares a worker the call of start_job."""
    return fields.QueryInteger(
        "Id of an active compute node of the workflow: the jobs start on it at once, so that they come running and "
        "need no start_job. Absent: they come pending.",
        example=3,
        load_default=None,
    )


def wait() -> fields.QueryInteger:
    """The parameter of both claims that lets the server wait for jobs."""
    return fields.QueryInteger(
        "How many seconds the answer may wait for jobs while there are none for this worker. 0: it comes at once.",
        unit="s",
        example=30,
        load_default=0,
        minimum=0,
        maximum=MAX_WAIT,
    )


class ClaimNextJobs(Query):
    """limit: how many jobs at most. num_jobs is the documentation page's name for it; limit wins."""

    limit = fields.QueryInteger("How many jobs to claim at most.", example=5, default=10, minimum=0, maximum=MAX_LIMIT)
    num_jobs = fields.QueryInteger(
        "Another name for limit, which wins if both are given.", example=5, minimum=0, maximum=MAX_LIMIT
    )
    labels = fields.QueryLabels(
        "The worker's labels, with commas between them. Empty or absent: only jobs without labels.", example="gpu,large"
    )
    start_on = start_on()
    compute_node_id = claiming_node()
    wait = wait()


class ClaimNextJobsResponse(Answer):
    """The claimed jobs."""

    jobs = fields.Objects(
        JobModel, "The jobs in claim order, pending now, or running with start_on; maybe none.", allow_none=True
    )


class ClaimByResources(Query):
    """strict_scheduler_match: never fall back to jobs pinned to other schedulers."""

    strict_scheduler_match = fields.QueryBoolean(
        "Whether never to give jobs that are meant for another scheduler.", example=True, load_default=False
    )
    start_on = start_on()
    compute_node_id = claiming_node()
    wait = wait()


class ClaimJobsBasedOnResources(Answer):
    """The claimed jobs."""

    jobs = fields.Objects(
        JobModel, "The jobs in claim order, pending now, or running with start_on; maybe none.", allow_none=True
    )
    reason = fields.String(
        "Why there are none; only said of a canceled workflow.", example="Workflow is canceled", allow_none=True
    )


class ComputeNodesResources(Model):
    """What a worker has free."""

    id = fields.Integer("Not used by this server.", example=3, dump_only=True, allow_none=True)
    num_cpus = fields.Integer("Free CPUs of each node.", example=16, required=True)
    memory_gb = fields.Float("Free memory of each node.", unit="GiB", example=64.0, required=True)
    num_gpus = fields.Integer("Free GPUs of each node.", example=1, required=True)
    num_nodes = fields.Integer("How many nodes the worker has.", example=1, required=True)
    time_limit = fields.String(
        "How long the worker can still run jobs, an ISO 8601 duration; absent: for ever.",
        example="PT4H",
        allow_none=True,
    )
    scheduler_config_id = fields.Integer(
        "Id of the scheduler that started the worker; absent: none did.", example=4, allow_none=True
    )
    labels = fields.Labels(
        "The worker's labels. None, or absent: only jobs without labels.", example=["gpu"], allow_none=True
    )


class ListJobIdsResponse(Answer):
    """The ids of the jobs of a workflow."""

    job_ids = fields.IdList("Ids of all jobs, ascending.", example=[10, 11, 12], required=True)
    count = fields.Integer("How many there are.", example=3, required=True)


class ListRequiredExistingFilesResponse(Answer):
    """The files of a workflow that should exist."""

    files = fields.IdList("Ids of the files, ascending.", example=[21, 22], required=True)


class ListMissingUserDataResponse(Answer):
    """The user data of a workflow that should have data and have none."""

    user_data = fields.IdList("Ids of the user data, ascending.", example=[31], required=True)


class RelationshipPage(SortedPage):
    """A page of a list below a workflow. A limit beyond the maximum is cut, not refused."""

    limit = fields.QueryInteger(
        "How many items to return at most; more than 100000 is taken as 100000.",
        example=100,
        minimum=0,
        load_default=MAX_LIMIT,
    )
    max_limit = MAX_LIMIT
    sort_by = fields.QueryString("The field to sort by; any other name means the default order.", example="workflow_id")


class ListJobDependencies(RelationshipPage):
    """Order of list_job_dependencies."""

    columns = ("job_id", "depends_on_job_id", "workflow_id")
    default_column = "job_id"
    ties = ("job_id", "depends_on_job_id")


class JobDependencyModel(Answer):
    """One job that waits for another."""

    job_id = fields.Integer("Id of the job that waits.", example=12, required=True)
    job_name = fields.String("Its name.", example="report", required=True)
    depends_on_job_id = fields.Integer("Id of the job that it waits for.", example=10, required=True)
    depends_on_job_name = fields.String("The name of that one.", example="train", required=True)
    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)


class ListJobDependenciesResponse(PageAnswer):
    """A page of dependencies."""

    items = fields.Objects(JobDependencyModel, "The dependencies of this page.", required=True)


class ListJobFileRelationships(RelationshipPage):
    """Order of list_job_file_relationships."""

    columns = ("workflow_id",)
    default_column = "file_id"
    ties = ("file_id", "producer_job_id", "consumer_job_id")


class JobFileRelationshipModel(Answer):
    """One pair of jobs that a file connects, or one job that alone reads or writes it."""

    file_id = fields.Integer("Id of the file.", example=21, required=True)
    file_name = fields.String("Its name.", example="model", required=True)
    file_path = fields.String("Its path.", example="out/model.pt", required=True)
    producer_job_id = fields.Integer("Id of the job that writes it; absent: none.", example=10, allow_none=True)
    producer_job_name = fields.String("The name of that job.", example="train", allow_none=True)
    consumer_job_id = fields.Integer("Id of the job that reads it; absent: none.", example=12, allow_none=True)
    consumer_job_name = fields.String("The name of that job.", example="report", allow_none=True)
    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)


class ListJobFileRelationshipsResponse(PageAnswer):
    """A page of files with the jobs that write and read them."""

    items = fields.Objects(JobFileRelationshipModel, "The relationships of this page.", required=True)


class ListJobUserDataRelationships(RelationshipPage):
    """Order of list_job_user_data_relationships."""

    columns = ("workflow_id",)
    default_column = "user_data_id"
    ties = ("user_data_id", "producer_job_id", "consumer_job_id")


class JobUserDataRelationshipModel(Answer):
    """One pair of jobs that user data connect, or one job that alone reads or writes them."""

    user_data_id = fields.Integer("Id of the user data.", example=31, required=True)
    user_data_name = fields.String("Their name.", example="parameters", required=True)
    producer_job_id = fields.Integer("Id of the job that writes them; absent: none.", example=10, allow_none=True)
    producer_job_name = fields.String("The name of that job.", example="train", allow_none=True)
    consumer_job_id = fields.Integer("Id of the job that reads them; absent: none.", example=12, allow_none=True)
    consumer_job_name = fields.String("The name of that job.", example="report", allow_none=True)
    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)


class ListJobUserDataRelationshipsResponse(PageAnswer):
    """A page of user data with the jobs that write and read them."""

    items = fields.Objects(JobUserDataRelationshipModel, "The relationships of this page.", required=True)
