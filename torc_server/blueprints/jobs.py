"""Jobs: create, read, change, and the transitions of one job."""

import json
import re

from flask import Blueprint
from marshmallow import ValidationError

from torc_server import wire
from torc_server.errors import ApiError
from torc_server.repository import long_value, sql, value
from torc_server.schemas.common import MAX_LIMIT, WorkflowId
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.jobs import JobModel, ListJobs, ManageStatusChange, RetryJob
from torc_server.schemas.results import ResultModel

blueprint = Blueprint("jobs", __name__)
exact_job = ExactTypes(JobModel())

UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # may be: halves of pairs are fine together


@blueprint.post("/jobs")
@wire.body(JobModel)
def create_job(body):
    """Create a job; answer it as it was sent, with its id."""
    jobs = json.dumps([body])
    return wire.json_text(value(sql.jobs.create_job, workflow_id=body["workflow_id"], jobs=jobs))


@blueprint.post("/bulk_jobs")
def create_jobs():
    """Create up to 100,000 jobs of one workflow, all or none, in the order of the request."""
    raw = wire.read_body()
    jobs = checked_jobs(wire.parse_json(raw))
    if not jobs:
        return wire.json_value({"jobs": []})
    body = raw.decode()
    if UNSTORABLE_ESCAPE.search(body):  # in a key that is ignored, or it would have been refused
        body = json.dumps({"jobs": JobModel(many=True).load(jobs)})
    return wire.spooled_list(sql.jobs.create_jobs, "jobs", workflow_id=jobs[0]["workflow_id"], body=body)


def checked_jobs(body):
    """Return the list of jobs in a body of bulk_jobs. Raises ApiError 422 naming the first job that does not fit."""
    jobs = body.get("jobs") if type(body) is dict else None
    if type(jobs) is not list:
        raise ApiError(422, "jobs: must be a list of jobs", field="jobs")
    if len(jobs) > MAX_LIMIT:
        raise ApiError(422, f"Too many jobs in batch: {len(jobs)}. Maximum is {MAX_LIMIT}", field="jobs")
    for index, job in enumerate(jobs):
        try:
            exact_job.check(job)
        except ValidationError as error:
            name, reason = wire.first_message(error.messages)
            field = f"jobs[{index}].{name}".removesuffix(".")
            raise ApiError(422, f"{field}: {reason}", field=field) from error
    return jobs


@blueprint.get("/jobs")
@wire.query(ListJobs)
def list_jobs(query):
    """List the jobs of a workflow."""
    return wire.page(sql.jobs.list_jobs, ListJobs, query, alias="jobs")


@blueprint.delete("/jobs")
@wire.query(WorkflowId)
def delete_jobs(query):
    """Delete all jobs of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.jobs.delete_jobs, **query)})


@blueprint.get("/jobs/<int64:id>")
def get_job(id):
    """Return one job with its relations."""
    return wire.json_text(value(sql.jobs.get_job, job_id=id))


@blueprint.put("/jobs/<int64:id>")
@wire.body(JobModel)
def update_job(id, body):
    """Change a job; absent keys keep their value."""
    return wire.json_text(value(sql.jobs.update_job, job_id=id, body=json.dumps(body)))


@blueprint.delete("/jobs/<int64:id>")
def delete_job(id):
    """Delete a job and return it; its dependents no longer wait for it."""
    return wire.json_text(value(sql.jobs.delete_job, job_id=id))


@blueprint.put("/jobs/<int64:id>/start_job/<int64:run_id>/<int64:compute_node_id>")
def start_job(id, run_id, compute_node_id):
    """Move a claimed job to running on a compute node."""
    return wire.json_text(
        value(sql.jobs.start_job, job_id=id, run_id=run_id, compute_node_id=compute_node_id)
    )  # fmt: skip


@blueprint.post("/jobs/<int64:id>/complete_job/<job_status:status>/<int64:run_id>")
@wire.body(ResultModel)
def complete_job(id, status, run_id, body):
    """Store a job's result, move it to a terminal status and release or cancel its dependents."""
    return wire.json_text(
        value(sql.jobs.complete_job, job_id=id, status=status, run_id=run_id, result=json.dumps(body))
    )


@blueprint.put("/jobs/<int64:id>/manage_status_change/<job_status:status>/<int64:run_id>")
def manage_status_change(id, status, run_id):
    """Set a job to any status that is not complete."""
    return wire.json_text(value(sql.jobs.manage_status_change, job_id=id, status=status, run_id=run_id))


@blueprint.post("/jobs/<int64:id>/manage_status_change")
@wire.body(ManageStatusChange)
def manage_status_change_by_body(id, body):
    """Set a job to any status that is not complete, in the form of the documentation page."""
    return wire.json_text(
        value(
            sql.jobs.manage_status_change, job_id=id, status=body["target_status"], run_id=body.get("run_id")
        )
    )  # fmt: skip


@blueprint.post("/jobs/<int64:id>/retry/<int64:run_id>")
@wire.query(RetryJob)
def retry_job(id, run_id, query):
    """Make a running, failed or terminated job ready for its next attempt."""
    return wire.json_text(value(sql.jobs.retry_job, job_id=id, run_id=run_id, **query))
