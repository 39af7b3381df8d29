"""What `torc-server doctor` examines: the data, the schema, PostgreSQL, the files of the server, clocks and disks.

Each check gives a line about what is fine and the findings that are not, each with what to do about it. A finding with
a repair is one that --fix carries out: repairs delete no data, and take nothing from a worker.
"""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql as psql

from torc_server import __version__, migrations, status
from torc_server.repository import sql
from torc_server.settings import CONFIG_FILES, Settings

STATEMENT_TIMEOUT = "10min"
SHOWN = 10  # findings of one kind, before "and n more"
SILENT_SECONDS = 3600  # of a node, where --node-timeout is off
DEAD_TUPLES = 10_000
CLOCK_SECONDS = 2  # between this machine and PostgreSQL
GIB = 1 << 30
OLDEST_POSTGRES = 14
WRONG, RISKY = "error", "warning"
NAMES = ("servers", "files", "disk", "clock", "PostgreSQL", "schema", "bloat", "graph", "jobs")  # of checks
EXPECTED = {  # setting of PostgreSQL: (right values, level, what happens otherwise)
    "fsync": (("on",), WRONG, "a crash of the machine loses data, maybe all of it"),
    "full_page_writes": (("on",), WRONG, "a crash of the machine may destroy the database"),
    "synchronous_commit": (
        ("on", "remote_write", "remote_apply"), WRONG, "results that the server has acknowledged can be lost"
    ),
    "zero_damaged_pages": (("off",), WRONG, "damaged data is silently replaced by nothing"),
    "ignore_checksum_failure": (("off",), WRONG, "damaged data is silently served"),
    "autovacuum": (("on",), WRONG, "old versions of rows are never removed, and claims become slow"),
    "track_counts": (("on",), WRONG, "autovacuum does not run"),
    "default_transaction_isolation": (
        ("read committed",), WRONG, "transitions wait for each other and see what is no longer so"
    ),
    "default_transaction_read_only": (("off",), WRONG, "the server can change nothing"),
}  # fmt: skip


@dataclass
class Finding:
    """Something that is not fine: how bad, in words, and what to type. `repair` carries it out, for --fix."""

    level: str
    message: str
    advice: str
    repair: Callable | None = field(default=None, repr=False)
    fixed: bool = False
    trouble: str | None = None  # why the repair failed

    def as_dict(self) -> dict:
        """For JSON: without the repair itself."""
        found = asdict(self) | {"fixable": self.repair is not None}
        del found["repair"]
        return found


@dataclass
class Check:
    """A check that was made: its name, what is fine, and what is not."""

    name: str
    summary: str
    findings: list[Finding]


def examine(
    settings: Settings,
    conninfo: str | list[str],
    data_folder: Path | None = None,
    only: Iterable[str] = NAMES,
    fixes: bool = False,
) -> Iterator[Check]:
    """Yield the Checks with the names in `only`, one after the other; with `fixes` repairs are carried out.

    conninfo: of a session with the database, or a list of one text that says why there is none; data_folder: of the
    embedded PostgreSQL, None for a given one.
    """
    of_machine = {
        "servers": _servers,
        "files": lambda: _files(settings, data_folder),
        "disk": lambda: _disk(settings, data_folder),
    }
    yield from _run(of_machine, only, fixes)
    if isinstance(conninfo, list):
        advice = "see that PostgreSQL runs, and that the database URL is right: torc-server config"
        yield Check("database", "", [Finding(WRONG, f"the database does not answer: {conninfo[0]}", advice)])
        return
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
        connection.execute("SET TimeZone = 'UTC'; SET search_path = pg_catalog")  # definitions name the schema then
        of_database = {
            "clock": lambda: _clock(connection),
            "PostgreSQL": lambda: _postgres(connection, settings),
            "schema": lambda: _schema(connection, conninfo),
            "bloat": lambda: _bloat(connection),
            "graph": lambda: _graph(connection),
            "jobs": lambda: _jobs(connection, settings),
        }
        yield from _run(of_database, only, fixes)


def _run(checks, only, fixes):
    for name, check in checks.items():
        if name not in only:
            continue
        try:
            summary, findings = check()
            findings = list(findings)
        except psycopg.errors.UndefinedFunction:
            summary, findings = "", [Finding(RISKY, "could not be examined: functions are missing", "see schema")]
        except (OSError, psycopg.Error) as error:
            advice = "see why, then repeat it"
            summary, findings = "", [Finding(RISKY, f"could not be examined: {_one_line(error)}", advice)]
        if fixes:
            for finding in findings:
                _fix(finding)
        yield Check(name, summary, findings)


