"""Brings a database to the schema of this release: sql/migrations, one transaction each, then sql/functions in one.

Whatever is killed at whatever moment, the database is at a whole version, and the next run goes on from there. Only one
process migrates at a time (a session advisory lock; two-int keys, so that it never meets a workflow's lock).

Servers of the release before go on during a migration and after it, unless the first line of its file says that they
must be stopped (NEEDS_STOP). The comment of torc.schema_migration tells them: it is the version since which none did.
"""

import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors as pg
from psycopg import sql

from torc_server.problems import CommandError

LOCK = (0x746F7263, 1)  # "torc"
SERVERS = (0x746F7263, 2)  # held shared by each server (presence.py), exclusively by a downgrade
NEEDS_STOP = b"-- Servers must be stopped."  # how a migration begins that statements of the release before do not fit
PATIENCE_SECONDS = 2  # for the connection of a server that has just been stopped
ATTEMPTS = 10  # of a transaction that was chosen in a deadlock with a server's statements


class MigrationError(CommandError):
    """The wanted version of the schema cannot be reached."""


@dataclass(frozen=True)
class Status:
    """The state of a database: version 0 is an empty one; `latest` is the newest version that this release knows.
    `serves_since`: servers whose newest version is that or a later one may go on; 0 if it is not known."""

    has_schema: bool
    version: int
    latest: int
    functions_current: bool
    serves_since: int = 0

    @property
    def current(self) -> bool:
        return self.version == self.latest and self.functions_current

    @property
    def serves_running(self) -> bool:
        """Whether a server of this release that runs already may go on; a newer release may have migrated since."""
        return self.current or 0 < self.serves_since <= self.latest <= self.version


def sql_folder() -> Path:
    """The folder with migrations/, functions/ and queries/: inside the package (wheel) or beside it (source)."""
    inside = Path(__file__).parent / "sql"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "sql"


def status(conninfo: str) -> Status:
    """Return the Status of a database, changing nothing; waits for a migration that goes on just now."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", LOCK)
        return _status(connection)


def serves_running(connection: psycopg.Connection) -> bool:
    """Whether the database has the schema of this release, or one of a newer release with which a running server goes
    on: without waiting for a migration that goes on just now."""
    return _status(connection).serves_running


def migrate(conninfo: str, to: int | None = None, lose_data: bool = False, alone: bool = False) -> list[str]:
    """Migrate up to the newest version, or up or down to version `to` (0: schema torc is gone). Return what was done.

    Functions exist only at the newest version; below it the release that belongs there brings its own.
    alone: no server of another release uses the database; a migration that needs a stop does not search for one.
    Raises MigrationError for a version that this release does not know, for a downgrade or a migration that needs a
    stop while servers are connected, and for a downgrade that deletes data unless `lose_data`; psycopg.Error when a
    statement fails.
    """
    done = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        _prepare(connection)
        now = _status(connection)
        target = now.latest if to is None else to
        if not 0 <= target <= now.latest or now.version > now.latest:
            raise MigrationError(
                f"version {max(target, now.version)} is unknown: this release knows 0 to {now.latest}; "
                "install a newer torc-server"
            )
        if target < now.version:
            done += _go_down(connection, now.version, target, lose_data)
        going_up = {v: path for v, path in sorted(_migrations().items()) if now.version < v <= target}
        if now.version and not alone and any(map(_needs_stop, going_up.values())):
            exclude_servers(connection)
        done += [_in_transaction(connection, _go_up, version) for version in going_up]
        if target == now.latest and target > 0 and not _status(connection).functions_current:
            done.append(_in_transaction(connection, _replace_functions))
    return done


def replace_functions(conninfo: str) -> list[str]:
    """Replace all functions, at the newest version only; return what was done. Raises MigrationError, psycopg.Error."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        _prepare(connection)
        if _status(connection).version != _status(connection).latest:
            raise MigrationError("the functions belong to the newest version: torc-server migrate")
        return [_in_transaction(connection, _replace_functions)]


def texts() -> list[str]:
    """The texts of all migrations and of all functions, in the order in which they are applied."""
    migrated = _migrations()
    return [path.read_text() for path in [*(migrated[version] for version in sorted(migrated)), *_functions()]]


