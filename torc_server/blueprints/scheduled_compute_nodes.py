"""Scheduled compute nodes of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.scheduled_compute_nodes import ListScheduledComputeNodes, ScheduledComputeNodesModel

TABLE = "scheduled_compute_node"

blueprint = Blueprint("scheduled_compute_nodes", __name__)


@blueprint.post("/scheduled_compute_nodes")
@wire.body(ScheduledComputeNodesModel)
def create_scheduled_compute_node(body):
    """Store a scheduled compute node; answer it as it was sent, with its id."""
    node_id = value(sql.scheduled_compute_nodes.create_scheduled_compute_node, **ScheduledComputeNodesModel.row(body))
    return wire.json_value(body | {"id": node_id})


@blueprint.get("/scheduled_compute_nodes")
@wire.query(ListScheduledComputeNodes)
def list_scheduled_compute_nodes(query):
    """List the scheduled compute nodes of a workflow."""
    return wire.page(sql.scheduled_compute_nodes.list_scheduled_compute_nodes, ListScheduledComputeNodes, query)


@blueprint.delete("/scheduled_compute_nodes")
@wire.query(WorkflowId)
def delete_scheduled_compute_nodes(query):
    """Delete all scheduled compute nodes of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.scheduled_compute_nodes.delete_scheduled_compute_nodes, **query)})


@blueprint.get("/scheduled_compute_nodes/<int64:id>")
def get_scheduled_compute_node(id):
    """Return one scheduled compute node."""
    return wire.json_text(row_json(sql.scheduled_compute_nodes.get_scheduled_compute_node, TABLE, id))


@blueprint.put("/scheduled_compute_nodes/<int64:id>")
@wire.body(ScheduledComputeNodesModel)
def update_scheduled_compute_node(id, body):
    """Replace a scheduled compute node; with status complete or canceled its compute nodes are no longer active."""
    statement = sql.scheduled_compute_nodes.update_scheduled_compute_node
    return wire.json_text(row_json(statement, TABLE, id, body=json.dumps(body)))


@blueprint.delete("/scheduled_compute_nodes/<int64:id>")
def delete_scheduled_compute_node(id):
    """Delete a scheduled compute node and return it."""
    return wire.json_text(row_json(sql.scheduled_compute_nodes.delete_scheduled_compute_node, TABLE, id))
