"""spawn_jobs: a running job adds jobs that wait for it, generation after generation of a lineage."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from client_versions import NEW, environment_with
from support import PREFIX
from workflow import Workflow

NAMED = "__torc_lineage__{}__{}"


@pytest.fixture
def spawner(workflow):
    """A running job named seed."""
    return workflow.job_in("running", name="seed")


def spawn(workflow, job, *jobs, status=200, **request):
    """Send the call; jobs: names, or models without the command."""
    models = [{"command": "c"} | ({"name": model} if type(model) is str else model) for model in jobs]
    return workflow.client.post(f"/jobs/{job}/spawn_jobs", json={"jobs": models} | request, status=status).json


def refusal(workflow, job, *jobs, **request):
    """The message of a refused call, which has changed nothing."""
    before = rows(workflow)
    message = spawn(workflow, job, *jobs, status=422, **request)["error"]["message"]
    assert rows(workflow) == before
    return message


def rows(workflow):
    return [
        workflow.client.get(path, params={"workflow_id": workflow.id}).json["items"]
        for path in ("/jobs", "/user_data", "/events")
    ] + workflow.sql("SELECT count(*) FROM torc.job_depends_on")


def records(workflow):
    """{name: data} of the records of lineages."""
    items = workflow.client.get("/user_data", params={"workflow_id": workflow.id}).json["items"]
    assert all(item["is_ephemeral"] for item in items)
    return {item["name"]: item["data"] for item in items}


# What a call does


def test_spawned_jobs_wait_for_their_caller_and_then_become_ready(workflow, spawner):
    answer = spawn(workflow, spawner, "b", {"name": "a", "depends_on": ["b"]})
    b, a = answer["spawned_job_ids"]
    assert answer["iteration"] == 1
    assert workflow.statuses(b, a) == ["blocked", "blocked"]
    assert (workflow.depends_on(b), workflow.depends_on(a)) == ([spawner], [spawner, b])
    workflow.complete(spawner)
    assert workflow.statuses(b, a) == ["ready", "blocked"]
    workflow.complete(b)
    assert workflow.statuses(a) == ["ready"]


@pytest.mark.parametrize("ended", ["failed", "terminated", "canceled"])
def test_spawned_jobs_are_canceled_with_their_caller_unless_they_want_to_run_all_the_same(workflow, spawner, ended):
    canceled, behind, stays = spawn(
        workflow, spawner, "a", {"name": "b", "depends_on": ["a"]},
        {"name": "c", "cancel_on_blocking_job_failure": False},
    )["spawned_job_ids"]  # fmt: skip
    workflow.complete(spawner, ended)
    assert workflow.statuses(canceled, behind, stays) == ["canceled", "canceled", "ready"]
    assert workflow.results(canceled) == []


def test_a_caller_that_is_completed_in_a_batch_releases_what_it_has_spawned(workflow, spawner):
    [job] = spawn(workflow, spawner, "a")["spawned_job_ids"]
    entry = {"job_id": spawner, "status": "completed", "run_id": 0, "result": workflow.result(spawner)}
    workflow.client.post(f"{workflow.path}/batch_complete_jobs", json={"completions": [entry]})
    assert workflow.status(job) == "ready"


def test_spawned_jobs_may_depend_on_jobs_of_the_workflow_whatever_their_status(workflow, spawner):
    workflow.job_in("completed", name="done")
    workflow.job_in("failed", name="broken")
    waiting = workflow.job(name="waiting")
    first, second, third = spawn(
        workflow, spawner, {"name": "a", "depends_on": ["done", "done", "seed"]},
        {"name": "b", "depends_on": ["broken"]}, {"name": "c", "depends_on": ["waiting"]},
    )["spawned_job_ids"]  # fmt: skip
    workflow.complete(spawner)
    assert workflow.statuses(first, second, third) == ["ready", "canceled", "blocked"]
    workflow.complete(waiting)
    assert workflow.status(third) == "ready"


def test_depends_on_means_jobs_of_the_request_and_of_no_other_workflow(workflow, spawner):
    elsewhere = Workflow(workflow.client, workflow.database)
    elsewhere.job(name="a")
    a, b = spawn(workflow, spawner, "a", {"name": "b", "depends_on": ["a"]})["spawned_job_ids"]
    assert workflow.depends_on(b) == [spawner, a]
    assert "unknown job 'x'" in refusal(workflow, spawner, {"name": "c", "depends_on": ["x"]})


def test_a_spawned_job_is_made_of_what_the_call_says_and_of_its_workflow(client, database):
    workflow = Workflow(client, database, env={"A": "1", "TORC_ORCHESTRATOR_LINEAGE_ID": "x"})
    spawner = workflow.job_in("running", name="seed", env={"OWN": "1"})
    small = workflow.requirements()
    workflow.client.put(f"/resource_requirements/{small}", json={"workflow_id": workflow.id, "name": "small"})
    full = {
        "name": "full", "command": "run it", "priority": 7, "labels": ["b", "a", "b"],
        "cancel_on_blocking_job_failure": False, "resource_requirements": "small",
    }  # fmt: skip
    jobs = [client.get(f"/jobs/{job}").json for job in spawn(workflow, spawner, full, "plain")["spawned_job_ids"]]
    first, second = jobs
    assert (first["name"], first["command"], first["priority"], first["labels"]) == ("full", "run it", 7, ["a", "b"])
    assert (first["resource_requirements_id"], first["cancel_on_blocking_job_failure"]) == (small, False)
    assert (second["priority"], second["cancel_on_blocking_job_failure"], "labels" in second) == (0, True, False)
    default = client.get("/resource_requirements", params={"workflow_id": workflow.id, "name": "default"}).json["items"]
    assert second["resource_requirements_id"] == default[0]["id"]
    for job in jobs:
        assert job["env"] == {"A": "1", "TORC_ORCHESTRATOR_LINEAGE_ID": "seed"}
        assert (job["origin"], job["status"], job["attempt_id"]) == ("spawn", "blocked", 1)
        assert (job["supports_termination"], job["depends_on_job_ids"]) == (False, [spawner])
    assert workflow.violations() == []


def change(workflow, job, invocation_script):
    body = {"workflow_id": workflow.id, "name": "a", "command": "c", "invocation_script": invocation_script}
    workflow.client.put(f"/jobs/{job}", json=body)


def test_spawned_jobs_have_no_input_hash_before_the_next_initialize_jobs(workflow):
    spawner = workflow.job(name="seed")
    workflow.initialize()
    workflow.claim()
    workflow.start(spawner, workflow.node())
    [job] = spawn(workflow, spawner, "a")["spawned_job_ids"]
    path = f"{workflow.path}/process_changed_job_inputs"
    assert workflow.client.post(path).json == {"reinitialized_jobs": []}
    change(workflow, job, "bash")
    assert workflow.client.post(path).json == {"reinitialized_jobs": []}
    workflow.initialize(only_uninitialized=True, keep_running=True)  # the spawner runs, the job waits for it
    change(workflow, job, "sh")
    assert workflow.client.post(path, params={"dry_run": True}).json == {"reinitialized_jobs": ["a"]}


def test_a_spawned_job_that_initialize_jobs_leaves_running_still_has_no_input_hash(workflow):
    spawner = workflow.job(name="seed")
    workflow.initialize()
    node = workflow.node()
    workflow.claim()
    workflow.start(spawner, node)
    [job] = spawn(workflow, spawner, "a")["spawned_job_ids"]
    workflow.complete(spawner)
    workflow.claim()
    workflow.start(job, node)
    for _ in range(2):
        workflow.initialize(keep_running=True)
        change(workflow, job, "bash")
        path = f"{workflow.path}/process_changed_job_inputs"
        assert workflow.client.post(path, params={"dry_run": True}).json == {"reinitialized_jobs": []}


def test_a_call_is_no_event_and_no_action_counts_it(workflow, spawner):
    action = {"workflow_id": workflow.id, "trigger_type": "on_jobs_ready", "action_type": "x", "action_config": {}}
    workflow.client.post(f"{workflow.path}/actions", json=action | {"job_ids": [spawner]})
    workflow.sql(
        """
        INSERT INTO torc.event_stream (workflow_id, expires_at)
        VALUES (%s, now() + interval '1 min') RETURNING id
        """,
        workflow.id,
    )
    workflow.database.execute(f"LISTEN torc_workflow_{workflow.id}")
    spawn(workflow, spawner, "a")
    heard = [*workflow.database.notifies(timeout=0.2)]
    workflow.database.execute(f"UNLISTEN torc_workflow_{workflow.id}")
    assert heard == []
    assert workflow.client.get("/events", params={"workflow_id": workflow.id}).json["items"] == []
    assert workflow.client.get(f"{workflow.path}/actions").json[0]["trigger_count"] == 0


# Generations


def test_each_call_is_a_generation_whose_state_is_kept(workflow, spawner):
    assert spawn(workflow, spawner, "a", state={"x": [None]})["iteration"] == 1
    assert spawn(workflow, spawner, "b")["iteration"] == 2
    assert spawn(workflow, spawner, "c", lineage="other", state=False)["iteration"] == 1
    assert records(workflow) == {
        NAMED.format("seed", "g000001"): {"generation": 1, "spawn_count": 1, "state": {"x": [None]}},
        NAMED.format("seed", "g000002"): {"generation": 2, "spawn_count": 2, "state": None},
        NAMED.format("other", "g000001"): {"generation": 1, "spawn_count": 1, "state": False},
    }


def test_a_state_without_jobs_is_the_final_one_and_may_be_replaced(workflow, spawner):
    spawn(workflow, spawner, "a")
    for state in (1, {"done": True}):
        assert spawn(workflow, spawner, state=state) == {"spawned_job_ids": [], "iteration": 1}
        assert records(workflow)[NAMED.format("seed", "final")] == {
            "generation": 1, "spawn_count": 1, "state": state, "final": True
        }  # fmt: skip
    assert len(records(workflow)) == 2
    assert spawn(workflow, spawner, "b")["iteration"] == 2


def test_neither_jobs_nor_a_state_changes_nothing(workflow, spawner):
    before = rows(workflow)
    for nothing in ({}, {"state": None}):
        assert spawn(workflow, spawner, **nothing) == {"spawned_job_ids": [], "iteration": 0}
    assert rows(workflow) == before


@pytest.mark.parametrize("other", ["X", "x__g1", "x__g000001", "x__", "", "%", "x_", "y"])
def test_lineages_are_told_apart_by_their_whole_names(workflow, spawner, other):
    for number in range(3):
        spawn(workflow, spawner, f"other {number}", lineage=other)
    assert spawn(workflow, spawner, "a", lineage="x")["iteration"] == 1
    assert spawn(workflow, spawner, "b", lineage=other)["iteration"] == 4


def test_the_count_survives_a_reset_and_goes_down_with_deleted_records(workflow, spawner):
    for name in "abc":
        spawn(workflow, spawner, name)
    workflow.initialize()
    workflow.manage(spawner, "running")
    assert spawn(workflow, spawner, "d")["iteration"] == 4
    items = workflow.client.get("/user_data", params={"workflow_id": workflow.id}).json["items"]
    for item in items[2:]:
        workflow.client.delete(f"/user_data/{item['id']}")
    assert spawn(workflow, spawner, "e")["iteration"] == 3


def test_the_same_call_again_answers_the_jobs_and_changes_nothing(workflow, spawner):
    first = spawn(workflow, spawner, "a", "b", state=1)
    before = rows(workflow), records(workflow)
    assert spawn(workflow, spawner, "a", "b", state=2) == first
    assert spawn(workflow, spawner, {"name": "b", "priority": 9, "resource_requirements": "?"})["iteration"] == 1
    assert spawn(workflow, spawner, "b", "a")["spawned_job_ids"] == first["spawned_job_ids"][::-1]
    assert (rows(workflow), records(workflow)) == before
    assert "Inconsistent replay" in refusal(workflow, spawner, "a", "c")


def test_a_caller_that_fails_and_is_retried_finds_its_jobs_again(workflow, spawner):
    [job] = spawn(workflow, spawner, "a")["spawned_job_ids"]
    workflow.complete(spawner, "failed")
    assert workflow.status(job) == "canceled"
    workflow.retry(spawner)
    workflow.manage(spawner, "running")
    assert spawn(workflow, spawner, "a") == {"spawned_job_ids": [job], "iteration": 1}
    workflow.complete(spawner, attempt_id=2)
    assert workflow.status(job) == "ready"


def test_the_generations_of_a_lineage_are_as_many_as_the_workflow_allows(client, database):
    workflow = Workflow(client, database, dynamic_jobs={"max_iterations": 2})
    spawner = workflow.job_in("running", name="seed")
    spawn(workflow, spawner, "a")
    spawn(workflow, spawner, "b")
    message = refusal(workflow, spawner, "c")
    assert message == (
        "Per-lineage iteration cap reached for lineage 'seed': attempted iteration 3 exceeds "
        "dynamic_jobs.max_iterations=2 (current spawn_count=2)"
    )
    assert spawn(workflow, spawner, "a")["iteration"] == spawn(workflow, spawner, state=1)["iteration"] == 2
    assert spawn(workflow, spawner, "c", lineage="other")["iteration"] == 1


def test_without_a_setting_there_are_1000_generations(workflow, spawner):
    name = NAMED.format("seed", "g000999")
    workflow.client.post("/user_data", json={"workflow_id": workflow.id, "name": name, "is_ephemeral": True})
    assert spawn(workflow, spawner, "a")["iteration"] == 1000
    assert "exceeds dynamic_jobs.max_iterations=1000" in refusal(workflow, spawner, "b")


def test_a_record_of_a_lineage_is_unique_however_it_is_made(workflow, spawner):
    spawn(workflow, spawner, "a")
    body = {"workflow_id": workflow.id, "name": NAMED.format("seed", "g000001")}
    post = workflow.client.post
    assert post("/user_data", json=body, status=409).json["error"]["field"] == "workflow_id, name"
    post("/bulk_user_data", json={"user_data": [body]}, status=409)
    other = post("/user_data", json=body | {"name": "other"}).json["id"]
    workflow.client.put(f"/user_data/{other}", json=body, status=409)
    for _ in range(2):
        post("/user_data", json=body | {"name": "any other name"})
    elsewhere = Workflow(workflow.client, workflow.database)
    post("/user_data", json=body | {"workflow_id": elsewhere.id})


# What is refused


@pytest.mark.parametrize("status", ["uninitialized", "blocked", "ready", "pending", "completed", "pending_failed"])
def test_only_a_running_job_may_spawn_others(workflow, status):
    job = workflow.job_in(status)
    camel = status.title().replace("_", "")
    said = f"spawn_jobs requires the calling job to be Running (job_id={job} is {camel})"
    for jobs in (["a"], []):
        assert refusal(workflow, job, *jobs).startswith(said)


def test_an_unknown_job_is_404(workflow):
    assert spawn(workflow, 10**12, "a", status=404)["error"]["message"] == f"Job not found with ID: {10**12}"


@pytest.mark.parametrize("jobs, field, said", [
    (["a", "b", "a"], "jobs[2].name", "duplicate name 'a' in spawn batch"),
    ([{"name": "a", "priority": -1}], "jobs[0].priority", "must be >= 0"),
    ([{"name": "a", "labels": ["x,y"]}], "jobs[0].labels", "label must be"),
    ([{"name": "a", "colour": 1}], "jobs[0].colour", "is not a known key"),
    ([{"name": "a", "depends_on": "b"}], "jobs[0].depends_on", "list of strings"),
    ([{"name": "a", "depends_on": [1]}], "jobs[0].depends_on", "list of strings"),
    ([{"name": 1}], "jobs[0].name", "must be a string"),
    ([{"priority": 1}], "jobs[0].name", "Missing data"),
    ([{"name": "a", "command": "\0"}], "jobs[0].command", "NUL"),
])  # fmt: skip
def test_a_job_that_does_not_fit_is_422_naming_the_field(workflow, spawner, jobs, field, said):
    error = spawn(workflow, spawner, *jobs, status=422)["error"]
    assert error["field"] == field and said in error["message"]


@pytest.mark.parametrize("request_, field", [
    ({"colour": 1}, "colour"), ({"lineage": 1}, "lineage"), ({"jobs": {}}, "jobs"), ({"jobs": None}, "jobs"),
    ({"state": "\0"}, "state"),
])  # fmt: skip
def test_a_request_that_does_not_fit_is_422_naming_the_field(workflow, spawner, request_, field):
    assert spawn(workflow, spawner, status=422, **request_)["error"]["field"] == field


def test_requirements_must_exist_in_the_workflow(workflow, spawner):
    wrong = {"name": "b", "resource_requirements": "big"}
    other = Workflow(workflow.client, workflow.database)
    other.client.post("/resource_requirements", json={"workflow_id": other.id, "name": "big"})
    assert refusal(workflow, spawner, "a", wrong) == "Unknown resource_requirements 'big' for spawn job 'b'"
    workflow.sql(
        "UPDATE torc.resource_requirements SET name = 'x' WHERE workflow_id = %s RETURNING id", workflow.id
    )  # fmt: skip
    assert refusal(workflow, spawner, wrong, "a") == (
        "spawn_jobs requires every job to set `resource_requirements`, or the workflow must define an RR named "
        "'default' to fall back on"
    )
    spawn(workflow, spawner, {"name": "a", "resource_requirements": "x"})


@pytest.mark.parametrize("edges, cycle", [
    ({"a": ["a"]}, ["a waits for a"]),
    ({"a": ["b"], "b": ["a"]}, ["a waits for b waits for a", "b waits for a waits for b"]),
    ({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["b", "seed"], "e": ["a", "unknown"]},
     ["b waits for c waits for d waits for b"]),
])  # fmt: skip
def test_a_cycle_is_refused_with_its_names_before_an_unknown_name(workflow, spawner, edges, cycle):
    jobs = [{"name": name, "depends_on": needed} for name, needed in edges.items()]
    message = refusal(workflow, spawner, *jobs)
    assert message.startswith("spawn jobs dependency graph contains a cycle: ")
    assert message.split(": ")[1] in cycle


def test_a_job_may_depend_on_a_later_one_of_the_request(workflow, spawner):
    first, second = spawn(workflow, spawner, {"name": "a", "depends_on": ["b"]}, "b")["spawned_job_ids"]
    assert workflow.depends_on(first) == [spawner, second]
    workflow.complete(spawner)
    workflow.initialize()
    assert workflow.statuses(first, second) == ["blocked", "ready"]


def test_names_and_lineages_may_be_long(workflow, spawner):
    long = "".join(f"{number:x}" for number in range(3000))  # PostgreSQL compresses the keys of an index
    assert spawn(workflow, spawner, long) == spawn(workflow, spawner, long)
    assert "too long" in refusal(workflow, spawner, "a", lineage=long)


def test_of_several_jobs_of_a_name_the_first_is_meant(workflow, spawner):
    first = workflow.job(name="twice")
    workflow.job(name="twice")
    assert spawn(workflow, spawner, "twice")["spawned_job_ids"] == [first]
    [job] = spawn(workflow, spawner, {"name": "a", "depends_on": ["twice"]})["spawned_job_ids"]
    assert workflow.depends_on(job) == [spawner, first]


# At once


def test_the_same_call_of_many_threads_adds_its_jobs_once(workflow, spawner):
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: spawn(workflow, spawner, "a", "b"), range(12)))
    assert answers == [answers[0]] * 12
    assert len(records(workflow)) == 1


def test_jobs_that_are_spawned_while_the_caller_completes_are_released_or_refused(workflow):
    for _ in range(15):
        spawner = workflow.job_in("running", name="seed")
        with ThreadPoolExecutor(2) as threads:
            spawned = threads.submit(spawn, workflow, spawner, f"of {spawner}", status=None)
            workflow.complete(spawner)
        answer = spawned.result()
        if "error" in answer:
            assert "to be Running" in answer["error"]["message"]
        else:
            assert workflow.status(answer["spawned_job_ids"][0]) == "ready"
    assert workflow.violations() == []


# A real client

SCRIPT = """
import json, os, sys
from torc import Orchestrator, SpawnJobModel
from torc.openapi_client.exceptions import ApiException

