"""What a client sees of the database's own troubles."""

import psycopg
import pytest
from psycopg import errors as pg

from torc_server.database import ATTEMPTS, Database
from torc_server.database_errors import api_error
from torc_server.errors import ApiError


@pytest.mark.parametrize("error", [pg.QueryCanceled, pg.AdminShutdown, pg.CannotConnectNow, psycopg.OperationalError])
def test_a_503_says_connection_because_clients_retry_on_that_word(error):
    answer = api_error(error("the database's own words"))
    assert answer.status == 503
    assert "connection" in answer.message and "own words" not in answer.message
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("error", [pg.DeadlockDetected, pg.SerializationFailure])
def test_a_deadlock_or_serialization_failure_is_tried_again(database_url, error):
    database = Database(database_url)
    calls = []

    def work(connection):
        calls.append(connection)
        if len(calls) < 3:
            raise error()
        return "done"

    assert database.run(work) == "done"
    assert len(calls) == 3
    database.close()


def test_a_deadlock_that_never_ends_is_503_with_the_word_connection(database_url, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    database = Database(database_url)
    calls = []

    def work(connection):
        calls.append(connection)
        raise pg.DeadlockDetected

    with pytest.raises(ApiError, match="connection") as raised:
        database.run(work)
    assert raised.value.status == 503
    assert len(calls) == ATTEMPTS
    database.close()


@pytest.fixture
def connection(database_url):
    database = Database(database_url)
    yield database.run(lambda connection: connection)
    database.close()


@pytest.mark.parametrize(
    "text, value",
    [
        ("%(a)s::bigint", 2**40), ("%(a)s::text", "ü % %(a)s"), ("%(a)s::boolean", False), ("%(a)s::float8", 0.1),
        ("%(a)s::text[]", ["x", 'y,"']), ("%(a)s::bytea", b"\0"), ("nullif(%(a)s::text, %(a)s)", None),
    ],
)  # fmt: skip
def test_the_short_way_gives_what_a_cursor_gives(connection, text, value):
    statement = f"SELECT {text}, 10 %% 3"
    for _ in range(2):
        assert connection.first(statement, {"a": value, "unused": 1}) == value
    assert connection.execute(statement, {"a": value}).fetchone()[0] == value
    assert connection.first(f"{statement} WHERE false", {"a": value}) is None


def test_a_rollback_leaves_prepared_statements(connection):
    connection.first("SELECT %(a)s::int", {"a": 1})
    with pytest.raises(pg.DivisionByZero), connection.transaction():
        connection.first("SELECT 1 / %(a)s::int", {"a": 0})
    assert connection.first("SELECT %(a)s::int", {"a": 2}) == 2


def test_a_connection_cut_off_while_a_statement_runs_is_503_and_then_replaced(database_url):
    database = Database(database_url)
    with pytest.raises(ApiError, match="connection") as raised:
        database.run(lambda connection: connection.first("SELECT pg_terminate_backend(pg_backend_pid())::text", {}))
    assert raised.value.status == 503
    assert database.run(lambda connection: connection.first("SELECT 1", {})) == 1
    database.close()


def test_the_connection_used_last_is_the_next(database_url):
    database = Database(database_url)
    first = database.run(lambda first: database.run(lambda second: first))
    assert database.run(lambda connection: connection) is first
    database.close()
