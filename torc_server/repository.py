"""The only module that sends SQL. The statements are those of sql/queries/<resource>.sql, reached as
`sql.<resource>.<name>`; what they call is in sql/functions. Every statement gets the caller
as :caller (a name) and :enforced."""

import tempfile
from contextlib import closing
from types import SimpleNamespace

import aiosql
from flask import current_app

from torc_server.auth import caller
from torc_server.database import LONG_SECONDS, LONG_TIMEOUT
from torc_server.errors import ApiError
from torc_server.migrations import sql_folder

SPOOL_MEMORY = 1 << 20  # bytes of a long answer that are held in memory before it goes to a file
CHUNK_ROWS = 200  # rows fetched at once into the spool

sql = SimpleNamespace(
    **{file.stem: aiosql.from_path(file, "psycopg") for file in (sql_folder() / "queries").glob("*.sql")}
)


def value(statement, **params):
    """Send one statement and return the first column of its first row, or None without a row."""
    params = _with_caller(params)
    return _database().run(lambda connection: connection.first(statement.sql, params))


def long_value(statement, **params):
    """The same for calls that walk a whole workflow: they may take LONG_TIMEOUT, in a transaction of their own."""
    params = _with_caller(params)

    def work(connection):
        with connection.transaction():
            connection.execute(sql.session.allow_long_statement.sql, {"timeout": LONG_TIMEOUT})
            return connection.first(statement.sql, params)

    return _database().run(work, LONG_SECONDS)


def row_json(statement, table, row_id, read=value, **params):
    """Send one statement about one row, named :id; return its JSON text. Raises ApiError 404 without a row.

    read: long_value for statements that take more than the row with them.
    """
    text = read(statement, id=row_id, **params)
    if text is None:
        raise ApiError(404, f"Resource not found in {table} with ID: {row_id}")
    return text


def spool(statement, write, order_by=None, **params):
    """Send one statement whose rows are JSON texts; let write(rows, file) copy them into a spooled file; return that.

    The rows go to the client only after the statement has ended: no transaction waits for a slow reader, and 100,000
    jobs are never 100,000 objects or one text of 30 MB. order_by replaces the statement's {order_by}.
    """
    params = _with_caller(params)
    text = statement.sql.replace("{order_by}", order_by) if order_by else statement.sql

    def work(connection):
        file = tempfile.SpooledTemporaryFile(SPOOL_MEMORY)
        with connection.transaction(), closing(connection.cursor()) as reader:
            reader.execute(sql.session.allow_long_statement.sql, {"timeout": LONG_TIMEOUT})
            # Planned for the actual parameters each time: filters are optional, and limits differ.
            rows = (row[0].encode() for row in reader.stream(text, params, size=CHUNK_ROWS))
            write(rows, file)
        return file

    return _database().run(work, LONG_SECONDS)


def order_by(schema, sort_by, reverse):
    """The ORDER BY list for a requested column; one that is not among schema.columns is silently the default.

    Unset values come first ascending and last descending, as in the reference; schema.ties break ties.
    """
    column = sort_by if sort_by in schema.columns else schema.default_column
    direction = "DESC" if reverse else "ASC"
    nulls = "" if column == "id" else (" NULLS LAST" if reverse else " NULLS FIRST")
    ties = [f", {tie} {direction}" for tie in schema.ties if tie != column]
    return f'"{column}" {direction}{nulls}{"".join(ties)}'


def _database():
    return current_app.extensions["database"]


def _with_caller(params):
    asking = caller()
    return params | {"caller": asking.name, "enforced": asking.enforced}
