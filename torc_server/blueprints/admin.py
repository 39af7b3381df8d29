"""What administrators of the server do."""

from flask import Blueprint, current_app, request

from torc_server import admin_sql as statements
from torc_server import current, wire
from torc_server.api_traffic import LONGEST_WINDOW
from torc_server.auth import caller
from torc_server.blueprints.event_stream import event_stream
from torc_server.errors import ApiError
from torc_server.htpasswd import HtpasswdError
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import sql, value
from torc_server.schemas import fields
from torc_server.schemas.admin import (
    AdminSqlRequest,
    AdminSqlResponse,
    ApiStats,
    ApiStatsQuery,
    ListAdminAuditLogResponse,
    ListAuditLog,
    ReloadAuthResponse,
    StreamRequests,
)
from torc_server.schemas.common import MAX_LIMIT

REQUESTS = fields.String(
    "Server-sent events. Each frame has a line event, api, and a line data with one JSON object: timestamp_ms (when "
    "the request was answered), method, path, query, status, latency_ms, request_id (its X-Span-ID), user (who logged "
    "in, or the X-Torc-Client-User of an anonymous request), request_body and response_body (bytes, truncated, text). "
    "A frame of the type warning says with dropped how many requests are missing, null if that is not known.",
    example=(
        "event: api\n"
        'data: {"timestamp_ms":1767225600000,"method":"GET","path":"/torc-service/v1/ping","status":200,'
        '"latency_ms":1,"request_id":"1767225599999","user":"alice"}\n\n'
    ),
)

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


@blueprint.post("/admin/sql")
@wire.body(AdminSqlRequest)
@wire.answers(
    AdminSqlResponse,
    {
        403: "Admin SQL, or writing with it, is off on this server, or is off while access control is off; or the "
        "caller is not a system administrator.",
        422: "The statement is not allowed (the kind of the error is InvalidStatement), or it failed (QueryFailed of "
        "reads, ExecutionFailed of writes).",
    },
)
@lane("walks")
@audited
def admin_sql(body):
    """Run one SQL statement on the server's database.

    A read runs in a transaction that is read only, as a database role that may only read; a write needs `write` and
    runs as a role that may change rows but no schema. Both may take 30 seconds. Tables are those of this server
    (torc.job, torc.workflow, …; the name of the schema may be left out). Writes bypass the rules of the other
    operations. Each call is on record in the audit log, a write in its own transaction.
    """
    value(sql.authentication.authorize_admin)
    _check_admin_sql(body["write"])
    return statements.answer(body["sql"], body["write"], body["allow_full_table"], body["dry_run"], body.get("limit"))


def _check_admin_sql(is_write):
    """Raises ApiError 403 unless the settings allow it for this request."""
    settings = current.app().settings
    if not settings.enable_admin_sql:
        raise ApiError(403, "admin SQL is disabled on this server (setting enable_admin_sql)")
    if not caller().enforced and not settings.admin_sql_without_access_control:
        message = "admin SQL is disabled while access control is off (setting admin_sql_without_access_control)"
        raise ApiError(403, message)
    if is_write and not settings.enable_admin_sql_writes:
        raise ApiError(403, "admin SQL writes are disabled on this server (setting enable_admin_sql_writes)")


@blueprint.get("/admin/api-stats")
@wire.query(ApiStatsQuery)
@wire.answers(
    ApiStats,
    {403: "Access control is enforced and the caller is not a system administrator."},
)
def admin_api_stats(query):
    """Count the requests of the last hour.

    Those of all processes and hosts that share the database, in intervals of equal length, newest first. Others'
    requests are counted after up to two seconds.
    """
    value(sql.authentication.authorize_admin)
    current_app.extensions["api_traffic"].exchange()
    interval = min(max(1, query["interval_seconds"]), LONGEST_WINDOW)
    window = min(max(query["window_seconds"], interval), LONGEST_WINDOW)
    return wire.json_text(value(sql.admin.api_stats, interval=interval, count=-(-window // interval)))


@blueprint.get("/admin/api-events/stream")
@wire.query(StreamRequests)
@wire.answers(
    REQUESTS,
    {
        403: "Access control is enforced and the caller is not a system administrator.",
        503: "All streams of this server are in use, or the connection to the database is lost; try again after the "
        "seconds of the Retry-After header.",
    },
    content_type="text/event-stream",
)
def admin_api_events_stream(query):
    """Follow the requests that are answered, as server-sent events.

    Those of all processes and hosts that share the database, from two seconds after the stream has begun at the latest,
    until the client hangs up or the server stops. A comment comes at once and every 15 seconds. Nothing is stored for
    longer than some seconds.
    """
    value(sql.authentication.authorize_admin)
    if request.method == "HEAD":
        return event_stream(())
    return event_stream(current_app.extensions["api_traffic"].subscribe(caller(), query["include_bodies"]))
