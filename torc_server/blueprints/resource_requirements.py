"""Resource requirements of jobs."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.resource_requirements import ListResourceRequirements, ResourceRequirementsModel

TABLE = "resource_requirements"

blueprint = Blueprint("resource_requirements", __name__)


@blueprint.post("/resource_requirements")
@wire.body(ResourceRequirementsModel)
def create_resource_requirements(body):
    """Store resource requirements; the name default is reserved."""
    return wire.json_text(value(sql.resource_requirements.create_resource_requirements, body=json.dumps(body)))


@blueprint.get("/resource_requirements")
@wire.query(ListResourceRequirements)
def list_resource_requirements(query):
    """List the resource requirements of a workflow."""
    return wire.page(sql.resource_requirements.list_resource_requirements, ListResourceRequirements, query)


@blueprint.delete("/resource_requirements")
@wire.query(WorkflowId)
def delete_resource_requirements(query):
    """Delete all resource requirements of a workflow and every job that uses them; answer how many requirements."""
    return wire.json_value({"count": long_value(sql.resource_requirements.delete_resource_requirements, **query)})


@blueprint.get("/resource_requirements/<int64:id>")
def get_resource_requirements(id):
    """Return one record of resource requirements."""
    return wire.json_text(row_json(sql.resource_requirements.get_resource_requirements, TABLE, id))


@blueprint.put("/resource_requirements/<int64:id>")
@wire.body(ResourceRequirementsModel)
def update_resource_requirements(id, body):
    """Replace resource requirements; absent keys take their default."""
    statement = sql.resource_requirements.update_resource_requirements
    return wire.json_text(row_json(statement, TABLE, id, body=json.dumps(body)))


@blueprint.delete("/resource_requirements/<int64:id>")
def delete_resource_requirement(id):
    """Delete resource requirements and every job that uses them; return the requirements."""
    statement = sql.resource_requirements.delete_resource_requirement
    return wire.json_text(row_json(statement, TABLE, id, read=long_value))
