"""Connections to PostgreSQL, opened when they are needed; what is retried; which errors are whose fault."""

import functools
import logging
import os
import random
import re
import select
import sys
import threading
import time

import psycopg
from psycopg import errors as pg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus

from torc_server import __version__
from torc_server.errors import ApiError

log = logging.getLogger("torc_server")

HOT_TIMEOUT = "15s"  # of a statement; calls that walk a whole workflow get LONG_TIMEOUT, see repository.long_value()
LONG_TIMEOUT = "10min"
CONNECT_SECONDS = 5.0  # how long a request waits for a database that is away or recovering
LOOK_AFTER = 0.5  # seconds of idleness after which a connection is looked at before it is used
ATTEMPTS = 10  # of a statement that deadlocks or cannot be serialized; the client never sees that

# A second of the same key is a conflict (409), but in these it is an id that stands twice in a list of the request.
_LISTS = {
    "job_depends_on_key": "depends_on_job_ids",
    "job_input_file_key": "input_file_ids",
    "job_output_file_key": "output_file_ids",
    "job_input_user_data_key": "input_user_data_ids",
    "job_output_user_data_key": "output_user_data_ids",
}

# Columns of which the request knows another name.
_NAMES = {"active_compute_node_id": "compute_node_id", "executed_by": "compute_node_id"}


class Connection(psycopg.Connection):
    """A connection with a short way to one value."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last_used = time.monotonic()  # when it was last given back
        self.statement_names = {}  # text of a statement: the name it is prepared under on this connection
        self.transformer = Transformer(self)

    def first(self, text, params):
        """Return what execute(text, params).fetchone()[0] would, or None without a row. Raises psycopg.Error.

        The statement is prepared when it is first sent, its parameters have the types that the statement gives them.
        psycopg's cursor needs 50 µs for what is here one call of libpq: this saves a tenth of a small request's CPU.
        """
        sent, names = _numbered(text)
        name = self.statement_names.get(text)
        if name is None:
            name = b"torc_%d" % len(self.statement_names)
            self._check(self.pgconn.prepare(name, sent), ExecStatus.COMMAND_OK)
            self.statement_names[text] = name
        values = self.transformer.dump_sequence([params[name] for name in names], [PyFormat.TEXT] * len(names))
        result = self._check(self.pgconn.exec_prepared(name, values), ExecStatus.TUPLES_OK)
        self.transformer.set_pgresult(result)
        return self.transformer.load_row(0, tuple)[0] if result.ntuples else None

    def _check(self, result, wanted):
        if result.status == wanted:
            return result
        if self.closed:  # then the result knows no SQLSTATE
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        raise pg.error_from_result(result)


@functools.cache
def _numbered(text):
    """A statement with %(name)s parameters as PostgreSQL takes it, with $1, $2, …: (bytes, the names in that order)."""
    names = []

    def number(match):
        if match[0] == "%%":
            return "%"
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return re.sub(r"%%|%\((\w+)\)s", number, text).encode(), names


class Database:
    """The connections of this process, in autocommit: a transaction around each request cuts 12.3k statements/s to
    4.2k/s, and psycopg's pool costs a small read a quarter of its speed. There are never more than threads.

    restart: called when the database does not answer; brings the embedded PostgreSQL back, if that is what we run on.
    """

    def __init__(self, conninfo, restart=None):
        self.conninfo = conninfo
        self._restart = restart
        # The one used last is the next: few are busy, and those find their caches warm, here and in PostgreSQL.
        self._free = []
        self._connections = set()
        self._lock = threading.Lock()

    def open(self):
        """Start afresh in this process; connections are made when they are needed."""
        self.__init__(self.conninfo, self._restart)

    def close(self):
        """Close all connections of this process."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def run(self, work):
        """Return work(connection), tried again after a deadlock or a serialization failure. Raises ApiError."""
        for attempt in range(ATTEMPTS):
            try:
                connection = self._take()
                try:
                    return work(connection)
                finally:
                    connection.last_used = time.monotonic()
                    self._free.append(connection)
            except (pg.SerializationFailure, pg.DeadlockDetected) as error:
                log.info("attempt %s failed, trying again: %s", attempt + 1, error.diag.message_primary)
                time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 5)))
            except psycopg.Error as error:
                raise api_error(error) from error
        message = "The database connection met too many conflicts with other changes; try again"
        raise ApiError(503, message, {"Retry-After": "1"})

    def _take(self):
        while True:
            try:
                connection = self._free.pop()
            except IndexError:
                break
            # The look gives up the GIL, 8 % of a busy thread's time: only where the server had time to hang up.
            idle = time.monotonic() - connection.last_used
            if not (connection.closed or idle > LOOK_AFTER and _is_dead(connection)):
                return connection
            connection.close()
            with self._lock:
                self._connections.discard(connection)
        connection = self.connect()
        with self._lock:
            self._connections.add(connection)
        return connection

    def connect(self):
        """Return a new connection, the caller's own to close. Raises psycopg.OperationalError after CONNECT_SECONDS."""
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                # psycopg prepares nothing itself: it would deallocate all statements, ours too, after each rollback
                connection = Connection.connect(
                    self.conninfo, autocommit=True, connect_timeout=5, prepare_threshold=None
                )
                connection.execute(
                    f"SET statement_timeout = '{HOT_TIMEOUT}';"
                    "SET idle_in_transaction_session_timeout = '60s'; SET timezone = 'UTC'; SET jit = off;"
                    "SET enable_seqscan = off"  # plans are kept: one made on an empty database must serve the full one
                )
                # What record_ro_crate() says about this server
                connection.execute(
                    "SELECT set_config('torc.version', %s, false), set_config('torc.program', %s, false)",
                    [__version__, os.path.abspath(sys.argv[0])],
                )
                break
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise
                log.warning("no connection to the database, trying again: %s", str(error).strip())
                if self._restart:
                    self._restart()
                time.sleep(0.1)
        return connection


