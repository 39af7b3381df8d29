"""Workflow actions: stored, looked at, claimed."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.node_watch import heard_of
from torc_server.repository import sql, value
from torc_server.schemas import fields
from torc_server.schemas.common import MessageResponse
from torc_server.schemas.workflow_actions import (
    ClaimActionRequest,
    ClaimActionResponse,
    PendingActions,
    WorkflowActionModel,
    check_config,
    check_updates,
)

blueprint = Blueprint("workflow_actions", __name__)


@blueprint.post("/workflows/<int64:id>/actions")
@wire.body(WorkflowActionModel)
@wire.answers(
    WorkflowActionModel,
    {422: "A value breaks a rule, job_ids names a job that is not in the workflow, or action_config does not fit."},
)
def create_workflow_action(id, body):
    """Create an action of a workflow.

    It counts what happens after its creation; initialize_jobs starts the count at 0 again and includes jobs that are
    there already. The answer is what was stored: required_triggers is computed, executed_at and executed_by are not
    taken. A job that is deleted leaves job_ids.
    """
    return wire.json_text(value(sql.workflow_actions.create_workflow_action, workflow_id=id, body=json.dumps(body)))


@blueprint.get("/workflows/<int64:id>/actions")
@wire.answers(fields.Objects(WorkflowActionModel, "All actions of the workflow, by id."))
def get_workflow_actions(id):
    """List the actions of a workflow.

    A bare array of all of them, by id, executed ones too.
    """
    return wire.json_text(value(sql.workflow_actions.list_workflow_actions, workflow_id=id))


@blueprint.get("/workflows/<int64:id>/actions/pending")
@wire.query(PendingActions)
@wire.answers(fields.Objects(WorkflowActionModel, "The pending actions of the workflow, by id."))
def get_pending_actions(id, query):
    """List the actions of a workflow that are to be claimed.

    A bare array, by id, of those that were triggered often enough and are not executed; persistent ones stay in it. An
    action on ready jobs is not pending while all its jobs are canceled because of a failure. trigger_type is repeated,
    not separated by commas; an empty one matches nothing.
    """
    return wire.json_text(
        value(
            sql.workflow_actions.list_pending_actions,
            workflow_id=id,
            trigger_types=query.get("trigger_type"),
        )
    )


@blueprint.put("/workflows/<int64:id>/actions/<int64:action_id>")
@wire.any_body
@wire.answers(
    WorkflowActionModel, {422: "The body is no object, has no keys, or makes a configuration that does not fit."}
)
def update_workflow_action(id, action_id, body):
    """Change the configuration of an action.

    The body is an object whose keys replace those of action_config; keys that it does not have stay, and so does
    everything else of the action, whether it was executed or not. The answer is the action.
    """
    check_updates(body)
    call = {"workflow_id": id, "action_id": action_id, "updates": json.dumps(body)}
    merged = json.loads(value(sql.workflow_actions.merge_action_config, **call))
    check_config(merged["action_type"], merged["action_config"])
    return wire.json_text(value(sql.workflow_actions.update_workflow_action, **call))


@blueprint.delete("/workflows/<int64:id>/actions/<int64:action_id>")
@wire.answers(MessageResponse)
def delete_workflow_action(id, action_id):
    """Delete an action, executed or not."""
    value(sql.workflow_actions.delete_workflow_action, workflow_id=id, action_id=action_id)
    return wire.json_value({"message": "Workflow action deleted successfully"})


@blueprint.post("/workflows/<int64:id>/actions/<int64:action_id>/claim")
@wire.body(ClaimActionRequest)
@wire.answers(
    ClaimActionResponse,
    {
        404: "There is no such workflow, or no such action in it.",
        409: "The action is claimed already.",
        422: "The compute node does not exist, or the body breaks a rule.",
    },
)
def claim_action(id, action_id, body):
    """Claim an action, for a compute node or for nobody in particular.

    One caller gets it and runs it, all others get 409; a persistent action can be claimed by everybody. Claimed means
    executed: there is no call to say that it is done, and one that fails does not come back before the next
    initialize_jobs. Whether it is pending is not asked: claiming an action is the way to disarm it.
    """
    node_id = body.get("compute_node_id")
    text = value(sql.workflow_actions.claim_action, workflow_id=id, action_id=action_id, compute_node_id=node_id)
    heard_of(node_id)
    return wire.json_text(text)
