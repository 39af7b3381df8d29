"""Compute nodes of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.compute_nodes import ComputeNodeModel, ListComputeNodes, NewComputeNode

blueprint = Blueprint("compute_nodes", __name__)


@blueprint.post("/compute_nodes")
@wire.body(NewComputeNode)
def create_compute_node(body):
    """Store a compute node; answer it as it was sent, with its id."""
    return wire.json_text(value(sql.compute_nodes.create_compute_node, body=json.dumps(body)))


@blueprint.get("/compute_nodes")
@wire.query(ListComputeNodes)
def list_compute_nodes(query):
    """List the compute nodes of a workflow."""
    return wire.page(sql.compute_nodes.list_compute_nodes, ListComputeNodes, query, alias="compute_nodes")


@blueprint.delete("/compute_nodes")
@wire.query(WorkflowId)
def delete_compute_nodes(query):
    """Delete all compute nodes of a workflow, and the results of their jobs; answer how many nodes."""
    return wire.json_value({"count": long_value(sql.compute_nodes.delete_compute_nodes, **query)})


@blueprint.get("/compute_nodes/<int64:id>")
def get_compute_node(id):
    """Return one compute node."""
    return wire.json_text(row_json(sql.compute_nodes.get_compute_node, "compute_node", id))


@blueprint.put("/compute_nodes/<int64:id>")
@wire.body(ComputeNodeModel)
def update_compute_node(id, body):
    """Change a compute node; absent optional keys keep their value."""
    statement = sql.compute_nodes.update_compute_node
    return wire.json_text(row_json(statement, "compute_node", id, body=json.dumps(body)))


@blueprint.delete("/compute_nodes/<int64:id>")
def delete_compute_node(id):
    """Delete a compute node and the results of its jobs; return the node."""
    return wire.json_text(row_json(sql.compute_nodes.delete_compute_node, "compute_node", id))
