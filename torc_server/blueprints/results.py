"""Results of jobs: how each attempt ended."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.node_watch import heard_of
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.results import ListResults, ListResultsResponse, NewResult, ResultModel

STORED_ALREADY = "The job has another result for that run and attempt."

blueprint = Blueprint("results", __name__)


@blueprint.post("/results")
@wire.body(NewResult, ResultModel)
@wire.answers(
    ResultModel,
    {
        409: STORED_ALREADY,
        422: "A value breaks a rule, the job is not in the workflow, or there is no such compute node.",
    },
)
def create_result(body):
    """Store a result.

    It becomes the current result of its job, but the status of the job stays as it is: complete_job stores a result and
    moves the job. Without attempt_id it is that of the job's current attempt. The answer is what was sent, with the new
    id. There is a short form of only workflow_id, job_id, exit_code and, if you like, stdout and stderr: the server
    then takes run, attempt and compute node from the workflow and the job (or the first compute node of the workflow),
    return_code and status from exit_code, 0 minutes, and now; other fields that are given win.
    """
    text = value(sql.results.create_result, body=json.dumps(body))
    heard_of(body.get("compute_node_id"))
    return wire.json_text(text)


@blueprint.get("/results")
@wire.query(ListResults)
@wire.answers(ListResultsResponse)
def list_results(query):
    """List the results of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list. The current result of a
    job is the one stored last, stale reports of earlier attempts aside, until it is deleted or initialize_jobs finds
    the job not complete; all others are listed only with all_runs=true.
    """
    return wire.page(sql.results.list_results, ListResults, query)


@blueprint.delete("/results")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_results(query):
    """Delete all results of a workflow.

    Results that are not current are deleted too; jobs keep their status. The answer says how many were deleted.
    """
    return wire.json_value({"count": long_value(sql.results.delete_results, **query)})


@blueprint.get("/results/<int64:id>")
@direct
@wire.answers(ResultModel)
def get_result(id):
    """Get a result.

    What was not measured is left out of the answer.
    """
    return row_json(sql.results.get_result, "result", id)


@blueprint.put("/results/<int64:id>")
@wire.body(ResultModel)
@wire.answers(
    ResultModel,
    {409: STORED_ALREADY, 422: "A value breaks a rule, or workflow_id or job_id is not that of the result."},
)
def update_result(id, body):
    """Change a result.

    run_id, return_code, exec_time_minutes, completion_time and status are stored. compute_node_id must be there but is
    ignored, and so are attempt_id, the measurements, exit_code, stdout and stderr. workflow_id and job_id cannot be
    changed. Which result of the job is the current one stays as it is.
    """
    return wire.json_text(row_json(sql.results.update_result, "result", id, body=json.dumps(body)))


@blueprint.delete("/results/<int64:id>")
@wire.answers(ResultModel)
def delete_result(id):
    """Delete a result.

    No older one takes its place as the current result, and the job keeps its status. The answer is the result that was
    deleted.
    """
    return wire.json_text(row_json(sql.results.delete_result, "result", id))
