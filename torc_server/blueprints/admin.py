"""What administrators of the server do."""

from flask import Blueprint, current_app

from torc_server import wire
from torc_server.errors import ApiError
from torc_server.htpasswd import HtpasswdError
from torc_server.observer import audited
from torc_server.repository import sql, value
from torc_server.schemas.admin import ListAdminAuditLogResponse, ListAuditLog, ReloadAuthResponse
from torc_server.schemas.common import MAX_LIMIT

blueprint = Blueprint("admin", __name__)


@blueprint.post("/admin/reload-auth")
@wire.answers(
    ReloadAuthResponse,
    {
        403: "Access control is enforced and the caller is not a system administrator.",
        500: "The server has no password file, or the file cannot be used; then the users stay as they were.",
    },
)
@audited
def reload_auth():
    """Read the password file again.

    The answer says how many users it has. Every process of this server uses them from now on; a changed file is noticed
    without this call too, which tells at once whether the file is right. The system administrators are named when the
    server starts; this call does not change them. No body is needed.
    """
    value(sql.authentication.authorize_admin)
    accounts = current_app.extensions["accounts"]
    if accounts is None:
        message = "No auth file configured. Start the server with --auth-file to enable auth reloading."
        raise ApiError(500, message, error="NoAuthFile")
    try:
        count = accounts.reload()
    except HtpasswdError as error:
        raise ApiError(500, f"Failed to reload htpasswd file: {error}", error="ReloadFailed") from error
    value(sql.admin.audit_reload_auth, user_count=count)
    return wire.json_value({"message": "Auth credentials reloaded successfully", "user_count": count})


@blueprint.get("/admin/audit-log")
@wire.query(ListAuditLog)
@wire.answers(
    ListAdminAuditLogResponse,
    {403: "Access control is enforced and the caller is not a system administrator."},
)
def list_admin_audit_log(query):
    """List what was done by hand, newest first.

    Cancellations, resets, archiving and other changes of a workflow's status, deletions of workflows and jobs and of
    all rows of a kind, reloads of the password file, and changes of who may do what. Each entry was stored together
    with its change, and stays when the workflow is deleted.
    """
    query |= {"offset": max(0, query["offset"]), "limit": min(max(0, query["limit"]), MAX_LIMIT)}
    return wire.page(sql.admin.list_audit_log, ListAuditLog, query)
