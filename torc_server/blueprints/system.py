"""What kind of server this is, and whether it answers."""

import importlib.metadata

from flask import Blueprint

from torc_server import wire
from torc_server.auth import caller
from torc_server.dialect import api_version
from torc_server.lanes import AT_ONCE, lane
from torc_server.revision import git_hash
from torc_server.schemas.system import PingResponse, VersionResponse

blueprint = Blueprint("system", __name__)


@blueprint.get("/ping")
@wire.answers(PingResponse)
@lane(AT_ONCE)
def ping():
    """Say that the server answers.

    It says nothing about the database. Where the server requires a password, this call needs one too.
    """
    return wire.json_value({"status": "ok"})


@blueprint.get("/version")
@wire.answers(VersionResponse)
def get_version():
    """Get the versions of the server and of this interface.

    Clients compare api_version with the version that they were made for, and refuse another major version.
    """
    asking = caller()
    versions = {
        "version": importlib.metadata.version("torc_server"),
        "api_version": api_version(asking.dialect),
        "git_hash": None if asking.enforced else git_hash(),
    }
    return wire.json_value({name: value for name, value in versions.items() if value is not None})
