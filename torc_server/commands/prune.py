"""`torc-server prune`."""

import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import click
import psycopg

from torc_server import prune
from torc_server.commands.database import refuse_other_schema, session
from torc_server.commands.messages import fail, progress_bar
from torc_server.commands.options import database_options
from torc_server.schemas.fields import parse_age

SHOWN_WORKFLOWS = 20  # of those that would be deleted


class Age(click.ParamType):
    """A number of hours, days or weeks, such as 90d; a timedelta."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        return parse_age(value) or self.fail("is no number of hours, days or weeks, such as 12h, 90d or 8w", param, ctx)


@click.command("prune")
@database_options
@click.option("--older-than", required=True, type=Age(), metavar="AGE", help="Such as 90d; also h (hours), w (weeks).")
@click.option("--archived-only", is_flag=True, help="Only of archived workflows.")
@click.option("--events", is_flag=True, help="Delete old events, and keep the workflows.")
@click.option("--results", is_flag=True, help="Delete old results of earlier runs that have a newer one, likewise.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(older_than, archived_only, events, results, dry_run, yes, **where):
    """Delete what is old: workflows that are complete, canceled or archived, in which nothing has happened for AGE.

    Workflows with pending or running jobs or active compute nodes are never deleted. The server may serve meanwhile.
    """
    with session(where) as conninfo:
        refuse_other_schema(conninfo)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SET timezone = 'UTC'; SET statement_timeout = 0")
            plan = prune.plan(connection, older_than, archived_only, events, results)
            _print_plan(plan)
            if dry_run or not plan.steps:
                return
            if not yes:
                _confirm("Delete this?")
            _print_deleted(connection, plan)


def _print_plan(plan):
    for number, name, jobs, results, events in plan.workflows[:SHOWN_WORKFLOWS]:
        click.echo(f"workflow {number} ({name}): {jobs:,} jobs, {results:,} results, {events:,} events")
    if len(plan.workflows) > SHOWN_WORKFLOWS:
        click.echo(f"and {len(plan.workflows) - SHOWN_WORKFLOWS:,} more")
    counts = {
        "workflows": len(plan.workflows),
        "events": sum(rows for _, rows in plan.events),
        "results": sum(rows for _, rows in plan.results),
    }
    old = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing"
    click.echo(f"Older than {plan.before:%Y-%m-%d %H:%M} UTC: {old}")


def _print_deleted(connection, plan):
    done = Counter()
    with progress_bar("Deleting", length=plan.steps) as bar:
        for what, count in prune.carry_out(connection, plan):
            done[what] += count
            bar.update(count)
    skipped = done.pop("skipped", 0)
    click.echo(f"Deleted {', '.join(f'{count:,} {what}s' for what, count in done.items()) or 'nothing'}")
    if skipped:
        click.echo(f"{skipped:,} workflows were in use, and were left")


def _confirm(question):
    if not sys.stdin.isatty():
        fail("nothing has been deleted: repeat the command with --yes")
    click.confirm(question, abort=True, err=True)
