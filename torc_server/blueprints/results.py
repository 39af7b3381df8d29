"""Results of jobs."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.results import ListResults, NewResult, ResultModel

blueprint = Blueprint("results", __name__)


@blueprint.post("/results")
@wire.body(NewResult)
def create_result(body):
    """Store a result and make it the current one of its job; answer it as it was sent, with its id."""
    return wire.json_text(value(sql.results.create_result, body=json.dumps(body)))


@blueprint.get("/results")
@wire.query(ListResults)
def list_results(query):
    """List the current results of a workflow, or with all_runs all of them."""
    return wire.page(sql.results.list_results, ListResults, query)


@blueprint.delete("/results")
@wire.query(WorkflowId)
def delete_results(query):
    """Delete all results of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.results.delete_results, **query)})


@blueprint.get("/results/<int64:id>")
def get_result(id):
    """Return one result."""
    return wire.json_text(row_json(sql.results.get_result, "result", id))


@blueprint.put("/results/<int64:id>")
@wire.body(ResultModel)
def update_result(id, body):
    """Change a result; its job, attempt, node and measurements stay."""
    return wire.json_text(row_json(sql.results.update_result, "result", id, **ResultModel.row(body)))


@blueprint.delete("/results/<int64:id>")
def delete_result(id):
    """Delete a result and return it; no older one takes its place."""
    return wire.json_text(row_json(sql.results.delete_result, "result", id))
