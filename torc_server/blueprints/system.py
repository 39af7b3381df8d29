"""What kind of server this is, and whether it answers."""

import importlib.metadata

from flask import Blueprint

from torc_server import wire

API_VERSION = "0.12.0"  # of the HTTP contract; clients refuse another major version

blueprint = Blueprint("system", __name__)


@blueprint.get("/ping")
def ping():
    """Say that the server answers."""
    return wire.json_value({"status": "ok"})


@blueprint.get("/version")
def get_version():
    """Return the version of the server and of the HTTP contract."""
    return wire.json_value({"version": importlib.metadata.version("torc_server"), "api_version": API_VERSION})
