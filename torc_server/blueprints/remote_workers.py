"""Remote workers of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.errors import ApiError
from torc_server.repository import sql, value
from torc_server.schemas.remote_workers import check_workers

blueprint = Blueprint("remote_workers", __name__)


@blueprint.post("/workflows/<int64:id>/remote_workers")
def create_remote_workers(id):
    """Store remote workers; answer all that were sent, also those that were there already."""
    workers = wire.parse_json(wire.read_body())
    check_workers(workers)
    value(sql.remote_workers.create_remote_workers, workflow_id=id, workers=workers)
    return wire.json_value([{"worker": worker, "workflow_id": id} for worker in workers])


@blueprint.get("/workflows/<int64:id>/remote_workers")
def list_remote_workers(id):
    """List the remote workers of a workflow, by their text."""
    return wire.json_text(value(sql.remote_workers.list_remote_workers, workflow_id=id))


@blueprint.delete("/workflows/<int64:id>/remote_workers/<text:worker>")
def delete_remote_worker(id, worker):
    """Delete a remote worker and return it."""
    deleted = value(sql.remote_workers.delete_remote_worker, workflow_id=id, worker=worker)
    if deleted is None:  # without the worker's text: clients retry when an error holds a word such as "network"
        raise ApiError(404, f"Worker not found for workflow {id}")
    return wire.json_text(deleted)
