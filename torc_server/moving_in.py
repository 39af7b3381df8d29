"""Moving in from torc's own server: reads its SQLite database (0.22.2 or 1.0.0), one transaction for each workflow.

Columns are copied by name: what the source has and no table here has is counted and reported. Ids stay when the
database is empty, otherwise each row gets a new one, in the same order, and all references follow.
"""

import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosql
import psycopg
from psycopg import sql as composed
from psycopg.types.json import Jsonb

from torc_server.migrations import sql_folder
from torc_server.problems import CommandError
from torc_server.repository import sql
from torc_server.schemas.fields import JOB_STATUSES

reference = aiosql.from_path(sql_folder() / "reference" / "torc.sql", "sqlite3")

# By which columns a version is known; what the versions between them have, is copied by name.
VERSIONS = {
    "1.0.0": {"workflow": "run_id", "job": "compute_node_id"},
    "0.22.2": {"workflow_status": "workflow_id", "workflow": "execution_config", "job": "priority"},
}
SHARED = {"workflow", "access_group", "resource_requirements", "failure_handler", "compute_node"}  # by later workflows
# Columns that are the server's own affair there, are kept in another table here, or are never written.
INTERNAL = {
    "workflow": {"status_id", "run_id", "is_canceled", "is_archived"},
    "job": {"unblocking_processed", "schedule_compute_nodes", "scheduler_type", "compute_node_id"},
}
SETTINGS = ("metadata", "slurm_defaults", "execution_config", "resource_monitor_config")  # objects from 1.0.0's clients


class ImportRefused(CommandError):
    """The source cannot be imported."""


@dataclass
class Summary:
    """What an import did: rows by table, and what has no place here, by reason."""

    keep_ids: bool = False
    rows: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)


class Source:
    """A database of torc's server, read in one snapshot: .version, .workflow_ids(after)."""

    def __init__(self, path: str | Path):
        """Raises ImportRefused for what is not such a database."""
        try:
            self._connection = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True, timeout=30)
            self._connection.row_factory = sqlite3.Row
            self._connection.text_factory = lambda data: data.decode(errors="replace")
            self._connection.isolation_level = None
            self._connection.execute("BEGIN")
            self.version = self._find_version()
        except sqlite3.Error as error:
            raise ImportRefused(f"cannot read {path}: {error}") from error
        if self.version is None:
            raise ImportRefused(
                f"{path} is not a database of torc's server 0.22.2 or 1.0.0; an older one is brought up to date when "
                "the server of that version starts on it"
            )
        self._suffix = "_1_0" if self.version == "1.0.0" else "_0_22"

    def close(self) -> None:
        self._connection.close()

    def rows(self, name: str, **parameters: Any) -> Iterable[sqlite3.Row]:
        """The rows of a statement of sql/reference/torc.sql, one by one; of its form for this version if it has two."""
        statement = getattr(reference, name, None) or getattr(reference, name + self._suffix)
        return self._connection.execute(statement.sql, parameters)

    def workflow_ids(self, after_id: int = 0) -> list[int]:
        return [row["id"] for row in self.rows("workflow_ids", after_id=after_id)]

    def sequences(self) -> dict[str, int]:
        return {row["name"]: row["seq"] for row in self.rows("sequences")}

    def _find_version(self):
        def columns(table):
            return {row["name"] for row in self._connection.execute(reference.columns.sql, {"table_name": table})}

        for version, wanted in VERSIONS.items():
            if all(column in columns(table) for table, column in wanted.items()):
                return version
        return None


def move_in(
    source: Source,
    conninfo: str,
    progress: Callable[[list[int]], Iterable[int]],
    keep_ids: bool | None = None,
    after_id: int = 0,
) -> Summary:
    """Import all workflows of a Source with ids above after_id, and its groups of users; return the Summary.

    progress: called with the ids of the workflows, gives them one by one. keep_ids: None: keep them if the
    database is empty. Raises ImportRefused, naming the workflow; those before it are stored.
    """
    with psycopg.connect(conninfo, autocommit=True) as target:
        target.execute(
            "SET timezone = 'UTC'; SET search_path = pg_catalog; SET jit = off;"
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
        )
        run = _Import(source, target, keep_ids)
        for workflow_id in progress(source.workflow_ids(after_id)):
            run.workflow(workflow_id)
        target.execute("ANALYZE")
    return run.summary


