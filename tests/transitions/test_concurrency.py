"""What several processes do to one workflow at once must end as if they had come one after another."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import crowd
import psycopg
import pytest
from crowd import at_once
from psycopg.conninfo import make_conninfo
from support import wait_for
from workflow import Workflow

PAIRS = 2_000
ROUNDS = 500
JOBS = 20_000
FEW_JOBS = 5_000
CALLS = 150
WORKER = {"num_cpus": 100, "memory_gb": 100.0, "num_gpus": 0, "num_nodes": 1}
ENDPOINTS = {
    "claim_next_jobs": ("claim_next_jobs", {"params": {"limit": 10}}),
    "claim_jobs_based_on_resources": ("claim_jobs_based_on_resources/10", {"json": WORKER}),
}


@pytest.fixture(scope="module")
def on_server(server):
    """Makes workflows on the real server, looked at through a session on its database."""
    with psycopg.connect(server_database(server), autocommit=True) as database:
        yield lambda: Workflow(server.client, database)


def server_database(server):
    arguments = server.process.args
    return next(a for a in arguments if a.startswith("--database-url=")).removeprefix("--database-url=")


def conninfo(workflow):
    info = workflow.database.info
    return make_conninfo(info.dsn, password=info.password)


def create_many(workflow, bodies):
    """Create jobs; return their ids."""
    jobs = [{"workflow_id": workflow.id, "name": f"j{i}", "command": "c"} | body for i, body in enumerate(bodies)]
    return [job["id"] for job in workflow.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]]


def wait_until_blocked(workflow):
    """Wait until a session of the workflow's database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    wait_for(lambda: workflow.sql(waiting)[0], what="a call that waits for a lock")


def count_statuses(workflow):
    statement = "SELECT status::text, count(*) FROM torc.job WHERE workflow_id = %s GROUP BY 1"
    return dict(workflow.sql(statement, workflow.id))


# Releases


def test_two_parents_completed_at_the_same_moment_release_their_child(on_server):
    workflow = on_server()
    parents = create_many(workflow, [{}] * (2 * PAIRS))
    left, right = parents[:PAIRS], parents[PAIRS:]
    create_many(workflow, [{"depends_on_job_ids": list(pair)} for pair in zip(left, right, strict=True)])
    workflow.initialize()
    assert count_statuses(workflow) == {"ready": 2 * PAIRS, "blocked": PAIRS}
    url = conninfo(workflow)
    at_once(*((crowd.complete_in_step, url, [workflow.result(job) for job in side]) for side in (left, right)))
    assert count_statuses(workflow) == {"completed": 2 * PAIRS, "ready": PAIRS}
    assert workflow.violations() == []


# complete_job() settles the dependents of a running job by one statement, those of any other job by several.
BEFORE = pytest.mark.parametrize("before", ["running", "ready"])


@BEFORE
@pytest.mark.parametrize("first, becomes", [("completed", "ready"), ("failed", "canceled")])
def test_a_release_counts_what_it_waited_for(workflow, database_url, first, becomes, before):
    left, right = workflow.job(), workflow.job()
    child = workflow.job(left, right)
    grandchild = workflow.job(child)
    workflow.initialize()
    workflow.manage(right, before)
    with ThreadPoolExecutor() as pool, psycopg.connect(database_url) as session:
        result = json.dumps(workflow.result(left, first))
        session.execute("SELECT torc.complete_job(%s, %s, 0, %s)", [left, first, result])
        completion = pool.submit(workflow.complete, right)
        wait_until_blocked(workflow)  # by the child's row
        assert not completion.done()
        session.commit()
    completion.result()
    assert workflow.status(child) == becomes
    assert workflow.status(grandchild) == ("blocked" if becomes == "ready" else "canceled")


@BEFORE
def test_a_release_counts_for_a_dependent_that_was_made_ready_while_it_waited(workflow, database_url, before):
    parent, never_done = workflow.job(), workflow.job()
    first, moved, last = (workflow.job(parent, never_done) for _ in range(3))
    workflow.initialize()
    workflow.manage(parent, before)
    with ThreadPoolExecutor() as pool, psycopg.connect(database_url) as session:
        session.execute("SELECT torc.manage_status_change(%s, 'ready', 0)", [moved])
        completion = pool.submit(workflow.complete, parent)
        wait_until_blocked(workflow)
        session.commit()
    completion.result()
    assert workflow.statuses(first, moved, last) == ["blocked", "ready", "blocked"]
    open_dependencies = "SELECT open_dependencies FROM torc.job WHERE id = ANY (%s)"
    assert workflow.sql(open_dependencies, [first, moved, last]) == [1, 1, 1]


