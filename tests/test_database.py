"""What a client sees of the database's own troubles."""

import psycopg
import pytest
from psycopg import errors as pg

from torc_server.database import ATTEMPTS, Database, api_error
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
        raise pg.DeadlockDetected()

    with pytest.raises(ApiError, match="connection") as raised:
        database.run(work)
    assert raised.value.status == 503
    assert len(calls) == ATTEMPTS
    database.close()