orchestrator = Orchestrator.from_env(lineage_fallback="seed")
before = orchestrator.generation
jobs = [SpawnJobModel(name="a", command="c"), SpawnJobModel(name="b", command="c", depends_on=["a"], priority=1)]
spawned = orchestrator.spawn(jobs, state={"best": 1})
after = orchestrator.generation
again = orchestrator.spawn(jobs)
final = orchestrator.converge(state=2)
try:
    orchestrator.spawn([SpawnJobModel(name="c", command="c", depends_on=["x"])])
except ApiException as error:
    refused = error.status
print(json.dumps([before, spawned.to_dict(), after, again.to_dict(), final.to_dict(), refused]))
"""


def test_the_orchestrator_of_torc_client_0_35_0_spawns_jobs_and_counts_generations(server):
    workflow = Workflow(server.client, None)
    spawner = workflow.job_in("running", name="seed")
    environment = environment_with(NEW) | {
        "TORC_API_URL": server.url + PREFIX, "TORC_WORKFLOW_ID": str(workflow.id), "TORC_JOB_ID": str(spawner)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, spawned, after, again, final, refused = json.loads(done.stdout)
    assert (before, spawned["iteration"], after, final["iteration"], refused) == (0, 1, 1, 1, 422)
    assert again == spawned and len(spawned["spawned_job_ids"]) == 2 and final["spawned_job_ids"] == []
    assert workflow.statuses(*spawned["spawned_job_ids"]) == ["blocked", "blocked"]