def _fix(finding):
    """Carry out its repair, if it has one; it tells what came of it."""
    if finding.repair:
        try:
            finding.repair()
            finding.fixed = True
        except (OSError, psycopg.Error, migrations.MigrationError) as error:
            finding.trouble = _one_line(error)


def problems(checks: Iterable[Check]) -> int:
    """How many findings are left."""
    return sum(not finding.fixed for check in checks for finding in check.findings)


def as_text(check: Check) -> list[str]:
    """The lines for a person about a Check."""
    lines = [f"ok       {check.name}: {check.summary}"] if not check.findings else []
    for finding in check.findings:
        lines.append(f"{'fixed' if finding.fixed else finding.level:<8} {check.name}: {finding.message}")
        if finding.trouble:
            lines.append(f"         could not be fixed: {finding.trouble}")
        if not finding.fixed:
            is_fixable = finding.repair and not finding.trouble and "doctor --fix" not in finding.advice
            by_itself = ", or: torc-server doctor --fix" if is_fixable else ""
            lines.append(f"         do: {finding.advice}{by_itself}")
    return lines


# This machine


def _servers():
    findings = []
    running = status.servers()
    for server in running:
        name = f"the server at {server['url']} (process {server['pid']})"
        trouble = server["answers"] or server["ready"]
        if trouble:
            findings.append(Finding(WRONG, f"{name} does not answer: {trouble}", "see its log; torc-server status"))
        if server["version"] != __version__:
            advice = f"kill -HUP {server['pid']}, or systemctl reload torc-server"
            findings.append(Finding(RISKY, f"{name} is of version {server['version']}, not {__version__}", advice))
    return f"{len(running)} of this user run on this machine, and all answer", findings


def _files(settings, data_folder):
    findings = []
    secret = [
        (settings.auth_file, "the password file"),
        (settings.tls_key, "the private key of TLS"),
        *((path, "a settings file with a database password") for path in _config_files() if _holds_password(path)),
    ]
    for path, what in secret:
        if path and Path(path).exists():
            findings += _check_mode(Path(path), what, 0o027)
    for path in _config_files():
        findings += _check_mode(path, "a settings file", 0o022)
    for path, what in ((settings.auth_file, "the password file"), (settings.log_dir, "the folder of the log")):
        if path and not os.access(path, os.R_OK if path is settings.auth_file else os.W_OK):
            advice = f"ls -ld {path}; run doctor as the user of the server, or give the file to that user"
            findings.append(Finding(WRONG, f"{what} {path} cannot be used by this user", advice))
    if settings.log_dir and Path(settings.log_dir).is_dir():
        findings += _check_mode(Path(settings.log_dir), "the folder of the log", 0o002)
    if data_folder and (data := Path(data_folder, "data")).is_dir():
        findings += _check_mode(data, "the data folder of PostgreSQL", 0o027)
    if settings.socket and int(settings.socket_mode, 8) & 0o002:
        findings.append(Finding(
            RISKY, f"every user of this machine may connect to {settings.socket} and name any address as its own",
            'set socket_mode = "0660" and socket_group to the group of nginx, then restart the server',
        ))  # fmt: skip
    return "passwords, keys and settings are closed to others", findings


def _config_files():
    return [path for path in (Path(file).expanduser() for file in CONFIG_FILES) if path.is_file()]


def _holds_password(path):
    with contextlib.suppress(OSError, ValueError):
        lines = [line for line in path.read_text().splitlines() if "database_url" in line.partition("#")[0]]
        return any("password" in line or "@" in line.partition("://")[2].partition("/")[0] for line in lines)
    return False


def _check_mode(path, what, forbidden):
    """A Finding if the mode of the path has one of these bits."""
    mode = stat.S_IMODE(path.stat().st_mode)
    too_much = mode & forbidden
    if not too_much:
        return []
    wanted = mode & ~forbidden
    may = "changed" if too_much & 0o022 else "read"
    return [Finding(
        WRONG if too_much & 0o022 else RISKY,
        f"{what} {path} can be {may} by others (mode {mode:04o})",
        f"chmod {wanted:04o} {path}",
        lambda: path.chmod(wanted),
    )]  # fmt: skip