@BEFORE
def test_a_completion_locks_its_dependents_in_the_order_of_their_ids(workflow, database_url, before):
    parent = workflow.job()
    children = [workflow.job(parent) for _ in range(20)]
    workflow.initialize()
    workflow.manage(parent, before)
    for child in reversed(children):  # now their rows are in the opposite order
        workflow.sql("UPDATE torc.job SET priority = 1 WHERE id = %s RETURNING id", child)
    free = "SELECT id FROM torc.job WHERE id = ANY (%s) FOR UPDATE SKIP LOCKED"
    with ThreadPoolExecutor() as pool, locked(database_url, [children[10]]) as session:
        completion = pool.submit(workflow.complete, parent)
        wait_until_blocked(workflow)
        assert sorted(workflow.sql(free, children)) == children[11:]
        session.rollback()
    completion.result()
    assert set(workflow.statuses(*children)) == {"ready"}


def test_a_start_that_waits_for_the_claim_of_its_job_starts_it(workflow, database_url):
    job, node = workflow.job(), workflow.node()
    workflow.initialize()
    with ThreadPoolExecutor() as pool, locked(database_url, [job]) as session:
        session.execute("UPDATE torc.job SET status = 'pending' WHERE id = %s", [job])
        start = pool.submit(workflow.start, job, node)
        wait_until_blocked(workflow)
        assert not start.done()
        session.commit()
    assert start.result()["status"] == "running"


def test_a_job_created_while_its_dependency_completes_counts_it_once(on_server):
    workflow = on_server()
    dependencies = create_many(workflow, [{}] * ROUNDS)
    url = conninfo(workflow)
    at_once(
        (crowd.complete_in_step, url, [workflow.result(job) for job in dependencies]),
        (crowd.create_dependents_in_step, url, workflow.id, dependencies),
    )
    assert workflow.violations() == []
    workflow.initialize()
    assert count_statuses(workflow) == {"completed": ROUNDS, "ready": ROUNDS}


def test_an_edge_made_while_its_dependency_completes_counts_it_once(on_server):
    workflow = on_server()
    dependents, dependencies = create_many(workflow, [{}] * ROUNDS), create_many(workflow, [{}] * ROUNDS)
    url = conninfo(workflow)
    at_once(
        (crowd.complete_in_step, url, [workflow.result(job) for job in dependencies]),
        (crowd.edit_edges_in_step, url, workflow.id, list(zip(dependents, dependencies, strict=True))),
    )
    assert workflow.violations() == []
    workflow.initialize()
    assert count_statuses(workflow) == {"completed": ROUNDS, "ready": ROUNDS}


# Claims


