"""Stored events: JSON values with a time. The stream of events is another thing."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class EventModel(Model):
    """An event. timestamp (ms since 1970) is the server's, whatever is sent; data may be null."""

    workflow_id = fields.Integer(required=True)
    timestamp = fields.Integer(allow_none=True)
    data = fields.Json(required=True, keep_null=True)


class ListEvents(SortedPage):
    """Filters of list_events. after_timestamp is exclusive."""

    columns = ("id", "workflow_id", "timestamp", "data")

    workflow_id = fields.QueryInteger(required=True)
    category = fields.QueryString()
    after_timestamp = fields.QueryInteger()
