"""Slurm stats of jobs."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import sql, value
from torc_server.schemas.slurm_stats import ListSlurmStats, SlurmStatsModel

blueprint = Blueprint("slurm_stats", __name__)


@blueprint.post("/slurm_stats")
@wire.body(SlurmStatsModel)
def create_slurm_stats(body):
    """Store Slurm's figures of one attempt of a job; answer them as they were sent, with their id."""
    stats_id = value(sql.slurm_stats.create_slurm_stats, body=json.dumps(body))
    return wire.json_value(body | {"id": stats_id})


@blueprint.get("/slurm_stats")
@wire.query(ListSlurmStats)
def list_slurm_stats(query):
    """List the Slurm stats of a workflow."""
    query["limit"] = min(query["limit"], ListSlurmStats.max_limit)
    return wire.page(sql.slurm_stats.list_slurm_stats, ListSlurmStats, query)
