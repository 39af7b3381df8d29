"""Connections to PostgreSQL that are lost, useless, slow or many; a database that is away; calls that are canceled."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import psutil
import psycopg
import pytest
from psycopg import errors as pg
from support import MemoryClient, wait_for

from torc_server import connections, embedded
from torc_server.app import create_app
from torc_server.connections import GROWN, SETTINGS, Connection
from torc_server.database import LONG_SECONDS, Database
from torc_server.database_errors import api_error
from torc_server.errors import ApiError, Later
from torc_server.settings import Settings

ONE = "SELECT %(one)s::int"


def one(connection):
    return connection.first(ONE, {"one": 1})


def pid(connection):
    return connection.info.backend_pid


def together(database, count, work=one):
    """Run the work in so many threads that each has a connection of its own; return what they return."""
    barrier = threading.Barrier(count)

    def meet(connection):
        barrier.wait(10)
        return work(connection)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: database.run(meet), range(count)))


@pytest.fixture(autouse=True)
def two_seconds(monkeypatch):
    """For a workflow's lock, as a server waits; see conftest.py."""
    monkeypatch.setattr("torc_server.database.QUEUE_MS", 2000)


@pytest.fixture(scope="module")
def own_data(module_folder):
    """The data folder of a PostgreSQL for the tests of this file, which stop it and kill it."""
    yield module_folder / "connections"
    embedded.stop(module_folder / "connections")


@pytest.fixture
def own_postgres(own_data):
    """(data folder, conninfo) of that PostgreSQL; it runs."""
    return own_data, embedded.start(own_data, {"fsync": "off"}, tie=True)


@pytest.fixture
def pool(database_url):
    """An open Database on the shared PostgreSQL."""
    pool = Database(database_url)
    pool.open()
    yield pool
    pool.close()


def kill(database, pids, how="pg_terminate_backend"):
    for number in pids:
        database.execute(f"SELECT {how}(%s)", [number])
    there = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)"
    wait_for(lambda: not database.execute(there, [pids]).fetchone()[0], what="the end of the sessions")


# Connections that are lost or useless


def test_no_request_sees_that_idle_connections_were_closed(pool, database):
    for _ in range(3):
        killed = together(pool, 8, pid)
        kill(database, killed)
        assert together(pool, 8) == [1] * 8
        assert not set(killed) & set(together(pool, 8, pid))


def test_one_connection_found_dead_takes_all_dead_idle_ones_out(pool, database):
    kill(database, together(pool, 8, pid))
    pool.run(one)
    assert len(pool._connections) == 1


def test_a_connection_that_breaks_while_idle_is_found_dead_whatever_came_last(pool, database):
    """The end may come with a last message of the server, with a notice before it, or alone."""
    connection = pool.run(lambda connection: connection)
    os.close(os.dup(connection.fileno()))
    assert connection.is_alive()
    kill(database, [pid(connection)])
    assert not connection.is_alive()
    assert not connection.is_alive()


def test_a_backend_that_crashes_at_any_moment_is_503_never_500(own_postgres):
    """kill -9 of a backend makes PostgreSQL end all of them and recover."""
    pool = Database(own_postgres[1], threads=4)
    pool.open()
    try:
        for _ in range(3):
            pids = together(pool, 4, pid)
            os.kill(pids[0], signal.SIGKILL)
            answers = []  # since the end of all sessions
            end = time.monotonic() + 30
            while answers[-3:] != [1, 1, 1]:
                assert time.monotonic() < end
                if any(map(psutil.pid_exists, pids)):
                    answers.clear()
                try:
                    answers.append(pool.run(one))
                except ApiError as error:
                    assert error.status == 503 and "connection" in error.message
                    answers.append(503)
    finally:
        pool.close()


@pytest.mark.parametrize("state", ["25006", "26000", "42P05"])
def test_a_connection_that_leads_elsewhere_is_closed_and_the_statement_run_on_another(pool, state):
    used = []

    def work(connection):
        used.append(connection)
        if len(used) == 1:
            raise pg.lookup(state)
        return one(connection)

    assert pool.run(work) == 1
    assert used[0].closed and used[1] is not used[0]


