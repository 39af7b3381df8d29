"""POST /admin/sql: which statements are allowed, and how one is run and put on record.

The rules here are for people: they catch mistakes and say what is wrong. What a statement can do at all is decided by
PostgreSQL: it runs as a separate role (see sql/functions/admin/admin_sql.sql), with a timeout, for a read in a
transaction that is read only, and alone, because several cannot be prepared as one. Its connection is closed
afterwards, with whatever the statement has set or locked in the session.

There is no SQL parser among the dependencies: pglast, PostgreSQL's own parser, is under the GPL; others have
other grammars, and nothing here may depend on whether theirs and PostgreSQL's agree.
"""

import contextlib
import json
import logging
import re

import psycopg
from flask import Response, current_app
from psycopg import errors as pg
from psycopg.pq import ExecStatus

from torc_server import repository
from torc_server.answers import send_spool
from torc_server.auth import caller
from torc_server.database_errors import is_lost, is_useless
from torc_server.errors import ApiError
from torc_server.pages import write_joined
from torc_server.repository import sql
from torc_server.schemas.common import MAX_LIMIT
from torc_server.settings import SettingsError
from torc_server.spool import Spool

log = logging.getLogger("torc_server")

SECONDS = 30  # that a statement may take
MOST_BYTES = 32 << 20  # of the rows of an answer
MOST_CHARACTERS = 100_000  # of a statement; each is on record
CHUNK_ROWS = 50
BYTEA = 17  # PostgreSQL's number of the type
READS = ("SELECT", "WITH", "VALUES")
WRITES = (*READS, "INSERT", "UPDATE", "DELETE")

# What may hold any characters: comments, texts, quoted names; a block comment within a block comment is undone from
# the inside to the outside.
_LINE_COMMENT = r"--[^\n]*"
_TEXT = r"\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<!\w)(\$(?:[A-Za-z_]\w*)?\$).*?\1"


def set_up(connection: psycopg.Connection) -> None:
    """Make the database roles of admin SQL. Raises SettingsError where the server's own role may not do that."""
    try:
        connection.execute(sql.admin.enable_admin_sql.sql)
    except pg.InsufficientPrivilege as error:
        raise SettingsError(
            f"--enable-admin-sql: {error.diag.message_primary}; the roles torc_admin_reader and torc_admin_writer are "
            "made by a superuser of the database or a role with CREATEROLE (docs/administration.md)"
        ) from error


def answer(text: str, is_write: bool, allow_full_table: bool, dry_run: bool, limit: int | None) -> Response:
    """Run a statement; return the response {columns, items, rows_affected, committed}. Raises ApiError.

    rows_affected is of writes only. dry_run: roll a write back. limit: of the rows in the answer.
    """
    kept = {"text": text, "is_write": is_write, "allow_full_table": allow_full_table, "dry_run": dry_run and is_write}
    limit = MAX_LIMIT if limit is None or limit <= 0 else min(limit, MAX_LIMIT)
    try:
        _check(text, is_write, allow_full_table)
        work = _work(kept, limit, commits=is_write and not dry_run)
        file = current_app.extensions["database"].run(work, SECONDS)
    except ApiError as error:
        _record_failure(kept, error)
        raise
    if not is_write or dry_run:
        count = file.row_count if is_write else None
        repository.value(sql.admin.audit_admin_sql, **kept, rows_affected=count, error=None)
    return send_spool(file)


def _record_failure(kept, error):
    failed = kept | {"text": kept["text"][:MOST_CHARACTERS], "rows_affected": None, "error": error.message}
    try:
        repository.value(sql.admin.audit_admin_sql, **failed)
    except ApiError:  # nothing was changed, and the answer says why
        log.warning("a statement of an administrator that failed could not be put on record", exc_info=True)


# Rules


def _check(text, is_write, allow_full_table):
    """Raises ApiError 422, InvalidStatement."""
    if len(text) > MOST_CHARACTERS:
        raise _invalid(f"The statement has more than {MOST_CHARACTERS} characters")
    bare = blank(text).upper().strip()
    bare = bare.removesuffix(";").rstrip()
    if not bare:
        raise _invalid("SQL statement is empty")
    if ";" in bare:
        raise _invalid("Only a single SQL statement is allowed")
    words = re.findall(r"\w+", bare)
    first = words[0] if words else bare[0]
    if first not in (WRITES if is_write else READS):
        allowed = "INSERT, UPDATE, DELETE, SELECT, WITH and VALUES" if is_write else "SELECT, WITH and VALUES"
        hint = "" if is_write else "; set write for a statement that changes data"
        raise _invalid(f"{first} statements are not allowed: only {allowed} are{hint}")
    if is_write and not allow_full_table and "WHERE" not in words and _verbs(first, bare) & {"UPDATE", "DELETE"}:
        raise _invalid("An UPDATE or DELETE without WHERE changes the whole table: set allow_full_table to do that")