def _disk(settings, data_folder):
    findings, seen, least = [], set(), None
    for path, what in (
        (data_folder, "the data folder of PostgreSQL"),
        (settings.log_dir, "the folder of the log"),
        (tempfile.gettempdir(), "the folder for temporary files, where long answers are kept"),
    ):
        if not path or not Path(path).exists():
            continue
        path = Path(path)
        device, usage, files = path.stat().st_dev, shutil.disk_usage(path), os.statvfs(path)
        if device in seen:
            continue
        seen.add(device)
        share = usage.free / usage.total if usage.total else 1
        least = min(usage.free, usage.free if least is None else least)
        advice = f"df -h {path}; free some space: torc-server prune --older-than 90d --dry-run"
        if usage.free < GIB // 4 or share < 0.01:
            findings.append(Finding(WRONG, f"the disk of {what} {path} has {_size(usage.free)} left", advice))
        elif usage.free < 2 * GIB and share < 0.1 or share < 0.05:
            findings.append(Finding(RISKY, f"the disk of {what} {path} has {_size(usage.free)} left", advice))
        if files.f_files and files.f_favail < files.f_files // 100:
            advice = f"df -i {path}; remove files that nobody needs"
            findings.append(Finding(WRONG, f"the disk of {what} {path} has nearly no inodes left", advice))
    return f"at least {_size(least or 0)} are free", findings


# PostgreSQL


def _compare_clocks(connection):
    """(seconds that it took, seconds by which PostgreSQL's clock is ahead)."""
    before = time.time()
    theirs = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0]
    after = time.time()
    return after - before, theirs - (before + after) / 2


def _clock(connection):
    _, apart = min(_compare_clocks(connection) for _ in range(5))  # what took longest says least
    findings = []
    if abs(apart) > CLOCK_SECONDS:
        ahead = "ahead of" if apart > 0 else "behind"
        findings.append(Finding(
            RISKY, f"PostgreSQL's clock is {abs(apart):.1f} s {ahead} the one of this machine",
            "timedatectl status, on both machines; let chrony or systemd-timesyncd set the clocks",
        ))  # fmt: skip
    return f"PostgreSQL's and this machine's are {abs(apart):.1f} s apart; the server keeps times in UTC", findings


def _postgres(connection, settings):
    found = _row(connection, sql.doctor.postgres)
    findings = []
    if found["version_number"] < OLDEST_POSTGRES * 10000:
        advice = "pg_upgrade, or back up, make a newer one, restore"
        findings.append(Finding(WRONG, f"PostgreSQL {found['version']} is older than {OLDEST_POSTGRES}", advice))
    if found["is_standby"]:
        findings.append(Finding(
            WRONG, "this is a standby, which takes no changes",
            "name all hosts in the database URL, with target_session_attrs=read-write",
        ))  # fmt: skip
    others = found["connections"]
    if found["max_connections"] < settings.connections:
        findings.append(Finding(
            WRONG,
            f"{settings.workers} workers with {settings.threads} threads may open {settings.connections} connections, "
            f"PostgreSQL allows {found['max_connections']}",
            f"ALTER SYSTEM SET max_connections = {settings.connections + 20}, then restart PostgreSQL; or lower "
            "workers or threads",
        ))  # fmt: skip
    elif others > 0.9 * found["max_connections"]:
        advice = "SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1; raise max_connections"
        findings.append(Finding(RISKY, f"{others} of {found['max_connections']} connections are in use", advice))
    if found["frozen_age"] > 1_000_000_000:
        advice = "torc-server pg vacuumdb --freeze; find out what keeps autovacuum from it (see bloat)"
        findings.append(Finding(RISKY, f"the oldest row is {found['frozen_age']:,} transactions old", advice))
    findings += _settings_of_postgres(connection)
    return (
        f"{found['version']}, {_size(found['size'])}, durable; {others} of {found['max_connections']} connections in "
        f"use, the server may open {settings.connections}"
    ), findings


def _settings_of_postgres(connection):
    for name, value, source, file, pending_restart in connection.execute(sql.doctor.settings.sql).fetchall():
        right, level, effect = EXPECTED.get(name, ((value,), "", ""))
        where = f" (set in {file})" if file else f" (source: {source})"
        if value not in right:
            advice = f"ALTER SYSTEM SET {name} = '{right[0]}'; SELECT pg_reload_conf()"
            yield Finding(level, f"{name} is {value}{where}: {effect}", advice)
        if name == "max_locks_per_transaction" and int(value) < 64:
            advice = "ALTER SYSTEM SET max_locks_per_transaction = 64, then restart PostgreSQL"
            yield Finding(RISKY, f"{name} is {value}{where}: calls may fail with out of shared memory", advice)
        if pending_restart:
            yield Finding(RISKY, f"{name} was changed, and waits for a restart of PostgreSQL", "restart PostgreSQL")


