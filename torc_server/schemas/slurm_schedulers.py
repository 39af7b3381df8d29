"""Slurm schedulers: how nodes are asked for from Slurm. The server keeps the words and never talks to Slurm."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class SlurmSchedulerModel(Model):
    """A Slurm scheduler: options of sbatch, unchecked."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(allow_none=True)
    account = fields.String(required=True)
    gres = fields.String(allow_none=True)
    mem = fields.String(allow_none=True)
    nodes = fields.Integer(required=True)
    ntasks_per_node = fields.Integer(allow_none=True)
    partition = fields.String(allow_none=True)
    qos = fields.String(allow_none=True)
    tmp = fields.String(allow_none=True)
    walltime = fields.String(required=True)
    extra = fields.String(allow_none=True)


class ListSlurmSchedulers(SortedPage):
    """Order of list_slurm_schedulers."""

    columns = (
        "id", "workflow_id", "name", "account", "gres", "mem", "nodes", "ntasks_per_node", "partition", "qos", "tmp",
        "walltime", "extra",
    )  # fmt: skip

    workflow_id = fields.QueryInteger(required=True)
