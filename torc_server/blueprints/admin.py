"""What administrators of the server do."""

from flask import Blueprint, current_app

from torc_server import wire
from torc_server.errors import ApiError
from torc_server.htpasswd import HtpasswdError
from torc_server.repository import sql, value

blueprint = Blueprint("admin", __name__)


@blueprint.post("/admin/reload-auth")
def reload_auth():
    """Read the password file again and say how many users it has; every worker uses it from now on."""
    value(sql.authentication.authorize_admin)
    accounts = current_app.extensions["accounts"]
    if accounts is None:
        message = "No auth file configured. Start the server with --auth-file to enable auth reloading."
        raise ApiError(500, message, error="NoAuthFile")
    try:
        count = accounts.reload()
    except HtpasswdError as error:
        raise ApiError(500, f"Failed to reload htpasswd file: {error}", error="ReloadFailed") from error
    return wire.json_value({"message": "Auth credentials reloaded successfully", "user_count": count})
