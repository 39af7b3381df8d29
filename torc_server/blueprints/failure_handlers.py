"""Failure handlers of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.failure_handlers import FailureHandlerModel, ListFailureHandlers

blueprint = Blueprint("failure_handlers", __name__)


@blueprint.post("/failure_handlers")
@wire.body(FailureHandlerModel)
def create_failure_handler(body):
    """Store a failure handler; answer it with its id."""
    handler_id = value(sql.failure_handlers.create_failure_handler, **FailureHandlerModel.row(body))
    return wire.json_value(body | {"id": handler_id})


@blueprint.get("/workflows/<int64:id>/failure_handlers")
@wire.query(ListFailureHandlers)
def list_failure_handlers(id, query):
    """List the failure handlers of a workflow."""
    statement = sql.failure_handlers.list_failure_handlers
    return wire.page(statement, ListFailureHandlers, query, workflow_id=id)


@blueprint.get("/failure_handlers/<int64:id>")
def get_failure_handler(id):
    """Return one failure handler."""
    return wire.json_text(row_json(sql.failure_handlers.get_failure_handler, "failure_handler", id))


@blueprint.delete("/failure_handlers/<int64:id>")
def delete_failure_handler(id):
    """Delete a failure handler and return it; its jobs stay, without a handler."""
    statement = sql.failure_handlers.delete_failure_handler
    return wire.json_text(row_json(statement, "failure_handler", id, read=long_value))
