"""Resource requirements of a workflow: what its jobs need to run."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.resource_requirements import (
    ListResourceRequirements,
    ListResourceRequirementsResponse,
    ResourceRequirementsModel,
)

TABLE = "resource_requirements"
NEEDED_ELSEWHERE = (
    "The caller may not use the workflow, or jobs of another workflow use the requirements and the caller may not use "
    "that one. Only where access control is enforced."
)

blueprint = Blueprint("resource_requirements", __name__)


@blueprint.post("/resource_requirements")
@wire.body(ResourceRequirementsModel)
@wire.answers(
    ResourceRequirementsModel,
    {422: "A value breaks a rule: memory, runtime or num_nodes, or the name default, which is reserved."},
)
def create_resource_requirements(body):
    """Create resource requirements.

    Jobs name them in resource_requirements_id. The answer is what was stored, defaults filled in. The name default is
    taken by the record that was made with the workflow.
    """
    return wire.json_text(value(sql.resource_requirements.create_resource_requirements, body=json.dumps(body)))


@blueprint.get("/resource_requirements")
@wire.query(ListResourceRequirements)
@wire.answers(ListResourceRequirementsResponse)
def list_resource_requirements(query):
    """List the resource requirements of a workflow.

    One page, by id unless sort_by says otherwise; memory and runtime sort as text. Each filter that is given narrows
    the list. The record named default is among them.
    """
    return wire.page(sql.resource_requirements.list_resource_requirements, ListResourceRequirements, query)


@blueprint.delete("/resource_requirements")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse, {403: NEEDED_ELSEWHERE})
@lane("walks")
@audited
def delete_resource_requirements(query):
    """Delete all resource requirements of a workflow, and their jobs.

    Every job that uses one of them is deleted too, also in another workflow; for the jobs that depend on it, that is as
    if it had completed. The record named default goes as well: afterwards, jobs cannot be created without naming
    requirements. The answer says how many requirements were deleted, not how many jobs.
    """
    return wire.json_value({"count": long_value(sql.resource_requirements.delete_resource_requirements, **query)})


@blueprint.get("/resource_requirements/<int64:id>")
@direct
@wire.answers(ResourceRequirementsModel)
def get_resource_requirements(id):
    """Get one record of resource requirements.

    memory and runtime are given as they were sent.
    """
    return row_json(sql.resource_requirements.get_resource_requirements, TABLE, id)


@blueprint.put("/resource_requirements/<int64:id>")
@wire.body(ResourceRequirementsModel)
@wire.answers(
    ResourceRequirementsModel,
    {422: "A value breaks a rule: memory, runtime or num_nodes, or workflow_id is not that of the requirements."},
)
def update_resource_requirements(id, body):
    """Replace resource requirements.

    A field that is left out gets its default again, not its stored value. The new values count for claims from now on;
    jobs that are running are left alone. The record named default may be changed and renamed; workflow_id cannot be
    changed. An event of the category user_action says who made the change.
    """
    statement = sql.resource_requirements.update_resource_requirements
    return wire.json_text(row_json(statement, TABLE, id, body=json.dumps(body)))


@blueprint.delete("/resource_requirements/<int64:id>")
@wire.answers(ResourceRequirementsModel, {403: NEEDED_ELSEWHERE})
@lane("walks")
@audited
def delete_resource_requirement(id):
    """Delete one record of resource requirements, and its jobs.

    Every job that uses it is deleted too, also in another workflow; for the jobs that depend on such a job, that is as
    if it had completed. The answer is the record that was deleted.
    """
    statement = sql.resource_requirements.delete_resource_requirement
    return wire.json_text(row_json(statement, TABLE, id, read=long_value))
