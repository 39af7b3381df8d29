"""Remote workers of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.bodies import parse_json, read_body
from torc_server.errors import ApiError
from torc_server.repository import sql, value
from torc_server.schemas import fields
from torc_server.schemas.remote_workers import RemoteWorkerModel, check_workers

blueprint = Blueprint("remote_workers", __name__)


@blueprint.post("/workflows/<int64:id>/remote_workers")
@wire.takes(fields.Strings("Addresses of workers, by convention user@host:port.", example=["alice@node07:22"]))
@wire.answers(fields.Objects(RemoteWorkerModel, "One worker for each address that was sent, in the same order."))
def create_remote_workers(id):
    """Add remote workers to a workflow.

    The body is an array of addresses. They are stored word for word and not checked, all of them or none. An address
    that is there already, or comes twice in the array, is stored once and answered like a new one.
    """
    workers = parse_json(read_body())
    check_workers(workers)
    value(sql.remote_workers.create_remote_workers, workflow_id=id, workers=workers)
    return wire.json_value([{"worker": worker, "workflow_id": id} for worker in workers])


@blueprint.get("/workflows/<int64:id>/remote_workers")
@wire.answers(fields.Objects(RemoteWorkerModel, "All remote workers of the workflow."))
def list_remote_workers(id):
    """List the remote workers of a workflow.

    All of them in one array, by address, byte by byte.
    """
    return wire.json_text(value(sql.remote_workers.list_remote_workers, workflow_id=id))


@blueprint.delete("/workflows/<int64:id>/remote_workers/<text:worker>")
@wire.answers(RemoteWorkerModel, {404: "There is no such workflow, or the worker is not one of its workers."})
def delete_remote_worker(id, worker):
    """Delete a remote worker of a workflow.

    The answer is the worker that was deleted. The address is percent-encoded in the path.
    """
    deleted = value(sql.remote_workers.delete_remote_worker, workflow_id=id, worker=worker)
    if deleted is None:  # without the worker's text: clients retry when an error holds a word such as "network"
        raise ApiError(404, f"Worker not found for workflow {id}")
    return wire.json_text(deleted)
