"""Compute nodes that give no sign of life are given up: what counts, what becomes of their jobs, who does it."""

import threading
import time
from datetime import UTC

import psycopg
import pytest
from support import MemoryClient, wait_for
from workflow import Workflow

from torc_server.app import create_app
from torc_server.node_watch import NodeWatch
from torc_server.settings import Settings

HOUR = 3600.0


class Site:
    """The application on a database of its own, whose signs of life are stored when the test says so."""

    def __init__(self, database_url):
        self.url = database_url
        self.app = create_app(Settings(database_url=database_url), database_url)
        self.app.extensions["database"].open()
        self.client = MemoryClient(self.app)
        self.watch = self.app.extensions["node_watch"]
        self.watch._is_open = True

    def make_watch(self, timeout=HOUR):
        """Another server's watch."""
        return NodeWatch(self.app.extensions["database"], timeout)


@pytest.fixture(scope="module")
def site(module_database_url):
    site = Site(module_database_url)
    yield site
    site.app.extensions["database"].close()


@pytest.fixture
def database(site):
    with psycopg.connect(site.url, autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM torc.workflow; DELETE FROM torc.node_watch")


@pytest.fixture
def make(site, database):
    """A factory: make(…) is a workflow; afterwards nothing in any may be that must never be."""
    made = []

    def make(**fields):
        made.append(Workflow(site.client, database, **fields))
        return made[-1]

    yield make
    for workflow in made:
        assert workflow.violations() == []


@pytest.fixture
def sweep(site, database):
    """A function: servers have looked for silent nodes without a break for ten hours, and one does it again."""

    def sweep(timeout=HOUR):
        site.watch._store()
        database.execute("""
            INSERT INTO torc.node_watch (watched_since, swept_at)
            VALUES (torc.now() - interval '10 h', torc.now() - interval '12 s')
            ON CONFLICT (id) DO UPDATE SET watched_since = excluded.watched_since, swept_at = excluded.swept_at
        """)
        site.make_watch(timeout)._give_up_silent_nodes()

    return sweep


@pytest.fixture
def silence(clock):
    """A function: so many seconds pass, and at the end all other nodes of the workflow have just been heard of."""

    def silence(workflow, *nodes, seconds=2 * HOUR):
        workflow.client.app.extensions["node_watch"]._store()
        note = "SELECT torc.note_nodes(ARRAY(SELECT id FROM torc.compute_node WHERE is_active AND id <> ALL (%s)))"
        workflow.database.execute(note, [[]])
        clock.advance(seconds)
        workflow.database.execute(note, [[*nodes]])

    return silence


def last_seen(workflow, node):
    workflow.client.app.extensions["node_watch"]._store()
    return workflow.sql("SELECT last_seen FROM torc.compute_node WHERE id = %s", node)[0]


def is_active(workflow, node):
    return workflow.sql("SELECT is_active FROM torc.compute_node WHERE id = %s", node)[0]


def running_on(workflow, node, *depends_on, **fields):
    job = workflow.job(*depends_on, **fields)
    workflow.manage(job, "pending")
    workflow.start(job, node)
    return job


# What is a sign of life


def calls(workflow, node):
    """Requests that name the node."""
    pending = workflow.job_in("pending")
    running = running_on(workflow, workflow.node())
    batch = running_on(workflow, workflow.node())
    ready = workflow.job_in("ready")
    action = {"workflow_id": workflow.id, "trigger_type": "on_workflow_start", "action_type": "x", "action_config": {}}
    action = workflow.client.post(f"{workflow.path}/actions", json=action).json["id"]
    body = workflow.client.get(f"/compute_nodes/{workflow.node()}").json
    client, resources = workflow.client, {"num_cpus": 9, "memory_gb": 9, "num_gpus": 0, "num_nodes": 1}
    result = workflow.result(batch) | {"compute_node_id": node}
    entry = {"job_id": batch, "status": "completed", "run_id": 0, "result": result}
    return {
        "start": lambda: workflow.start(pending, node),
        "complete": lambda: workflow.complete(running, compute_node_id=node),
        "batch": lambda: client.post(f"{workflow.path}/batch_complete_jobs", json={"completions": [entry]}),
        "claim": lambda: workflow.claim(compute_node_id=node),
        "claim and start": lambda: workflow.claim(start_on=node),
        "claim by resources": lambda: client.post(
            f"{workflow.path}/claim_jobs_based_on_resources/1", params={"compute_node_id": node}, json=resources
        ),
        "action": lambda: client.post(f"{workflow.path}/actions/{action}/claim", json={"compute_node_id": node}),
        "result": lambda: client.post("/results", json=workflow.result(ready) | {"compute_node_id": node}),
        "get": lambda: client.get(f"/compute_nodes/{node}"),
        "put": lambda: client.put(f"/compute_nodes/{node}", json=body),
        "heartbeat": lambda: client.post(f"/compute_nodes/{node}/heartbeat"),
    }


NAMES = (
    "start", "complete", "batch", "claim", "claim and start", "claim by resources", "action", "result", "get", "put",
    "heartbeat",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_request_that_names_the_node_is_a_sign_of_life(make, name, silence):
    workflow = make()
    node = workflow.node()
    call = calls(workflow, node)[name]
    silence(workflow, node)
    before = last_seen(workflow, node)
    call()
    assert last_seen(workflow, node) > before


def test_a_request_that_fails_is_none(make, silence):
    workflow = make()
    node = workflow.node()
    silence(workflow, node)
    before = last_seen(workflow, node)
    workflow.start(workflow.job(), node, status=409)
    assert last_seen(workflow, node) == before


def test_the_sign_is_shown_in_utc_and_requests_cannot_set_it(make):
    workflow = make()
    node = workflow.node()
    assert "last_seen" not in workflow.client.get(f"/compute_nodes/{node}").json
    seen = last_seen(workflow, node)
    shown = workflow.client.get(f"/compute_nodes/{node}").json
    assert shown["last_seen"].endswith("Z")
    assert shown["last_seen"][:19] == seen.astimezone(UTC).isoformat()[:19]
    workflow.client.put(f"/compute_nodes/{node}", json=shown | {"last_seen": "2000-01-01T00:00:00Z"})
    assert last_seen(workflow, node) >= seen


def test_signs_of_a_process_whose_database_is_away_are_stored_later(site, make, monkeypatch, silence):
    from torc_server.errors import ApiError

    workflow = make()
    node = workflow.node()
    silence(workflow, node)
    workflow.client.get(f"/compute_nodes/{node}")

    def away(*args, **kwargs):
        raise ApiError(503, "The connection to the database was lost; try again")

    with monkeypatch.context() as patch:
        patch.setattr("torc_server.node_watch.server_value", away)
        with pytest.raises(ApiError):
            site.watch._store()
    before = workflow.sql("SELECT last_seen FROM torc.compute_node WHERE id = %s", node)[0]
    assert last_seen(workflow, node) > before


def test_an_unknown_node_has_no_heartbeat(site):
    site.client.post("/compute_nodes/999999999/heartbeat", status=404)


# What becomes of the jobs


def test_running_jobs_of_a_silent_node_fail_and_their_dependents_follow(make, sweep, silence):
    workflow = make()
    node, other = workflow.node(), workflow.node()
    lost = running_on(workflow, node)
    kept = running_on(workflow, other)
    stops, goes_on = workflow.job(lost), workflow.job(lost, cancel_on_blocking_job_failure=False)
    workflow.manage(stops, "blocked"), workflow.manage(goes_on, "blocked")
    last = workflow.job(stops)
    workflow.manage(last, "blocked")
    silence(workflow, node)
    sweep()
    assert workflow.statuses(lost, kept, stops, goes_on, last) == ["failed", "running", "canceled", "ready", "canceled"]
    assert workflow.results(lost) == [(0, 1, "failed", -128, True)]
    assert (is_active(workflow, node), is_active(workflow, other)) == (False, True)
    event = next(data for data in workflow.events() if data.get("event_type") == "compute_node_timed_out")
    assert (event["compute_node_id"], event["hostname"], event["pid"]) == (node, "h", 1)
    assert event["failed_job_ids"] == [lost]
    assert f"Compute node {node} (h, pid 1) has been silent for 7200 s: 1 running jobs failed" in event["message"]


def test_a_workflow_that_uses_pending_failed_gets_that(make, sweep, silence):
    workflow = make(use_pending_failed=True)
    node = workflow.node()
    job = running_on(workflow, node)
    waits = workflow.job(job)
    workflow.manage(waits, "blocked")
    silence(workflow, node)
    sweep()
    assert workflow.statuses(job, waits) == ["pending_failed", "blocked"]


def test_jobs_that_the_node_has_claimed_become_ready_and_those_of_others_stay(make, sweep, silence):
    workflow = make()
    node, other = workflow.node(), workflow.node()
    for _ in range(3):
        workflow.job_in("ready")
    (mine,), (theirs,), (nobodys,) = (
        workflow.claim(limit=1, compute_node_id=node), workflow.claim(limit=1, compute_node_id=other),
        workflow.claim(limit=1),
    )  # fmt: skip
    assert workflow.active_on(node) == [mine]
    silence(workflow, node)
    sweep()
    assert workflow.statuses(mine, theirs, nobodys) == ["ready", "pending", "pending"]
    assert workflow.active_on(node) == []


def test_jobs_of_claims_without_a_node_become_ready_when_no_node_is_left(make, sweep, silence):
    workflow = make()
    node = workflow.node()
    old, fresh = workflow.job_in("ready"), workflow.job_in("ready")
    assert workflow.claim(limit=1) == [old]
    silence(workflow, node)
    assert workflow.claim(limit=1) == [fresh]
    sweep()
    assert workflow.statuses(old, fresh) == ["ready", "pending"]


def test_a_claim_for_an_unknown_node_is_refused(make):
    workflow = make()
    job = workflow.job_in("ready")
    path = f"{workflow.path}/claim_next_jobs"
    error = workflow.client.post(path, params={"compute_node_id": 999999999}, status=422).json["error"]
    assert error["field"] == "active_compute_node_id" or error["field"] == "compute_node_id"
    assert workflow.status(job) == "ready"


def test_jobs_of_another_workflow_on_the_node_fail_too(make, sweep, silence):
    own, other = make(), make()
    node = own.node()
    job = running_on(other, node)
    silence(own, node)
    sweep()
    assert other.status(job) == "failed"
    assert not is_active(own, node)
    assert [data["compute_node_id"] for data in other.events() if "compute_node_id" in data] == [node]


def test_actions_see_the_failure(make, sweep, silence):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    action = {"workflow_id": workflow.id, "trigger_type": "on_jobs_complete", "action_type": "x", "action_config": {},
              "job_ids": [job]}  # fmt: skip
    workflow.client.post(f"{workflow.path}/actions", json=action)
    silence(workflow, node)
    sweep()
    assert len(workflow.client.get(f"{workflow.path}/actions/pending").json) == 1


def test_a_late_report_of_the_given_up_node_is_refused_and_changes_nothing(make, sweep, silence):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    silence(workflow, node)
    sweep()
    workflow.complete(job, compute_node_id=node, status=422)
    workflow.retry(job)
    assert workflow.claim() == [job]
    workflow.complete(job, compute_node_id=node, attempt_id=1, status=422)
    assert workflow.status(job) == "pending"


# When a node is silent


@pytest.mark.parametrize("seconds, timeout", [(HOUR - 60, HOUR), (2 * HOUR, 3 * HOUR)])
def test_a_node_that_is_silent_for_less_is_left_alone(make, sweep, seconds, timeout, silence):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    silence(workflow, node, seconds=seconds)
    sweep(timeout)
    assert workflow.status(job) == "running"
    assert is_active(workflow, node)


def test_a_node_without_heartbeats_may_be_silent_for_the_runtime_of_its_jobs(make, sweep, clock, silence):
    workflow = make()
    node, beating = workflow.node(), workflow.node()
    long = workflow.requirements(runtime="PT8H")
    jobs = [running_on(workflow, each, resource_requirements_id=long) for each in (node, beating)]
    workflow.client.post(f"/compute_nodes/{beating}/heartbeat")
    silence(workflow, node, beating, seconds=5 * HOUR)
    sweep()
    assert workflow.statuses(*jobs) == ["running", "failed"]
    clock.advance(8 * HOUR)
    sweep()
    assert workflow.status(jobs[0]) == "failed"


def test_silence_counts_only_while_servers_listen(site, make, sweep, clock, silence):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    silence(workflow, node, seconds=HOUR - 60)
    sweep()
    for pause in (90, 12):  # after a break the time starts from zero
        clock.advance(pause)
        site.make_watch()._give_up_silent_nodes()
        assert workflow.status(job) == "running"


def test_a_node_that_was_never_heard_of_begins_now(make, sweep, database):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    last_seen(workflow, node)
    database.execute("UPDATE torc.compute_node SET last_seen = NULL")
    sweep()
    assert workflow.status(job) == "running"
    assert last_seen(workflow, node) is not None


def test_a_node_that_says_so_in_time_is_left_alone(make, sweep, database, silence):
    workflow = make()
    node = workflow.node()
    job = running_on(workflow, node)
    silence(workflow, node)
    workflow.client.post(f"/compute_nodes/{node}/heartbeat")
    sweep()
    assert workflow.status(job) == "running"


def test_a_node_that_was_given_up_and_works_again_is_active_again(make, sweep, silence):
    workflow = make()
    beats, starts, reads, stopped = (workflow.node() for _ in range(4))
    silence(workflow, beats, starts, reads, stopped)
    sweep()
    assert [is_active(workflow, node) for node in (beats, starts, reads, stopped)] == [False] * 4
    body = workflow.client.get(f"/compute_nodes/{stopped}").json
    workflow.client.put(f"/compute_nodes/{stopped}", json=body)  # it says itself that it has stopped
    for node in (beats, stopped):
        workflow.client.post(f"/compute_nodes/{node}/heartbeat")
    workflow.start(workflow.job_in("pending"), starts)
    workflow.client.get(f"/compute_nodes/{reads}")
    last_seen(workflow, reads)
    assert [is_active(workflow, node) for node in (beats, starts, reads, stopped)] == [True, True, False, False]


def test_a_node_that_was_given_up_may_claim_and_start_again(make, sweep, silence):
    workflow = make()
    node = workflow.node()
    silence(workflow, node)
    sweep()
    job = workflow.job_in("ready")
    assert workflow.claim(start_on=node) == [job]
    last_seen(workflow, node)
    assert is_active(workflow, node)
    assert workflow.active_on(node) == [job]


# Who does it


def test_one_server_at_a_time_looks_for_silent_nodes(site, make, database, silence):
    workflow = make()
    silence(workflow, workflow.node())
    find = "SELECT count(*) FROM torc.find_silent_nodes(3600, 10)"
    past = "UPDATE torc.node_watch SET watched_since = torc.now() - interval '10 h', swept_at = %s"
    ago = "SELECT torc.now() - interval '12 s'"
    database.execute(find)
    database.execute(past, [database.execute(ago).fetchone()[0]])
    with psycopg.connect(site.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(1953460835, 4)")
        assert database.execute(find).fetchone()[0] == 0
    assert database.execute(find).fetchone()[0] == 1
    assert database.execute(find).fetchone()[0] == 0, "another has just done it"


def test_a_node_that_reports_while_it_is_given_up_loses_nothing_twice(site, make, database, silence):
    """The report and the verdict come at the same time: one of them wins, whole."""
    for _ in range(15):
        workflow = make()
        node = workflow.node()
        job = running_on(workflow, node)
        silence(workflow, node)
        database.execute("UPDATE torc.node_watch SET watched_since = torc.now() - interval '10 h'")
        watch = site.make_watch()
        verdict = threading.Thread(target=watch._give_up, args=(node, workflow.id))
        verdict.start()
        answer = workflow.client.post(
            f"/jobs/{job}/complete_job/completed/0", json=workflow.result(job) | {"compute_node_id": node}, status=None
        )
        verdict.join()
        status = {200: "completed", 422: "failed"}[answer.status_code]
        assert workflow.status(job) == status
        assert len(workflow.results(job)) == 1


def test_a_server_gives_up_silent_nodes_by_itself_and_says_so(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=2, node_timeout=8)
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        workflow = Workflow(server.client, database)
        body = {"workflow_id": workflow.id, "hostname": "quiet", "pid": 7, "num_cpus": 1, "memory_gb": 1, "num_gpus": 0,
                "start_time": "now", "num_nodes": 1, "compute_node_type": "local", "is_active": True}  # fmt: skip
        quiet = server.client.post("/compute_nodes", json=body).json["id"]
        alive = server.client.post("/compute_nodes", json=body | {"hostname": "alive"}).json["id"]
        none = workflow.requirements(runtime="PT0S")
        lost, kept = (workflow.job_in("pending", resource_requirements_id=none) for _ in range(2))
        workflow.start(lost, quiet), workflow.start(kept, alive)
        server.client.post(f"/compute_nodes/{quiet}/heartbeat")
        end = time.monotonic() + 60
        while workflow.status(lost) == "running" and time.monotonic() < end:
            server.client.post(f"/compute_nodes/{alive}/heartbeat")
            # Again, because signs of life are stored only some seconds later.
            database.execute("UPDATE torc.node_watch SET watched_since = now() - interval '2 h'")
            silent = "UPDATE torc.compute_node SET last_seen = now() - interval '1 h' WHERE id = %s"
            database.execute(silent, [quiet])
            time.sleep(0.1)
        assert workflow.statuses(lost, kept) == ["failed", "running"]
        wait_for(lambda: f"Compute node {quiet} (quiet, pid 7) has been silent for" in server.log.read_text())
        assert workflow.violations() == []


def test_streams_hear_which_node_was_silent(make, sweep, database, silence):
    workflow = make()
    node = workflow.node()
    running_on(workflow, node)
    silence(workflow, node)
    database.execute("LISTEN " + f"torc_workflow_{workflow.id}")
    database.execute("SELECT torc.open_event_stream(%s)", [workflow.id])
    sweep()
    heard = [note.payload for note in database.notifies(timeout=5, stop_after=2)]
    assert any("compute_node_timed_out" in payload and f'"compute_node_id": {node}' in payload for payload in heard)
    assert any("job_failed" in payload for payload in heard)


# Giving back by hand


def give_back(workflow, node, status=200, **params):
    return workflow.client.post(f"/compute_nodes/{node}/give_back_jobs", params=params, status=status).json


def claimed_by(workflow, node):
    job = workflow.job_in("pending")
    workflow.database.execute("UPDATE torc.job SET active_compute_node_id = %s WHERE id = %s", [node, job])
    return job


def test_jobs_that_are_given_back_are_ready_running_ones_for_another_attempt(make):
    workflow = make()
    dead, alive = workflow.node(), workflow.node()
    ran, claimed, other = running_on(workflow, dead), claimed_by(workflow, dead), running_on(workflow, alive)
    after, unnamed = workflow.job(ran), workflow.job_in("pending")
    expected = {
        "compute_node_id": dead, "workflow_id": workflow.id, "retried_job_ids": [ran], "ready_job_ids": [claimed],
        "unnamed_claims": 1,
    }  # fmt: skip
    before = workflow.events()
    assert give_back(workflow, dead, dry_run=True) == expected
    assert workflow.statuses(ran, claimed) == ["running", "pending"]
    assert is_active(workflow, dead)
    assert workflow.events() == before
    assert give_back(workflow, dead) == expected
    assert workflow.statuses(ran, claimed, other, unnamed) == ["ready", "ready", "running", "pending"]
    assert [workflow.client.get(f"/jobs/{job}").json["attempt_id"] for job in (ran, claimed)] == [2, 1]
    assert not is_active(workflow, dead)
    assert is_active(workflow, alive)
    again = give_back(workflow, dead)
    assert again == expected | {"retried_job_ids": [], "ready_job_ids": []}
    late = workflow.result(ran) | {"compute_node_id": dead, "attempt_id": 1}
    workflow.client.post(f"/jobs/{ran}/complete_job/completed/0", json=late)
    assert workflow.statuses(ran, after) == ["ready", "uninitialized"]


def test_claims_without_a_node_are_given_back_when_no_other_node_may_have_them(make):
    workflow = make()
    dead, alive = workflow.node(), workflow.node()
    unnamed = workflow.job_in("pending")
    for dry_run in (True, False):
        error = give_back(workflow, dead, status=409, unnamed_claims=True, dry_run=dry_run)["error"]
        assert error["field"] == "unnamed_claims"
    assert workflow.status(unnamed) == "pending"
    assert is_active(workflow, dead)
    give_back(workflow, alive)
    assert give_back(workflow, dead, unnamed_claims=True)["ready_job_ids"] == [unnamed]
    assert workflow.status(unnamed) == "ready"


def test_who_has_given_jobs_back_is_on_record(make):
    workflow = make()
    node = workflow.node()
    running_on(workflow, node)
    give_back(workflow, node)
    entry = workflow.client.get("/admin/audit-log", params={"workflow_id": workflow.id}).json["items"][0]
    assert entry["action"] == "give_back_jobs_of_node"
    assert entry["rows_affected"] == 1
    event = workflow.sql("SELECT data FROM torc.event WHERE workflow_id = %s ORDER BY id DESC LIMIT 1", workflow.id)[0]
    assert event["action"] == "give_back_jobs_of_node"


def test_the_jobs_of_a_node_that_is_not_there_cannot_be_given_back(make):
    give_back(make(), 999999999, status=404)
