"""The list of stored functions that no test calls: `make test` fails unless it is empty (see conftest.py)."""

import psycopg
import pytest
from stored_functions import counted, never_called


@pytest.fixture
def changed(database_url):
    """A connection whose changes are undone."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


def every(connection):
    found = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'torc'::regnamespace AND prokind = 'f'"
    return {name for (name,) in connection.execute(found)}


def test_a_function_that_is_never_called_is_listed(changed):
    called = every(changed)
    assert never_called(changed, called) == []
    assert never_called(changed, called - {"complete_job"}) == ["complete_job"]
    changed.execute("CREATE FUNCTION torc.one() RETURNS int LANGUAGE sql RETURN 1")
    assert never_called(changed, called) == ["one"]


def test_a_function_that_may_have_been_written_into_the_statement_of_a_called_one_is_not_listed(changed):
    called = every(changed)
    changed.execute("CREATE FUNCTION torc.one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    changed.execute("CREATE FUNCTION torc.two() RETURNS int LANGUAGE sql AS 'SELECT torc.one()'")
    changed.execute("CREATE FUNCTION torc.three() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN torc.two(); END'")
    assert never_called(changed, called) == ["one", "three", "two"]
    assert never_called(changed, called | {"three"}) == []


def test_calls_are_counted(workflow, database_url, postgres_log):
    if not postgres_log:
        pytest.skip("the server is given from outside")
    workflow.job()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT count(*) FROM torc.check_invariants()")
        connection.execute("SELECT pg_stat_force_next_flush()")
        assert "check_invariants" in counted(connection)
