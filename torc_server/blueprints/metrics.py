"""Numbers about the server, for Prometheus. Outside the base path."""

import ipaddress

from flask import Blueprint, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from torc_server import current
from torc_server.errors import ApiError
from torc_server.lanes import lane

FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@lane("lists")
def get_metrics():
    """Numbers about the server, as Prometheus reads them: 404 or 403 if the setting `metrics` says so."""
    allowed = current.app().settings.metrics
    if allowed == "off":
        raise ApiError(404, "There is nothing at this path")
    if allowed == "local" and not is_local(request):
        raise ApiError(
            403, "Only programs on the server's own machine may read this, and not through a proxy (setting metrics)"
        )
    extensions = current_app.extensions
    registry = extensions["metrics"].registry(extensions["database_metrics"])
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def is_local(request):
    """Whether a request comes from this machine, and no proxy on it has passed it on for somebody else."""
    peer = request.environ.get("REMOTE_ADDR", "")
    if any(name in request.headers for name in FORWARDED):
        return False
    return not peer or ipaddress.ip_address(peer).is_loopback
