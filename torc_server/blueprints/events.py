"""Stored events of a workflow, of the server and of clients."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.events import EventModel, ListEvents, ListEventsResponse, NewEvent

blueprint = Blueprint("events", __name__)


@blueprint.post("/events")
@wire.body(NewEvent, EventModel)
@wire.answers(EventModel)
def create_event(body):
    """Store an event.

    It gets the time of the server, whatever timestamp says; the key may be left out. The answer is the stored event.
    Open event streams are not told of it.
    """
    data = json.dumps(body["data"])
    return wire.json_text(value(sql.events.create_event, workflow_id=body["workflow_id"], data=data))


@blueprint.get("/events")
@wire.query(ListEvents)
@wire.answers(ListEventsResponse)
def list_events(query):
    """List the stored events of a workflow.

    One page, by id and so oldest first, unless sort_by says otherwise; sorting by data compares its JSON text. Each
    filter that is given narrows the list. The server itself stores an event for each retry of a job, cancellation of
    the workflow, reset of its status or its jobs, and change of resource requirements; what streams tell is not stored.
    """
    return wire.page(sql.events.list_events, ListEvents, query, alias="events")


@blueprint.delete("/events")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_events(query):
    """Delete all stored events of a workflow.

    Those that the server has stored go too. The answer says how many were deleted.
    """
    return wire.json_value({"count": long_value(sql.events.delete_events, **query)})


@blueprint.get("/events/<int64:id>")
@direct
@wire.answers(EventModel)
def get_event(id):
    """Get a stored event.

    data is always there, as null if that is what was stored.
    """
    return row_json(sql.events.get_event, "event", id)


@blueprint.put("/events/<int64:id>")
@wire.any_body
@wire.answers(EventModel)
def update_event(id, body):
    """Replace the data of a stored event.

    The whole body, whatever JSON value it is, becomes the new data: a body that looks like an event ends up inside
    data. workflow_id and timestamp stay. The answer is the event.
    """
    return wire.json_text(row_json(sql.events.update_event, "event", id, data=json.dumps(body)))


@blueprint.delete("/events/<int64:id>")
@wire.answers(EventModel)
def delete_event(id):
    """Delete a stored event.

    The answer is the event that was deleted.
    """
    return wire.json_text(row_json(sql.events.delete_event, "event", id))
