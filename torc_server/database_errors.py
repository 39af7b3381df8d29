"""Which errors of the database are whose fault, and what they say about the connection."""

import json
import logging
import re

import psycopg
from psycopg import errors as pg

from torc_server.errors import ApiError

log = logging.getLogger("torc_server")

LOST = "The connection to the database was lost; try again"

# These say that the connection is of no use and that nothing was done: it leads to a node that became a standby, or a
# pooler has exchanged the session behind it, or the tables or functions have changed under its plans.
_USELESS = {"25006", "26000", "42P05"}
_CLOSED = {"25P03", "25P04"}  # a transaction that lasted too long: PostgreSQL has closed the connection
_CACHED_PLAN = "cached plan must not change result type"  # 0A000, which says many other things
_DROPPED = "cache lookup failed for"  # XX000: a migration has replaced the functions while the statement was planned

# What is no fault of the request, and over in a moment or when an administrator has acted: SQLSTATE, or its class.
_TROUBLES = {
    "53100": "The database reports over its connection that its disk is full; nothing was changed",
    "53200": "The database reports over its connection that it has no memory left; nothing was changed",
    "53": "The database has no connection or other resource left for this call; try again",
    "55P03": "The database connection waited too long for a lock that another call holds; try again",
    "25006": "The connection leads to a database that is read only at the moment; try again",
    "57014": "The database connection took too long for this call; try again",
}
_RETRY_AFTER = {"53100": "30", "57014": "5"}  # seconds; 1 for all others

# A unique violation is a 409, except on these keys, where the request lists the same id twice (422).
_LISTS = {
    "job_depends_on_key": "depends_on_job_ids",
    "job_input_file_key": "input_file_ids",
    "job_output_file_key": "output_file_ids",
    "job_input_user_data_key": "input_user_data_ids",
    "job_output_user_data_key": "output_user_data_ids",
}

# Columns of which the request knows another name.
_NAMES = {"active_compute_node_id": "compute_node_id", "executed_by": "compute_node_id"}


def is_useless(error: psycopg.Error) -> bool:
    """Whether an error says that its connection is of no use any more, and that nothing was done on it."""
    if error.sqlstate == "0A000":
        return _CACHED_PLAN in str(error)
    if error.sqlstate == "XX000":
        return _DROPPED in str(error)
    return error.sqlstate in _USELESS


def is_lost(error: psycopg.Error) -> bool:
    """Whether an error says that there is no connection any more; what was sent last may have been done."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state.startswith(("08", "57P")) or state in _CLOSED


def api_error(error: psycopg.Error) -> ApiError:
    """The ApiError for an error of the database: our own SQLSTATEs carry their HTTP status; the rest is by class.

    Raises the error itself if it is a fault of the server.
    """
    state = error.sqlstate or ""
    if state.startswith("TC"):
        extra = json.loads(error.diag.message_detail or "{}")
        return ApiError(int(state[2:]), error.diag.message_primary or state, **extra)
    if isinstance(error, pg.ForeignKeyViolation):
        return _unknown_id(error.diag)
    if isinstance(error, pg.UniqueViolation):
        return _stored_already(error.diag)
    if state.startswith("54"):  # program limits, such as the 2,700 bytes of a key: sent again, it fails again
        return ApiError(422, "The request holds a text that is too long, or JSON that is too deep, to be stored")
    if message := _TROUBLES.get(state) or _TROUBLES.get(state[:2]):
        if state.startswith("53"):
            log.error("the database: %s", str(error).strip())
        return ApiError(503, message, {"Retry-After": _RETRY_AFTER.get(state, "1")})
    if isinstance(error, psycopg.OperationalError) or is_lost(error) or is_useless(error):
        return ApiError(503, LOST, {"Retry-After": "1"})
    if isinstance(error, pg.DataError):
        # Validation lets only storable values through; should one slip, it is still the request's, and nothing changed.
        log.warning("the database refused a value: %s (SQLSTATE %s)", type(error).__name__, state)  # not the value
        return ApiError(422, "The request holds a value that cannot be stored")
    raise error


def _unknown_id(diag):
    field = diag.constraint_name.removeprefix(f"{diag.table_name}_").removesuffix("_fkey")
    field = _NAMES.get(field, field)
    if field == "workflow_id":  # deleted after the statement had found it
        return ApiError(404, "Workflow not found: it has just been deleted")
    return ApiError(422, f"{field}: there is no such row", field=field)


def _stored_already(diag):
    if field := _LISTS.get(diag.constraint_name):
        return ApiError(422, f"{field}: the list contains a duplicate id", field=field)
    columns = diag.constraint_name.removeprefix(f"{diag.table_name}_").removesuffix("_key")
    columns = re.sub("(_id|_name)_", r"\1, ", columns)
    return ApiError(409, f"Another row already has this {columns}", field=columns)
