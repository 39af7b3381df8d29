"""Retention: deletes old workflows, or only old events or results of them, in transactions that make no claim wait."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from torc_server.repository import sql

BATCH_ROWS = 5000  # deleted in one transaction, about 50 ms


@dataclass(frozen=True)
class Plan:
    """What is old: `workflows` are (id, name, jobs, results, events), `events`, `results` are (workflow id, rows)."""

    before: datetime
    archived_only: bool
    workflows: list
    events: list
    results: list

    @property
    def steps(self) -> int:
        """How many workflows and rows there are to delete."""
        return len(self.workflows) + sum(rows for _, rows in self.events + self.results)


def plan(
    connection: psycopg.Connection,
    age: timedelta,
    archived_only: bool = False,
    events: bool = False,
    results: bool = False,
) -> Plan:
    """Return the Plan for what is older than the timedelta `age`: workflows, or, with events or results, these."""
    parameters = {"before": datetime.now(UTC) - age, "archived_only": archived_only}

    def found(statement, wanted):
        return connection.execute(statement.sql, parameters).fetchall() if wanted else []

    return Plan(
        **parameters,
        workflows=found(sql.prune.workflows, not (events or results)),
        events=found(sql.prune.events, events),
        results=found(sql.prune.results, results),
    )


def carry_out(connection: psycopg.Connection, plan: Plan) -> Iterator[tuple[str, int]]:
    """Delete, on a connection in autocommit, yielding (what, number) after each transaction: "workflow", "event",
    "result", or "skipped" for a workflow that is in use just now or came to life again."""
    for workflow_id, *_ in plan.workflows:
        parameters = {"workflow_id": workflow_id, "before": plan.before, "archived_only": plan.archived_only}
        [deleted] = _row(connection, sql.prune.workflow, parameters)
        yield ("workflow" if deleted else "skipped"), 1
    for workflow_id, _ in plan.events:
        parameters = {"workflow_id": workflow_id, "before": plan.before, "limit": BATCH_ROWS}
        while count := _row(connection, sql.prune.event_batch, parameters)[0]:
            yield "event", count
    for workflow_id, _ in plan.results:
        parameters = {"workflow_id": workflow_id, "before": plan.before, "after_id": 0, "limit": BATCH_ROWS}
        while (batch := _row(connection, sql.prune.result_batch, parameters))[0]:
            parameters["after_id"] = batch[1]
            yield "result", batch[0]


def _row(connection, statement, parameters):
    [row] = connection.execute(statement.sql, parameters).fetchall()
    return row