@pytest.mark.parametrize("state", ["25006", "26000", "42P05"])
def test_if_three_new_connections_lead_elsewhere_too_that_is_503(pool, state):
    used = []

    def work(connection):
        used.append(connection)
        raise pg.lookup(state)

    with pytest.raises(ApiError, match="connection") as raised:
        pool.run(work)
    assert (raised.value.status, len(used)) == (503, 4)
    assert all(connection.closed for connection in used)


def test_a_read_only_node_is_503_with_the_word_connection_and_not_ready(fresh_database_url):
    admin = psycopg.connect(fresh_database_url, autocommit=True)
    name = admin.info.dbname
    admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    app = create_app(replace(Settings(), database_url=fresh_database_url), fresh_database_url)
    client = MemoryClient(app)
    try:
        error = client.post("/workflows", json={"name": "w", "user": "u"}, status=503).json["error"]
        assert "connection" in error["message"]
        assert "read only" in client.get("/readyz", prefix="", status=503).json["error"]["message"]
        assert client.get("/workflows").json["items"] == []
        admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        client.post("/workflows", json={"name": "w", "user": "u"})
        client.get("/readyz", prefix="")
    finally:
        app.extensions["database"].close()
        admin.close()


def test_a_plan_whose_tables_have_changed_is_no_error(pool, database):
    database.execute("CREATE TABLE IF NOT EXISTS public.changing (a int); INSERT INTO public.changing VALUES (1)")
    try:
        assert pool.run(lambda connection: connection.first("SELECT * FROM public.changing", {})) == 1
        database.execute("ALTER TABLE public.changing ALTER a TYPE text")
        assert pool.run(lambda connection: connection.first("SELECT * FROM public.changing", {})) == "1"
    finally:
        database.execute("DROP TABLE public.changing")


@pytest.mark.parametrize("size", [GROWN + 1, 8])
def test_a_connection_is_closed_after_a_long_value_in_either_direction(app, client, size):
    pool = app.extensions["database"]
    workflow = client.post("/workflows", json={"name": "w", "user": "u", "description": "8" * size}).json["id"]
    used = pool.run(lambda connection: connection)
    client.put(f"/workflows/{workflow}", json={"name": "w", "user": "u", "description": "9" * size})
    assert used.closed == (size > GROWN)
    used = pool.run(lambda connection: connection)
    client.get(f"/workflows/{workflow}")
    assert used.closed == (size > GROWN)


def test_a_connection_is_closed_after_a_long_call_because_its_memory_may_have_grown(pool):
    def work(connection):
        connection.first("SELECT pg_sleep(1.1)::text", {})
        return connection

    assert not pool.run(work).closed
    assert pool.run(work, LONG_SECONDS).closed
    assert not pool.run(lambda connection: connection, LONG_SECONDS).closed


# Statements and settings of a session


def test_the_same_statement_has_the_same_name_on_each_connection_and_another_statement_another(database_url):
    def names(texts):
        with connections.connect(database_url) as connection:
            for text in texts:
                connection.first(text, {"one": 1})
            stored = connection.execute("SELECT name, statement FROM pg_prepared_statements").fetchall()
            return {name: statement for name, statement in stored if name.startswith("torc_")}

    texts = [ONE, "SELECT %(one)s::bigint", "SELECT 1"]
    assert names(texts) == names(reversed(texts))
    assert len(names(texts)) == 3


def test_a_session_that_is_not_ours_gives_an_error_and_never_another_statement(pool, database_url):
    """As behind a pooler that gives each transaction another session and knows nothing of prepared statements."""
    pool.run(one)
    connection = pool.run(lambda connection: connection)
    connection.execute("DEALLOCATE ALL")
    connection.first("SELECT 2", {})
    with pytest.raises(pg.InvalidSqlStatementName):
        connection.first(ONE, {"one": 1})
    assert pool.run(one) == 1
    assert connection.closed


def settings_of(connection):
    return {
        name: connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()[0] for name in SETTINGS
    }  # fmt: skip


def test_our_settings_hold_for_the_session(database_url):
    with connections.connect(database_url) as connection:
        assert settings_of(connection) == SETTINGS