def in_schema(text: str, schema: str) -> str:
    """Such a text for another schema than torc."""
    return re.sub(r"\btorc\.(?!py\b)", f"{schema}.", text)


def versions() -> list[int]:
    """The versions of the schema that this release knows."""
    return sorted(_migrations())


def stored_rows(connection: psycopg.Connection) -> dict[str, int]:
    """{table: rows} of the tables that hold some; not of those that every database has from its first start."""
    counts = {table: count[""] for table, count in _contents(connection).items() if count[""]}
    return {table: count for table, count in counts.items() if table not in ("access_group", "user_group_membership")}


def share_with_servers(connection: psycopg.Connection) -> bool:
    """Whether the connection now holds the lock of a server; false while a downgrade holds it."""
    [(has_lock,)] = connection.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", SERVERS).fetchall()
    return has_lock


def _prepare(connection):
    # Names are qualified in the files; a role named torc must not find schema torc through "$user".
    connection.execute("SET search_path = pg_catalog; SET statement_timeout = 0; SET client_min_messages = warning")
    connection.execute("SET client_connection_check_interval = '1s'")  # the server notices a killed migrate at once
    connection.execute("SET lock_timeout = '10min'")
    connection.execute("SELECT pg_advisory_lock(%s, %s)", LOCK)
    connection.execute("SET lock_timeout = '15s'")  # rather fail than queue in front of a busy server's statements


def _status(connection):
    has_schema, has_table, comment, serves_since = connection.execute(
        "SELECT to_regnamespace('torc') IS NOT NULL, to_regclass('torc.schema_migration') IS NOT NULL,"
        " obj_description(to_regnamespace('torc'), 'pg_namespace'),"
        " coalesce(obj_description(to_regclass('torc.schema_migration'), 'pg_class')::int, 0)"
    ).fetchone()
    version = 0
    if has_table:
        version = connection.execute("SELECT coalesce(max(version), 0) FROM torc.schema_migration").fetchone()[0]
    latest = max(_migrations(), default=0)
    return Status(has_schema, version, latest, comment == _functions_checksum(), serves_since)


def _migrations():
    """{version: path} of sql/migrations/NNNN_name.sql."""
    files = (sql_folder() / "migrations").glob("[0-9]*_*.sql")
    return {int(f.name.split("_")[0]): f for f in files if not f.name.endswith(".rollback.sql")}


def _in_transaction(connection, work, *args):
    """Return work(connection, *args), done in one transaction. A migration locks tables in another order than the
    statements of servers that go on meanwhile: after a deadlock it is done again, and nothing of it was done."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(pg.DeadlockDetected), connection.transaction():
            return work(connection, *args)
    with connection.transaction():
        return work(connection, *args)


def _go_up(connection, version):
    path = _migrations()[version]
    if version == 1:
        _create_schema(connection)
    connection.execute(path.read_bytes())
    connection.execute("INSERT INTO torc.schema_migration (version, name) VALUES (%s, %s)", [version, path.stem])
    _tell_servers(connection, version)
    return f"applied {path.stem}"


def _needs_stop(path):
    return path.read_bytes().startswith(NEEDS_STOP)


def _tell_servers(connection, version):
    """Keep in the database since which version servers may go on at this one."""
    since = max(v for v, path in _migrations().items() if v <= version and (v == 1 or _needs_stop(path)))
    connection.execute(sql.SQL("COMMENT ON TABLE torc.schema_migration IS {}").format(str(since)))


def _create_schema(connection):
    if connection.execute("SELECT to_regnamespace('torc')").fetchone()[0] is None:  # an admin may have made it for us
        connection.execute("CREATE SCHEMA torc")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS torc.schema_migration"
        " (version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )


def _go_down(connection, version, target, lose_data):
    """Roll back from `version` to `target` in one transaction, which shows what is lost before it is committed."""
    exclude_servers(connection)
    with connection.transaction():
        before = _contents(connection)
        versions = sorted((v for v in _migrations() if target < v <= version), reverse=True)
        done = [_roll_back(connection, each) for each in versions]
        lost = _lost(before, _contents(connection))
        if lost and not lose_data:
            raise MigrationError(
                f"going down to version {target} deletes {', '.join(lost)}; nothing has been changed; "
                "back up the database, then repeat the command with --yes"
            )
    return done + [f"deleted {each}" for each in lost]


def exclude_servers(connection: psycopg.Connection) -> None:
    """Keep servers away until the connection is closed. Raises MigrationError, which names those that are connected."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not _locks_out_servers(connection):
        if time.monotonic() > end:
            raise MigrationError(f"stop the servers that use the database first: {', '.join(_servers(connection))}")
        time.sleep(0.1)


