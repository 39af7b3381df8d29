"""Scheduled compute nodes: allocations that were asked for from a scheduler."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class ScheduledComputeNodesModel(Model):
    """A scheduled compute node. status is free text; by convention pending, active, then complete or canceled."""

    workflow_id = fields.Integer(required=True)
    scheduler_id = fields.Integer(required=True)
    scheduler_config_id = fields.Integer(required=True)
    scheduler_type = fields.String(required=True)
    status = fields.String(required=True)


class ListScheduledComputeNodes(SortedPage):
    """Filters of list_scheduled_compute_nodes. The ids are text on the wire: one that is no number matches nothing."""

    columns = ("id", "workflow_id", "scheduler_id", "scheduler_config_id", "scheduler_type", "status")

    workflow_id = fields.QueryInteger(required=True)
    scheduler_id = fields.QueryString()
    scheduler_config_id = fields.QueryString()
    status = fields.QueryString()
