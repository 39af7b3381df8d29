"""initialize_jobs?async=true: a task that does the work, in whichever process, once and entirely."""

import json
import os
import signal
import time

import psycopg
import pytest
from workflow import Workflow

MANY = 2_500  # jobs: more than are initialized before the answer


@pytest.fixture
def queue(workflow):
    """A task that nothing does yet: as its call leaves it when the server dies."""

    def queue(**parameters):
        return workflow.sql(
            """
            INSERT INTO torc.task (workflow_id, operation, parameters) VALUES (%s, 'initialize_jobs', %s) RETURNING id
            """,
            workflow.id, json.dumps(parameters),
        )[0]  # fmt: skip

    return queue


def start(workflow, status=202, **params):
    return workflow.client.post(
        f"{workflow.path}/initialize_jobs", params={"async": True} | params, status=status
    ).json  # fmt: skip


def active(workflow):
    return workflow.client.get(f"{workflow.path}/active_task").json["task"]


def wait_for(workflow, task, status, seconds=60):
    """The task, once it has that status."""
    end = time.monotonic() + seconds
    while (found := workflow.client.get(f"/tasks/{task}").json)["status"] != status:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def create_many(workflow, number=MANY):
    jobs = [{"workflow_id": workflow.id, "name": f"j{i}", "command": "c"} for i in range(number)]
    return [job["id"] for job in workflow.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]]


def test_a_small_workflow_is_initialized_before_the_answer(workflow):
    job = workflow.job()
    task = start(workflow)
    assert workflow.status(job) == "ready"
    assert (task["workflow_id"], task["operation"], task["status"]) == (workflow.id, "initialize_jobs", "succeeded")
    assert task["created_at_ms"] <= task["started_at_ms"] <= task["finished_at_ms"]
    assert workflow.client.get(f"/tasks/{task['id']}").json == task
    assert active(workflow) is None


def test_the_parameters_are_those_of_the_call(workflow):
    done = workflow.job_in("terminated")
    start(workflow, only_uninitialized=True)
    waiting = workflow.job_in("uninitialized")
    workflow.manage(waiting, "running")
    node = workflow.node()
    workflow.sql("UPDATE torc.job SET active_compute_node_id = %s WHERE id = %s RETURNING 1", node, waiting)
    start(workflow, keep_running=True)
    assert workflow.statuses(done, waiting) == ["ready", "running"]


def test_without_async_the_answer_is_that_of_before(workflow):
    for params in ({}, {"async": False}):
        assert workflow.initialize(**params)["message"] == "Initialized job status"


def test_a_task_that_fails_says_why_and_changes_nothing(workflow):
    file = workflow.file()
    job = workflow.job(input_file_ids=[file], output_file_ids=[file])
    task = start(workflow)
    assert task["status"] == "failed"
    assert str(job) in task["error"]
    assert workflow.status(job) == "uninitialized"


def test_the_end_of_a_task_is_an_event_of_the_stream(workflow):
    workflow.sql(
        """
        INSERT INTO torc.event_stream (workflow_id, expires_at)
        VALUES (%s, now() + interval '1 min') RETURNING id
        """,
        workflow.id,
    )
    workflow.database.execute(f"LISTEN torc_workflow_{workflow.id}")
    task = start(workflow)
    heard = [json.loads(each.payload) for each in workflow.database.notifies(timeout=5, stop_after=2)]
    workflow.database.execute(f"UNLISTEN torc_workflow_{workflow.id}")
    assert [event["event_type"] for event in heard] == ["workflow_reinitialized", "task_completed"]
    assert heard[1]["severity"] == "info"
    data = heard[1]["data"]
    assert (data["category"], data["task_id"], data["status"]) == ("tasks", task["id"], "succeeded")
    assert data["message"] == f"task {task['id']} succeeded"


def test_the_same_call_answers_the_active_task_and_another_is_refused(workflow, queue):
    task = queue(only_uninitialized=False)
    workflow.sql("SELECT pg_advisory_lock(3, %s)", task)  # as if another process did it
    try:
        assert active(workflow)["id"] == task
        assert start(workflow, only_uninitialized=False)["id"] == task
        for other in ({}, {"only_uninitialized": True}, {"only_uninitialized": False, "keep_running": False}):
            error = start(workflow, status=409, **other)["error"]
            assert (error["existing_task_id"], error["existing_operation"]) == (task, "initialize_jobs")
            assert "already active with different parameters" in error["message"]
        assert workflow.initialize()["message"] == "Initialized job status"  # that neither sees nor waits for tasks
    finally:
        workflow.sql("SELECT pg_advisory_unlock(3, %s)", task)
    assert start(workflow, only_uninitialized=False)["status"] == "succeeded"
    assert start(workflow)["id"] != task


def test_a_large_workflow_is_answered_at_once_and_done_by_the_thread_of_tasks(workflow):
    create_many(workflow)
    task = start(workflow)
    assert task["status"] in ("queued", "running")
    finished = wait_for(workflow, task["id"], "succeeded")
    assert finished["started_at_ms"] <= finished["finished_at_ms"]
    assert workflow.sql("SELECT DISTINCT status::text FROM torc.job WHERE workflow_id = %s", workflow.id) == ["ready"]


def test_a_task_of_a_deleted_workflow_and_an_unknown_one_are_404(client, database):
    workflow = Workflow(client, database)
    task = start(workflow)["id"]
    client.delete(workflow.path)
    for path in (f"/tasks/{task}", "/tasks/999999999"):
        assert client.get(path, status=404).json["error"]["message"] == "Task not found"
    error = client.get(f"{workflow.path}/active_task", status=404).json["error"]
    assert error["message"] == "Workflow not found"


# A server that dies


@pytest.mark.parametrize("also_the_master", [True, False], ids=["the whole server", "its workers"])
def test_a_task_whose_process_is_killed_in_the_middle_is_done_by_another(
    start_server, fresh_database_url, also_the_master
):
    url = fresh_database_url
    server = start_server(database_url=url, workers=2)
    with psycopg.connect(url, autocommit=True) as database, psycopg.connect(url) as holder:
        workflow = Workflow(server.client, database)
        jobs = create_many(workflow)
        holder.execute("SELECT 1 FROM torc.job WHERE id = %s FOR UPDATE", [jobs[-1]])  # it waits there, in the middle
        task = start(workflow)["id"]
        wait_for(workflow, task, "running")
        wait_until_it_waits(database, holder)
        workers = server.workers()
        if also_the_master:
            os.kill(server.process.pid, signal.SIGKILL)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        holder.rollback()
        if also_the_master:
            server.process.wait()
            workflow.client = start_server(database_url=url).client
        else:
            server.wait_for_workers(2, without=workers)
            workflow.client.close()
        wait_for(workflow, task, "succeeded")
        statement = "SELECT status::text, count(*) FROM torc.job WHERE workflow_id = %s GROUP BY 1"
        counts = workflow.sql(statement, workflow.id)
        assert counts == [("ready", MANY)]
        assert workflow.violations() == []


def wait_until_it_waits(database, holder):
    """Until somebody waits for a row that the holder has locked."""
    end = time.monotonic() + 30
    statement = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    while not database.execute(statement, [holder.info.backend_pid]).fetchone()[0]:
        assert time.monotonic() < end, "nothing waits for the row"
        time.sleep(0.05)
