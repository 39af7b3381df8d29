"""Scheduled compute nodes: allocations that were asked for from a scheduler."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, PageAnswer, SortedPage


class ScheduledComputeNodesModel(Model):
    """An allocation of nodes that was asked for from a scheduler such as Slurm, from the request to its end."""

    id = fields.RowId(example=5)
    workflow_id = fields.Integer("Id of the workflow that it is for.", example=7, required=True)
    scheduler_id = fields.Integer(
        "The number that the scheduler gave to the allocation, such as a Slurm job id.", example=123456, required=True
    )
    scheduler_config_id = fields.Integer(
        "Id of the scheduler configuration that it was asked for with, such as a Slurm scheduler. Not checked.",
        example=2,
        required=True,
    )
    scheduler_type = fields.String("What kind of scheduler it is; free text.", example="slurm", required=True)
    status = fields.String(
        "Where the allocation is; free text, by convention pending, then active, then complete or canceled. While one "
        "is pending or active, reset_workflow_status wants force.",
        example="pending",
        required=True,
    )


class ListScheduledComputeNodes(SortedPage):
    """Filters of list_scheduled_compute_nodes. The ids are text on the wire: one that is no number matches nothing."""

    columns = ("id", "workflow_id", "scheduler_id", "scheduler_config_id", "scheduler_type", "status")

    workflow_id = fields.QueryInteger(
        "Id of the workflow whose scheduled compute nodes are listed.", example=7, required=True
    )
    scheduler_id = fields.QueryString(
        "Only those with this scheduler_id; what is no number matches nothing.", example="123456"
    )
    scheduler_config_id = fields.QueryString(
        "Only those with this scheduler_config_id; what is no number matches nothing.", example="2"
    )
    status = fields.QueryString("Only those with exactly this status.", example="pending")


class ListScheduledComputeNodesResponse(PageAnswer):
    """A page of scheduled compute nodes."""

    items = fields.Objects(ScheduledComputeNodesModel, "The scheduled compute nodes of this page.", required=True)
