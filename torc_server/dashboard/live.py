"""The stream that tells an open page that its workflow has changed."""

from flask import Response, current_app, request

from torc_server.auth import caller
from torc_server.dashboard.frame import blueprint
from torc_server.repository import sql, value


@blueprint.get("/ui/workflows/<int64:id>/live")
def follow_workflow(id):
    """Frames of server-sent events: changed, with the numbers of jobs by status, the version and the number of the
    pages that are open here. The first one comes at once; a page that has its version leaves it."""
    value(sql.dashboard.authorize, workflow_id=id)
    frames = () if request.method == "HEAD" else current_app.extensions["pulses"].subscribe(id, caller())
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Content-Type": "text/event-stream"}
    return Response(frames, headers=headers, direct_passthrough=True)
