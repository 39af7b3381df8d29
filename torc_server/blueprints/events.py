"""Stored events of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.events import EventModel, ListEvents

blueprint = Blueprint("events", __name__)


@blueprint.post("/events")
@wire.body(EventModel)
def create_event(body):
    """Store an event under the server's time and return it."""
    data = json.dumps(body["data"])
    return wire.json_text(value(sql.events.create_event, workflow_id=body["workflow_id"], data=data))


@blueprint.get("/events")
@wire.query(ListEvents)
def list_events(query):
    """List the events of a workflow, oldest first."""
    return wire.page(sql.events.list_events, ListEvents, query, alias="events")


@blueprint.delete("/events")
@wire.query(WorkflowId)
def delete_events(query):
    """Delete all events of a workflow; answer how many."""
    return wire.json_value({"count": long_value(sql.events.delete_events, **query)})


@blueprint.get("/events/<int64:id>")
def get_event(id):
    """Return one event."""
    return wire.json_text(row_json(sql.events.get_event, "event", id))


@blueprint.put("/events/<int64:id>")
@wire.any_body
def update_event(id, body):
    """Replace the data of an event by the body, whatever JSON value it is."""
    return wire.json_text(row_json(sql.events.update_event, "event", id, data=json.dumps(body)))


@blueprint.delete("/events/<int64:id>")
def delete_event(id):
    """Delete an event and return it."""
    return wire.json_text(row_json(sql.events.delete_event, "event", id))
