"""Small calls that arrive together are one batch: each has its outcome, and its answer once that is durable."""

import functools
import itertools
import json
import os
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest
from holding import holding
from psycopg import errors as pg
from support import PREFIX, HttpClient, basic, raw_request, wait_for
from together import Waits, outcomes_of
from workflow import Workflow

from torc_server import connections, current, embedded, htpasswd, polling
from torc_server.batches import LONG_MS, MOST_IDLE, Batch, Batches, current_server
from torc_server.database import Database
from torc_server.errors import ApiError, Later
from torc_server.pipeline import Pipeline
from torc_server.worker import MOST_EVENTS

WRITE = "INSERT INTO written (number) VALUES (%(number)s::int) RETURNING number"
READ = "SELECT %(number)s::int"
POSITION = "SELECT (pg_current_wal_insert_lsn() - '0/0' + %(number)s::int)::text"


@pytest.fixture(scope="module")
def own_postgres(module_folder):
    """The connection string of a PostgreSQL in which only these tests write."""
    folder = module_folder / "batches"
    conninfo = embedded.start(folder, {"fsync": "on", "autovacuum": "off", "wal_writer_delay": "10s"}, tie=True)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (number integer CHECK (number <> 13))")
    yield conninfo
    embedded.stop(folder)


@pytest.fixture
def connection(own_postgres):
    with closing(connections.connect(own_postgres)) as connection:
        yield connection


def together(connection, *statements, waits=None):
    """The outcomes of statements that one pipeline sends."""
    waits = waits or Waits()
    pipeline = Pipeline(connection, waits.wait, waits.give_way)
    for statement in statements:
        pipeline.send(*statement, len(statements) == 1)
    outcomes = [pipeline.receive() for _ in statements]
    pipeline.end()
    return outcomes


def durable(own_postgres):
    with psycopg.connect(own_postgres) as other:
        return int(other.execute("SELECT pg_current_wal_flush_lsn() - '0/0'").fetchone()[0])


# What is sent to PostgreSQL


@pytest.mark.parametrize("number", [2, 3, 20])
def test_what_several_statements_have_written_is_durable_when_they_are_answered(connection, own_postgres, number):
    writes = [(WRITE, {"number": each}, True) for each in range(20, 20 + number)]
    *written, position = together(connection, *writes, (POSITION, {"number": 0}, False))
    assert written == [*range(20, 20 + number)]
    assert durable(own_postgres) >= int(position)


def test_what_was_sent_becomes_durable_while_calls_go_on_with_their_outcomes(connection, own_postgres):
    waits = Waits()
    pipeline = Pipeline(connection, waits.wait, waits.give_way)
    for number in (1, 2):
        pipeline.send(WRITE, {"number": number}, True, False)
    pipeline.send(POSITION, {"number": 0}, False, False)
    pipeline.make_durable()
    assert [pipeline.receive(), pipeline.receive()] == [1, 2]
    position = int(pipeline.receive())
    wait_for(lambda: durable(own_postgres) >= position, 5, "what was sent to be durable")
    pipeline.send(WRITE, {"number": 3}, True, False)
    pipeline.send(POSITION, {"number": 0}, False, False)
    assert pipeline.receive() == 3
    position = int(pipeline.receive())
    pipeline.end()
    assert durable(own_postgres) >= position
    assert connection.execute("SHOW synchronous_commit").fetchone()[0] == "on"


def test_without_the_last_statement_it_would_not_be_durable_yet(connection, own_postgres):
    """The test before could not fail otherwise."""
    connection.execute("SET synchronous_commit = off")

    def is_durable():
        connection.first(WRITE, {"number": 1})
        return durable(own_postgres) >= int(connection.first(POSITION, {"number": 0}))

    assert not all(is_durable() for _ in range(3))  # now and then PostgreSQL writes all that it has


def test_afterwards_a_commit_waits_for_the_disk_again(connection):
    together(connection, *[(WRITE, {"number": each}, True) for each in (1, 2)])
    assert connection.execute("SHOW synchronous_commit").fetchone()[0] == "on"


@pytest.mark.parametrize("is_alone, found", [(True, ["on", "on", "off", "off"]), (False, ["on", "off", "off", "off"])])
def test_of_several_changes_only_one_that_seemed_to_be_the_only_one_waits_for_the_disk(connection, is_alone, found):
    setting = "SELECT current_setting('synchronous_commit')"
    pipeline = Pipeline(connection, Waits().wait, lambda: None)
    for may_write in (False, True, True, False):
        pipeline.send(setting, {}, may_write, is_alone)
    assert [pipeline.receive() for _ in found] == found
    pipeline.end()
    assert connection.first(setting, {}) == "on"