def _bloat(connection):
    findings = []
    for table, live, dead, just_now in connection.execute(sql.doctor.tables.sql).fetchall():
        if dead > DEAD_TUPLES and dead > live / 5 and not just_now:
            findings.append(Finding(
                RISKY, f"torc.{table} has {dead:,} dead and {live:,} live rows",
                f'torc-server pg psql -c "VACUUM (ANALYZE) torc.{table}"',
                _execute(connection, psql.SQL("VACUUM (ANALYZE) {}").format(psql.Identifier("torc", table))),
            ))  # fmt: skip
    for pid, user, program, state, seconds in connection.execute(sql.doctor.old_transactions.sql).fetchall():
        findings.append(Finding(
            RISKY, f"a transaction of {user or 'nobody'} ({program or 'no name'}, {state}) is open for "
            f"{seconds / 60:.0f} minutes: vacuum cannot clean up behind it",
            f"find out what it is (a backup?), else: SELECT pg_terminate_backend({pid})",
        ))  # fmt: skip
    for gid, seconds in connection.execute(sql.doctor.prepared_transactions.sql).fetchall():
        advice = f"ROLLBACK PREPARED '{gid}', if nobody is going to commit it"
        findings.append(Finding(RISKY, f"the transaction {gid} is prepared for {seconds / 60:.0f} minutes", advice))
    with contextlib.suppress(psycopg.errors.ObjectNotInPrerequisiteState):  # a standby
        for slot, behind in connection.execute(sql.doctor.idle_slots.sql).fetchall():
            advice = f"SELECT pg_drop_replication_slot('{slot}'), if its standby is gone for ever"
            message = f"replication slot {slot} is unused and keeps {_size(behind)} of WAL"
            findings.append(Finding(RISKY, message, advice))
    return "vacuum keeps up", findings


# The schema


def _schema(connection, conninfo):
    found = migrations.status(conninfo)
    if found.version > found.latest:
        return "", [Finding(WRONG, f"version {found.version} is newer than this release's {found.latest}",
                            "pip install --upgrade torc-server")]  # fmt: skip
    if found.version < found.latest:
        return "", [Finding(WRONG, f"the database is at version {found.version} of {found.latest}",
                            "back up, stop the servers, then: torc-server migrate")]  # fmt: skip
    wanted, stored = _wanted_objects(connection), _objects(connection, "torc")
    findings = [] if found.functions_current else [
        Finding(WRONG, "the functions are those of another release", "torc-server migrate")
    ]  # fmt: skip
    functions = defaultdict(list)
    for kind, name in sorted(wanted.keys() | stored.keys()):
        right, is_ = wanted.get((kind, name)), stored.get((kind, name))
        if right != is_ and kind in ("function", "trigger"):
            functions[_what(right, is_)].append(name)
        elif right != is_:
            findings.append(_drift(connection, kind, name, right, is_))
    restore = _replace_functions(conninfo)
    for what, names in functions.items():
        advice = "torc-server doctor --fix, which makes all functions as this release has them and drops the others"
        findings.append(Finding(WRONG, f"{len(names)} functions or triggers {what}: {_some(names)}", advice, restore))
    return f"version {found.version}; all {len(wanted)} objects are as this release made them", findings


def _what(right, is_):
    return "missing" if is_ is None else "not of this release" if right is None else "changed"


