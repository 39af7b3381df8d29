"""What administrators of the server get."""

from torc_server.schemas import fields
from torc_server.schemas.common import MAX_LIMIT, Answer, Model, PageAnswer, Query


class ReloadAuthResponse(Answer):
    """The password file was read."""

    message = fields.String("What was done.", example="Auth credentials reloaded successfully", required=True)
    user_count = fields.Integer("How many users the file has.", example=12, required=True)


class ListAuditLog(Query):
    """Filters of the audit log. Unlike elsewhere, a limit or offset out of bounds is moved to the nearest bound."""

    default_column = "id"
    columns = ties = ()
    page_after = ""

    workflow_id = fields.QueryInteger("Only what was done to this workflow.", example=7)
    user_name = fields.QueryString("Only what this user did.", example="alice")
    offset = fields.QueryInteger("How many entries to skip.", example=200, load_default=0)
    limit = fields.QueryInteger("How many entries to return at most.", example=100, load_default=MAX_LIMIT)


class AdminAuditLogEntry(Answer):
    """Something that was done by hand: who, what, when."""

    id = fields.Integer("Id of the entry.", example=7, required=True)
    user_name = fields.String(
        "The user; the role of the database where it was done in SQL or by the server's configuration.",
        example="alice",
        required=True,
    )
    timestamp = fields.Integer("When it was done, in ms since 1970.", example=1764234765123, required=True)
    sql_text = fields.String("What was done, in SQL.", example="SELECT torc.cancel_workflow(7)", required=True)
    is_write = fields.Boolean("Whether it changed something.", example=True, required=True)
    allow_full_table = fields.Boolean("Whether it was allowed to change a whole table.", example=False, required=True)
    rows_affected = fields.Integer("How many rows it changed, where that is counted.", example=12)
    committed = fields.Boolean("Whether the change was kept.", example=True, required=True)
    success = fields.Boolean("Whether it succeeded.", example=True, required=True)
    error = fields.String("Why it failed.", example="syntax error")
    action = fields.String("What was done, in one word.", example="cancel_workflow", required=True)
    workflow_id = fields.Integer("The workflow that it was done to, which may be deleted.", example=7)
    group_id = fields.Integer("The access group that it was done to, which may be deleted.", example=2)
    data = fields.Json("What else the action was told.", example={"run_id": 1}, required=True)


class ListAdminAuditLogResponse(PageAnswer):
    """One page of the audit log, newest first."""

    items = fields.Objects(AdminAuditLogEntry, "The entries of this page.", required=True)


class AdminSqlRequest(Model):
    """One SQL statement, and what it may do."""

    sql = fields.String(
        "One statement: SELECT, WITH or VALUES; with `write` also INSERT, UPDATE or DELETE. Up to 100,000 characters.",
        example="SELECT id, name FROM workflow WHERE is_archived",
        required=True,
    )
    write = fields.Boolean("Whether the statement changes data.", example=False, load_default=False)
    allow_full_table = fields.Boolean(
        "Whether an UPDATE or DELETE without WHERE is meant.", example=False, load_default=False
    )
    dry_run = fields.Boolean(
        "Run a write, say how many rows it changes, and roll it back.", example=False, load_default=False
    )
    limit = fields.Integer(
        "How many rows to return at most; 0, less, or more than 100,000 means 100,000.",
        example=100,
        default=MAX_LIMIT,
        allow_none=True,
    )


class AdminSqlResponse(Answer):
    """What a SQL statement returned. The rows of an answer have at most 32 MiB."""

    columns = fields.Strings(
        "Names of the columns; a name that is there already gets _2, _3, …. Empty if there are no rows.",
        example=["id", "name"],
        required=True,
    )
    items = fields.JsonObjects("The rows: objects with a key for each column.", example=[{"id": 7}], required=True)
    rows_affected = fields.Integer("How many rows a write changed or returned; not of reads.", example=12)
    committed = fields.Boolean("Whether it was a write that has been committed.", example=False, required=True)


class ApiStatsQuery(Query):
    """Which requests are counted together. What is out of bounds is moved to the nearest bound."""

    window_seconds = fields.QueryInteger(
        "How far back to count, up to 3600.", example=600, minimum=0, load_default=3600
    )
    interval_seconds = fields.QueryInteger(
        "Length of the intervals that are counted by themselves.", example=60, minimum=0, load_default=60
    )


class ApiStatsBucket(Answer):
    """The requests that were answered in one interval."""

    start_ms = fields.Integer("When it began, in ms since 1970.", example=1764234720000, required=True)
    request_count = fields.Integer("Number of requests.", example=120, required=True)
    bytes_in = fields.Integer("Bytes of their bodies, as they were sent.", example=4096, required=True)
    bytes_out = fields.Integer("Bytes of the answers' bodies, without event streams.", example=9000, required=True)
    status_2xx = fields.Integer("Answers with status 200 to 299.", example=118, required=True)
    status_4xx = fields.Integer("Answers with status 400 to 499.", example=2, required=True)
    status_5xx = fields.Integer("Answers with status 500 to 599.", example=0, required=True)
    status_other = fields.Integer("All other answers.", example=0, required=True)


class ApiStats(Answer):
    """How many requests were answered, by all processes of all servers that share the database."""

    now_ms = fields.Integer("The time, in ms since 1970.", example=1764234765123, required=True)
    interval_seconds = fields.Integer("Length of an interval.", example=60, required=True)
    window_seconds = fields.Integer("Length of all intervals together.", example=3600, required=True)
    buckets = fields.Objects(ApiStatsBucket, "The intervals, newest first.", required=True)


class StreamRequests(Query):
    """What a stream of requests carries."""

    include_bodies = fields.QueryBoolean(
        "Whether it carries the beginning of bodies.", example=True, load_default=False
    )