def test_each_statement_fails_or_succeeds_whatever_the_others_do(connection, own_postgres):
    unknown = "SELECT no_such_column FROM written WHERE number = %(number)s::int"
    first, refused, other, wrong, last = together(
        connection,
        (WRITE, {"number": 101}, True),
        (WRITE, {"number": 13}, True),
        (READ, {"number": 102}, False),
        (unknown, {"number": 103}, False),
        (WRITE, {"number": 104}, True),
    )
    assert (first, other, last) == (101, 102, 104)
    assert isinstance(refused, pg.CheckViolation)
    assert isinstance(wrong, pg.UndefinedColumn)
    with psycopg.connect(own_postgres) as reader:
        stored = reader.execute("SELECT array_agg(number ORDER BY number) FROM written WHERE number > 100").fetchone()
    assert stored == ([101, 104],)
    assert connection.first(READ, {"number": 5}) == 5


def test_a_statement_whose_commit_fails_has_failed(connection, own_postgres):
    keyed = "INSERT INTO keyed (number) VALUES (%(number)s::int) RETURNING number"
    with psycopg.connect(own_postgres, autocommit=True) as other:
        other.execute("CREATE TABLE keyed (number int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    for numbers, kept in [([7], [7]), ([7, 8], [8]), ([8], []), ([9, 7, 10], [9, 10])]:
        outcomes = together(connection, *[(keyed, {"number": each}, True) for each in numbers])
        assert [each for each in outcomes if not isinstance(each, pg.UniqueViolation)] == kept


def test_a_parameter_that_cannot_be_sent_fails_alone(connection):
    wrong = ({"number": "a\0b"}, {"number": "\ud800"}, {"other": 1}, {"number": object()})
    *outcomes, right = together(connection, *[(READ, params, False) for params in (*wrong, {"number": 1})])
    assert [type(each) for each in outcomes] == [pg.DataError, UnicodeEncodeError, KeyError, psycopg.ProgrammingError]
    assert right == 1


def test_texts_that_are_longer_than_what_the_kernel_takes_at_once_are_sent(connection):
    long = "x" * 3_000_000
    text = "SELECT %(text)s::text"
    for number in (3, 1):
        waits = Waits()
        statements = [(text, {"text": long + str(each)}, False) for each in range(number)]
        assert together(connection, *statements, waits=waits) == [long + str(each) for each in range(number)]
        assert select.POLLIN | select.POLLOUT in waits.waited_for  # so the thread is not kept


def test_statements_are_prepared_on_the_way_once_and_only_if_they_can_be(connection):
    doubled, wrong = "SELECT 2 * %(number)s::int", "SELECT no_such_column, %(number)s::int"
    statements = [(text, {"number": each}, True) for each in (1, 2) for text in (doubled, wrong)]
    for _ in range(2):
        outcomes = together(connection, *statements)
        assert outcomes[::2] == [2, 4]
        assert [type(each) for each in outcomes[1::2]] == [pg.UndefinedColumn, pg.InvalidSqlStatementName]
    prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'torc_%'").fetchone()[0]
    assert prepared == len(connection.statement_names) == 3  # with those that make it durable


def test_postgres_works_on_a_statement_while_the_next_is_made_and_its_outcome_is_there_before_that_of_the_next(
    connection,
):
    waits = Waits()
    pipeline = Pipeline(connection, waits.wait, waits.give_way)
    pipeline.send("SELECT %(number)s::int", {"number": 1}, False, False)
    wait_for(lambda: polling.readable([connection.pgconn.socket], 0), what="the outcome of a statement")
    pipeline.send("SELECT pg_sleep(1)::text || %(number)s::int", {"number": 2}, False, False)
    started = time.monotonic()
    assert pipeline.receive() == 1
    assert time.monotonic() - started < 0.5
    assert pipeline.receive() == "2"
    pipeline.end()


def test_another_thread_may_lead_before_the_end_of_a_cancellation_is_awaited(own_postgres):
    database = Database(own_postgres)
    statement = "SELECT pg_sleep(%(seconds)s::int)::text"
    happened = []

    class Canceled(Waits):
        def wait(self, descriptor, events=select.POLLIN):
            happened.append(database.cancel(current_server()))
            super().wait(descriptor, events)

    outcomes_of(database, (statement, {"seconds": 0}, False))
    waits = Canceled(lambda: happened.append("gives way"))
    [outcome] = outcomes_of(database, (statement, {"seconds": 30}, False), waits=waits)
    assert outcome.status == 503
    assert happened[-1] == "gives way"
    assert set(happened[:-1]) == {True}
    database.close()


def test_a_lost_connection_leaves_no_outcome(own_postgres):
    database = Database(own_postgres)
    end = "SELECT pg_terminate_backend(pg_backend_pid(), %(number)s::int)"
    statements = [(WRITE, {"number": 201}, True), (end, {"number": 0}, True), (WRITE, {"number": 202}, True)]
    outcomes = outcomes_of(database, *statements)
    assert [(type(each), each.status) for each in outcomes] == [(ApiError, 503)] * 3
    assert outcomes_of(database, (READ, {"number": 7}, False)) == [7]
    database.close()


def test_what_would_be_tried_again_is_left_to_the_call(own_postgres):
    with psycopg.connect(own_postgres, autocommit=True) as other:
        other.execute(
            "CREATE OR REPLACE FUNCTION fail(state text, detail text) RETURNS text LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = state, DETAIL = detail; END $$"
        )
    fail = "SELECT fail(%(state)s, %(detail)s)"
    states = [("40P01", ""), ("40001", ""), ("55P03", "shared"), ("55P03", "exclusive"), ("55P03", ""), ("TC409", "{}")]
    states.append(("23503", ""))  # of no constraint: api_error() itself fails
    database = Database(own_postgres)
    statements = [(fail, {"state": state, "detail": detail}, True) for state, detail in states]
    *alone, waited, refused, failed = outcomes_of(database, *statements)
    assert [type(each) for each in alone] == [Later] * 4
    assert (waited.status, refused.status, type(failed)) == (503, 409, AttributeError)
    database.close()


# How calls are served together


class Recorder:
    """Instead of a Database: notes what is sent, and has the given outcomes for the statements. An ApiError is that of
    all. waits: what is done with the batch before anything is sent."""

    def __init__(self, happened, *outcomes, waits=lambda _: None):
        self.happened = happened
        self.outcomes = list(outcomes)
        self._waits = waits

    def run_together(self, talk, batch):
        self._waits(batch)
        talk(self._send, self._receive, lambda: self.happened.append("to be durable"))
        self.happened.append("durable")

    def _send(self, text, *_):
        self.happened.append(f"{text} is sent")

    def _receive(self):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome


@pytest.fixture
def happened():
    return []


@pytest.fixture
def ask(happened):
    """ask(batch, …) begins a call that asks for the value of each of these statements, one after the other, and is then
    answered."""

    def ask(batch, *texts, method="POST"):
        def serve(name):
            token = current.begin({"REQUEST_METHOD": method}, None)
            try:
                for text in texts:
                    happened.append((name, batch.first(text, {})))
                batch.until_durable()
                happened.append(f"{name} is answered")
            except ApiError as error:
                happened.append((name, error.status))
            finally:
                current.end(token)

        batch.begin(serve, "".join(texts[:1]))

    return ask


def test_each_statement_is_sent_when_its_call_asks_and_all_are_answered_when_all_is_durable(ask, happened):
    batch = Batch(Recorder(happened, 1, 2, 3, 4), Waits())

    def arrivals():
        ask(batch, "a", "b")
        yield
        ask(batch, "c")
        yield
        ask(batch, "d")
        assert happened == ["a is sent", "c is sent"]
        yield

    batch.serve(arrivals())
    sent = ["a is sent", "c is sent", "d is sent", "to be durable"]
    went_on = [("a", 1), "b is sent", ("c", 2), ("d", 3), ("a", 4)]
    answered = ["c is answered", "d is answered", "a is answered"]
    assert happened == [*sent, *went_on, "durable", *answered]


def test_what_ends_the_sending_by_our_fault_ends_each_call_and_is_logged(ask, happened, caplog):
    batch = Batch(None, Waits())  # no database: AttributeError
    batch.serve(ask(batch, each) for each in ("a", "b"))
    assert happened == [("a", 500), ("b", 500)]
    assert "'NoneType' object has no attribute" in caplog.text


def test_a_call_that_has_its_outcome_is_not_answered_when_the_rest_fails_by_our_fault(ask, happened):
    batch = Batch(Recorder(happened, 1), Waits())  # the second outcome: IndexError
    batch.serve(ask(batch, each) for each in ("a", "b"))
    assert happened == ["a is sent", "b is sent", "to be durable", ("a", 1), ("b", 500), ("a", 500)]


@pytest.mark.parametrize("waits", [lambda batch: batch.give_way(), lambda batch: batch.wait(0)])
def test_all_calls_begin_before_the_thread_waits(ask, happened, waits):
    batches = Waits(lambda: happened.append("waits"))
    batches.wait = lambda *_: happened.append("waits")
    batch = Batch(Recorder(happened, 1, 2, waits=waits), batches)

    def arrivals():
        for each in ("a", "b"):
            ask(batch, each)
            yield
        happened.append("the rest is left")

    batch.serve(arrivals())
    assert happened[:4] == ["the rest is left", "waits", "a is sent", "b is sent"]


def test_a_call_that_needs_no_database_is_answered_at_once(ask, happened):
    batch = Batch(Recorder(happened, 1), Waits())
    batch.serve(ask(batch, *each) for each in ("a", ""))
    assert happened == ["a is sent", " is answered", "to be durable", ("a", 1), "durable", "a is answered"]


def test_a_read_is_answered_before_the_changes_are_durable(ask, happened):
    batch = Batch(Recorder(happened, 1, 2, 3), Waits())
    methods = {"a": "POST", "b": "GET", "c": "PUT"}
    batch.serve(ask(batch, text, method=method) for text, method in methods.items())
    went_on = [("a", 1), ("b", 2), "b is answered", ("c", 3)]
    assert happened[4:] == [*went_on, "durable", "a is answered", "c is answered"]


def test_no_change_is_answered_when_the_connection_is_lost_before_it_is_durable(ask, happened):
    batch = Batch(Recorder(happened, 1, ApiError(503, "lost")), Waits())
    batch.serve(ask(batch, each) for each in ("a", "b"))
    assert happened == ["a is sent", "b is sent", "to be durable", ("a", 1), ("b", 503), ("a", 503)]


def test_a_call_that_fails_by_our_fault_leaves_the_others_alone(ask, happened, caplog):
    batch = Batch(Recorder(happened, 1), Waits())
    batch.serve(begin() for begin in (lambda: batch.begin(lambda _: 1 / 0, None), lambda: ask(batch, "b")))
    assert happened == ["b is sent", "to be durable", ("b", 1), "durable", "b is answered"]
    assert "a call of a batch failed" in caplog.text


def test_calls_have_the_same_room_for_frames_however_many_were_served_before(ask, happened):
    """Greenlets are used again; the frames of the one that begins another must not add up."""
    calls = MOST_IDLE + 8  # more than a thread keeps: it creates some in each round
    room = []

    def arrivals(batch):
        batch.begin(lambda _: room.append(_free_frames()), None)
        for number in range(calls):
            ask(batch, str(number))
            yield

    database = Recorder(happened, *range(200 * calls))
    batches = Batches(database, 0, lambda: False, lambda: None)
    for _ in range(200):
        batches.serve(lambda batch: batch.serve(arrivals(batch)))
    assert sum("is answered" in each for each in happened) == 200 * calls
    assert len(set(room)) == 1


def _free_frames():
    """How many more functions may call each other here."""
    try:
        return 1 + _free_frames()
    except RecursionError:
        return 0


# Several batches of one thread


class Pipe:
    """Something that can be made readable."""

    def __init__(self):
        self.descriptor, self._other = os.pipe()

    def make_readable(self):
        os.write(self._other, b".")

    def close(self):
        os.close(self.descriptor)
        os.close(self._other)


@pytest.fixture
def clients():
    with closing(Pipe()) as pipe:
        yield pipe


@pytest.fixture
def answers():
    with closing(Pipe()) as one, closing(Pipe()) as two:
        yield one, two


@pytest.fixture
def two_batches(clients, answers, happened):
    """two_batches(first, second, …) serves batches that do this; further ones do nothing."""

    def serve(*does):
        numbers = iter(range(1, 10))
        may_begin = [True]

        def give_way():
            happened.append("gives way")
            may_begin[0] = False

        def fill(batch):
            number = next(numbers)
            happened.append(f"{number} begins")
            os.set_blocking(clients.descriptor, False)
            with suppress(BlockingIOError):
                os.read(clients.descriptor, 100)
            if number <= len(does):
                does[number - 1](batch.batches)
            happened.append(f"{number} ends")

        Batches(None, clients.descriptor, lambda: may_begin[0], give_way).serve(fill)
        return happened

    return serve


def test_while_a_batch_waits_the_next_one_is_served(two_batches, clients, answers):
    def waits(batches):
        clients.make_readable()
        batches.wait(answers[0].descriptor)

    assert two_batches(waits, lambda batches: answers[0].make_readable()) == [
        "1 begins",
        "2 begins",
        "2 ends",
        "1 ends",
    ]


def test_no_third_batch_is_begun_while_two_wait(two_batches, clients, answers):
    def waits(batches):
        clients.make_readable()
        batches.wait(answers[0].descriptor)

    def waits_too(batches):
        clients.make_readable()
        answers[0].make_readable()
        batches.wait(answers[1].descriptor)

    assert two_batches(waits, waits_too, lambda batches: answers[1].make_readable()) == [
        "1 begins",
        "2 begins",
        "1 ends",
        "3 begins",
        "3 ends",
        "2 ends",
    ]


def test_a_thread_that_waits_for_long_gives_way_and_begins_no_other_batch(two_batches, clients, answers, happened):
    def answer_afterwards():
        wait_for(lambda: "gives way" in happened)
        clients.make_readable()
        answers[0].make_readable()

    def waits(batches):
        threading.Thread(target=answer_afterwards).start()
        batches.wait(answers[0].descriptor)

    assert two_batches(waits) == ["1 begins", "gives way", "1 ends"]


def test_another_thread_leads_after_many_short_waits_for_postgres(two_batches, happened, answers, monkeypatch):
    moments = itertools.count(step=0.003)  # so long takes each wait, says the clock
    monkeypatch.setattr("torc_server.batches.time", SimpleNamespace(monotonic=lambda: next(moments)))

    def waits_often(batches):
        answers[0].make_readable()
        for number in range(LONG_MS // 3 + 1):
            assert "gives way" not in happened, number
            batches.wait(answers[0].descriptor)

    assert two_batches(waits_often) == ["1 begins", "gives way", "1 ends"]


def test_a_batch_that_gives_way_leaves_what_clients_have_sent_to_the_next_leader(two_batches, clients, answers):
    def waits_then_gives_way(batches):
        clients.make_readable()
        answers[0].make_readable()
        batches.wait(answers[0].descriptor)
        batches.give_way()

    assert two_batches(waits_then_gives_way) == ["1 begins", "gives way", "1 ends"]


# Calls of clients


@contextmanager
def arriving_together(server, client, calls):
    """Send calls of that client while the worker is stopped, so that it finds them all at once; give their answers."""
    with sent_together(server, client, calls) as sent:
        yield [each.result(30) for each in sent]


@contextmanager
def sent_together(server, client, calls):
    """The same, but give the futures of the answers."""
    worker = psutil.Process(server.workers()[0])
    with ThreadPoolExecutor(len(calls)) as threads:
        barrier = threading.Barrier(len(calls))
        list(threads.map(lambda _: [client.get("/ping"), barrier.wait(60)], calls))  # each thread has a connection now
        worker.suspend()
        wait_for(lambda: all(_states(worker)), what="the worker to stop")
        sent = [threads.submit(call) for call in calls]
        wait_for(lambda: _waiting_for_answers(server) == len(calls), what="the requests to be sent")
        worker.resume()
        yield sent


def _states(worker):
    """Of each thread whether it is stopped: they are not when the signal has been sent, but a moment later."""
    states = []
    for thread in worker.threads():
        with suppress(OSError):  # it has just ended
            stat = Path(f"/proc/{worker.pid}/task/{thread.id}/stat").read_text()
            states.append(stat.rpartition(")")[2].split()[0] == "T")
    return states


def _waiting_for_answers(server):
    """How many clients have sent a request that the worker has not received."""
    found = 0
    with open(f"/proc/{server.process.pid}/net/tcp") as lines:
        for line in lines:
            fields = line.split()
            if fields[1].endswith(f":{server.port:04X}") and fields[3] == "01":
                found += int(fields[4].partition(":")[2], 16) > 0
    return found


@pytest.fixture
def served(start_server, fresh_database_url):
    """(server with one worker, a workflow there)."""
    server = start_server(database_url=fresh_database_url, workers=1, threads=4)
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        yield server, Workflow(server.client, database)


def _connect(server):
    """A connection that the server has accepted."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(f"GET {PREFIX}/ping HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b"200 OK" in connection.recv(10_000)
    return connection


@contextmanager
def stopped(server):
    """While the only worker is stopped."""
    worker = psutil.Process(server.workers()[0])
    worker.suspend()
    try:
        wait_for(lambda: all(_states(worker)), what="the worker to stop")
        yield
    finally:
        worker.resume()


def _send_together(server, clients, requests):
    """Send a request of each client, in that order, while the only worker is stopped."""
    worker = psutil.Process(server.workers()[0])
    worker.suspend()
    try:
        wait_for(lambda: all(_states(worker)), what="the worker to stop")
        for client, request in zip(clients, requests, strict=True):
            client.sendall(request)
        wait_for(lambda: _waiting_for_answers(server) == len(clients), what="the requests to be sent")
    finally:
        worker.resume()


def _is_answered(client):
    return b"200 OK" in client.recv(10_000)


def test_a_request_for_which_there_was_no_thread_is_served_when_one_of_two_batches_of_a_thread_ends(
    start_server, fresh_database_url
):
    server = start_server(database_url=fresh_database_url, workers=1, threads=2)
    with psycopg.connect(fresh_database_url, autocommit=True) as database, ExitStack() as stack:
        workflow = Workflow(server.client, database)
        read = raw_request("GET", f"/jobs/{workflow.job()}")
        *clients, last = [stack.enter_context(_connect(server)) for _ in range(MOST_EVENTS + 3)]
        for number in range(2):  # the second time there are connections, and all is prepared
            jobs = [workflow.job(status="running") for _ in range(2)]
            one, two = (
                raw_request("POST", f"/jobs/{job}/complete_job/completed/0", workflow.result(job)) for job in jobs
            )
            with (
                holding(fresh_database_url, "job", jobs[0], 2 * number) as held,
                holding(fresh_database_url, "job", jobs[1], 2 * number + 1) as held_too,
            ):
                _send_together(server, clients, [*[read] * (MOST_EVENTS - 1), one, read, two])
                held.wait()
                held_too.wait()
                last.sendall(read)
                wait_for(lambda: _waiting_for_answers(server) == 0, what="the request to be received")
                held.release()
                assert _is_answered(last)
            assert all(map(_is_answered, clients))


def test_a_batch_that_needs_a_new_connection_does_not_wait_for_another_batch_of_its_thread(served):
    server, workflow = served
    jobs = [workflow.job(status="running") for _ in range(2)]
    read = raw_request("GET", f"/jobs/{jobs[0]}")
    completes = [raw_request("POST", f"/jobs/{job}/complete_job/completed/0", workflow.result(job)) for job in jobs]
    with ExitStack() as stack:
        *clients, last = [stack.enter_context(_connect(server)) for _ in range(MOST_EVENTS + 1)]
        for request in (read, completes[0]):  # prepared on the connection that is used next
            last.sendall(request)
            assert _is_answered(last)
        with holding(server.database_url, "job", jobs[1]):
            _send_together(server, [*clients, last], [*[read] * (MOST_EVENTS - 1), completes[1], read])
            assert _is_answered(last)
        assert all(map(_is_answered, clients))


def test_a_request_that_cannot_join_a_batch_does_not_wait_for_it_when_that_needs_a_new_connection(served):
    server, workflow = served
    jobs = [workflow.job(status="running") for _ in range(2)]
    completes = [raw_request("POST", f"/jobs/{job}/complete_job/completed/0", workflow.result(job)) for job in jobs]
    other = raw_request("POST", "/workflows", {"name": "other", "user": "u"})
    with ExitStack() as stack:
        first, second, last = [stack.enter_context(_connect(server)) for _ in range(3)]
        with (
            holding(server.database_url, "job", jobs[0], 0) as held,
            holding(server.database_url, "job", jobs[1], 1) as held_too,
        ):
            first.sendall(completes[0])
            held.wait()  # with the only connection to PostgreSQL
            _send_together(server, [second, last], [completes[1], other])
            held_too.wait()
            assert _is_answered(last)
        assert _is_answered(first)
        assert _is_answered(second)


def test_a_request_that_a_client_has_sent_before_it_was_answered_does_not_wait_for_the_next_calls_of_the_batch(served):
    server, workflow = served
    jobs = [workflow.job(status="running") for _ in range(2)]
    completes = [raw_request("POST", f"/jobs/{job}/complete_job/completed/0", workflow.result(job)) for job in jobs]
    read, other = (
        raw_request("GET", f"/jobs/{jobs[0]}"),
        raw_request("POST", "/workflows", {"name": "other", "user": "u"}),
    )
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(server)) for _ in range(3)]
        with (
            holding(server.database_url, "job", jobs[0], 0) as held,
            holding(server.database_url, "job", jobs[1], 1) as held_too,
        ):
            _send_together(server, clients, [completes[0], read + completes[1], read + other])
            held.wait()
            stack.enter_context(_connect(server))  # another thread leads now
            held.release()
            held_too.wait()
            answers = b""
            while answers.count(b"200 OK") < 2:
                answers += clients[2].recv(10_000)


def test_a_password_that_is_verified_keeps_nobody_waiting_who_arrives_with_it(start_server, fresh_database_url, folder):
    auth_file = folder / "htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    server = start_server(database_url=fresh_database_url, workers=1, threads=4, auth_file=auth_file)
    with psycopg.connect(fresh_database_url, autocommit=True) as database, ExitStack() as stack:
        path = f"/jobs/{Workflow(server.client, database).job()}"
        clients = [stack.enter_context(_connect(server)) for _ in range(3)]
        read = raw_request("GET", path)
        login = raw_request("GET", path, headers=f"Authorization: {basic('alice', 'long enough')}\r\n")
        with holding(fresh_database_url, "login_attempt") as held:
            _send_together(server, clients, [read, login, read])
            assert _is_answered(clients[0])
            assert _is_answered(clients[2])
            held.wait()
        assert _is_answered(clients[1])


def test_calls_that_arrive_together_have_each_their_own_answer(served):
    server, workflow = served
    jobs = [workflow.job(status="running") for _ in range(12)]
    results = {job: workflow.result(job) for job in jobs}
    client = HttpClient(server.url)
    calls = [
        *(lambda job=job: client.post(f"/jobs/{job}/complete_job/completed/0", json=results[job]) for job in jobs),
        lambda: client.get(f"/jobs/{jobs[0]}"),
        lambda: client.get("/jobs/999999999", status=None),
        lambda: client.post(f"/jobs/{jobs[0]}/complete_job/running/0", json=results[jobs[0]], status=None),
        lambda: client.get("/ping"),
        lambda: client.get("/jobs", params={"workflow_id": workflow.id}),
    ]
    with arriving_together(server, client, calls) as answers:
        assert [answer.json["id"] for answer in answers[:13]] == [*jobs, jobs[0]]
        assert [answer.status_code for answer in answers[13:]] == [404, 422, 200, 200]
    assert workflow.statuses(*jobs) == ["completed"] * 12


def test_no_answer_is_sent_before_its_change_is_durable(start_server, own_postgres):
    """A standby that does not exist must have the changes: no commit that waits for that returns."""
    server = start_server(database_url=own_postgres, workers=1, threads=4)
    with psycopg.connect(own_postgres, autocommit=True) as database, ExitStack() as stack:
        workflow = Workflow(server.client, database)
        jobs = [workflow.job(status="running") for _ in range(3)]
        completes = [raw_request("POST", f"/jobs/{job}/complete_job/completed/0", workflow.result(job)) for job in jobs]
        clients = [stack.enter_context(_connect(server)) for _ in jobs]
        with commits_waiting(own_postgres, database) as waiting:
            before = waiting()
            _send_together(server, clients, completes)
            wait_for(lambda: waiting() > before, what="a commit that waits")
            assert workflow.statuses(*jobs) == ["completed"] * 3
            assert polling.readable(clients, 0) == []
        assert all(map(_is_answered, clients))


@contextmanager
def commits_waiting(conninfo, database):
    """No commit returns that waits until its change is durable; gives a function that says how many wait."""

    def waiting():
        return database.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone()[0]

    def commit():
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("INSERT INTO written VALUES (1)")

    with ThreadPoolExecutor() as threads:
        try:
            database.execute("ALTER SYSTEM SET synchronous_standby_names = 'none'")
            database.execute("SELECT pg_reload_conf()")
            commits = [threads.submit(commit)]
            while not waiting():  # PostgreSQL has not heard of it yet
                if commits[-1].done():
                    commits.append(threads.submit(commit))
            yield waiting
        finally:
            database.execute("ALTER SYSTEM RESET synchronous_standby_names")
            database.execute("SELECT pg_reload_conf()")


def test_a_call_that_waits_for_a_row_does_not_keep_those_waiting_that_come_later(served):
    server, workflow = served
    locked, other = workflow.job(status="running"), workflow.job(status="running")
    result = workflow.result(locked)
    client = HttpClient(server.url)
    with holding(server.database_url, "job", locked) as held, ThreadPoolExecutor() as threads:
        waiting = threads.submit(client.post, f"/jobs/{locked}/complete_job/completed/0", json=result)
        held.wait()
        for _ in range(20):
            client.get(f"/jobs/{other}")
        assert not waiting.done()
        held.release()
        waiting.result(30)


@pytest.mark.parametrize("path", ["status", "is_uninitialized"])
def test_a_read_of_all_jobs_of_a_workflow_keeps_nobody_waiting_who_arrives_with_it(served, fresh_database_url, path):
    server, workflow = served
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(server)) for _ in range(2)]
        jobs = stack.enter_context(psycopg.connect(fresh_database_url))
        jobs.execute("LOCK TABLE torc.job IN ACCESS EXCLUSIVE MODE")
        requests = [
            raw_request("GET", f"/workflows/{workflow.id}/{path}"),
            raw_request("GET", f"/workflows/{workflow.id}"),
        ]
        _send_together(server, clients, requests)
        assert _is_answered(clients[1])
        assert not polling.readable([clients[0]], 0)
        jobs.rollback()
        assert _is_answered(clients[0])


def test_a_client_that_connects_while_a_batch_begins_to_wait_is_answered_at_once(served):
    server, workflow = served
    locked = workflow.job(status="running")
    result, client, ended = workflow.result(locked), HttpClient(server.url), []
    with holding(server.database_url, "job", locked) as held:

        def complete():
            client.post(f"/jobs/{locked}/complete_job/completed/0", json=result)
            ended.append("the call that waits")

        def connect():
            HttpClient(server.url).get("/ping")
            ended.append("the new client")
            held.release()

        with arriving_together(server, client, [complete, connect]):
            assert ended == ["the new client", "the call that waits"]


def test_a_request_that_waits_behind_one_that_needed_no_database_keeps_no_other_waiting(served):
    server, workflow = served
    locked = workflow.job()
    client = HttpClient(server.url)
    body = json.dumps({"workflow_id": workflow.id, "name": "j", "command": "c"})
    refused = f"DELETE {PREFIX}/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    waits = f"PUT {PREFIX}/jobs/{locked} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    waits += f"Content-Length: {len(body)}\r\n\r\n{body}"
    with (
        holding(server.database_url, "job", locked) as held,
        socket.create_connection(("127.0.0.1", server.port)) as sender,
    ):
        sender.sendall(refused.encode())
        assert sender.recv(10_000).startswith(b"HTTP/1.1 405")  # the connection waits with the others from now on
        sender.sendall((refused + waits).encode())
        held.wait()
        client.get("/ping")
        assert held.waiting()


def test_calls_for_which_there_was_no_thread_are_a_batch_when_there_is_one(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1, threads=1)
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        workflow = Workflow(server.client, database)
        locked, *jobs = [workflow.job(status="running") for _ in range(9)]
        database.execute(
            """
            CREATE TABLE public.committed (job_id bigint, how text);
            CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO public.committed VALUES (NEW.job_id, current_setting('synchronous_commit'));
                RETURN NEW;
            END $$;
            CREATE TRIGGER note AFTER INSERT ON torc.result FOR EACH ROW EXECUTE FUNCTION public.note()
            """
        )
        client = HttpClient(server.url)

        def complete(job):
            return client.post(f"/jobs/{job}/complete_job/completed/0", json=workflow.result(job)).status_code

        with holding(fresh_database_url, "job", locked) as held, ThreadPoolExecutor() as threads:
            waiting = threads.submit(complete, locked)
            held.wait()
            with sent_together(server, client, [functools.partial(complete, job) for job in jobs]) as sent:
                wait_for(lambda: _waiting_for_answers(server) == 0, what="the requests to be received")
                time.sleep(0.5)  # and queued
                held.release()
                assert [each.result(30) for each in [waiting, *sent]] == [200] * 9
        alone, together = [
            workflow.sql("SELECT job_id FROM public.committed WHERE how = %s ORDER BY job_id", how)
            for how in ("on", "off")
        ]
    assert (alone, together) == ([locked], jobs)


def test_a_call_that_has_to_wait_for_a_locked_workflow_is_served_after_those_beside_it(served):
    server, workflow = served
    free = Workflow(server.client, workflow.database)
    client = HttpClient(server.url)

    def complete_together():
        """The status codes of five calls; the workflow of the first one is locked until the others are answered."""
        jobs = [workflow.job(status="running"), *(free.job(status="running") for _ in range(4))]
        results = [workflow.result(jobs[0]), *map(free.result, jobs[1:])]
        ended = []
        with psycopg.connect(server.database_url) as holder:
            holder.execute("SELECT torc.lock_workflow(%s, NULL)", [workflow.id])

            def complete(job, result):
                answer = client.post(f"/jobs/{job}/complete_job/completed/0", json=result, status=None)
                ended.append(job)
                if len(ended) == 4:
                    holder.rollback()
                return answer.status_code

            calls = [functools.partial(complete, *each) for each in zip(jobs, results, strict=True)]
            with arriving_together(server, client, calls) as statuses:
                return statuses

    # The first one waits for two seconds, which a busy machine may need for the others.
    assert any(complete_together() == [200] * 5 for _ in range(3))


def test_bodies_that_arrive_all_the_time_keep_no_batch_waiting(served):
    server, workflow = served
    read, answered = raw_request("GET", f"/jobs/{workflow.job()}"), threading.Event()
    head = f"POST {PREFIX}/bulk_jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n"

    def upload():
        """Whether the call was answered before the end of the body."""
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode())
            for _ in range(3000):
                if answered.is_set():
                    return True
                client.sendall(b" " * 60_000)
        return False

    with _connect(server) as client, ThreadPoolExecutor() as threads:
        uploads = [threads.submit(upload) for _ in range(4)]
        client.sendall(read)
        assert b"200 OK" in client.recv(10_000)
        answered.set()
        assert all(each.result() for each in uploads)
