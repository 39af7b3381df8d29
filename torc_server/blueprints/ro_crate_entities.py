"""RO-Crate entities of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.ro_crate_entities import ListRoCrateEntities, RoCrateEntityModel

TABLE = "ro_crate_entity"

blueprint = Blueprint("ro_crate_entities", __name__)


@blueprint.post("/ro_crate_entities")
@wire.body(RoCrateEntityModel)
def create_ro_crate_entity(body):
    """Store an RO-Crate entity; answer it as it was sent, with its id."""
    entity_id = value(sql.ro_crate_entities.create_ro_crate_entity, **RoCrateEntityModel.row(body))
    return wire.json_value(body | {"id": entity_id})


@blueprint.get("/workflows/<int64:id>/ro_crate_entities")
@wire.query(ListRoCrateEntities)
def list_ro_crate_entities(id, query):
    """List the RO-Crate entities of a workflow."""
    statement = sql.ro_crate_entities.list_ro_crate_entities
    return wire.page(statement, ListRoCrateEntities, query, workflow_id=id)


@blueprint.delete("/workflows/<int64:id>/ro_crate_entities")
def delete_ro_crate_entities(id):
    """Delete all RO-Crate entities of a workflow; answer how many."""
    count = long_value(sql.ro_crate_entities.delete_ro_crate_entities, workflow_id=id)
    message = f"Deleted {count} RO-Crate entities"
    return wire.json_value({"message": message, "deleted_count": count, "count": count})


@blueprint.get("/ro_crate_entities/<int64:id>")
def get_ro_crate_entity(id):
    """Return one RO-Crate entity."""
    return wire.json_text(row_json(sql.ro_crate_entities.get_ro_crate_entity, TABLE, id))


@blueprint.put("/ro_crate_entities/<int64:id>")
@wire.body(RoCrateEntityModel)
def update_ro_crate_entity(id, body):
    """Replace an RO-Crate entity; an absent file_id clears it."""
    statement = sql.ro_crate_entities.update_ro_crate_entity
    row = RoCrateEntityModel.row(body)
    return wire.json_text(row_json(statement, TABLE, id, **row))


@blueprint.delete("/ro_crate_entities/<int64:id>")
def delete_ro_crate_entity(id):
    """Delete an RO-Crate entity."""
    return wire.json_text(row_json(sql.ro_crate_entities.delete_ro_crate_entity, TABLE, id))
