"""RO-Crate entities: what a research-object description says about a workflow's files and software."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class RoCrateEntityModel(Model):
    """An RO-Crate entity. entity_id is its JSON-LD @id; metadata is JSON by convention, opaque text to the server."""

    workflow_id = fields.Integer(required=True)
    file_id = fields.Integer(allow_none=True)
    entity_id = fields.String(required=True)
    entity_type = fields.String(required=True)
    metadata = fields.String(required=True)


class ListRoCrateEntities(SortedPage):
    """Order of list_ro_crate_entities."""

    columns = ("id", "workflow_id", "file_id", "entity_id", "entity_type", "metadata")
