"""Slurm schedulers of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.slurm_schedulers import ListSlurmSchedulers, SlurmSchedulerModel

blueprint = Blueprint("slurm_schedulers", __name__)


@blueprint.post("/slurm_schedulers")
@wire.body(SlurmSchedulerModel)
def create_slurm_scheduler(body):
    """Store a Slurm scheduler; answer it as it was sent, with its id."""
    scheduler_id = value(sql.slurm_schedulers.create_slurm_scheduler, **SlurmSchedulerModel.row(body))
    return wire.json_value(body | {"id": scheduler_id})


@blueprint.get("/slurm_schedulers")
@wire.query(ListSlurmSchedulers)
def list_slurm_schedulers(query):
    """List the Slurm schedulers of a workflow."""
    return wire.page(sql.slurm_schedulers.list_slurm_schedulers, ListSlurmSchedulers, query)


@blueprint.delete("/slurm_schedulers")
@wire.query(WorkflowId)
def delete_slurm_schedulers(query):
    """Delete all Slurm schedulers of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.slurm_schedulers.delete_slurm_schedulers, **query)})


@blueprint.get("/slurm_schedulers/<int64:id>")
def get_slurm_scheduler(id):
    """Return one Slurm scheduler."""
    return wire.json_text(row_json(sql.slurm_schedulers.get_slurm_scheduler, "slurm_scheduler", id))


@blueprint.put("/slurm_schedulers/<int64:id>")
@wire.body(SlurmSchedulerModel)
def update_slurm_scheduler(id, body):
    """Change a Slurm scheduler; absent optional keys keep their value."""
    statement = sql.slurm_schedulers.update_slurm_scheduler
    return wire.json_text(row_json(statement, "slurm_scheduler", id, **SlurmSchedulerModel.row(body)))


@blueprint.delete("/slurm_schedulers/<int64:id>")
def delete_slurm_scheduler(id):
    """Delete a Slurm scheduler and return it."""
    return wire.json_text(row_json(sql.slurm_schedulers.delete_slurm_scheduler, "slurm_scheduler", id))
