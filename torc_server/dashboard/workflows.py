"""The pages of workflows: the list, one workflow, what its jobs use."""

import json

from flask import Response, request

from torc_server import __version__, wire
from torc_server.dashboard.filters import WorkflowFilter
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.lanes import lane
from torc_server.repository import sql

PAGE_SIZE = 25
WELCOME = """torc-server {version}

interface   {root}torc-service/v1   try: curl {root}torc-service/v1/ping
described   {root}openapi.yaml, {root}openapi.json, and for browsers {root}docs
dashboard   {root} in a browser
health      {root}healthz, {root}readyz
"""


@blueprint.get("/")
@wire.query(WorkflowFilter)
@lane("lists")
def get_start(query):
    """The list of workflows for browsers; for other clients a text that says what is here."""
    if request.accept_mimetypes.best_match(["text/plain", "text/html"]) == "text/html":
        response = list_workflows(query)
    else:
        response = Response(WELCOME.format(version=__version__, root=request.url_root), mimetype="text/plain")
    response.vary.add("Accept")
    return response


def list_workflows(query):
    found = data(sql.dashboard.workflows, filter=json.dumps(query | {"limit": PAGE_SIZE}))
    return page("workflows", found=found, filter=query, page_size=PAGE_SIZE)


@blueprint.get("/ui/workflows/<int64:id>")
@lane("lists")
def get_workflow(id):
    """One workflow."""
    return page("workflow", workflow=data(sql.dashboard.workflow, workflow_id=id))


@blueprint.get("/ui/workflows/<int64:id>/use")
@lane("lists")
def get_use(id):
    """What jobs used beside what they asked for."""
    return page("use", id=id, requirements=data(sql.dashboard.resource_use, workflow_id=id))
