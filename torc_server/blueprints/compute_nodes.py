"""Compute nodes of a workflow: the machines that its workers run on."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.node_watch import heard_of
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.compute_nodes import (
    ComputeNodeModel,
    GiveBackQuery,
    GiveBackResponse,
    ListComputeNodes,
    ListComputeNodesResponse,
    NewComputeNode,
    SentComputeNode,
)

NEEDED_ELSEWHERE = (
    "The caller may not use the workflow, or results, jobs or actions of another workflow name the node and the caller "
    "may not use that one. Only where access control is enforced."
)

blueprint = Blueprint("compute_nodes", __name__)


@blueprint.post("/compute_nodes")
@wire.body(NewComputeNode, ComputeNodeModel)
@wire.answers(ComputeNodeModel)
def create_compute_node(body):
    """Create a compute node.

    A worker does this before it starts jobs, which name the node; open event streams hear compute_node_started. The
    answer is what was sent, with the new id; is_active stays absent if it was. In the short form of the documentation
    page, memory may be sent instead of memory_gb, and pid (0), start_time (now), num_nodes (1) and compute_node_type
    (local) may be left out.
    """
    text = value(sql.compute_nodes.create_compute_node, body=json.dumps(body))
    heard_of(json.loads(text)["id"])
    return wire.json_text(text)


@blueprint.get("/compute_nodes")
@wire.query(ListComputeNodes)
@wire.answers(ListComputeNodesResponse)
def list_compute_nodes(query):
    """List the compute nodes of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list.
    """
    return wire.page(sql.compute_nodes.list_compute_nodes, ListComputeNodes, query, alias="compute_nodes")


@blueprint.delete("/compute_nodes")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse, {403: NEEDED_ELSEWHERE})
@lane("walks")
@audited
def delete_compute_nodes(query):
    """Delete all compute nodes of a workflow, and their results.

    Results that name one of the nodes are deleted too; jobs and actions stay and forget it. The answer says how many
    nodes were deleted.
    """
    return wire.json_value({"count": long_value(sql.compute_nodes.delete_compute_nodes, **query)})


@blueprint.get("/compute_nodes/<int64:id>")
@direct
@wire.answers(ComputeNodeModel)
def get_compute_node(id):
    """Get a compute node.

    is_active is always there: false where it was never set. last_seen is the last request that named the node, stored
    up to 10 s late; this one counts, too.
    """
    text = row_json(sql.compute_nodes.get_compute_node, "compute_node", id)
    heard_of(id)
    return text


@blueprint.put("/compute_nodes/<int64:id>")
@wire.body(SentComputeNode, ComputeNodeModel)
@wire.answers(ComputeNodeModel, {422: "A value breaks a rule, or workflow_id is not that of the node."})
def update_compute_node(id, body):
    """Change a compute node.

    Required fields are stored as they are sent; optional ones keep their value if they are absent or null, so they
    cannot be cleared. A stored memory text goes when it no longer says what memory_gb says. With is_active false, open
    event streams hear compute_node_stopped, each time it is sent. Jobs that run on the node are left alone, and
    workflow_id cannot be changed.
    """
    text = row_json(sql.compute_nodes.update_compute_node, "compute_node", id, body=json.dumps(body))
    heard_of(id)
    return wire.json_text(text)


@blueprint.post("/compute_nodes/<int64:id>/heartbeat")
@direct
@wire.answers(ComputeNodeModel)
def heartbeat(id):
    """Say that the worker of a compute node lives.

    For workers that may send nothing else for long: where the server gives up silent nodes (its setting node_timeout),
    a heartbeat should come three times in that time. A node that has sent one is given up when it is silent; one that
    never has may also be silent for the runtime that its running jobs asked for. A node that was given up becomes
    active again, but the jobs that it lost stay lost. The answer is the node. Any body is ignored.
    """
    return row_json(sql.compute_nodes.heartbeat, "compute_node", id)


@blueprint.post("/compute_nodes/<int64:id>/give_back_jobs")
@wire.query(GiveBackQuery)
@wire.answers(GiveBackResponse, {409: "unnamed_claims is true, and other nodes of the workflow are active."})
@lane("walks")
@audited
def give_back_jobs(id, query):
    """Give the jobs of a dead worker back.

    For a compute node whose worker is gone. In its workflow its running jobs become ready for their next attempt, its
    claimed (pending) ones ready, if their claims named the node, and the node becomes inactive. A worker that lives
    after all goes on with its jobs, so that they run twice; what it reports about them changes nothing. Any body is
    ignored.
    """
    return wire.json_text(long_value(sql.compute_nodes.give_back_jobs_of_node, id=id, **query))


@blueprint.delete("/compute_nodes/<int64:id>")
@wire.answers(ComputeNodeModel, {403: NEEDED_ELSEWHERE})
def delete_compute_node(id):
    """Delete a compute node, and its results.

    Results that name the node are deleted too; jobs and actions stay and forget it. The answer is the node that was
    deleted.
    """
    return wire.json_text(row_json(sql.compute_nodes.delete_compute_node, "compute_node", id))