def _verbs(first, bare):
    """What a statement does at its outermost level: behind WITH, any word outside of parentheses."""
    if first != "WITH":
        return {first}
    depth, outside = 0, []
    for piece in re.split(r"([()])", bare):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0:
            outside.append(piece)
    return set(re.findall(r"\w+", " ".join(outside)))


def blank(text: str) -> str:
    """Return a statement in which comments, texts and quoted names are blanks."""
    pieces, position = [], 0
    for match in _tokens(text):
        pieces.append(text[position : match[0]])
        position = match[1]
    return " ".join([*pieces, text[position:]])


def _tokens(text):
    """Yield (start, end) of each comment, text and quoted name."""
    start = re.compile(rf"{_LINE_COMMENT}|/\*|{_TEXT}", re.DOTALL)
    position = 0
    while match := start.search(text, position):
        position = _end_of_comment(text, match.end()) if match[0] == "/*" else match.end()
        yield match.start(), position


def _end_of_comment(text, position):
    depth = 1
    while depth:
        match = re.compile(r"/\*|\*/").search(text, position)
        if not match:
            return len(text)
        depth += 1 if match[0] == "/*" else -1
        position = match.end()
    return position


def _invalid(message):
    return ApiError(422, message, error="InvalidStatement", field="sql")


# Execution


class _Answer(Spool):
    """The body of an answer, and how many rows the statement returned or changed."""

    row_count = 0


def _work(kept, limit, commits):
    statement = sql.admin.write_for_admin if kept["is_write"] else sql.admin.read_for_admin
    name, enforced, dialect = caller()
    asking = {"caller": name, "enforced": enforced, "dialect": dialect}

    def work(connection):
        connection.worn = True
        file = _Answer()
        try:
            with connection.transaction(force_rollback=not commits):
                begin = {"is_write": kept["is_write"], "timeout": f"{SECONDS}s"}
                connection.execute(sql.admin.begin_admin_sql.sql, begin)
                with _blaming(kept["is_write"]):
                    _run(connection, statement, kept["text"], limit, file)
                connection.execute(sql.admin.end_admin_sql.sql)
                if commits:
                    done = {"rows_affected": file.row_count, "error": None}
                    connection.first(sql.admin.audit_admin_sql.sql, kept | done | asking)
            if kept["is_write"]:
                file.write(f',"rows_affected":{file.row_count}'.encode())
            file.write(f',"committed":{json.dumps(commits)}}}'.encode())
        except BaseException:
            file.close()
            raise
        return file

    return work


def _run(connection, statement, text, limit, file):
    """Write what a statement returns into the file."""
    found = _columns(connection, text)
    names = _distinct([name for name, _ in found])
    blobs = [position for position, (_, kind) in enumerate(found, 1) if kind == BYTEA]
    params = {
        "text": text, "names": names, "blobs": blobs, "renamed": bool(blobs) or names != [name for name, _ in found],
        "limit": limit, "most_bytes": MOST_BYTES,
    }  # fmt: skip

    def items(rows):
        for item, row_count in rows:
            if item is None:
                file.row_count = row_count
            else:
                yield item.encode()

    with contextlib.closing(connection.cursor().stream(statement.sql, params, size=CHUNK_ROWS)) as rows:
        file.write(b'{"items":[')
        count = write_joined(items(rows), file)
    file.write(f'],"columns":{json.dumps(names if count else [])}'.encode())


def _columns(connection, text):
    """(name, number of the type) of the columns that a statement returns. PostgreSQL only parses it for that."""
    result = connection.pgconn.prepare(b"", text.encode())
    if result.status == ExecStatus.COMMAND_OK:
        result = connection.pgconn.describe_prepared(b"")
    if result.status != ExecStatus.COMMAND_OK:
        raise pg.error_from_result(result)
    return [(result.fname(number).decode(), result.ftype(number)) for number in range(result.nfields)]


def _distinct(names):
    """Repeated names get a number: id, id_2, id_3."""
    found = []
    for name in names:
        distinct, number = name, 1
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found


@contextlib.contextmanager
def _blaming(is_write):
    """A statement that fails is its author's fault (422), except for what Database.run() takes care of."""
    kind, what = ("ExecutionFailed", "Statement") if is_write else ("QueryFailed", "Query")
    try:
        yield
    except (pg.SerializationFailure, pg.DeadlockDetected):
        raise
    except pg.QueryCanceled as error:
        message = f"{what} failed: it took longer than {SECONDS} s, or its client is gone"
        raise ApiError(422, message, error=kind) from error
    except psycopg.Error as error:
        is_ours = isinstance(error, pg.ReadOnlySqlTransaction) and not is_write  # a read that tries to write
        if not is_ours and (is_lost(error) or is_useless(error)):
            raise
        message = error.diag.message_primary or str(error).strip()
        hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
        raise ApiError(422, f"{what} failed: {message}{hint}", error=kind) from error
