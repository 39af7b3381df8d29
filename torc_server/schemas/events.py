"""Stored events: JSON values with a time. The stream of events is another thing."""

from torc_server.schemas import fields
from torc_server.schemas.common import PageAnswer, SortedPage, WorkflowPart


class EventModel(WorkflowPart):
    """A stored event: a JSON value and the time at which it was stored."""

    id = fields.RowId(example=101)
    timestamp = fields.Integer(
        "When the event was stored, counted from the start of 1970 (UTC). Always the time of the server, whatever a "
        "request holds.",
        unit="milliseconds",
        example=1767225600000,
        required=True,
    )
    data = fields.Json(
        "Any JSON value, at most 128 levels deep; null is one too.",
        example={"category": "user_action", "action": "archive", "user": "alice"},
        required=True,
        keep_null=True,
    )


class NewEvent(EventModel):
    """An event to be stored: the time is the server's, so none need be sent."""

    timestamp = fields.Integer(allow_none=True)


class ListEvents(SortedPage):
    """Filters of list_events."""

    columns = ("id", "workflow_id", "timestamp", "data")

    workflow_id = fields.QueryInteger("Id of the workflow whose events are listed.", example=7, required=True)
    category = fields.QueryString(
        "Only those whose data says so, under the first of its keys category, event_type, type and action that has a "
        "value.",
        example="user_action",
    )
    after_timestamp = fields.QueryInteger(
        "Only those stored later than this, counted from the start of 1970 (UTC).",
        unit="milliseconds",
        example=1767225600000,
    )


class ListEventsResponse(PageAnswer):
    """A page of events."""

    items = fields.Objects(EventModel, "The events of this page.", required=True)
    events = fields.Objects(EventModel, "The same as items, under the name that the documentation page uses.")
