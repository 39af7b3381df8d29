"""Slurm stats of jobs."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import sql, value
from torc_server.schemas.slurm_stats import ListSlurmStats, ListSlurmStatsResponse, SlurmStatsModel

blueprint = Blueprint("slurm_stats", __name__)


@blueprint.post("/slurm_stats")
@wire.body(SlurmStatsModel)
@wire.answers(
    SlurmStatsModel,
    {
        409: "There are stats of that job, run and attempt already; they stay as they are.",
        422: "A value breaks a rule, or the job is not in the workflow; the message names the field and the rule.",
    },
)
def create_slurm_stats(body):
    """Create the Slurm stats of one attempt of a job.

    The answer is what was sent, with the new id. The job must be in the workflow; run and attempt are taken as they
    are. Stats can be neither changed nor deleted: they go with their job or workflow.
    """
    return wire.json_text(value(sql.slurm_stats.create_slurm_stats, body=json.dumps(body)))


@blueprint.get("/slurm_stats")
@wire.query(ListSlurmStats)
@wire.answers(ListSlurmStatsResponse)
def list_slurm_stats(query):
    """List the Slurm stats of a workflow.

    One page, by id; each filter that is given narrows the list, and an unknown job gives an empty one.
    """
    query["limit"] = min(query["limit"], ListSlurmStats.max_limit)
    return wire.page(sql.slurm_stats.list_slurm_stats, ListSlurmStats, query)
