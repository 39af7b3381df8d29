"""Slurm stats: what Slurm's accounting says about one attempt of a job."""

from torc_server.schemas import fields
from torc_server.schemas.common import MAX_LIMIT, Model, Page, PageAnswer


class SlurmStatsModel(Model):
    """What Slurm's accounting says about one attempt of a job in one run. What it does not say is left out."""

    id = fields.RowId(example=8)
    workflow_id = fields.Integer("Id of the workflow of the job.", example=7, required=True)
    job_id = fields.Integer("Id of the job.", example=12, required=True)
    run_id = fields.Integer("The run of the workflow; not compared with the current one.", example=1, required=True)
    attempt_id = fields.Integer(
        "The attempt at the job in that run; not compared with the job's.", example=1, required=True
    )
    slurm_job_id = fields.String("Slurm's id of its job, as text.", example="4711_2", allow_none=True)
    max_rss_bytes = fields.Integer(
        "Largest resident memory of any task.", unit="bytes", example=2147483648, allow_none=True
    )
    max_vm_size_bytes = fields.Integer(
        "Largest virtual memory of any task.", unit="bytes", example=4294967296, allow_none=True
    )
    max_disk_read_bytes = fields.Integer(
        "The most that any task has read from disk.", unit="bytes", example=1048576, allow_none=True
    )
    max_disk_write_bytes = fields.Integer(
        "The most that any task has written to disk.", unit="bytes", example=524288, allow_none=True
    )
    ave_cpu_seconds = fields.Float("Average CPU time of the tasks.", unit="seconds", example=12.5, allow_none=True)
    node_list = fields.String("The nodes that it ran on, in Slurm's notation.", example="n[1-4]", allow_none=True)


class ListSlurmStats(Page):
    """Filters of list_slurm_stats, by id. A limit beyond the maximum is cut, not refused."""

    max_limit = MAX_LIMIT
    page_after = "attempt_id"

    workflow_id = fields.QueryInteger("Id of the workflow whose stats are listed.", example=7, required=True)
    job_id = fields.QueryInteger("Only those of this job.", example=12)
    run_id = fields.QueryInteger("Only those of this run.", example=1)
    attempt_id = fields.QueryInteger("Only those of this attempt.", example=1)
    limit = fields.QueryInteger(
        f"How many items to return at most; more than {MAX_LIMIT} means {MAX_LIMIT}.",
        example=100,
        minimum=0,
        load_default=MAX_LIMIT,
    )


class ListSlurmStatsResponse(PageAnswer):
    """A page of Slurm stats."""

    items = fields.Objects(SlurmStatsModel, "The Slurm stats of this page.", required=True)