def test_behind_a_transaction_pooler_our_settings_hold_for_each_transaction_and_leave_none_behind(database_url):
    with connections.connect(database_url, is_pooled=lambda: True) as other:
        assert not other.pooled, "it asks only if there is a pooler"
    with psycopg.connect(database_url, autocommit=True) as plain:
        usual = settings_of(plain)
    with Connection.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        connection.pooled = True
        with connection.transaction():
            assert settings_of(connection) == SETTINGS
            connection.execute("SET LOCAL lock_timeout = '1min'")
            with connection.transaction():
                assert connection.first("SELECT current_setting('lock_timeout')", {}) == "1min"
        assert connection.first("SELECT current_setting('torc.try_locks')", {}) == "on"
        left = settings_of(connection)
        assert {k: v or None for k, v in left.items()} == {k: v or None for k, v in usual.items()}


def test_timeouts_of_a_silent_network_are_set_unless_the_url_sets_them():
    url = "postgresql://me@there:7/torc?tcp_user_timeout=5&client_encoding=latin1"
    found = psycopg.conninfo.conninfo_to_dict(connections.complete(url))
    assert (found["tcp_user_timeout"], found["keepalives_idle"], found["client_encoding"]) == ("5", "30", "UTF8")
    assert (found["host"], found["port"], found["user"], found["dbname"]) == ("there", "7", "me", "torc")


def test_the_environment_does_not_change_the_encoding(database_url, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with connections.connect(database_url) as connection:
        assert connection.first("SELECT %(text)s", {"text": "€ ü"}) == "€ ü"


# Statements of which the next is prepared while PostgreSQL works on the last


def firsts(connection, text, many):
    with closing(connection.firsts(text, many)) as values:
        return list(values)


def test_many_values_come_in_order_and_the_next_parameters_are_made_while_the_server_works(database_url):
    seen = []

    def parameters(holder, pid):
        blocked = "SELECT cardinality(pg_blocking_pids(%s))"
        for number in range(3):
            holder.execute("SELECT pg_advisory_lock(4711, 0)")
            yield {"number": number}
            wait_for(lambda: holder.execute(blocked, [pid]).fetchone()[0])  # the statement with these parameters
            seen.append(number)
            holder.execute("SELECT pg_advisory_unlock(4711, 0)")

    with connections.connect(database_url) as connection, psycopg.connect(database_url, autocommit=True) as holder:
        text = "SELECT %(number)s::int FROM (SELECT pg_advisory_xact_lock_shared(4711, 0)) AS waited"
        assert firsts(connection, text, parameters(holder, pid(connection))) == [0, 1, 2]
    assert seen == [0, 1, 2]


def test_parameters_may_be_longer_than_what_the_network_takes_at_once(database_url):
    with connections.connect(database_url) as connection:
        many = [{"text": letter * 20_000_000} for letter in "ab"]
        assert firsts(connection, "SELECT left(%(text)s, 1)", many) == ["a", "b"]
        assert firsts(connection, ONE, []) == []
        assert one(connection) == 1


@pytest.mark.parametrize("fails", ["parameters", "statement", "reader"])
def test_after_a_failure_between_statements_the_connection_serves_the_next_call(database_url, fails):
    def parameters():
        yield {"one": 1}
        if fails == "parameters":
            raise RuntimeError
        yield {"one": 0 if fails == "statement" else 2}
        yield {"one": 3}

    with connections.connect(database_url) as connection:
        with (
            pytest.raises(pg.DivisionByZero if fails == "statement" else RuntimeError),
            connection.transaction(),
            closing(connection.firsts("SELECT 1 / %(one)s::int", parameters())) as values,
        ):
            for _ in values:
                if fails == "reader":
                    raise RuntimeError
        assert one(connection) == 1


# A database that is away


@contextmanager
def stopped(data):
    """All processes of the PostgreSQL on that data folder are stopped, as on a frozen machine."""
    postmaster = psutil.Process(embedded._postmaster(data / "data"))
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def lines(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.INFO]


def failing_call(database):
    """Seconds that a call takes to fail with 503."""
    started = time.monotonic()
    with pytest.raises(ApiError, match="connection") as raised:
        database.run(one)
    assert raised.value.status == 503
    return time.monotonic() - started


def test_while_postgresql_is_stopped_calls_fail_soon_then_at_once_and_afterwards_all_is_well(own_postgres, caplog):
    data, conninfo = own_postgres
    pool = Database(conninfo, threads=4)
    pool.open()
    try:
        assert together(pool, 4) == [1] * 4
        with stopped(data):
            assert failing_call(pool) < 20
            wait_for(lambda: pool._away and not pool._away.left(), timeout=20)
            assert sorted(failing_call(pool) for _ in range(50))[40] < 1  # a busy machine may delay a few
        wait_for(lambda: not pool._away, timeout=20, what="the database to be back")
        assert together(pool, 4) == [1] * 4
        said = lines(caplog)
        assert len([line for line in said if "is away" in line]) == 1
        assert len([line for line in said if "is back" in line]) == 1
        assert len(said) < 6, said
    finally:
        pool.close()


def test_a_short_outage_is_waited_for_by_half_of_the_threads_and_the_rest_fails_at_once(own_postgres, monkeypatch):
    data, conninfo = own_postgres
    pool = Database(conninfo, threads=4)
    pool.open()
    monkeypatch.setattr("torc_server.database.CONNECT_SECONDS", 60)
    try:
        assert pool.run(one) == 1
        embedded.stop(data)
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(pool.run, one) for _ in range(4)]
            wait_for(lambda: sum(call.done() for call in calls) == 2, what="two calls to fail")
            assert [call.exception().status for call in calls if call.done()] == [503, 503]
            embedded.start(data, {"fsync": "off"}, tie=True)
            assert sorted(str(call.exception() or call.result()) for call in calls)[0] == "1"
            assert sum(not call.exception() for call in calls) == 2
    finally:
        pool.close()


