"""The pages of jobs: the table, as a page and as CSV, and one job."""

import json

from flask import Response, request
from werkzeug.wsgi import wrap_file

from torc_server import wire
from torc_server.bodies import PIECE
from torc_server.dashboard.filters import PAGE_SIZE, JobFilter
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.lanes import lane
from torc_server.repository import spool, sql

COLUMNS = {
    "status": "Status", "attempt": "Attempt", "priority": "Priority", "labels": "Labels", "requirement": "Requirement",
    "host": "Node", "return_code": "Return code", "time": "Time", "memory": "Peak memory", "cpu": "Peak CPU",
    "ended": "Ended", "command": "Command",
}  # fmt: skip
SHOWN = ("status", "attempt", "requirement", "host", "return_code", "time", "memory")
CSV_HEADING = (
    b"id,name,status,priority,attempt,requirement,node,return_code,time_s,completion_time,peak_memory_bytes,"
    b"peak_cpu_percent,command\r\n"
)


@blueprint.get("/ui/workflows/<int64:id>/jobs")
@wire.query(JobFilter)
@lane("lists")
def list_jobs(id, query):
    """The table of a workflow's jobs."""
    found = data(sql.dashboard.jobs, workflow_id=id, filter=json.dumps(query | {"limit": PAGE_SIZE}))
    chosen = [column for column in request.args.getlist("column") if column in COLUMNS]
    return page(
        "jobs", found=found, filter=query, page_size=PAGE_SIZE, columns=COLUMNS, shown=chosen or SHOWN
    )  # fmt: skip


@blueprint.get("/ui/workflows/<int64:id>/jobs.csv")
@wire.query(JobFilter)
@lane("lists")
def download_jobs(id, query):
    """All jobs that the filters leave, as CSV."""

    def write(lines, file):
        file.write(CSV_HEADING)
        for line in lines:
            file.write(line)

    file = spool(sql.dashboard.jobs_csv, write, workflow_id=id, filter=json.dumps(query))
    size = file.rewind()
    response = Response(wrap_file(request.environ, file, PIECE), mimetype="text/csv", direct_passthrough=True)
    response.content_length = size
    response.headers["Content-Disposition"] = f'attachment; filename="jobs-of-workflow-{id}.csv"'
    return response


@blueprint.get("/ui/jobs/<int64:id>")
@lane("lists")
def get_job(id):
    """One job."""
    return page("job", job=data(sql.dashboard.job, job_id=id))