class _Import:
    def __init__(self, source: Source, target: psycopg.Connection, keep_ids: bool | None):
        self._source = source
        self._target = target
        self._columns = {}  # table: {column: type} here
        self._ids = defaultdict(dict)  # table: {id there: id here}
        self.summary = Summary()
        with target.transaction():
            self.summary.keep_ids = self._value(
                sql.moving_in.begin_import, sequences=Jsonb(source.sequences()), keep_ids=keep_ids
            )
            self._groups()

    def workflow(self, workflow_id: int) -> None:
        """Import one workflow in one transaction. Raises ImportRefused: nothing of it is stored then."""
        for table in self._ids.keys() - SHARED:
            self._ids[table].clear()
        before = self.summary.rows.copy(), self.summary.left_out.copy()
        try:
            with self._target.transaction():
                self._workflow(workflow_id)
        except (psycopg.Error, ValueError, sqlite3.Error) as error:
            self.summary.rows, self.summary.left_out = before
            reason = str(error).strip().splitlines()[0]
            if isinstance(error, psycopg.errors.UniqueViolation) and self.summary.keep_ids:
                reason += "; its id is taken: import with --new-ids"
            raise ImportRefused(
                f"workflow {workflow_id}: {reason}; nothing of it is stored, those before it are "
                f"({before[0]['workflow']}); continue behind it with --after {workflow_id}"
                + (" --keep-ids" if self.summary.keep_ids else "")
            ) from error

    def _groups(self):
        for row in self._source.rows("access_groups"):
            values = dict(row) | {"is_system": bool(row["is_system"]), "keep_id": self.summary.keep_ids}
            stored = self._value(sql.moving_in.import_access_group, **values)
            if stored is not None:
                self._ids["access_group"][row["id"]] = stored
        for row in self._source.rows("user_group_memberships"):
            values = dict(row) | {"group_id": self._ids["access_group"][row["group_id"]]}
            self._target.execute(sql.moving_in.import_membership.sql, values)

    def _workflow(self, there):
        self._number("workflow", [there])
        here = self._ids["workflow"][there]
        self._copy("workflow", there, self._settings)
        self._copy("workflow_status", there, lambda row: dict(row) | {
            "workflow_id": here, "initialized_run_id": row["run_id"],
        })  # fmt: skip
        self._copy_numbered("resource_requirements", there, self._resource_requirements)
        self._copy_numbered("failure_handler", there)
        self._copy_numbered("local_scheduler", there)
        self._copy_numbered("slurm_scheduler", there, self._slurm_scheduler)
        self._copy_numbered("scheduled_compute_node", there, self._scheduled_compute_node)
        self._copy_numbered("compute_node", there, self._compute_node)
        self._copy_numbered("file", there)
        self._copy_numbered("user_data", there, self._user_data)
        self._default = self._value(sql.moving_in.default_requirements, workflow_id=here)
        self._blocked = []
        self._copy_numbered("job", there, self._job)
        self._copy("job_depends_on", there, self._edge)
        for table, other in (
            ("job_input_file", "file"), ("job_output_file", "file"),
            ("job_input_user_data", "user_data"), ("job_output_user_data", "user_data"),
        ):  # fmt: skip
            self._copy(table, there, self._link(other))
        self._copy_numbered("result", there, self._result)
        self._copy_numbered("slurm_stats", there, self._slurm_stats)
        self._copy_numbered("event", there)
        self._copy_numbered("workflow_action", there, self._action)
        self._copy("remote_worker", there, self._plain)
        self._copy_numbered("ro_crate_entity", there, self._ro_crate_entity)
        self._copy("workflow_access_group", there, self._shared_with)
        hashed = [self._ids["job"][row["id"]] for row in self._source.rows("hashed_job_ids", workflow_id=there)]
        self._value(
            sql.moving_in.settle_imported_workflow,
            workflow_id=here, blocked_job_ids=self._blocked, hashed_job_ids=hashed,
        )  # fmt: skip

    # Rows: each takes a row of the source and gives the values here, or None for a row that has no place.

    def _plain(self, row):
        values = dict(row)
        if "workflow_id" in values:
            values["workflow_id"] = self._ids["workflow"][values["workflow_id"]]
        return values

    def _settings(self, row):
        values = self._plain(row)
        objects = [name for name in SETTINGS if self._is_object(values[name])]
        return values | {"written_as_object": objects} | {
            name: _without_empty(values[name]) for name in ("env", "dynamic_jobs") if name in values
        }  # fmt: skip

    def _is_object(self, text):
        """Whether a client wrote this text as a JSON object, which clients of 0.22.2 cannot."""
        return self._source.version == "1.0.0" and _is_json_object(text)

    def _resource_requirements(self, row):
        return self._plain(row) | {"num_nodes": self._at_least(1, row["num_nodes"], "num_nodes of requirements")}

    def _slurm_scheduler(self, row):
        return self._plain(row) | {"nodes": 1 if row["nodes"] is None else row["nodes"]}

    def _scheduled_compute_node(self, row):
        config = self._scheduler(row["scheduler_config_id"], row["scheduler_type"])
        return self._plain(row) | {"scheduler_config_id": config}

    def _compute_node(self, row):
        config = self._scheduler(row["scheduler_config_id"], row["compute_node_type"])
        values = self._plain(row) | {"scheduler_config_id": config, "scheduler": _without_null(row["scheduler"])}
        return values | ({"labels": _labels(row["labels"]) or None} if "labels" in values else {})

    def _user_data(self, row):
        return self._plain(row) | {"data": _without_null(row["data"])}

    def _job(self, row):
        values = self._plain(row)
        if row["status"] == JOB_STATUSES.index("blocked"):  # blocked again once it is known what is open
            self._blocked.append(self._ids["job"][row["id"]])
            values["status"] = JOB_STATUSES.index("uninitialized")
        running = row["status"] == JOB_STATUSES.index("running")
        node = row["active_compute_node_id"] if running else None
        if "labels" in values:
            values |= {"labels": ",".join(_labels(row["labels"])), "env": _without_empty(row["env"])}
        return values | {
            "resource_requirements_id": self._requirements(row["resource_requirements_id"]),
            "failure_handler_id": self._found("failure_handler", row["failure_handler_id"], "failure handlers of jobs"),
            "active_compute_node_id": self._found("compute_node", node, "compute nodes of running jobs"),
            "scheduler_id": self._scheduler(row["scheduler_id"], "slurm"),
            "priority": self._at_least(0, row["priority"], "priority of jobs"),
        }

    def _edge(self, row):
        jobs = self._ids["job"]
        if row["depends_on_job_id"] not in jobs or row["job_id"] == row["depends_on_job_id"]:
            return self._leave_out("dependencies on the job itself, or on one of another workflow")
        return {"job_id": jobs[row["job_id"]], "depends_on_job_id": jobs[row["depends_on_job_id"]]}

    def _link(self, other):
        def values(row):
            if row[f"{other}_id"] not in self._ids[other]:
                return self._leave_out(f"relations of jobs to {other} of another workflow")
            return {"job_id": self._ids["job"][row["job_id"]], f"{other}_id": self._ids[other][row[f"{other}_id"]]}

        return values

    def _result(self, row):
        if row["job_id"] not in self._ids["job"] or row["compute_node_id"] not in self._ids["compute_node"]:
            return self._leave_out("results whose job or compute node is not in the workflow")
        return self._plain(row) | {
            "job_id": self._ids["job"][row["job_id"]],
            "compute_node_id": self._ids["compute_node"][row["compute_node_id"]],
        }

    def _slurm_stats(self, row):
        if row["job_id"] not in self._ids["job"]:
            return self._leave_out("Slurm statistics of deleted jobs")
        return self._plain(row) | {"job_id": self._ids["job"][row["job_id"]]}

    def _action(self, row):
        jobs = None
        if row["job_ids"] is not None:
            listed = json.loads(row["job_ids"]) or []
            jobs = [self._ids["job"][job] for job in listed if job in self._ids["job"]]
            self.summary.left_out["jobs of actions that do not exist"] += len(listed) - len(jobs)
        config = json.loads(row["action_config"])
        if isinstance(config, dict) and isinstance(config.get("scheduler_id"), int):
            config["scheduler_id"] = self._scheduler(config["scheduler_id"], config.get("scheduler_type"))
        node = self._found("compute_node", row["executed_by"], "compute nodes of actions")
        return self._plain(row) | {"job_ids": jobs, "action_config": json.dumps(config), "executed_by": node}

    def _ro_crate_entity(self, row):
        file_id = self._found("file", row["file_id"], "files of RO-Crate entities")
        return self._plain(row) | {"file_id": file_id, "written_as_object": self._is_object(row["metadata"])}

    def _shared_with(self, row):
        if row["group_id"] not in self._ids["access_group"]:
            return self._leave_out("shares with system groups")
        return self._plain(row) | {"group_id": self._ids["access_group"][row["group_id"]]}

    # References

    def _found(self, table, there, what):
        """The id here of a row that may be of another workflow; None if it is not known (yet)."""
        if there and there not in self._ids[table]:
            self.summary.left_out[f"{what} that are not known"] += 1
        return self._ids[table].get(there)

    def _requirements(self, there):
        known = self._ids["resource_requirements"]
        if there is not None and there not in known:
            self.summary.left_out["requirements of jobs that are not known, now the default ones"] += 1
        return known.get(there, self._default)

    def _scheduler(self, there, kind):
        """A scheduler's id is not a key, any number may be there: what is not a scheduler of the workflow stays."""
        return self._ids["local_scheduler" if kind == "local" else "slurm_scheduler"].get(there, there)

    def _at_least(self, least, value, what):
        if not isinstance(value, int):
            raise ValueError(f"{what}: {value!r} is no number")  # noqa: TRY004 (of the data)
        if value < least:
            self.summary.left_out[f"{what} below {least}, now {least}"] += 1
        return max(value, least)

    def _leave_out(self, what):
        self.summary.left_out[what] += 1

    # Copying

    def _copy_numbered(self, table, workflow_id, values_of=None):
        self._number(table, [row["id"] for row in self._source.rows(table, workflow_id=workflow_id)])
        self._copy(table, workflow_id, values_of or self._plain)

    def _number(self, table, ids):
        if self.summary.keep_ids:
            new = ids
        else:
            values = {"table_name": table, "count": len(ids)}
            new = [number for (number,) in self._target.execute(sql.moving_in.new_ids.sql, values)]
        self._ids[table].update(zip(ids, new, strict=True))

    def _copy(self, table, workflow_id, values_of):
        rows = self._values(table, workflow_id, values_of)
        first = next(rows, None)
        if first is None:
            return
        types = self._types(table)
        names = [name for name in first if name in types]
        elsewhere = first.keys() - types.keys() - INTERNAL.get(table, set())
        with self._target.cursor() as cursor, cursor.copy(_copy_statement(table, names)) as copy:
            for values in itertools.chain([first], rows):
                copy.write_row([_converted(values[name], types[name]) for name in names])
                self.summary.rows[table] += 1
                for name in elsewhere:
                    self.summary.left_out[f"values of {table}.{name}"] += values[name] is not None

    def _values(self, table, workflow_id, values_of):
        for row in self._source.rows(table, workflow_id=workflow_id):
            values = values_of(row)
            if values is not None:
                yield values | {"id": self._ids[table][row["id"]]} if "id" in values else values

    def _types(self, table):
        if table not in self._columns:
            found = self._target.execute(sql.moving_in.columns.sql, {"table_name": table})
            self._columns[table] = dict(found.fetchall())
        return self._columns[table]

    def _value(self, statement, **parameters):
        [(value,)] = self._target.execute(statement.sql, parameters).fetchall()
        return value


