"""Backup and restore of schema torc, by PostgreSQL's pg_dump and pg_restore.

A backup is one file in pg_dump's custom format, compressed, made in one snapshot while the server serves: it holds what
was committed when it began. It gets its name when it has been read back whole.
"""

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from torc_server import migrations, postgres_programs
from torc_server.problems import CommandError

DUMP = ("--format=custom", "--schema=torc", "--no-owner", "--no-privileges", "--no-unlogged-table-data")
# All in one transaction. psql ends at the first error, and what was not committed is gone.
BEFORE = b"\\set ON_ERROR_STOP on\nBEGIN;\nDROP SCHEMA IF EXISTS torc CASCADE;\n"
AFTER = b"\nCOMMIT;\n"
UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"  # pg_restore writes it for all servers


class BackupError(CommandError):
    """A backup cannot be made or restored."""


@dataclass
class Contents:
    """What a backup holds: {table: rows}, and the version of its schema."""

    rows: dict
    version: int = 0


def backup(conninfo: str, path: Path) -> Contents:
    """Write a backup to `path`, in place of an older one; return the Contents that were read back from it.

    Raises BackupError; an older file is untouched then.
    """
    path = Path(path).resolve()
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise BackupError(f"cannot write {new}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file:
            # By name: to its stdout it appends the table of contents a second time
            _run("pg_dump", conninfo, *DUMP, f"--file={new}")
            os.fsync(file.fileno())
        contents = read_back(new)
        new.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return contents


def read_back(path: Path) -> Contents:
    """Read a backup whole; return its Contents. Raises BackupError for what is damaged, cut off or something else."""
    contents = Contents({})
    with _reading(path) as script:
        table = None
        for line in script:
            if table is None and line.startswith(b"COPY torc."):
                table = line.split(b" ")[1].removeprefix(b"torc.").decode()
                contents.rows[table] = 0
            elif line == b"\\.\n":
                table = None
            elif table is not None:
                contents.rows[table] += 1
                if table == "schema_migration":
                    contents.version = max(contents.version, int(line.split(b"\t")[0]))
    if not contents.version:
        raise BackupError(f"{path} holds no data of torc-server")
    return contents


def restore(conninfo: str, path: Path, replace: bool = False) -> Contents:
    """Put a backup in the place of what the database holds, in one transaction, and bring it to this release's schema.

    Return its Contents. replace: also if there are workflows, which are lost then. Raises BackupError,
    migrations.MigrationError when servers are connected; nothing is changed then.
    """
    contents = read_back(path)
    latest = max(migrations.versions())
    if contents.version > latest:
        raise BackupError(
            f"{path} has version {contents.version} of the schema, this release knows {latest}; "
            "install the torc-server that belongs to it"
        )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        migrations.exclude_servers(connection)
        stored = migrations.stored_rows(connection)
        if stored and not replace:
            raise BackupError(f"the database is not empty ({held(stored)}): --replace deletes what it holds")
        _replay(conninfo, path)
        connection.execute("ANALYZE")
    migrations.migrate(conninfo)
    return contents


def held(rows: dict[str, int]) -> str:
    """What {table: rows} holds, for a person."""
    names = {"workflow": "workflows", "job": "jobs", "result": "results", "event": "events"}
    return ", ".join(f"{rows.get(table, 0):,} {name}" for table, name in names.items())


def _replay(conninfo, path):
    program = postgres_programs.newest("psql")
    with tempfile.TemporaryFile() as errors:
        psql = subprocess.Popen(
            [program, "--no-psqlrc", "--quiet", "--file=-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=postgres_programs.environment(conninfo),
        )
        try:
            # A broken pipe is psql that has ended: why, it has written. Without a COMMIT nothing is changed.
            pipe: Any = psql.stdin  # typed as if it could be missing
            with contextlib.suppress(BrokenPipeError), pipe as script:
                script.write(BEFORE)
                with _reading(path) as restored:
                    script.writelines(line for line in restored if line != UNKNOWN_BEFORE_17)
                script.write(AFTER)
        finally:
            psql.wait()
        if psql.returncode:
            errors.seek(0)
            raise BackupError(f"the backup cannot be restored: {_reason(errors.read())}; nothing has been changed")


@contextlib.contextmanager
def _reading(path):
    """The SQL script of a backup, as a stream. Raises BackupError at the end unless all of it could be read."""
    program = postgres_programs.newest("pg_restore")
    with tempfile.TemporaryFile() as errors:
        arguments = [program, "--no-owner", "--no-privileges", "--file=-", str(Path(path).resolve())]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors) as process:
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            raise BackupError(f"{path} is no whole backup: {_reason(errors.read())}")


def _run(name, conninfo, *arguments):
    program = postgres_programs.find(name, conninfo)
    environment = postgres_programs.environment(conninfo)
    result = subprocess.run([program, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    if result.returncode:
        raise BackupError(f"{name} failed: {_reason(result.stderr)}")


def _reason(output):
    """The first line that tells of an error."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "it said nothing")


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
