"""RO-Crate entities of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import MessageResponse
from torc_server.schemas.ro_crate_entities import (
    DeleteRoCrateEntitiesResponse,
    ListRoCrateEntities,
    ListRoCrateEntitiesResponse,
    RoCrateEntityModel,
)

TABLE = "ro_crate_entity"
ERRORS = {
    422: "A value breaks a rule, the file is not in the workflow, or another entity of the workflow has that "
    "entity_id; the message names the field and the rule.",
}

blueprint = Blueprint("ro_crate_entities", __name__)


@blueprint.post("/ro_crate_entities")
@wire.body(RoCrateEntityModel)
@wire.answers(RoCrateEntityModel, ERRORS)
def create_ro_crate_entity(body):
    """Create an RO-Crate entity.

    The answer is what was sent, with the new id. file_id, if given, names a file of the same workflow. initialize_jobs
    adds entities too: always one for the server itself, and with enable_ro_crate one for each file that has st_mtime.
    """
    return wire.json_text(value(sql.ro_crate_entities.create_ro_crate_entity, body=json.dumps(body)))


@blueprint.get("/workflows/<int64:id>/ro_crate_entities")
@wire.query(ListRoCrateEntities)
@wire.answers(ListRoCrateEntitiesResponse)
def list_ro_crate_entities(id, query):
    """List the RO-Crate entities of a workflow.

    One page, by id unless sort_by says otherwise. Those that initialize_jobs has added are among them.
    """
    statement = sql.ro_crate_entities.list_ro_crate_entities
    return wire.page(statement, ListRoCrateEntities, query, workflow_id=id)


@blueprint.delete("/workflows/<int64:id>/ro_crate_entities")
@wire.answers(DeleteRoCrateEntitiesResponse)
@lane("walks")
@audited
def delete_ro_crate_entities(id):
    """Delete all RO-Crate entities of a workflow.

    The files that they describe stay. The answer says how many were deleted. The next initialize_jobs adds its own
    again.
    """
    count = long_value(sql.ro_crate_entities.delete_ro_crate_entities, workflow_id=id)
    message = f"Deleted {count} RO-Crate entities"
    return wire.json_value({"message": message, "deleted_count": count, "count": count})


@blueprint.get("/ro_crate_entities/<int64:id>")
@direct
@wire.answers(RoCrateEntityModel)
def get_ro_crate_entity(id):
    """Get an RO-Crate entity.

    file_id is left out if it describes no file, or if its file was deleted.
    """
    return row_json(sql.ro_crate_entities.get_ro_crate_entity, TABLE, id)


@blueprint.put("/ro_crate_entities/<int64:id>")
@wire.body(RoCrateEntityModel)
@wire.answers(RoCrateEntityModel, ERRORS)
def update_ro_crate_entity(id, body):
    """Replace an RO-Crate entity.

    Every field is overwritten; without file_id the entity describes no file any more. workflow_id must be there and
    cannot be changed. The answer is the entity as it is now.
    """
    statement = sql.ro_crate_entities.update_ro_crate_entity
    return wire.json_text(row_json(statement, TABLE, id, body=json.dumps(body)))


@blueprint.delete("/ro_crate_entities/<int64:id>")
@wire.answers(MessageResponse)
def delete_ro_crate_entity(id):
    """Delete an RO-Crate entity.

    The file that it describes stays. The answer is a message, not the entity.
    """
    return wire.json_text(row_json(sql.ro_crate_entities.delete_ro_crate_entity, TABLE, id))
