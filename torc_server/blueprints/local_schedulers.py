"""Local schedulers of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.local_schedulers import (
    ListLocalSchedulers,
    ListLocalSchedulersResponse,
    LocalSchedulerModel,
)

blueprint = Blueprint("local_schedulers", __name__)


@blueprint.post("/local_schedulers")
@wire.body(LocalSchedulerModel)
@wire.answers(LocalSchedulerModel)
def create_local_scheduler(body):
    """Create a local scheduler.

    The answer is what was sent, with the new id. The name is not stored: it is in this answer only.
    """
    return wire.json_text(value(sql.local_schedulers.create_local_scheduler, body=json.dumps(body)))


@blueprint.get("/local_schedulers")
@wire.query(ListLocalSchedulers)
@wire.answers(ListLocalSchedulersResponse)
def list_local_schedulers(query):
    """List the local schedulers of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list.
    """
    return wire.page(sql.local_schedulers.list_local_schedulers, ListLocalSchedulers, query)


@blueprint.delete("/local_schedulers")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_local_schedulers(query):
    """Delete all local schedulers of a workflow.

    Jobs that name one of them as their scheduler keep its id. The answer says how many were deleted.
    """
    return wire.json_value({"count": long_value(sql.local_schedulers.delete_local_schedulers, **query)})


@blueprint.get("/local_schedulers/<int64:id>")
@direct
@wire.answers(LocalSchedulerModel)
def get_local_scheduler(id):
    """Get a local scheduler.

    Unset memory and num_cpus are left out of the answer.
    """
    return row_json(sql.local_schedulers.get_local_scheduler, "local_scheduler", id)


@blueprint.put("/local_schedulers/<int64:id>")
@wire.body(LocalSchedulerModel)
@wire.answers(LocalSchedulerModel)
def update_local_scheduler(id, body):
    """Change a local scheduler.

    memory and num_cpus are stored if they are given and keep their value if not; workflow_id cannot be changed.
    """
    statement = sql.local_schedulers.update_local_scheduler
    return wire.json_text(row_json(statement, "local_scheduler", id, body=json.dumps(body)))


@blueprint.delete("/local_schedulers/<int64:id>")
@wire.answers(LocalSchedulerModel)
def delete_local_scheduler(id):
    """Delete a local scheduler.

    The answer is the scheduler that was deleted. Jobs that name it keep its id.
    """
    return wire.json_text(row_json(sql.local_schedulers.delete_local_scheduler, "local_scheduler", id))
