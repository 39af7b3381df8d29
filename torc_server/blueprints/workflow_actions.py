"""Workflow actions: stored, looked at, claimed."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.errors import ApiError
from torc_server.repository import sql, value
from torc_server.schemas.workflow_actions import (
    ClaimActionRequest,
    PendingActions,
    WorkflowActionModel,
    config_error,
)

blueprint = Blueprint("workflow_actions", __name__)


@blueprint.post("/workflows/<int64:id>/actions")
@wire.body(WorkflowActionModel)
def create_workflow_action(id, body):
    """Store an action; answer it as it was sent, with its id. required_triggers is computed: read it back."""
    if reason := config_error(body["action_type"], body["action_config"]):
        raise ApiError(422, f"Invalid action_config: {reason}", field="action_config")
    action_id = value(sql.workflow_actions.create_workflow_action, workflow_id=id, body=json.dumps(body))
    return wire.json_value(body | {"workflow_id": id, "id": action_id})


@blueprint.get("/workflows/<int64:id>/actions")
def get_workflow_actions(id):
    """List the actions of a workflow, a bare array."""
    return wire.json_text(value(sql.workflow_actions.list_workflow_actions, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/actions/pending")
@wire.query(PendingActions)
def get_pending_actions(id, query):
    """List the actions that have been triggered and not yet claimed, a bare array."""
    return wire.json_text(
        value(
            sql.workflow_actions.list_pending_actions,
            workflow_id=id,
            trigger_types=query.get("trigger_type"),
        )
    )


@blueprint.post("/workflows/<int64:id>/actions/<int64:action_id>/claim")
@wire.body(ClaimActionRequest)
def claim_action(id, action_id, body):
    """Claim an action, for a compute node or for nobody in particular."""
    return wire.json_text(
        value(
            sql.workflow_actions.claim_action,
            workflow_id=id,
            action_id=action_id,
            compute_node_id=body.get("compute_node_id"),
        )
    )
