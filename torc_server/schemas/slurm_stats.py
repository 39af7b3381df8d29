"""Slurm stats: what Slurm's accounting says about one attempt of a job."""

from torc_server.schemas import fields
from torc_server.schemas.common import MAX_LIMIT, Model, Page


class SlurmStatsModel(Model):
    """Slurm's figures of one attempt of a job in one run."""

    workflow_id = fields.Integer(required=True)
    job_id = fields.Integer(required=True)
    run_id = fields.Integer(required=True)
    attempt_id = fields.Integer(required=True)
    slurm_job_id = fields.String(allow_none=True)
    max_rss_bytes = fields.Integer(allow_none=True)
    max_vm_size_bytes = fields.Integer(allow_none=True)
    max_disk_read_bytes = fields.Integer(allow_none=True)
    max_disk_write_bytes = fields.Integer(allow_none=True)
    ave_cpu_seconds = fields.Float(allow_none=True)
    node_list = fields.String(allow_none=True)


class ListSlurmStats(Page):
    """Filters of list_slurm_stats, by id. A limit beyond the maximum is cut, not refused."""

    max_limit = MAX_LIMIT

    workflow_id = fields.QueryInteger(required=True)
    job_id = fields.QueryInteger()
    run_id = fields.QueryInteger()
    attempt_id = fields.QueryInteger()
    limit = fields.QueryInteger(minimum=0, load_default=MAX_LIMIT)
