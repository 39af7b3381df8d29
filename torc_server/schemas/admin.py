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