def _copy_statement(table, names):
    columns = composed.SQL(", ").join(map(composed.Identifier, names))
    return composed.SQL("COPY {} ({}) FROM STDIN").format(composed.Identifier("torc", table), columns)


def _converted(value, type_name):
    """A value of SQLite as PostgreSQL takes it for a column of that type."""
    if value is None:
        return None
    if type_name == "boolean":
        return value not in (0, "0", "false")
    if type_name == "torc.job_status":
        return _status(value)
    if type_name == "jsonb":
        return _json(value)
    return _text(value) if isinstance(value, str) else value


def _status(number):
    if number not in range(len(JOB_STATUSES)):
        raise ValueError(f"{number} is no status of a job")
    return JOB_STATUSES[number]


def _text(text):
    """Without the character NUL and without halves of surrogate pairs, which PostgreSQL does not store."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json(text):
    """The same for JSON text, digit by digit otherwise; what is no JSON becomes a JSON string."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return json.dumps(_text(text))
    return json.dumps(_clean(value)) if "\\u" in text else text


def _without_null(text):
    """None for a JSON null: no data."""
    return None if text is None or text.strip() == "null" else text


def _without_empty(text):
    """None for a JSON null and for an object without keys."""
    return None if text is None or text.strip() in ("null", "{}") else text


def _labels(text):
    """The labels that a JSON list holds: sorted, each once, as torc.join_labels() stores them."""
    return sorted(set(json.loads(text))) if text else []


def _is_json_object(text):
    try:
        return isinstance(json.loads(text or "null"), dict)
    except ValueError:
        return False


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def _clean(value):
    if isinstance(value, dict):
        return {_text(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return _text(value) if isinstance(value, str) else value