def _is_dead(connection):
    """Whether the server has hung up: an idle connection has nothing to read but the end. No round trip (2 µs)."""
    if connection.closed:
        return True
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    if not readable:
        return False
    try:  # a notice, or the end
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return connection.closed or connection.pgconn.status != ConnStatus.OK


def api_error(error):
    """The ApiError for an error of the database: our own SQLSTATEs carry their HTTP status; the rest is by class."""
    state = error.sqlstate or ""
    if state.startswith("TC"):
        extra = psycopg.types.json.json.loads(error.diag.message_detail or "{}")
        return ApiError(int(state[2:]), error.diag.message_primary, **extra)
    if isinstance(error, pg.ForeignKeyViolation):
        return _unknown_id(error.diag)
    if isinstance(error, pg.UniqueViolation):
        return _stored_already(error.diag)
    if state.startswith("54"):  # program limits, such as the 2,700 bytes of a key: sent again, it fails again
        return ApiError(422, "The request holds a text that is too long, or JSON that is too deep, to be stored")
    if isinstance(error, pg.QueryCanceled):
        return ApiError(503, "The database connection took too long for this call; try again", {"Retry-After": "5"})
    if isinstance(error, (psycopg.OperationalError, pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow)):
        log.warning("lost the database: %s", str(error).strip())
        return ApiError(503, "The connection to the database was lost; try again", {"Retry-After": "1"})
    if isinstance(error, pg.DataError):
        # Validation lets only storable values through; should one slip, it is still the request's, and nothing changed.
        log.warning("the database refused a value: %s", error)
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
        return ApiError(422, f"{field}: an id stands twice in the list", field=field)
    columns = diag.constraint_name.removeprefix(f"{diag.table_name}_").removesuffix("_key")
    columns = re.sub("(_id|_name)_", r"\1, ", columns)
    return ApiError(409, f"There is one with the same {columns} already", field=columns)
