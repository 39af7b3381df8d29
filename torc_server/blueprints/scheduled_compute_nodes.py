"""Scheduled compute nodes of a workflow: allocations that were asked for from a scheduler."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.scheduled_compute_nodes import (
    ListScheduledComputeNodes,
    ListScheduledComputeNodesResponse,
    ScheduledComputeNodesModel,
)

TABLE = "scheduled_compute_node"

blueprint = Blueprint("scheduled_compute_nodes", __name__)


@blueprint.post("/scheduled_compute_nodes")
@wire.body(ScheduledComputeNodesModel)
@wire.answers(ScheduledComputeNodesModel)
def create_scheduled_compute_node(body):
    """Create a scheduled compute node.

    The server keeps what it is told: it asks nothing of a scheduler. Open event streams hear scheduler_node_created.
    The answer is what was sent, with the new id, which the compute nodes of the allocation name in their scheduler.
    """
    return wire.json_text(value(sql.scheduled_compute_nodes.create_scheduled_compute_node, body=json.dumps(body)))


@blueprint.get("/scheduled_compute_nodes")
@wire.query(ListScheduledComputeNodes)
@wire.answers(ListScheduledComputeNodesResponse)
def list_scheduled_compute_nodes(query):
    """List the scheduled compute nodes of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list.
    """
    return wire.page(sql.scheduled_compute_nodes.list_scheduled_compute_nodes, ListScheduledComputeNodes, query)


@blueprint.delete("/scheduled_compute_nodes")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_scheduled_compute_nodes(query):
    """Delete all scheduled compute nodes of a workflow.

    Their compute nodes become inactive, as when such a node is complete; nothing is canceled at the scheduler. The
    answer says how many were deleted.
    """
    return wire.json_value({"count": long_value(sql.scheduled_compute_nodes.delete_scheduled_compute_nodes, **query)})


@blueprint.get("/scheduled_compute_nodes/<int64:id>")
@direct
@wire.answers(ScheduledComputeNodesModel)
def get_scheduled_compute_node(id):
    """Get a scheduled compute node.

    The answer holds what was stored last: the server does not ask the scheduler.
    """
    return row_json(sql.scheduled_compute_nodes.get_scheduled_compute_node, TABLE, id)


@blueprint.put("/scheduled_compute_nodes/<int64:id>")
@wire.body(ScheduledComputeNodesModel)
@wire.answers(
    ScheduledComputeNodesModel,
    {422: "A value breaks a rule, or workflow_id is not that of the scheduled compute node."},
)
def update_scheduled_compute_node(id, body):
    """Replace a scheduled compute node.

    All fields are stored as they are sent, and any status may follow any other; workflow_id cannot be changed. With the
    status complete or canceled, the compute nodes of the workflow that have this id as a number at scheduler_id in
    their scheduler become inactive; jobs that run on them are left alone. Sending it again is fine.
    """
    statement = sql.scheduled_compute_nodes.update_scheduled_compute_node
    return wire.json_text(row_json(statement, TABLE, id, body=json.dumps(body)))


@blueprint.delete("/scheduled_compute_nodes/<int64:id>")
@wire.answers(ScheduledComputeNodesModel)
def delete_scheduled_compute_node(id):
    """Delete a scheduled compute node.

    Its compute nodes become inactive, as when it is complete; nothing is canceled at the scheduler. The answer is the
    scheduled compute node that was deleted.
    """
    return wire.json_text(row_json(sql.scheduled_compute_nodes.delete_scheduled_compute_node, TABLE, id))
