"""Failure handlers: rules by which workers decide whether a failed job is tried again. The server only keeps them."""

from torc_server.schemas import fields
from torc_server.schemas.common import Page, PageAnswer, WorkflowPart


class FailureHandlerModel(WorkflowPart):
    """Rules by which a worker decides whether a failed job is tried again. The server only keeps them."""

    id = fields.RowId(example=6)
    name = fields.String("Name; several handlers may have the same.", example="out-of-memory", required=True)
    rules = fields.String(
        "The rules, by convention of the clients a JSON array; any text for the server.",
        example='[{"exit_codes": [137], "max_retries": 3}]',
        required=True,
    )
    message = fields.String(
        "Only in the answer to a deletion: that it was deleted.",
        example="Failure handler deleted successfully",
        dump_only=True,
    )


class ListFailureHandlers(Page):
    """A page of failure handlers, by id."""


class ListFailureHandlersResponse(PageAnswer):
    """A page of failure handlers."""

    items = fields.Objects(FailureHandlerModel, "The failure handlers of this page.", required=True)
