"""Failure handlers of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.failure_handlers import (
    FailureHandlerModel,
    ListFailureHandlers,
    ListFailureHandlersResponse,
)

blueprint = Blueprint("failure_handlers", __name__)


@blueprint.post("/failure_handlers")
@wire.body(FailureHandlerModel)
@wire.answers(FailureHandlerModel)
def create_failure_handler(body):
    """Create a failure handler.

    The answer is what was sent, with the new id. A job gets the handler by failure_handler_id when it is created. The
    rules are read by workers, which retry a failed job instead of completing it if the rules say so; the server does
    not look into them. A failure handler cannot be changed.
    """
    return wire.json_text(value(sql.failure_handlers.create_failure_handler, body=json.dumps(body)))


@blueprint.get("/workflows/<int64:id>/failure_handlers")
@wire.query(ListFailureHandlers)
@wire.answers(ListFailureHandlersResponse)
def list_failure_handlers(id, query):
    """List the failure handlers of a workflow.

    One page, by id. The rules come as they were stored, opaque text to the server.
    """
    statement = sql.failure_handlers.list_failure_handlers
    return wire.page(statement, ListFailureHandlers, query, workflow_id=id)


@blueprint.get("/failure_handlers/<int64:id>")
@direct
@wire.answers(FailureHandlerModel)
def get_failure_handler(id):
    """Get a failure handler.

    Its rules are the text that was sent.
    """
    return row_json(sql.failure_handlers.get_failure_handler, "failure_handler", id)


@blueprint.delete("/failure_handlers/<int64:id>")
@wire.answers(
    FailureHandlerModel,
    {
        403: "Access control is enforced, and the caller may not use the workflow, or a job of another workflow that "
        "the caller may not use has this handler."
    },
)
@lane("walks")
def delete_failure_handler(id):
    """Delete a failure handler.

    The answer is the handler that was deleted, and a message. Its jobs stay, without a handler.
    """
    statement = sql.failure_handlers.delete_failure_handler
    return wire.json_text(row_json(statement, "failure_handler", id, read=long_value))