def test_a_long_outage_is_a_line_when_it_begins_one_a_minute_and_one_when_it_ends(own_postgres, caplog, monkeypatch):
    data, conninfo = own_postgres
    monkeypatch.setattr("torc_server.database.CONNECT_SECONDS", 0)
    monkeypatch.setattr("torc_server.database.SAY_EVERY", 1.0)
    pool = Database(conninfo)
    pool.open()
    try:
        assert together(pool, 4) == [1] * 4
        embedded.stop(data)
        caplog.clear()
        started = time.monotonic()
        wait_for(lambda: failing_call(pool) and "still away" in caplog.text, 30, "a line")
        embedded.start(data, {"fsync": "off"}, tie=True)
        wait_for(lambda: not pool._away, 30, "the database to be back")
        lasted = time.monotonic() - started
        away, *still, back = [line for line in lines(caplog) if "the database is" in line]
        assert "is away" in away and "is back" in back
        assert 1 <= len(still) <= lasted and all("still away" in line for line in still)
        assert len(lines(caplog)) <= 3 + len(still)
    finally:
        pool.close()


def test_ping_and_healthz_answer_while_the_database_is_away(make_client):
    client = make_client(threads=2)
    database = client.app.extensions["database"]
    database.close()
    database.conninfo = "host=/nowhere"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, "/workflows", status=503)
        wait_for(lambda: not database._places._value, what="the request to wait")
        assert client.get("/ping").json and client.get("/healthz", prefix="").json
        assert "connection" in client.get("/workflows", status=503).json["error"]["message"]
        assert not waiting.done()
        waiting.result()


def test_too_many_connections_is_503_and_the_calls_that_have_one_go_on(own_postgres):
    _data, conninfo = own_postgres
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN CONNECTION LIMIT 2")
    pool = Database(psycopg.conninfo.make_conninfo(conninfo, user="few"))
    pool.open()
    try:
        assert together(pool, 2) == [1, 1]

        def third(connection):
            return pool.run(lambda second: failing_call(pool))

        assert pool.run(third) < 5
        assert not pool._away
        assert together(pool, 2) == [1, 1]
    finally:
        pool.close()


@pytest.mark.parametrize("state, word", [("53100", "disk"), ("53200", "memory"), ("53300", "connection")])
def test_what_postgresql_lacks_is_503_and_said(state, word):
    answer = api_error(pg.lookup(state)("its own words"))
    assert answer.status == 503
    assert word in answer.message and "connection" in answer.message and "own words" not in answer.message
    assert answer.headers["Retry-After"]


# Calls whose client is gone


