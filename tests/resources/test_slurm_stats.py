"""Slurm stats: create for a job, list with filters, and how they go with their job."""

import threading

import psycopg
import pytest
from support import wait_for

FIGURES = {
    "slurm_job_id": "4711_2", "max_rss_bytes": 2**40, "max_vm_size_bytes": 1, "max_disk_read_bytes": 0,
    "max_disk_write_bytes": 2**63 - 1, "ave_cpu_seconds": 12.5, "node_list": "n[1-4]",
}  # fmt: skip


@pytest.fixture
def job(workflow):
    return workflow.job()


@pytest.fixture
def store(workflow, job):
    """Store Slurm stats of the job; return the answer."""

    def store(status=200, **fields):
        body = {"workflow_id": workflow.id, "job_id": job, "run_id": 1, "attempt_id": 1} | fields
        return workflow.client.post("/slurm_stats", json=body, status=status).json

    return store


@pytest.fixture
def listed(workflow):
    """The ids of a list of Slurm stats."""

    def listed(**params):
        answer = workflow.client.get("/slurm_stats", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"]]

    return listed


def test_create_answers_what_was_sent_with_an_id_and_the_list_returns_it(workflow, job, store):
    created = store(id=0, **FIGURES)
    sent = {"workflow_id": workflow.id, "job_id": job, "run_id": 1, "attempt_id": 1}
    assert created == {"id": created["id"]} | sent | FIGURES
    assert workflow.client.get("/slurm_stats", params={"workflow_id": workflow.id}).json["items"] == [created]


def test_the_figures_may_be_absent_and_are_left_out(workflow, store):
    created = store(**dict.fromkeys(FIGURES))
    assert created.keys() == {"id", "workflow_id", "job_id", "run_id", "attempt_id"}
    assert workflow.client.get("/slurm_stats", params={"workflow_id": workflow.id}).json["items"] == [created]


def test_run_and_attempt_are_not_compared_with_the_job(store, listed):
    assert store(run_id=-7, attempt_id=99)["id"] in listed()


@pytest.mark.parametrize("field", ["workflow_id", "job_id", "run_id", "attempt_id"])
def test_a_required_field_must_be_there(workflow, job, field):
    body = {"workflow_id": workflow.id, "job_id": job, "run_id": 1, "attempt_id": 1}
    del body[field]
    assert workflow.client.post("/slurm_stats", json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        *(
            (name, value)
            for name in ("workflow_id", "job_id", "run_id", "attempt_id")
            for value in (None, "1", 1.0, 2**63)
        ),
        ("max_rss_bytes", 1.5),
        ("max_rss_bytes", 2**63),
        ("ave_cpu_seconds", "1"),
        ("ave_cpu_seconds", True),
        ("node_list", ["n1"]),
        ("slurm_job_id", 4711),
        ("node_list", "\0"),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_a_second_one_of_the_same_job_run_and_attempt_is_409_and_the_first_stays(workflow, store, listed):
    first = store(max_rss_bytes=1)
    assert store(status=409, max_rss_bytes=2)["error"]["error"] == "Conflict"
    assert workflow.client.get("/slurm_stats", params={"workflow_id": workflow.id}).json["items"] == [first]
    assert store(attempt_id=2)["id"] in listed() and store(run_id=2)["id"] in listed()


def test_an_unknown_job_is_422_naming_it(store, listed):
    error = store(status=422, job_id=999999999)["error"]
    assert (error["field"], error["value"]) == ("job_id", 999999999)
    assert listed() == []


def test_a_job_of_another_workflow_is_422_in_either_workflow(workflow, store, client, job, listed):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    assert store(status=422, workflow_id=other)["error"]["field"] == "job_id"
    assert listed() == []
    assert client.get("/slurm_stats", params={"workflow_id": other}).json["items"] == []


def test_the_filters_are_equality_and_unknown_ids_give_an_empty_list(workflow, store, listed, job):
    other = workflow.job()
    first, second, third = store()["id"], store(run_id=2)["id"], store(job_id=other, attempt_id=3)["id"]
    assert listed() == [first, second, third]
    assert listed(job_id=job) == [first, second]
    assert listed(job_id=job, run_id=2) == [second]
    assert listed(attempt_id=3) == [third]
    assert listed(job_id=999999999) == []


def test_the_list_is_by_id_and_takes_no_order(store, listed):
    ids = [store(run_id=run)["id"] for run in (3, 1, 2)]
    assert listed(sort_by="run_id", reverse_sort=True) == ids


def test_a_limit_beyond_the_maximum_is_cut_and_max_limit_stays_the_maximum(workflow, store):
    ids = [store(run_id=run)["id"] for run in (1, 2)]

    def get(**params):
        return workflow.client.get("/slurm_stats", params={"workflow_id": workflow.id} | params).json

    everything = {"offset": 0, "max_limit": 100000, "count": 2, "total_count": 2, "has_more": False}
    answer = get(limit=100001)
    assert [item["id"] for item in answer.pop("items")] == ids
    assert answer == everything
    answer = get(limit=1, offset=0)
    assert [item["id"] for item in answer.pop("items")] == ids[:1]
    assert answer == everything | {"count": 1, "has_more": True}


@pytest.mark.parametrize(
    "params, code",
    [
        ({"limit": -1}, 422),
        ({"offset": -1}, 422),
        ({"job_id": "x"}, 400),
        ({"run_id": ""}, 400),
        ({"limit": 2**63}, 400),
    ],
)
def test_a_query_that_does_not_fit_is_refused_naming_the_parameter(workflow, params, code):
    query = {"workflow_id": workflow.id} | params
    answer = workflow.client.get("/slurm_stats", params=query, status=code).json
    assert answer["error"]["field"] == next(iter(params))


def test_there_is_nothing_but_create_and_list(workflow, store):
    workflow.client.get(f"/slurm_stats/{store()['id']}", status=404)
    for method in (workflow.client.put, workflow.client.delete):
        assert method("/slurm_stats", status=405).headers["allow"] == "GET,HEAD,POST"


def test_stats_go_with_their_job_and_with_their_workflow(client, database):
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    jobs = [client.post("/jobs", json={"workflow_id": other, "name": n, "command": "c"}).json["id"] for n in "ab"]
    for job in jobs:
        body = {"workflow_id": other, "job_id": job, "run_id": 1, "attempt_id": 1}
        client.post("/slurm_stats", json=body)
    client.delete(f"/jobs/{jobs[0]}")
    [left] = client.get("/slurm_stats", params={"workflow_id": other}).json["items"]
    assert left["job_id"] == jobs[1]
    client.delete(f"/workflows/{other}")
    assert database.execute("SELECT count(*) FROM torc.slurm_stats WHERE workflow_id = %s", [other]).fetchone() == (0,)


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {"params": {"workflow_id": 999999999}}),
        ("post", {"json": {"workflow_id": 999999999, "job_id": 1, "run_id": 1, "attempt_id": 1}}),
    ],
)
def test_an_unknown_workflow_is_404_for_list_and_create(client, method, arguments):
    error = getattr(client, method)("/slurm_stats", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Workflow not found with ID: 999999999"}


def test_a_job_that_is_deleted_meanwhile_leaves_no_stats_behind(workflow, store, job, database_url, database):
    answers = []
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT torc.delete_job(%s, NULL)", [job])
        thread = threading.Thread(target=lambda: answers.append(store(status=422)))
        thread.start()
        wait_for(lambda: waits_for(database, connection.info.backend_pid), what="create waits for the delete")
        connection.commit()
        thread.join()
    assert answers[0]["error"]["field"] == "job_id"
    assert workflow.sql("SELECT id FROM torc.slurm_stats WHERE job_id = %s", job) == []


def test_a_job_deleted_at_psql_without_the_workflows_lock_leaves_no_stats_behind(
    workflow, store, job, database_url, database
):
    answers = []
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM torc.job WHERE id = %s", [job])
        thread = threading.Thread(target=lambda: answers.append(store(status=422)))
        thread.start()
        wait_for(lambda: waits_for(database, connection.info.backend_pid), what="create waits for the job's row")
        connection.commit()
        thread.join()
    assert answers[0]["error"]["field"] == "job_id"
    assert workflow.sql("SELECT id FROM torc.slurm_stats WHERE job_id = %s", job) == []


def waits_for(database, pid):
    return database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", [pid]
    ).fetchone()[0]