def _some(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _drift(connection, kind, name, right, is_):
    """The Finding about an object that is not as it should be. right, is_: definitions, None where there is none."""
    message = f"{kind} {name} is {_what(right, is_)}"
    if kind == "index" and right is None:
        advice = f"DROP INDEX CONCURRENTLY {name}, unless you need it"
        return Finding(RISKY, f"{message}: it slows down every change", advice)
    if kind == "index" and is_ is None:
        statement = right.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        return Finding(WRONG, message, f'torc-server pg psql -c "{statement}"', _execute(connection, statement))
    if kind == "index" and is_ == f"{right} (invalid)":
        statement = f"REINDEX INDEX CONCURRENTLY {name}"
        return Finding(WRONG, f"{kind} {name} is invalid", f'torc-server pg psql -c "{statement}"',
                       _execute(connection, statement))  # fmt: skip
    if kind == "constraint" and is_ is None:
        table, _, constraint = name.rpartition(".")
        return Finding(WRONG, message, f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {right}")
    if right is None:
        return Finding(RISKY, f"{message} ({is_})" if is_ else message, f"move your own {kind} to a schema of yours")
    advice = f"undo the change, or restore a backup into an empty database; it should be: {right}"
    return Finding(WRONG, message, advice)


def _wanted_objects(connection):
    """{(kind, name): definition} of this release: made in a schema beside, in a transaction that is rolled back."""
    schema = f"torc_doctor_{os.getpid()}"
    with connection.transaction():
        connection.execute("SET LOCAL check_function_bodies = off")
        connection.execute("SET LOCAL client_min_messages = error")
        connection.execute(psql.SQL("CREATE SCHEMA {}").format(psql.Identifier(schema)))
        for text in migrations.texts():
            connection.execute(migrations.in_schema(text, schema))
        found = _objects(connection, schema)
        raise psycopg.Rollback
    return found


def _objects(connection, schema):
    rows = connection.execute(sql.doctor.objects.sql, {"schema": schema}).fetchall()
    return {(kind, name): definition for kind, name, definition in rows}


def _replace_functions(conninfo):
    """A repair that several findings share: it is done once."""
    done = []

    def restore():
        if not done:
            migrations.replace_functions(conninfo)
            done.append(True)

    return restore


# The data


def _graph(connection):
    found = connection.execute(sql.doctor.violations.sql).fetchall()
    by_workflow = defaultdict(list)
    for workflow_id, job_id, violation in found:
        by_workflow[workflow_id].append(f"job {job_id}: {violation}" if job_id else violation)
    findings = []
    for workflow_id, violations in by_workflow.items():
        some = "; ".join(violations[:3]) + (f"; and {len(violations) - 3:,} more" if len(violations) > 3 else "")
        if workflow_id is None:
            advice = "delete the rows that are left of deleted jobs: see torc.check_invariants() in psql"
            findings.append(Finding(WRONG, some, advice))
            continue
        statement = f"SELECT torc.repair_counters({workflow_id})"
        findings.append(Finding(
            WRONG, f"workflow {workflow_id}: {some}", f'torc-server pg psql -c "{statement}"',
            _repair_counters(connection, workflow_id),
        ))  # fmt: skip
    return "every job's counters and status agree with its dependencies", findings


def _repair_counters(connection, workflow_id):
    def repair():
        connection.execute(sql.doctor.repair_counters.sql, {"workflow_id": workflow_id})
        left = connection.execute("SELECT count(*) FROM torc.check_invariants(%s)", [workflow_id]).fetchone()[0]
        if left:
            raise OSError(f"{left} violations are left; restore a backup, or ask for help with them")

    return repair


def _jobs(connection, settings):
    seconds = settings.node_timeout or SILENT_SECONDS
    rows = connection.execute(sql.doctor.lost_jobs.sql, {"silent": float(seconds)}).fetchall()
    findings = [_lost(*row, seconds) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        findings.append(Finding(RISKY, f"and {len(rows) - SHOWN} more of that kind", "mend these first, then repeat"))
    return "every pending or running job has a worker that was heard of", findings


def _lost(workflow_id, reason, node_id, hostname, pid, last_seen, job_status, job_ids, seconds):
    count = f"{len(job_ids)} {job_status} job{'s' * (len(job_ids) > 1)} of workflow {workflow_id}"
    some = ", ".join(map(str, job_ids[:5])) + ("…" if len(job_ids) > 5 else "")
    node = f"compute node {node_id} ({hostname}, pid {pid})"
    seen = f", last heard of {last_seen:%Y-%m-%d %H:%M} UTC" if last_seen else ""
    if reason == "none" and job_status == "running":
        advice = f"for each, in psql or by POST: SELECT torc.manage_status_change({job_ids[0]}, 'ready')"
        return Finding(RISKY, f"{count} run on a compute node that was deleted: {some}", advice)
    if reason == "none":
        advice = f"if no worker has claimed them: SELECT torc.manage_status_change({job_ids[0]}, 'ready'), for each"
        return Finding(RISKY, f"{count} were claimed, and no compute node of it is active: {some}", advice)
    what = "is not active" if reason == "inactive" else f"has been silent for more than {seconds} s"
    advice = f"if its worker is dead: deploy/curl/give-back {node_id}; the setting node_timeout does that by itself"
    return Finding(RISKY, f"{count} are on {node}, which {what}{seen}: {some}", advice)


# Words


def _execute(connection, statement):
    return lambda: connection.execute(statement)


def _row(connection, statement):
    cursor = connection.execute(statement.sql)
    return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def _size(number):
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _one_line(error):
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