def test_cancel_ends_the_statement_of_that_thread_and_the_connection_stays(pool, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "torc_server")
    running, returned, cancel = [], threading.Event(), Connection.cancel_safe

    def cancel_afterwards(connection, **options):
        assert returned.wait(60), "pool.cancel() waits"
        cancel(connection, **options)

    monkeypatch.setattr(Connection, "cancel_safe", cancel_afterwards)

    def sleep(connection):
        running.append((threading.get_ident(), connection))
        connection.first("SELECT pg_sleep(60)::text", {})

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.run, sleep)
        wait_for(lambda: running)
        thread, connection = running[0]
        assert pool.cancel(thread)
        returned.set()
        assert call.exception(timeout=30).status == 503
        assert not connection.closed
        assert threads.submit(pool.run, lambda again: again is connection).result()
    assert not pool.cancel(thread)
    assert [r.levelname for r in caplog.records if "client is gone" in r.message] == ["DEBUG"]


def test_cancel_leaves_a_statement_alone_that_is_not_meant(pool):
    running = threading.Event()

    def sleep(connection):
        running.set()
        return connection.first("SELECT pg_sleep(0.5)::text", {}), threading.get_ident()

    with ThreadPoolExecutor(1) as threads:
        thread = threads.submit(threading.get_ident).result()
        call = threads.submit(pool.run, sleep)
        running.wait(10)
        assert not pool.cancel(thread, lambda: False)
        assert call.result() == ("", thread)


def test_cancel_without_a_running_statement_does_nothing(pool):
    assert not pool.cancel(threading.get_ident())
    pool.run(one)
    assert not pool.cancel(threading.get_ident())


def test_a_cancellation_never_hits_a_later_statement(pool):
    """One thread runs short statements, another cancels it all the time: each of its calls is canceled or not, but a
    statement on the same connection that nobody cancels is never hit."""
    ended = threading.Event()
    threads = []
    seen = []

    def victim():
        threads.append(threading.get_ident())
        while not ended.is_set():
            try:
                pool.run(lambda connection: connection.first("SELECT pg_sleep(0.001)::text", {}))
            except ApiError:
                seen.append("canceled")

    def bystander():
        while not ended.is_set():
            seen.append(pool.run(one))

    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(victim), executor.submit(bystander)]
        wait_for(lambda: threads)
        end = time.monotonic() + 60
        while time.monotonic() < end and seen.count("canceled") < 20:
            pool.cancel(threads[0])
            time.sleep(0.002)
        ended.set()
        for call in calls:
            call.result()
    assert seen.count("canceled") >= 20
    assert set(seen) == {"canceled", 1}


# Workflows that another call has locked


@contextmanager
def locked(database_url, workflow, kind="exclusive"):
    """Hold the lock of a workflow."""
    shared = "_shared" if kind == "shared" else ""
    with psycopg.connect(database_url) as holder:
        holder.execute(f"SELECT pg_advisory_xact_lock{shared}(%s)", [workflow])
        yield


def call(app, method, path, until=None, **arguments):
    """A request as our worker makes it: `until`, a monotonic time, says how long it may be asked to wait."""
    environ = {} if until is None else {"torc.wait_until": until}
    with app.test_client() as client:
        return client.open(f"/torc-service/v1{path}", method=method, environ_overrides=environ, **arguments)


@pytest.fixture
def claim(workflow):
    return "POST", f"/workflows/{workflow.id}/claim_next_jobs"


def new_job(workflow):
    return {"json": {"workflow_id": workflow.id, "name": "j", "command": "c"}}


def test_a_call_for_a_locked_workflow_leaves_the_application_to_be_run_again_later(app, database_url, workflow, claim):
    with locked(database_url, workflow.id):
        for path, body in (claim[1], {}), ("/jobs", new_job(workflow)):
            places = app.extensions["database"]._places
            taken = [places for _ in range(20) if places.acquire(blocking=False)]
            try:
                with pytest.raises(Later) as raised:
                    call(app, "POST", path, time.monotonic() + 60, **body)
            finally:
                for place in taken:
                    place.release()
            assert 0.02 <= raised.value.delay <= 0.1
    assert call(app, *claim, time.monotonic() + 60).status_code == 200


