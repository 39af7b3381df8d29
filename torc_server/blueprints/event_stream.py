"""The event stream tells of a workflow's jobs and compute nodes while it is open."""

from flask import Blueprint, Response, current_app, request

from torc_server import wire
from torc_server.auth import caller
from torc_server.repository import sql, value
from torc_server.schemas import fields
from torc_server.schemas.event_stream import StreamEvents

FRAMES = fields.String(
    "Server-sent events. Each frame has a line event with the event's type and a line data with one JSON object: "
    "workflow_id, timestamp (milliseconds since 1970), event_type, severity and data, an object whose keys depend on "
    "the type. Lines that begin with a colon are comments.",
    example=(
        "event: job_completed\n"
        'data: {"workflow_id":7,"timestamp":1767225600000,"event_type":"job_completed","severity":"info",'
        '"data":{"job_id":12,"job_name":"train","status":"completed","return_code":0}}\n\n'
    ),
)

blueprint = Blueprint("event_stream", __name__)


@blueprint.get("/workflows/<int64:id>/events/stream")
@wire.query(StreamEvents)
@wire.answers(
    FRAMES,
    {
        503: "All event streams of this server are in use, or the connection to the database is lost; try again after "
        "the seconds of the Retry-After header."
    },
    content_type="text/event-stream",
)
def stream_events(id, query):
    """Follow what happens in a workflow, as server-sent events.

    The stream tells of jobs (job_started, job_completed, job_failed, job_canceled, job_terminated, job_pending_failed,
    job_ready, job_blocked, job_uninitialized, job_retried), of the workflow (workflow_started, workflow_reinitialized,
    workflow_canceled) and of compute nodes (compute_node_started, compute_node_stopped, scheduler_node_created), from
    now on and until the client hangs up or the server stops. If more than 20 jobs move to the same status at once, that
    is one event with their count and the lowest 300 job_ids. A comment comes at once and every 15 seconds. Nothing is
    stored or sent again: a client that comes back with Last-Event-ID, or whose server lost the database for a while,
    gets a frame of the type warning, at any level, with only dropped (null) and message in its data, and should read
    the current state.
    """
    value(sql.workflows.get_workflow, workflow_id=id)
    if request.method == "HEAD":
        return event_stream(())
    reconnected = "Last-Event-ID" in request.headers
    return event_stream(current_app.extensions["streams"].subscribe(id, query["level"], caller(), reconnected))


def event_stream(frames):
    """Answer with frames: bytes, or a Subscription."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Content-Type": "text/event-stream"}
    return Response(frames, headers=headers, direct_passthrough=True)
