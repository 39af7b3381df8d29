"""The memory of a worker and of PostgreSQL's processes does not grow with what passes through them."""

import contextlib
import json
import threading

import psutil
import psycopg
import pytest
from support import wait_for

MB = 1_000_000
JSON = {"Content-Type": "application/json"}


class Peak:
    """How many bytes more than at first a worker, and any process of PostgreSQL for this database, had at most."""

    def __init__(self, server, database_url):
        self._server = server
        self._database = psycopg.connect(database_url, autocommit=True)
        self._before = self._now()
        self.worker = self.backend = 0

    def _now(self):
        of_database = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        backends = [pid for (pid,) in self._database.execute(of_database)]
        return {"worker": own_memory(self._server.workers()), "backend": own_memory(backends)}

    @contextlib.contextmanager
    def watch(self):
        over = threading.Event()

        def look():
            while not over.wait(0.01):
                self.look()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def look(self):
        for kind, now in self._now().items():
            more = [size - self._before[kind].get(pid, 0) for pid, size in now.items()]
            setattr(self, kind, max([getattr(self, kind), *more]))

    def close(self):
        self._database.close()


def own_memory(pids):
    """{pid: bytes that it shares with nobody}, of those that still run."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = psutil.Process(pid).memory_info()
            found[pid] = memory.rss - memory.shared
    return found


@pytest.fixture
def server(start_server, fresh_database_url):
    return start_server(database_url=fresh_database_url, workers=1, threads=4)


@pytest.fixture
def workflow_id(server):
    return server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]


@pytest.fixture
def peak(server, workflow_id, fresh_database_url):
    with contextlib.closing(Peak(server, fresh_database_url)) as peak:
        yield peak


@pytest.mark.long
@pytest.mark.parametrize("length", [20, 1850])
def test_a_bulk_of_100000_jobs_takes_a_worker_under_250_mb_and_a_backend_under_500(server, workflow_id, peak, length):
    file = server.client.post("/files", json={"workflow_id": workflow_id, "name": "f", "path": "p"}).json["id"]
    job = {"workflow_id": workflow_id, "command": "c" * length, "input_file_ids": [file]}
    body = json.dumps({"jobs": [job | {"name": f"j{i}"} for i in range(100_000)]})
    with peak.watch():
        created = server.client.post("/bulk_jobs", body=body, headers=JSON).json["jobs"]
    assert len({job["id"] for job in created}) == 100_000
    assert peak.worker < 100 * MB and peak.backend < 200 * MB, (peak.worker, peak.backend)


@pytest.mark.long
def test_40_events_of_10_mb_are_listed_in_a_few_times_the_memory_of_one(server, workflow_id, fresh_database_url):
    body = json.dumps({"workflow_id": workflow_id, "data": "x" * 10 * MB})
    for _ in range(40):
        server.client.post("/events", body=body, headers=JSON)
    # What the threads that took them in have kept is another matter.
    with contextlib.closing(Peak(server, fresh_database_url)) as peak, peak.watch():
        answer = server.client.get("/events", params={"workflow_id": workflow_id, "limit": 40})
    assert len(answer.text) > 400 * MB
    assert peak.worker < 250 * MB and peak.backend < 250 * MB, (peak.worker, peak.backend)


def test_free_json_of_many_values_takes_a_backend_under_500_mb_and_then_nothing(server, workflow_id, peak):
    with peak.watch():
        server.client.post("/events", json={"workflow_id": workflow_id, "data": [{}] * 499_998})
    assert peak.worker < 250 * MB and peak.backend < 500 * MB, (peak.worker, peak.backend)
    server.client.get(f"/workflows/{workflow_id}")

    def is_given_back():
        peak.worker = peak.backend = 0
        peak.look()
        return peak.worker < 100 * MB and peak.backend < 100 * MB

    wait_for(is_given_back, 30, "the memory")  # its backend is still there for a moment


def test_a_connection_that_has_carried_a_long_value_is_closed(server, workflow_id, fresh_database_url):
    of_database = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(fresh_database_url, autocommit=True) as database:

        def connections():
            return set(database.execute(of_database).fetchall())

        for size in (100_000, MB):
            server.client.get(f"/workflows/{workflow_id}")
            before = connections()
            server.client.post("/events", json={"workflow_id": workflow_id, "data": "x" * size})
            if size < MB:
                assert before <= connections()
            else:
                wait_for(lambda before=before: before - connections(), what="the end of a connection")
            server.client.get(f"/workflows/{workflow_id}")
