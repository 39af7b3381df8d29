"""GET /workflows/{id}/status: what it says of times that clients send as text, and how often it reads them."""

import re
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "sql" / "functions"
# What clients may send as a time: what is meant by it, None for no time.
TIMES = {
    "2026-01-01T10:30:00Z": "2026-01-01 10:30:00+00",
    "2026-01-01T10:30:00.123456+01:00": "2026-01-01 09:30:00.123456+00",
    "2026-01-01 10:30:00": "2026-01-01 10:30:00+00",
    "2026-01-31": "2026-01-31 00:00:00+00",
    "2026-99-99T00:00:00Z": None,
    "2026-02-30T00:00:00Z": None,
    "0001-01-01T00:00:00Z": None,
    "now": None,
    "tomorrow": None,
    "infinity": None,
    "Jan 2 2026": None,
    "a time": None,
    "": None,
}


def status(workflow):
    return workflow.client.get(f"{workflow.path}/status").json


def complete_at(workflow, time, minutes=1.0):
    workflow.complete(workflow.job(), completion_time=time, exec_time_minutes=minutes)


def test_the_wall_time_is_from_the_first_start_to_the_last_end_in_whatever_form_they_are_sent(workflow):
    complete_at(workflow, "2026-01-01T10:00:00Z", 15)
    complete_at(workflow, "2026-01-01T12:00:00.5+01:00")
    complete_at(workflow, "2026-01-01 10:30:00", 5)
    assert (status(workflow)["walltime_seconds"], status(workflow)["total_exec_time_minutes"]) == (75 * 60 + 0.5, 21)


@pytest.mark.parametrize("time", [time for time, meant in TIMES.items() if meant is None])
def test_a_completion_time_that_is_none_counts_for_nothing_in_the_wall_time(workflow, time):
    complete_at(workflow, time)
    assert "walltime_seconds" not in status(workflow)
    complete_at(workflow, "2026-01-01T10:00:00Z", 2)
    assert (status(workflow)["walltime_seconds"], status(workflow)["total_exec_time_minutes"]) == (120, 3)


def test_a_node_whose_end_is_no_time_is_not_taken_for_one_that_ends(workflow):
    node = workflow.node()
    body = workflow.client.get(f"/compute_nodes/{node}").json
    workflow.client.put(f"/compute_nodes/{node}", json=body | {"end_time": "2026-99-99T00:00:00Z"})
    found = status(workflow)
    assert found["active_compute_nodes"] == 1 and "max_allocation_remaining_seconds" not in found


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles"])
def test_all_ways_to_read_a_time_follow_one_rule(database, zone):
    with database.transaction():
        database.execute("SELECT set_config('timezone', %s, true)", [zone])
        for time, meant in TIMES.items():
            same = database.execute(
                """
                SELECT torc.parse_time(%(time)s) IS NOT DISTINCT FROM %(meant)s::timestamptz,
                    torc.time_in(%(time)s, false) IS NOT DISTINCT FROM %(meant)s::timestamptz
                """,
                {"time": time, "meant": meant},
            ).fetchone()
            assert same == (True, True), time


def test_no_function_reads_the_time_of_a_client_by_another_rule():
    casts = {
        (path.name, cast)
        for path in FUNCTIONS.rglob("*.sql")
        for cast in re.findall(r"(\w+)::timestamp", path.read_text())
    }
    assert casts == {("time.sql", "p_text"), ("import_workflow.sql", "p_created_at")}


def test_the_summary_reads_times_one_by_one_only_where_one_of_them_is_none(workflow, database):
    for _ in range(3):
        complete_at(workflow, "2026-01-01T10:00:00Z")
    assert readings_of_a_summary(workflow, database) == 0
    complete_at(workflow, "2026-99-99T00:00:00Z")
    assert readings_of_a_summary(workflow, database) == 4


def readings_of_a_summary(workflow, database):
    """How often a summary calls parse_time(), which takes a subtransaction."""
    statement = "SELECT coalesce(sum(calls), 0) FROM pg_stat_xact_user_functions WHERE funcname = 'parse_time'"
    with database.transaction():
        database.execute("SET LOCAL track_functions = 'all'")
        before = database.execute(statement).fetchone()[0]
        database.execute("SELECT torc.workflow_summary(%s)", [workflow.id])
        return database.execute(statement).fetchone()[0] - before
