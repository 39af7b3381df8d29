"""What statements cost: all plans of a session, with those of the statements inside functions."""

import json
from contextlib import contextmanager

import psycopg
import pytest


@contextmanager
def explained(database_url):
    """A session, and the plans of all statements that it runs, those inside functions too. Rolled back at the end."""
    plans = []

    def keep(diag):
        if diag.message_primary.startswith("duration:"):
            plans.append(json.loads(diag.message_primary.partition("plan:")[2]))

    with psycopg.connect(database_url) as session:
        try:
            session.execute("LOAD 'auto_explain'")
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile) as error:
            pytest.skip(f"needs a superuser and PostgreSQL's contrib module auto_explain: {error}")
        session.execute(
            """
            SET auto_explain.log_min_duration = 0;
            SET auto_explain.log_nested_statements = on;
            SET auto_explain.log_analyze = on;
            SET auto_explain.log_buffers = on;
            SET auto_explain.log_timing = off;
            SET auto_explain.log_format = json;
            SET client_min_messages = log;
            SET statement_timeout = '1min';
            SET jit = off
            """
        )
        session.add_notice_handler(keep)
        yield session, plans
        session.rollback()


def nodes(plan):
    """A plan's node and all below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def rows_of(node):
    """How many rows a node looked at, in all of its loops."""
    removed = sum(rows for name, rows in node.items() if name.startswith("Rows Removed by"))
    return (node["Actual Rows"] + removed) * node["Actual Loops"]


def cost(plans):
    """Rows that all nodes of all plans looked at, and the blocks that the statement itself, the last one, touched."""
    rows = sum(rows_of(node) for statement in plans for node in nodes(statement["Plan"]))
    blocks = plans[-1]["Plan"]
    return rows + blocks["Shared Hit Blocks"] + blocks["Shared Read Blocks"]