def test_after_the_time_that_it_may_wait_a_call_for_a_locked_workflow_is_503(app, database_url, workflow, claim):
    with locked(database_url, workflow.id):
        answer = call(app, *claim, time.monotonic() - 1)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "connection" in answer.json["error"]["message"]


def test_with_another_wsgi_server_a_call_waits_in_its_thread_and_then_is_503(
    client, database_url, workflow, claim, monkeypatch
):
    with locked(database_url, workflow.id):
        started = time.monotonic()
        answer = client.request(*claim, status=503)
        assert 1.5 < time.monotonic() - started < 10
        assert answer.headers["retry-after"] == "1" and "connection" in answer.json["error"]["message"]
    monkeypatch.setattr("torc_server.database.QUEUE_MS", 12_000)  # longer than this test may take on a busy machine
    with ThreadPoolExecutor(1) as threads:
        with locked(database_url, workflow.id):
            waiting = threads.submit(client.request, *claim)
            time.sleep(0.3)
            assert not waiting.done()
        assert waiting.result().status_code == 200


def test_a_long_call_waits_for_the_lock_as_long_as_it_may_take(client, database_url, workflow):
    with ThreadPoolExecutor(1) as threads:
        with locked(database_url, workflow.id):
            waiting = threads.submit(client.post, f"/workflows/{workflow.id}/initialize_jobs")
            time.sleep(3)
            assert not waiting.done()
        assert waiting.result().status_code == 200


def test_an_exclusive_call_is_served_between_calls_that_share_the_workflow_all_the_time(app, database_url, workflow):
    """Without a queue it would never find a moment in which nobody shares the workflow."""
    ended = threading.Event()

    def share():
        with psycopg.connect(database_url) as session:
            while not ended.is_set():
                with session.transaction():
                    session.execute("SELECT pg_advisory_xact_lock_shared(%s)", [workflow.id])
                    time.sleep(0.05)

    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted"
    with ThreadPoolExecutor(3) as threads:
        sharers = [threads.submit(share) for _ in range(3)]
        try:
            wait_for(lambda: workflow.sql(held, workflow.id)[0] > 1)
            answer = call(app, "POST", "/jobs", time.monotonic() + 60, **new_job(workflow))
        finally:
            ended.set()
        for sharer in sharers:
            sharer.result()
    assert answer.status_code == 200


def test_40_clients_on_a_locked_workflow_do_not_slow_the_calls_of_another_one(make_client, database_url, workflow):
    """Threads of a worker, with a queue of requests that are put back when they are to be run again later."""
    app = make_client(threads=4).app
    other = call(app, "POST", "/workflows", json={"name": "other", "user": "u"}).json["id"]
    worker = Worker(app, 4)
    with worker, locked(database_url, workflow.id):
        for number in range(40):
            calls = ("/jobs", new_job(workflow)), (f"/workflows/{workflow.id}/claim_next_jobs", {})
            worker.send("POST", calls[number % 2][0], **calls[number % 2][1])
        took = []
        for _ in range(30):
            started = time.monotonic()
            assert worker.send("POST", f"/workflows/{other}/claim_next_jobs").result(10) == 200
            took.append(time.monotonic() - started)
        assert sorted(took)[15] < 0.5, took
        assert wait_for(lambda: len(worker.answered) == 70, timeout=30)
    assert worker.answered.count(503) == 40 and worker.answered.count(200) == 30


class Worker:
    """What torc's worker does with Later, as far as is needed here: few threads, waiting requests take none."""

    def __init__(self, app, threads):
        self._app = app
        self._threads = ThreadPoolExecutor(threads)
        self._timers = []
        self.answered = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for timer in self._timers:
            timer.join(10)
        self._threads.shutdown()

    def send(self, method, path, **arguments):
        answer = Future()
        self._threads.submit(self._run, answer, time.monotonic() + 2, method, path, arguments)
        return answer

    def _run(self, answer, until, method, path, arguments):
        try:
            status = call(self._app, method, path, until, **arguments).status_code
        except Later as later:
            again = (self._run, answer, until, method, path, arguments)
            timer = threading.Timer(later.delay, lambda: self._threads.submit(*again))
            self._timers.append(timer)
            timer.start()
            return
        except BaseException as error:
            answer.set_exception(error)
            raise
        self.answered.append(status)
        answer.set_result(status)
