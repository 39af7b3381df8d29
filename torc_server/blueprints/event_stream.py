"""The live event stream of a workflow: server-sent events, fed by LISTEN/NOTIFY."""

from flask import Blueprint, Response, current_app, request

from torc_server.repository import sql, value
from torc_server.schemas.event_stream import minimum_severity

blueprint = Blueprint("event_stream", __name__)


@blueprint.get("/workflows/<int64:id>/events/stream")
def stream_events(id):
    """Stream what happens in a workflow from now on, as server-sent events; `level` is the lowest severity sent.

    Comment lines come at once and every 15 s. A client that reconnects with Last-Event-ID, or whose server lost the
    database for a while, is told that events were dropped.
    """
    value(sql.workflows.get_workflow, workflow_id=id)
    frames = current_app.extensions["streams"].open(
        id,
        minimum_severity(request.args.get("level")),
        reconnected="Last-Event-ID" in request.headers,
        client=request.environ.get("gunicorn.socket"),
    )
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    response = Response(frames, headers=headers, mimetype="text/event-stream")
    response.headers["Content-Type"] = "text/event-stream"
    return response
