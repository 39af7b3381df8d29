"""Sends the statements of sql/queries/<resource>.sql, reached as `sql.<resource>.<name>`; what they call is in
sql/functions. Statements of requests get the caller as :caller (a name), :enforced and :dialect.

Other modules send SQL only on their own connections: sessions and their health (database, connections, presence,
embedded), event streams (streams, waiting_claims), and commands (migrations, backup, doctor, moving_in, prune, status,
admin_sql).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import aiosql

from torc_server import current
from torc_server.auth import caller
from torc_server.batches import current_batch
from torc_server.database import LONG_SECONDS, LONG_TIMEOUT
from torc_server.errors import ApiError
from torc_server.migrations import sql_folder
from torc_server.spool import Spool

log = logging.getLogger("torc_server")

# Rows fetched at once into the spool. One may have 30 MB: a process holds about twice as much. (100,000 rows of 260
# bytes: 200 at once take 30 ms of CPU, 4 take 54, 1 takes 125.)
CHUNK_ROWS = 4

Writer = Callable[[Iterator[bytes], Spool], Any]  # copies rows into a file

sql = SimpleNamespace(
    **{file.stem: aiosql.from_path(file, "psycopg") for file in (sql_folder() / "queries").glob("*.sql")}
)


def value(statement: Any, **params: Any) -> Any:
    """Send one statement and return the first column of its first row, or None without a row."""
    return _run(statement, _first, statement.sql, _with_caller(params))


def _first(text, params):
    """The first value of a statement, which is sent together with those of the other calls of a batch, or alone."""
    batch = current_batch()
    if batch is not None:
        return batch.first(text, params)

    def work(connection):
        found = connection.first(text, params)
        connection.wear(found, *params.values())
        return found

    return _database().run(work)


def long_value(statement: Any, **params: Any) -> Any:
    """The same for calls that walk a whole workflow: they may take LONG_TIMEOUT, in their own transaction."""
    params = _with_caller(params)

    def work(connection):
        with _long_statements(connection):
            found = connection.first(statement.sql, params)
        connection.wear(found, *params.values())
        return found

    return _run(statement, _database().run, work, LONG_SECONDS)


def server_value(database: Any, statement: Any, **params: Any) -> Any:
    """value() for the server's own threads, which have no request and act for nobody."""
    return database.run(lambda connection: connection.first(statement.sql, params))


def server_long_value(database: Any, statement: Any, **params: Any) -> Any:
    """long_value() for the server's own threads."""

    def work(connection):
        with _long_statements(connection):
            return connection.first(statement.sql, params)

    return database.run(work, LONG_SECONDS)


def server_rows(database: Any, statement: Any, **params: Any) -> list[tuple]:
    """The same for all rows of a statement."""
    return database.run(lambda connection: connection.execute(statement.sql, params).fetchall())


def row_json(statement: Any, table: str, row_id: int, read: Callable[..., Any] = value, **params: Any) -> str:
    """Send one statement about one row, named :id; return its JSON text. Raises ApiError 404 without a row.

    read: long_value for statements that take more than the row with them.
    """
    text = read(statement, id=row_id, **params)
    if text is None:
        raise ApiError(404, f"Resource not found in {table} with ID: {row_id}")
    return text


def spool(statement: Any, write: Writer, order_by: str | None = None, **params: Any) -> Spool:
    """Send one statement whose rows are JSON texts; let write(rows, file) copy them into a Spool; return that.

    The rows go to the client only after the statement has ended: no transaction waits for a slow reader, and 100,000
    jobs are never 100,000 objects or one text of 30 MB. order_by replaces the statement's {order_by}. Raises ApiError
    507 if the Spool cannot be written.
    """
    params = _with_caller(params)
    text = statement.sql.replace("{order_by}", order_by) if order_by else statement.sql

    def work(connection):
        longest = ""

        def encoded(rows):
            nonlocal longest
            for (row,) in rows:
                if len(row) > len(longest):
                    longest = row
                yield row.encode()

        # Planned for the actual parameters each time: filters are optional, and limits differ. If write() fails,
        # closing() ends the statement; the transaction cannot be rolled back while it sends rows.
        with (
            _long_transaction(connection) as file,
            closing(connection.cursor().stream(text, params, size=CHUNK_ROWS)) as rows,
        ):
            write(encoded(rows), file)
        connection.wear(longest)
        return file

    return _run(statement, _database().run, work, LONG_SECONDS)


def spool_pieces(statement: Any, pieces: Iterable[str], write: Writer, **params: Any) -> Spool:
    """Send one statement for each of the texts in `pieces`, as :piece, in one transaction; let write(answers, file)
    copy their answers, JSON texts, into a Spool; return that. The next piece is made while PostgreSQL works on the
    last; `pieces` may be read several times. Raises ApiError."""
    params = _with_caller(params)

    def work(connection):
        longest = ""

        def each():
            nonlocal longest
            for piece in pieces:
                if len(piece) > len(longest):
                    longest = piece
                yield params | {"piece": piece}

        with _long_transaction(connection) as file, closing(connection.firsts(statement.sql, each())) as answers:
            write(map(str.encode, answers), file)
        connection.wear(longest)
        return file

    return _run(statement, _database().run, work, LONG_SECONDS)


@contextmanager
def _long_statements(connection):
    """A transaction in which each statement may take LONG_TIMEOUT."""
    with connection.transaction():
        connection.execute(sql.session.allow_long_statement.sql, {"timeout": LONG_TIMEOUT})
        yield


@contextmanager
def _long_transaction(connection):
    """The same, with a Spool that outlives the transaction if it is committed."""
    file = Spool()
    try:
        with _long_statements(connection):
            yield file
    except BaseException:
        file.close()
        raise


def order_by(schema: Any, sort_by: str | None, reverse: bool) -> str:
    """The ORDER BY list for a requested column; one that is not among schema.columns is silently the default.

    Unset values come first ascending and last descending, as in the reference; schema.ties break ties.
    """
    column = sort_by if sort_by in schema.columns else schema.default_column
    direction = "DESC" if reverse else "ASC"
    nulls = "" if column == "id" else (" NULLS LAST" if reverse else " NULLS FIRST")
    ties = [f", {tie} {direction}" for tie in schema.ties if tie != column]
    return f'"{column}" {direction}{nulls}{"".join(ties)}'


def _run(statement, run, *args):
    """Return run(*args), which sends a statement; log its name if that takes long, waits for locks included."""
    since = time.monotonic()
    try:
        return run(*args)
    finally:
        ms = round((time.monotonic() - since) * 1000)
        slow_ms = current.app().settings.slow_statement_ms
        if slow_ms and ms >= slow_ms:
            fields = {"statement": statement.__name__, "ms": ms}
            log.warning("slow statement %s: %s ms", statement.__name__, ms, extra={"fields": fields})


def _database():
    return current.extension("database")


def _with_caller(params):
    asking = caller()
    return params | {"caller": asking.name, "enforced": asking.enforced, "dialect": asking.dialect}
