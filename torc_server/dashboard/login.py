"""Where people log in: the browser asks for the password, and sends it from then on."""

from flask import current_app, redirect, request

from torc_server.auth import ANONYMOUS, caller
from torc_server.dashboard.frame import blueprint
from torc_server.errors import ApiError


@blueprint.get("/login")  # at the root: browsers send a password below the folder that asked for it
def get_login():
    """Ask for the password if the browser has sent none; then lead to the list of workflows."""
    if caller().name == ANONYMOUS and "Authorization" not in request.headers:
        if current_app.extensions["accounts"] is None:
            raise ApiError(404, "This server has no password file (setting auth_file): there is nobody to log in as")
        raise ApiError(401, "Log in with a user name and a password", {"WWW-Authenticate": 'Basic realm="Torc"'})
    return redirect("./", 303)
