"""Local schedulers of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.local_schedulers import ListLocalSchedulers, LocalSchedulerModel

blueprint = Blueprint("local_schedulers", __name__)


@blueprint.post("/local_schedulers")
@wire.body(LocalSchedulerModel)
def create_local_scheduler(body):
    """Store a local scheduler; answer it as it was sent, with its id."""
    scheduler_id = value(sql.local_schedulers.create_local_scheduler, **LocalSchedulerModel.row(body))
    return wire.json_value(body | {"id": scheduler_id})


@blueprint.get("/local_schedulers")
@wire.query(ListLocalSchedulers)
def list_local_schedulers(query):
    """List the local schedulers of a workflow."""
    return wire.page(sql.local_schedulers.list_local_schedulers, ListLocalSchedulers, query)


@blueprint.delete("/local_schedulers")
@wire.query(WorkflowId)
def delete_local_schedulers(query):
    """Delete all local schedulers of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.local_schedulers.delete_local_schedulers, **query)})


@blueprint.get("/local_schedulers/<int64:scheduler_id>")
def get_local_scheduler(scheduler_id):
    """Return one local scheduler."""
    return wire.json_text(row_json(sql.local_schedulers.get_local_scheduler, "local_scheduler", scheduler_id))


@blueprint.put("/local_schedulers/<int64:scheduler_id>")
@wire.body(LocalSchedulerModel)
def update_local_scheduler(scheduler_id, body):
    """Change a local scheduler; absent keys keep their value."""
    statement = sql.local_schedulers.update_local_scheduler
    return wire.json_text(row_json(statement, "local_scheduler", scheduler_id, **LocalSchedulerModel.row(body)))


@blueprint.delete("/local_schedulers/<int64:scheduler_id>")
def delete_local_scheduler(scheduler_id):
    """Delete a local scheduler and return it."""
    return wire.json_text(row_json(sql.local_schedulers.delete_local_scheduler, "local_scheduler", scheduler_id))
