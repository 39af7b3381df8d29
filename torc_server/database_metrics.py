"""What GET /metrics says of the database and its jobs.

Asking the database is bounded (see server_metrics.sql), and done once for all processes of a server: what it said is
kept in their folder, for FRESH_SECONDS, and if it took long for RATIO times as long. While one process asks, others
give what was said before.
"""

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from prometheus_client.core import GaugeMetricFamily

from torc_server import __version__
from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.metrics import FOLDER
from torc_server.repository import sql

log = logging.getLogger("torc_server")

FRESH_SECONDS = 10.0
RATIO = 50  # at most 2 % of the time goes into asking
TIMEOUT = "5s"
_FILE = "database.json"


class DatabaseMetrics:
    """A collector for prometheus_client. `database`: the Database of this process."""

    def __init__(self, database: Database):
        self._database = database
        self._kept = None

    def describe(self) -> list[GaugeMetricFamily]:
        """No names in advance: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the metrics. A database that does not answer is torc_database_up 0, and nothing else of it."""
        found = self._current()
        said = found["said"] or {}
        yield GaugeMetricFamily("torc_database_up", "Whether the database has answered.", value=int(bool(said)))
        info = GaugeMetricFamily("torc_build_info", "The versions of server and schema.", labels=["version", "schema"])
        info.add_metric([__version__, str(said.get("version", ""))], 1)
        yield info
        if said:
            yield from _of_jobs(said)
            yield from _of_database(said)

    def _current(self):
        """Return {"at": when, "seconds": how long it took, "said": its JSON or None}."""
        kept = self._read()
        if kept and time.time() - kept["at"] < max(FRESH_SECONDS, RATIO * kept["seconds"]):
            return kept
        with self._turn(wait=kept is None) as is_ours:
            if not is_ours:
                return kept
            since = time.monotonic()
            said = self._ask()
            seconds = time.monotonic() - since
            found = {"at": time.time(), "seconds": seconds, "said": said}
            self._write(found)
            return found

    def _ask(self):
        def work(connection):
            with connection.transaction():
                connection.execute(sql.session.allow_long_statement.sql, {"timeout": TIMEOUT})
                return connection.execute(sql.metrics.server_metrics.sql).fetchone()[0]

        try:
            return json.loads(self._database.run(work))
        except (ApiError, psycopg.Error) as error:
            log.warning("the database does not say what /metrics asks: %s", error)
            return None

    def _path(self):
        folder = os.environ.get(FOLDER)
        return folder and Path(folder, _FILE)

    def _read(self):
        path = self._path()
        if path is None:
            return self._kept
        with contextlib.suppress(FileNotFoundError):
            return json.loads(path.read_text())
        return None

    def _write(self, found):
        self._kept = found
        if path := self._path():
            new = path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(found))
            new.replace(path)

    @contextlib.contextmanager
    def _turn(self, wait):
        """Whether this process may ask: another one may do it just now. wait: until it has."""
        path = self._path()
        if path is None:
            yield True
            return
        with open(path.with_suffix(".lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def _of_jobs(said):
    jobs = GaugeMetricFamily(
        "torc_jobs", "Jobs of workflows that are not archived; no more than 100,000 of a status.", labels=["status"]
    )
    for status, count in said["jobs"].items():
        jobs.add_metric([status], count)
    yield jobs
    active, silence = said["nodes"]
    for name, text, value in (
        ("oldest_ready_job_seconds", "How long the longest-waiting job is ready; 0: none is.", said["oldest_ready"]),
        ("compute_nodes_active", "Active compute nodes, at most 10,000.", active),
        ("compute_node_silence_seconds", "For how long the most silent active compute node is silent.", silence),
    ):
        yield GaugeMetricFamily(f"torc_{name}", text, value=value or 0)


def _of_database(said):
    for name, text, value in (
        ("size_bytes", "Size of the database.", said["size"]),
        ("oldest_transaction_seconds", "Age of the oldest open transaction.", said["oldest_transaction"]),
        ("connections", "Connections to the database.", said["connections"]),
        ("max_connections", "How many connections PostgreSQL allows.", said["max_connections"]),
    ):
        yield GaugeMetricFamily(f"torc_database_{name}", text, value=value)
    live = GaugeMetricFamily("torc_database_live_tuples", "Rows, by PostgreSQL's estimate.", labels=["table"])
    dead = GaugeMetricFamily(
        "torc_database_dead_tuples", "Old versions of rows that wait for vacuum, by its estimate.", labels=["table"]
    )
    for table, (rows, old) in (said["tables"] or {}).items():
        live.add_metric([table], rows)
        dead.add_metric([table], old)
    yield live
    yield dead
    lag = GaugeMetricFamily("torc_database_replication_lag_seconds", "How far a standby is behind.", labels=["standby"])
    for standby, seconds in (said["replication_lag"] or {}).items():
        lag.add_metric([standby], seconds)
    yield lag
