"""Claims that wait for jobs (?wait=SECONDS): who is woken by what, what a waiting claim costs, how it ends."""

import contextlib
import itertools
import json
import select
import signal
import socket
import statistics
import time

import psycopg
import pytest
from support import PREFIX, Server, basic, wait_for
from workflow import Workflow

from torc_server import htpasswd
from torc_server.waiting_claims import MOST_RUNNING

WORKER = {"num_cpus": 4, "memory_gb": 16, "num_gpus": 0, "num_nodes": 1}
SOON = 0.5  # seconds; a wake-up takes 2 to 5 ms on an idle machine


class Claim:
    """A claim on its own connection: sent when the object is made; jobs() waits for the answer and returns the ids."""

    def __init__(self, port, workflow, wait=60, limit=1, body=None, headers="", path="claim_next_jobs", **query):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        if body is not None:
            path = f"claim_jobs_based_on_resources/{limit}"
        query = "&".join(f"{name}={value}" for name, value in {"wait": wait, "limit": limit, **query}.items())
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {PREFIX}/workflows/{workflow}/{path}?{query} HTTP/1.1\r\nHost: x\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self.sent = time.monotonic()
        self.socket.sendall(head.encode() + data)

    def answer(self):
        """Status and parsed body. Sets .took, the seconds since it was sent, and .at."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, text = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(text) < length:
            text += self._receive()
        self.at = time.monotonic()
        self.took = self.at - self.sent
        return int(head.split()[1]), json.loads(text)

    def jobs(self):
        status, body = self.answer()
        assert status == 200, body
        return [job["id"] for job in body["jobs"]]

    def _receive(self):
        data = self.socket.recv(1 << 16)
        assert data, "the server closed the connection without an answer"
        return data

    def close(self):
        self.socket.close()


class Site:
    """Servers on one database, and a workflow on them."""

    def __init__(self, database, *servers):
        self.servers = servers
        self.port = servers[0].port
        self.workflow = Workflow(servers[-1].client, database)
        self.claims = []

    def claim(self, port=None, workflow=None, **options):
        self.claims.append(Claim(port or self.port, workflow or self.workflow.id, **options))
        return self.claims[-1]

    def wait_for_waiting(self, count, server=None):
        """Wait until so many claims wait, by the metrics of a server."""
        wait_for(lambda: waiting(server or self.servers[0]) == count, 20, f"{count} waiting claims")

    def pair(self):
        """A running job and one that depends on it; the workflow is initialized."""
        first = self.workflow.job()
        second = self.workflow.job(first)
        self.workflow.initialize()
        assert self.workflow.claim(limit=1)
        self.workflow.start(first, self.workflow.node())
        return first, second


def waiting(server, user=None):
    text = server.client.get("/metrics", prefix="", user=user).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("torc_claims_waiting"))


@pytest.fixture
def new_site(start_server, fresh_database_url):
    """new_site(count, **options): that many servers of one process each on a database, as a Site."""
    with contextlib.ExitStack() as stack:

        def make(count=1, **options):
            options = {"workers": 1, "threads": 2, "metrics": "all", **options}
            servers = [start_server(database_url=fresh_database_url, **options) for _ in range(count)]
            database = stack.enter_context(psycopg.connect(fresh_database_url, autocommit=True))
            site = Site(database, *servers)
            stack.callback(lambda: [claim.close() for claim in site.claims])
            return site

        yield make


@pytest.fixture(scope="module")
def shared_server(module_folder, module_database_url):
    options = {"workers": 1, "threads": 2, "metrics": "all"}
    server = Server(module_folder / "waiting", database_url=module_database_url, **options)
    yield server.wait_until_it_listens()
    server.stop()


@pytest.fixture
def site(shared_server):
    with psycopg.connect(shared_server.database_url, autocommit=True) as database:
        site = Site(database, shared_server)
        yield site
        assert site.workflow.violations() == []
        for claim in site.claims:
            claim.close()
        site.wait_for_waiting(0)


def test_a_claim_is_answered_when_another_server_completes_what_its_job_waited_for(new_site):
    site = new_site(2)
    chain = [site.workflow.job()]
    for _ in range(5):
        chain.append(site.workflow.job(chain[-1]))
    site.workflow.initialize()
    node = site.workflow.node()
    assert site.claim(start_on=node).jobs() == chain[:1]
    seconds = []
    for done, released in itertools.pairwise(chain):
        claim = site.claim(start_on=node)
        site.wait_for_waiting(1)
        site.workflow.complete(done)
        answered = time.monotonic()
        assert claim.jobs() == [released]
        seconds.append(claim.at - answered)
    assert statistics.median(seconds) < SOON  # a busy machine may delay one or two
    print("ms from the answer of the completion to that of the claim:", [round(1000 * s, 1) for s in sorted(seconds)])


def test_each_way_in_which_a_job_becomes_ready_wakes_a_claim(site):
    workflow = site.workflow
    first, second = site.pair()
    other = workflow.job_in("failed")

    def give_back():
        workflow.client.put(f"/jobs/{second}/manage_status_change/ready/0")

    def in_batch():
        entry = {"job_id": first, "status": "completed", "run_id": 0, "result": workflow.result(first)}
        workflow.client.post(f"{workflow.path}/batch_complete_jobs", json={"completions": [entry]})

    def by_hand():
        workflow.sql("SELECT torc.manage_status_change(%s, 'ready')::text", second)

    changes = {
        "batch": in_batch,
        "give back": give_back,
        "retry": lambda: workflow.client.post(f"/jobs/{other}/retry/0", params={"max_retries": 9}),
        "psql": by_hand,
        "initialize": lambda: (workflow.job(), workflow.initialize(only_uninitialized=True)),
    }
    with psycopg.connect(workflow.database.info.dsn, autocommit=True) as listener:
        listener.execute("LISTEN torc_jobs")
        registered = "SELECT id FROM torc.event_stream WHERE workflow_id = ~%s::bigint"
        for name, change in changes.items():
            claim = site.claim()
            site.wait_for_waiting(1)
            wait_for(lambda: workflow.sql(registered, workflow.id), 30, "the registration")
            list(listener.notifies(timeout=0))
            change()
            assert [told.payload for told in listener.notifies(timeout=20, stop_after=1)] == [str(workflow.id)], name
            assert len(claim.jobs()) == 1, name


def test_a_spawned_job_and_one_that_lost_its_dependency_wake_claims(site):
    workflow = site.workflow
    first, second = site.pair()
    spawned = {"name": "spawned", "command": "true"}
    workflow.client.post(f"/jobs/{first}/spawn_jobs", json={"jobs": [spawned]}, status=None)
    claims = [site.claim()]
    site.wait_for_waiting(1)
    workflow.client.delete(f"/jobs/{first}")
    assert claims[0].jobs()[0] >= second


def test_a_claim_with_jobs_ready_or_without_wait_is_answered_at_once(site):
    job = site.workflow.job_in("ready")
    assert site.claim().jobs() == [job]
    empty = site.claim(wait=0)
    assert empty.jobs() == []
    assert empty.took < 20


def test_an_empty_answer_comes_when_the_time_is_over(site):
    site.workflow.job_in("running")
    for options in ({}, {"body": WORKER}):
        claim = site.claim(wait=1, **options)
        assert claim.jobs() == []
        assert 0.95 < claim.took < 20


@pytest.mark.parametrize("body", [None, WORKER])
def test_a_claim_ends_when_its_workflow_is_canceled_complete_or_deleted(site, body):
    job = site.workflow.job_in("running")
    claim = site.claim(body=body)
    site.wait_for_waiting(1)
    site.workflow.complete(job)
    assert claim.jobs() == [] and claim.took < 30
    claim = site.claim(body=body)
    assert claim.jobs() == [] and claim.took < 30  # complete: at once
    site.workflow.job_in("running")
    claim = site.claim(body=body)
    site.wait_for_waiting(1)
    site.workflow.client.put(f"{site.workflow.path}/cancel")
    assert claim.jobs() == [] and claim.took < 30
    claim = site.claim(body=body)
    assert claim.jobs() == [] and claim.took < 30
    other = Workflow(site.workflow.client, site.workflow.database)
    other.job_in("running")
    claim = site.claim(workflow=other.id, body=body)
    site.wait_for_waiting(1)
    site.workflow.client.delete(other.path)
    assert claim.answer()[0] == 404
    assert claim.took < 30


def test_300_waiting_claims_take_no_thread_and_no_connection_and_one_of_them_gets_the_job(site):
    workflow = site.workflow
    first, second = site.pair()
    claims = [site.claim() for _ in range(300)]
    site.wait_for_waiting(300)
    assert len(workflow.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")) < 10
    for _ in range(20):
        workflow.client.get(f"/jobs/{second}")
    assert waiting(site.servers[0]) == 300
    workflow.complete(first)
    ready, _, _ = select.select([claim.socket for claim in claims], [], [], 20)
    assert [claim.jobs() for claim in claims if claim.socket in ready] == [[second]]
    site.wait_for_waiting(299)


def test_as_many_claims_are_answered_as_jobs_become_ready_but_for_the_few_that_run_at_once_oldest_first(site):
    workflow = site.workflow
    first = workflow.job()
    dependents = [workflow.job(first) for _ in range(30)]
    workflow.initialize()
    workflow.claim(limit=1)
    older = [site.claim() for _ in range(30)]
    site.wait_for_waiting(30)
    younger = [site.claim() for _ in range(10)]
    site.wait_for_waiting(40)
    workflow.complete(first)
    sockets = [claim.socket for claim in site.claims]
    answered = wait_for(lambda: len(found := select.select(sockets, [], [], 0)[0]) == 30 and found, 20, "30 answers")
    site.wait_for_waiting(10)
    got = {claim: claim.jobs() for claim in site.claims if claim.socket in answered}
    assert sorted(itertools.chain(*got.values())) == dependents
    assert len(got.keys() & set(younger)) < MOST_RUNNING
    assert len(got.keys() & set(older)) > 30 - MOST_RUNNING


def test_a_claim_that_nothing_fits_does_not_keep_others_from_being_woken(site):
    workflow = site.workflow
    large = workflow.requirements(num_cpus=8)
    first = workflow.job()
    second = workflow.job(first, resource_requirements_id=large)
    workflow.initialize()
    workflow.claim(limit=1)
    small = [site.claim(body=WORKER) for _ in range(5)]
    fitting = site.claim(body=WORKER | {"num_cpus": 8})
    site.wait_for_waiting(6)
    workflow.complete(first)
    assert fitting.jobs() == [second]
    assert small
    site.wait_for_waiting(5)


@pytest.mark.long
def test_what_notifies_nobody_is_found_within_seconds(site):
    requirements = site.workflow.requirements(num_cpus=64)
    job = site.workflow.job_in("ready", resource_requirements_id=requirements)
    claim = site.claim(body=WORKER)
    site.wait_for_waiting(1)
    site.workflow.sql("UPDATE torc.resource_requirements SET num_cpus = 1 WHERE id = %s RETURNING id", requirements)
    assert claim.jobs() == [job]
    assert claim.took < 20


def test_a_client_that_hangs_up_takes_no_job_and_the_next_one_gets_it(site):
    first, second = site.pair()
    gone = [site.claim() for _ in range(20)]
    site.wait_for_waiting(20)
    there = site.claim()
    site.wait_for_waiting(21)
    for claim in gone[:-1]:
        claim.close()
    gone[-1].socket.shutdown(socket.SHUT_RDWR)
    site.workflow.complete(first)
    assert there.jobs() == [second]
    site.wait_for_waiting(0)


def test_no_job_is_lost_to_clients_that_hang_up_at_any_moment(site):
    """Jobs that become ready while clients come and go: each is in an answer that was read, or still ready. One that
    is in neither was claimed for a client that hung up after the claim had begun."""
    workflow = site.workflow
    first = workflow.job()
    dependents = [workflow.job(first) for _ in range(10)]
    workflow.initialize()
    workflow.claim(limit=1)
    gone = [site.claim() for _ in range(100)]
    site.wait_for_waiting(100)
    for claim in gone:
        claim.close()
    workflow.complete(first)  # at once: some of the hang-ups are not seen yet
    assert [workflow.status(job) for job in dependents] == ["ready"] * 10


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_a_server_that_stops_or_reloads_answers_waiting_claims_at_once(new_site, how):
    site = new_site()
    site.workflow.job_in("running")
    claims = [site.claim() for _ in range(20)]
    site.wait_for_waiting(20)
    before = time.monotonic()
    site.servers[0].process.send_signal(how)
    assert [claim.jobs() for claim in claims] == [[]] * 20
    assert time.monotonic() - before < 30  # of 60


def test_claims_are_woken_after_the_listening_connection_was_lost(site):
    first, second = site.pair()
    claim = site.claim()
    site.wait_for_waiting(1)
    end = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'torc-server event streams'
    """
    wait_for(lambda: site.workflow.sql(end))
    site.workflow.complete(first)
    assert claim.jobs() == [second]
    assert claim.took < 20