def _locks_out_servers(connection):
    [(has_lock,)] = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", SERVERS).fetchall()
    return has_lock


def _servers(connection):
    """The names of the servers that are connected; the processes of one server have the same name."""
    rows = connection.execute(
        "SELECT DISTINCT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.classid = %s::bigint::oid AND l.objid = %s::bigint::oid"
        " AND l.objsubid = 2 AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1",
        SERVERS,
    )
    return [name for (name,) in rows]


def _contents(connection):
    """What the tables hold: {table: {"": rows, column: values that are not null, …}}."""
    tables = connection.execute(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = to_regnamespace('torc') AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND c.relname <> 'schema_migration' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    found = {}
    for table, columns in tables:
        counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(column)) for column in columns)
        statement = sql.SQL("SELECT count(*), {} FROM {}").format(counts, sql.Identifier("torc", table))
        found[table] = dict(zip(["", *columns], connection.execute(statement).fetchone(), strict=True))
    return found


def _lost(before, after):
    """The tables, rows and columns with values that `before` has and `after` has not, for a person."""
    lost = []
    for table, counts in before.items():
        rows, left = counts[""], after.get(table)
        if left is None:
            lost += [f"table torc.{table} ({rows:,} rows)"] * (rows > 0)
            continue
        lost += [f"{rows - left['']:,} rows of torc.{table}"] * (rows > left[""])
        gone = [column for column in counts if column not in left and counts[column]]
        lost += [f"column torc.{table}.{column} ({counts[column]:,} values)" for column in gone]
    return lost


def _roll_back(connection, version):
    path = _migrations()[version]
    _drop_functions(connection)  # they may mention what this rollback drops
    connection.execute("COMMENT ON SCHEMA torc IS NULL")
    connection.execute(path.with_suffix(".rollback.sql").read_bytes())
    if version > 1:
        connection.execute("DELETE FROM torc.schema_migration WHERE version = %s", [version])
        _tell_servers(connection, version - 1)
    else:
        connection.execute("DROP TABLE torc.schema_migration; DROP SCHEMA torc")
    return f"rolled back {path.stem}"


def _replace_functions(connection):
    # Dropped first, because CREATE OR REPLACE refuses another result type or other argument names, and so that
    # functions that no file defines any more go. The caller's transaction hides the moment without functions.
    _drop_functions(connection)
    connection.execute("SET LOCAL check_function_bodies = off")  # files are in order of path, not of use
    for path in _functions():
        connection.execute(path.read_bytes())
    connection.execute(sql.SQL("COMMENT ON SCHEMA torc IS {}").format(_functions_checksum()))
    return f"replaced the functions ({len(_functions())} files)"


def _drop_functions(connection):
    """Drop the triggers and functions of schema torc; a function that a constraint or an index uses stays."""
    connection.execute("""
        DO $$
        DECLARE
            statement text;
        BEGIN
            FOR statement IN
                SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
                FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                WHERE c.relnamespace = 'torc'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
            LOOP
                EXECUTE statement;
            END LOOP;
            SELECT 'DROP ROUTINE ' || string_agg(p.oid::regprocedure::text, ', ') INTO statement
            FROM pg_proc p
            WHERE p.pronamespace = 'torc'::regnamespace
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass
                              AND d.refobjid = p.oid AND d.classid <> 'pg_proc'::regclass)
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                              AND d.objid = p.oid AND d.deptype = 'e');  -- an extension's
            IF statement IS NOT NULL THEN
                EXECUTE statement;
            END IF;
        END $$""")


def _functions():
    return sorted((sql_folder() / "functions").rglob("*.sql"))


def _functions_checksum():
    """Kept as the comment of schema torc; tells whether the functions in a database are those of this release."""
    folder = sql_folder() / "functions"
    files = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in _functions()]
    texts = b"".join(name.encode() + b"\0" + text + b"\0" for name, text in files)
    return f"torc-server functions {hashlib.sha256(texts).hexdigest()}"
