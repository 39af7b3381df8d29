"""Slurm schedulers of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.slurm_schedulers import (
    ListSlurmSchedulers,
    ListSlurmSchedulersResponse,
    SlurmSchedulerModel,
)

blueprint = Blueprint("slurm_schedulers", __name__)


@blueprint.post("/slurm_schedulers")
@wire.body(SlurmSchedulerModel)
@wire.answers(SlurmSchedulerModel)
def create_slurm_scheduler(body):
    """Create a Slurm scheduler.

    The answer is what was sent, with the new id, and serialize_allocations in any case. Jobs and workflow actions name
    it by scheduler_id. The server does not check the options and never talks to Slurm itself.
    """
    return wire.json_text(value(sql.slurm_schedulers.create_slurm_scheduler, body=json.dumps(body)))


@blueprint.get("/slurm_schedulers")
@wire.query(ListSlurmSchedulers)
@wire.answers(ListSlurmSchedulersResponse)
def list_slurm_schedulers(query):
    """List the Slurm schedulers of a workflow.

    One page, by id unless sort_by says otherwise.
    """
    return wire.page(sql.slurm_schedulers.list_slurm_schedulers, ListSlurmSchedulers, query)


@blueprint.delete("/slurm_schedulers")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_slurm_schedulers(query):
    """Delete all Slurm schedulers of a workflow.

    Jobs and workflow actions that name one of them keep its id. The answer says how many were deleted.
    """
    return wire.json_value({"count": long_value(sql.slurm_schedulers.delete_slurm_schedulers, **query)})


@blueprint.get("/slurm_schedulers/<int64:id>")
@direct
@wire.answers(SlurmSchedulerModel)
def get_slurm_scheduler(id):
    """Get a Slurm scheduler.

    Options that are not set are left out of the answer.
    """
    return row_json(sql.slurm_schedulers.get_slurm_scheduler, "slurm_scheduler", id)


@blueprint.put("/slurm_schedulers/<int64:id>")
@wire.body(SlurmSchedulerModel)
@wire.answers(SlurmSchedulerModel)
def update_slurm_scheduler(id, body):
    """Change a Slurm scheduler.

    account, nodes and walltime are overwritten; each other option is stored if it is given and keeps its value if it is
    absent or null, so that none can be unset. workflow_id must be there and cannot be changed. The answer is the
    scheduler as it is now.
    """
    statement = sql.slurm_schedulers.update_slurm_scheduler
    return wire.json_text(row_json(statement, "slurm_scheduler", id, body=json.dumps(body)))


@blueprint.delete("/slurm_schedulers/<int64:id>")
@wire.answers(SlurmSchedulerModel)
def delete_slurm_scheduler(id):
    """Delete a Slurm scheduler.

    The answer is the scheduler that was deleted. Jobs and workflow actions that name it keep its id.
    """
    return wire.json_text(row_json(sql.slurm_schedulers.delete_slurm_scheduler, "slurm_scheduler", id))