@pytest.mark.long
def test_nobody_is_notified_when_no_claim_waits_any_more(site):
    workflow = site.workflow
    first, second = site.pair()
    claim = site.claim()
    site.wait_for_waiting(1)
    registered = "SELECT id FROM torc.event_stream WHERE workflow_id = ~%s::bigint"
    assert wait_for(lambda: workflow.sql(registered, workflow.id))
    workflow.complete(first)
    assert claim.jobs() == [second]
    wait_for(lambda: not workflow.sql(registered, workflow.id), 20, "the end of the registration")


@pytest.mark.long
def test_a_claim_that_waits_is_a_sign_of_life_of_its_node(new_site):
    site = new_site(node_timeout=8)
    site.workflow.job_in("running")
    node = site.workflow.node()
    assert site.claim(wait=20, compute_node_id=node).jobs() == []
    assert site.workflow.sql("SELECT is_active FROM torc.compute_node WHERE id = %s", node) == [True]


def test_a_caller_without_access_is_refused_and_one_who_loses_it_meanwhile_gets_no_job(
    start_server, fresh_database_url, folder
):
    auth_file = folder / "htpasswd"
    users = [f"{name}:{htpasswd.hash_password('long enough', cost=4)}\n" for name in ("alice", "bob", "carol")]
    auth_file.write_text("".join(users))
    server = start_server(
        database_url=fresh_database_url, workers=1, auth_file=auth_file, enforce_access_control=True,
        admin_user="alice", metrics="all",
    )  # fmt: skip
    client = server.client
    alice, bob, carol = [(name, "long enough") for name in ("alice", "bob", "carol")]
    workflow = client.post("/workflows", json={"name": "w", "user": "alice"}, user=alice).json["id"]
    group = client.post("/access_groups", json={"name": "g"}, user=alice).json["id"]
    member = {"user_name": "bob", "role": "member", "group_id": group}
    client.post(f"/access_groups/{group}/members", json=member, user=alice)
    client.post(f"/workflows/{workflow}/access_groups/{group}", user=alice)
    with psycopg.connect(fresh_database_url, autocommit=True) as database, contextlib.ExitStack() as stack:
        job, _ = [
            database.execute(
                """
                INSERT INTO torc.job (workflow_id, name, command, status, resource_requirements_id)
                SELECT %(id)s, 'j', 'c', %(status)s, min(id)
                FROM torc.resource_requirements
                WHERE workflow_id = %(id)s
                RETURNING id
                """,
                {"id": workflow, "status": status},
            ).fetchone()[0]
            for status in ("failed", "running")
        ]

        def claim(user):
            made = Claim(server.port, workflow, headers=f"Authorization: {basic(*user)}\r\n")
            stack.callback(made.close)
            return made

        assert claim(carol).answer()[0] == 403
        of_bob = claim(bob)
        wait_for(lambda: waiting(server, alice) == 1, 20)
        of_alice = claim(alice)
        wait_for(lambda: waiting(server, alice) == 2, 20)
        client.delete(f"/access_groups/{group}/members/bob", user=alice)
        client.post(f"/jobs/{job}/retry/0", params={"max_retries": 5}, user=alice)
        assert of_alice.jobs() == [job]
        assert of_bob.answer()[0] == 403


def test_without_the_direct_way_claims_wait_too(new_site):
    site = new_site(no_direct=True)
    first, second = site.pair()
    claim = site.claim(body=WORKER)
    site.wait_for_waiting(1)
    site.workflow.complete(first)
    assert claim.jobs() == [second]


def test_where_the_worker_class_is_not_ours_the_answer_comes_at_once(client, workflow):
    workflow.job_in("running")
    before = time.monotonic()
    assert client.post(f"{workflow.path}/claim_next_jobs", params={"wait": 60}).json["jobs"] == []
    assert time.monotonic() - before < 20


def test_bounds_of_wait(client, workflow):
    for path, body in (("claim_next_jobs", None), ("claim_jobs_based_on_resources/1", WORKER)):
        arguments = {} if body is None else {"json": body}
        for wait, status in ((-1, 422), (61, 422), ("x", 400), ("1.5", 400), (60, 200)):
            answer = client.post(f"{workflow.path}/{path}", params={"wait": wait}, status=status, **arguments)
            if status != 200:
                assert answer.json["error"]["field"] == "wait"
