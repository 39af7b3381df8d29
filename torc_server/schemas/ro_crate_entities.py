"""RO-Crate entities: what a research-object description says about a workflow's files and software."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer, PageAnswer, SortedPage, WorkflowPart


class RoCrateEntityModel(WorkflowPart):
    """One entity of the RO-Crate, the research-object description, of a workflow."""

    id = fields.RowId(example=9)
    file_id = fields.Integer(
        "Id of the workflow's file that it describes; absent if it describes none.", example=3, allow_none=True
    )
    entity_id = fields.String("Its JSON-LD @id, unique in the workflow.", example="data/in.csv", required=True)
    entity_type = fields.String("Its JSON-LD @type.", example="File", required=True)
    metadata = fields.TextOrObject(
        "Its JSON-LD: an object, or its text. Answers hold one of them, as with the configurations of workflows.",
        example={"@id": "data/in.csv", "@type": "File", "name": "in.csv"},
        required=True,
    )


class ListRoCrateEntities(SortedPage):
    """Filters and order of list_ro_crate_entities."""

    columns = ("id", "workflow_id", "file_id", "entity_id", "entity_type", "metadata")
    page_after = ""

    file_id = fields.QueryInteger("Only entities of this file.", example=3)
    entity_id = fields.QueryString("Only the entity with this @id.", example="data/in.csv")


class ListRoCrateEntitiesResponse(PageAnswer):
    """A page of RO-Crate entities."""

    items = fields.Objects(RoCrateEntityModel, "The RO-Crate entities of this page.", required=True)


class DeleteRoCrateEntitiesResponse(Answer):
    """How many RO-Crate entities were deleted."""

    message = fields.String("The number in words.", example="Deleted 12 RO-Crate entities", required=True)
    deleted_count = fields.Integer("Number of deleted entities.", example=12, required=True)
    count = fields.Integer("The same number, under the name that other bulk deletions use.", example=12)
