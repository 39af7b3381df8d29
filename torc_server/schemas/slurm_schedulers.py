"""Slurm schedulers: how nodes are asked for from Slurm. The server keeps the words and never talks to Slurm."""

from torc_server.schemas import fields
from torc_server.schemas.common import PageAnswer, SortedPage, WorkflowPart


class SlurmSchedulerModel(WorkflowPart):
    """How clients ask Slurm for nodes: options of sbatch. The server only keeps them, unchecked."""

    id = fields.RowId(example=4)
    name = fields.String("Name; several schedulers may have the same.", example="short", allow_none=True)
    account = fields.String("Account that the allocation is charged to.", example="climate", required=True)
    gres = fields.String("Generic resources of each node, such as GPUs.", example="gpu:2", allow_none=True)
    mem = fields.String("Memory of each node.", example="180G", allow_none=True)
    nodes = fields.Integer("Nodes of one allocation.", example=2, required=True)
    ntasks_per_node = fields.Integer("Tasks on each node.", example=4, allow_none=True)
    partition = fields.String("Partition to ask for nodes in.", example="debug", allow_none=True)
    qos = fields.String("Quality of service.", example="normal", allow_none=True)
    tmp = fields.String("Local disk space of each node.", example="1T", allow_none=True)
    walltime = fields.String("Longest time of one allocation.", example="04:00:00", required=True)
    extra = fields.String("More options of sbatch, word for word.", example="--reservation=spring", allow_none=True)
    serialize_allocations = fields.Boolean(
        "Whether clients ask for one allocation after the other.", example=True, default=False, allow_none=True
    )


class ListSlurmSchedulers(SortedPage):
    """Order of list_slurm_schedulers."""

    columns = (
        "id", "workflow_id", "name", "account", "gres", "mem", "nodes", "ntasks_per_node", "partition", "qos", "tmp",
        "walltime", "extra", "serialize_allocations",
    )  # fmt: skip

    workflow_id = fields.QueryInteger("Id of the workflow whose schedulers are listed.", example=7, required=True)


class ListSlurmSchedulersResponse(PageAnswer):
    """A page of Slurm schedulers."""

    items = fields.Objects(SlurmSchedulerModel, "The Slurm schedulers of this page.", required=True)