@pytest.mark.parametrize(
    "endpoints, count",
    [
        *(pytest.param([name] * 8, FEW_JOBS, id=name) for name in ENDPOINTS),
        *(pytest.param([name] * 8, JOBS, id=f"{name} of many", marks=pytest.mark.long) for name in ENDPOINTS),
        pytest.param([*ENDPOINTS] * 4, FEW_JOBS, id="both"),
    ],
)
def test_eight_processes_claim_every_job_exactly_once(on_server, server, postgres_log, endpoints, count):
    workflow = on_server()
    jobs = [job for _ in range(2) for job in create_many(workflow, [{}] * (count // 2))]
    workflow.initialize()
    log_begins = postgres_log.stat().st_size if postgres_log else 0
    calls = [(f"{workflow.path}/{path}", arguments) for path, arguments in map(ENDPOINTS.get, endpoints)]
    answers = at_once(*((crowd.claim_until_empty, server.url, *call) for call in calls))
    claimed = [job for process in answers for answer in process for job in answer]
    assert sorted(claimed) == jobs
    assert all(answer == sorted(answer) for process in answers for answer in process)
    assert count_statuses(workflow) == {"pending": count}
    assert deadlocks(workflow, postgres_log, log_begins) == []


def deadlocks(workflow, postgres_log, begin):
    """Lines about deadlocks of the workflow's database. Its sessions are still there: one for each server thread."""
    pids = workflow.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    with postgres_log.open() if postgres_log else open("/dev/null") as log:
        log.seek(begin)
        return [line for line in log if "deadlock" in line and any(f"[{pid}]" in line for pid in pids)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("lock", ["UPDATE", "KEY SHARE"])
def test_a_claim_waits_for_the_only_ready_job_while_another_transaction_locks_it(
    workflow, database_url, endpoint, lock
):
    job = workflow.job()
    workflow.initialize()
    with ThreadPoolExecutor() as pool, locked(database_url, [job], lock):
        claim = pool.submit(claim_with, endpoint, workflow)
        wait_until_blocked(workflow)
        assert not claim.done()
    assert claim.result() == [job]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_claim_does_not_wait_for_a_locked_job_while_another_is_ready(workflow, database_url, endpoint):
    busy, free = workflow.job(priority=1), workflow.job()
    workflow.initialize()
    with locked(database_url, [busy]):
        assert claim_with(endpoint, workflow) == [free]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_claim_gets_what_another_transaction_leaves_and_not_what_it_took(workflow, database_url, endpoint):
    taken, left = workflow.job(priority=1), workflow.job()
    workflow.initialize()
    with ThreadPoolExecutor() as pool, locked(database_url, [taken, left]) as session:
        claim = pool.submit(claim_with, endpoint, workflow)
        wait_until_blocked(workflow)
        session.execute("UPDATE torc.job SET status = 'pending' WHERE id = %s", [taken])
        session.commit()
    assert claim.result() == [left]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_claim_that_waited_in_vain_takes_what_became_ready_meanwhile(workflow, database_url, endpoint):
    taken, later = workflow.job(), workflow.job()
    workflow.initialize()
    workflow.manage(later, "running")
    with ThreadPoolExecutor() as pool, locked(database_url, [taken]) as session:
        claim = pool.submit(claim_with, endpoint, workflow)
        wait_until_blocked(workflow)
        workflow.manage(later, "ready")
        session.execute("UPDATE torc.job SET status = 'pending' WHERE id = %s", [taken])
        session.commit()
    assert claim.result() == [later]


def claim_with(endpoint, workflow):
    path, arguments = ENDPOINTS[endpoint]
    return [job["id"] for job in workflow.client.post(f"{workflow.path}/{path}", **arguments).json["jobs"]]


class locked:
    """`with locked(database_url, jobs) as session`: another transaction holds their rows until the block ends."""

    def __init__(self, database_url, jobs, lock="UPDATE"):
        self.session = psycopg.connect(database_url)
        self.session.execute(f"SELECT FROM torc.job WHERE id = ANY (%s) FOR {lock}", [jobs])

    def __enter__(self):
        return self.session

    def __exit__(self, *error):
        self.session.close()


# Attempts


def test_workers_whose_jobs_are_retried_under_them_end_no_attempt_but_the_one_that_they_run(on_server, server):
    workflow = on_server()
    create_many(workflow, [{}] * 24)
    workflow.initialize()
    outcomes = at_once(*(
        (crowd.run_attempts, server.url, workflow.id, workflow.node(), number % 2 == 1, number) for number in range(4)
    ))  # fmt: skip
    reports = {time: report for told, _ in outcomes for time, report in told.items()}
    assert set().union(*(codes for _, codes in outcomes)) <= {200, 422}
    stored = workflow.sql(
        """
        SELECT job_id, job.attempt_id, result.attempt_id, result.completion_time, is_current
        FROM torc.job AS job INNER JOIN torc.result AS result ON result.job_id = job.id
        WHERE job.workflow_id = %s
        """,
        workflow.id,
    )
    current = [(job, attempt, result, time) for job, attempt, result, time, is_current in stored if is_current]
    assert count_statuses(workflow) == {"completed": len(current)}
    assert [row for row in current if not row[1] == row[2] == reports[row[3]][1]] == []
    stale = [row for row in stored if not row[4]]
    assert [row for row in stale if row[2] >= row[1]] == []
    assert stale, "nothing was retried under a worker"
    assert workflow.violations() == []


# Everything


def test_eight_processes_at_random_get_only_declared_answers_and_leave_a_sound_graph(on_server, server):
    workflow = on_server()
    nodes, files = [workflow.node(), workflow.node()], [workflow.file(), workflow.file(), workflow.file()]
    create_many(workflow, [{}] * 30)
    answers = at_once(
        *((crowd.call_at_random, server.url, workflow.id, nodes, files, seed, CALLS) for seed in range(8))
    )
    refused = [answer for process in answers for answer in process]
    assert [answer for answer in refused if answer[1] not in (404, 409, 422)] == []
    assert workflow.violations() == []
    assert len(refused) < 8 * CALLS / 2, Counter(answer[:2] for answer in refused)
