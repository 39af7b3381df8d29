"""Resource requirements: create, read, list, change; delete, which takes the jobs along."""

import threading

import psycopg
import pytest
from support import wait_for
from workflow import Workflow

DEFAULTS = {"num_cpus": 1, "num_gpus": 0, "num_nodes": 1, "memory": "1m", "runtime": "PT1M"}
EVERYTHING = {
    "name": "gpu_large", "num_cpus": 16, "num_gpus": 4, "num_nodes": 2, "memory": "128g", "runtime": "PT8H",
}  # fmt: skip


@pytest.fixture
def store(workflow):
    """Store resource requirements of the workflow; return the answer."""

    def create(status=200, **fields):
        body = {"workflow_id": workflow.id, "name": "r"} | fields
        return workflow.client.post("/resource_requirements", json=body, status=status).json

    return create


@pytest.fixture
def listed(workflow):
    """The ids of a list of requirements, without the one that each workflow is made with."""

    def listed(**params):
        answer = workflow.client.get("/resource_requirements", params={"workflow_id": workflow.id} | params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return [item["id"] for item in answer["items"] if item["name"] != "default"]

    return listed


@pytest.fixture
def other(client, database):
    """A second workflow."""
    other = Workflow(client, database)
    yield other
    assert other.violations() == []


def test_create_answers_the_stored_requirements(workflow, store):
    created = store(**EVERYTHING)
    assert created == EVERYTHING | {"id": created["id"], "workflow_id": workflow.id}
    assert workflow.client.get(f"/resource_requirements/{created['id']}").json == created


def test_absent_keys_take_their_default(workflow, store):
    created = store()
    assert created == DEFAULTS | {"id": created["id"], "workflow_id": workflow.id, "name": "r"}


@pytest.mark.parametrize("field", DEFAULTS)
def test_null_for_a_field_with_a_default_is_422_naming_it_on_post_and_put(workflow, store, field):
    assert store(status=422, **{field: None})["error"]["field"] == field
    created = store()
    target = f"/resource_requirements/{created['id']}"
    body = created | {field: None}
    assert workflow.client.put(target, json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("name", None),
        ("num_cpus", 1.0),
        ("num_cpus", "1"),
        ("num_gpus", True),
        ("num_nodes", 2**63),
        ("memory", 1),
        ("runtime", 60),
    ],
)
def test_a_field_of_the_wrong_type_is_422_naming_it(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_the_name_default_is_reserved_even_before_the_workflow_is_looked_up(store):
    error = store(status=422, name="default")["error"]
    assert (error["field"], error["value"]) == ("name", "default")
    assert store(status=422, name="default", workflow_id=10**12)["error"]["field"] == "name"
    assert store(name="Default")["name"] == "Default"


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("memory", "1.5g", "Invalid memory format '1.5g': Invalid number in memory string: 1.5"),
        (
            "runtime",
            "30m",
            "Invalid runtime format '30m': Invalid ISO 8601 duration format: Failed to parse duration: 30m",
        ),
        ("num_nodes", 0, "num_nodes must be > 0, got 0"),
        ("num_nodes", -1, "num_nodes must be > 0, got -1"),
    ],
)
def test_a_broken_rule_is_422_with_field_and_value_on_post_and_put(workflow, store, field, value, message):
    error = {"error": "UnprocessableEntity", "field": field, "message": message, "value": value}
    assert store(status=422, **{field: value})["error"] == error
    created = store()
    target = f"/resource_requirements/{created['id']}"
    assert workflow.client.put(target, json=created | {field: value}, status=422).json["error"] == error
    assert workflow.client.get(target).json == created


def test_memory_is_checked_before_runtime_and_runtime_before_num_nodes(store):
    assert store(status=422, memory="x", runtime="x", num_nodes=0)["error"]["field"] == "memory"
    assert store(status=422, runtime="x", num_nodes=0)["error"]["field"] == "runtime"


def test_zero_and_negative_cpus_and_gpus_pass(store):
    assert store(num_cpus=0, num_gpus=-1).items() >= {"num_cpus": 0, "num_gpus": -1}.items()


def test_names_need_not_be_unique(store):
    assert store(name="same")["id"] < store(name="same")["id"]


@pytest.mark.parametrize("field", ["name", "memory", "num_cpus", "num_gpus", "num_nodes"])
def test_each_filter_is_equality(store, listed, field):
    wanted = store(**EVERYTHING)["id"]
    store()
    assert listed(**{field: EVERYTHING[field]}) == [wanted]


def test_the_memory_filter_compares_text_and_the_runtime_filter_seconds(workflow, store, listed):
    wanted = [store(runtime=runtime)["id"] for runtime in ("PT8H", "PT480M")]
    store(memory="1024k")
    store(memory="1024k", runtime="PT9H")
    assert listed(runtime=8 * 3600) == wanted
    assert listed(memory="1m") == wanted
    workflow.client.get("/resource_requirements", params={"workflow_id": workflow.id, "runtime": "PT8H"}, status=400)


def test_the_job_id_filter_gives_the_requirements_of_the_job(workflow, other, store, listed):
    wanted = store()["id"]
    store()
    assert listed(job_id=workflow.job(resource_requirements_id=wanted)) == [wanted]
    assert listed(job_id=other.job()) == listed(job_id=10**12) == []


def test_a_list_holds_the_default_requirements_of_the_workflow(workflow):
    [default] = workflow.client.get("/resource_requirements", params={"workflow_id": workflow.id}).json["items"]
    expected = DEFAULTS | {"name": "default", "runtime": "P0DT1M", "workflow_id": workflow.id}
    assert default == expected | {"id": default["id"]}


def test_lists_sort_by_each_column_memory_as_text(store, listed):
    a, b = store(memory="9g", num_cpus=2)["id"], store(memory="10g", num_cpus=1)["id"]
    assert listed(sort_by="memory") == [b, a]
    assert listed(sort_by="num_cpus") == [b, a]
    assert listed(sort_by="memory_bytes") == [a, b]


def test_put_resets_absent_keys_to_their_defaults(workflow, store):
    created = store(**EVERYTHING)
    target = f"/resource_requirements/{created['id']}"
    body = {"workflow_id": workflow.id, "name": "new"}
    assert workflow.client.put(target, json=body).json == DEFAULTS | body | {"id": created["id"]}
    assert workflow.client.get(target).json == DEFAULTS | body | {"id": created["id"]}


def test_put_changes_what_claims_and_filters_compare(workflow, store, listed):
    created = store()
    body = created | {"memory": "2g", "runtime": "PT2H"}
    workflow.client.put(f"/resource_requirements/{created['id']}", json=body)
    assert listed(runtime=7200) == [created["id"]]
    statement = "SELECT memory_bytes FROM torc.resource_requirements WHERE id = %s"
    assert workflow.sql(statement, created["id"]) == [2 * 2**30]


def test_put_may_rename_to_and_from_default(workflow, store):
    created = store()
    target = f"/resource_requirements/{created['id']}"
    assert workflow.client.put(target, json=created | {"name": "default"}).json["name"] == "default"
    assert workflow.client.put(target, json=created).json["name"] == "r"


def test_put_stores_an_event_that_says_who_did_what(workflow, store):
    created = store()
    body = {"workflow_id": workflow.id} | EVERYTHING
    workflow.client.put(f"/resource_requirements/{created['id']}", json=body)
    assert workflow.events() == [
        EVERYTHING
        | {
            "category": "user_action",
            "action": "update_resource_requirements",
            "user": "anonymous",
            "resource_requirements_id": created["id"],
        }
    ]


def test_a_refused_put_stores_no_event(workflow, store):
    created = store()
    workflow.client.put(f"/resource_requirements/{created['id']}", json=created | {"memory": "x"}, status=422)
    assert workflow.events() == []


def test_put_with_the_stored_runtime_passes_though_it_would_not_be_taken_anew(workflow, store):
    """As imported from a reference server, which ignores what is left over after a duration."""
    created = store()
    workflow.database.execute(
        "UPDATE torc.resource_requirements SET runtime = 'PT5Mjunk', runtime_s = 300 WHERE id = %s", [created["id"]]
    )
    target = f"/resource_requirements/{created['id']}"
    assert workflow.client.put(target, json=created | {"runtime": "PT5Mjunk", "num_cpus": 3}).json["num_cpus"] == 3
    assert workflow.sql("SELECT runtime_s FROM torc.resource_requirements WHERE id = %s", created["id"]) == [300]
    workflow.client.put(target, json=created | {"runtime": "PT6Mjunk"}, status=422)


def test_requirements_cannot_move_to_another_workflow(workflow, other, store):
    created = store()
    target = f"/resource_requirements/{created['id']}"
    moved = workflow.client.put(target, json=created | {"workflow_id": other.id}, status=422).json
    assert moved["error"]["field"] == "workflow_id"
    assert workflow.client.get(target).json == created


def test_delete_answers_the_requirements_and_deletes_the_jobs_that_use_them(workflow, store):
    created = store()
    dependency = workflow.job(resource_requirements_id=created["id"])
    dependent = workflow.job(dependency)
    workflow.initialize()
    assert workflow.status(dependent) == "blocked"
    assert workflow.client.delete(f"/resource_requirements/{created['id']}").json == created
    workflow.client.get(f"/resource_requirements/{created['id']}", status=404)
    workflow.client.get(f"/jobs/{dependency}", status=404)
    assert workflow.status(dependent) == "ready"
    assert workflow.depends_on(dependent) == []


def test_delete_takes_jobs_of_other_workflows_along_and_releases_their_dependents(workflow, other, store):
    created = store()
    used, kept = other.job(resource_requirements_id=created["id"]), other.job()
    dependent = other.job(used)
    other.initialize()
    workflow.client.delete(f"/resource_requirements/{created['id']}")
    workflow.client.get(f"/jobs/{used}", status=404)
    assert other.statuses(dependent, kept) == ["ready", "ready"]


def test_bulk_delete_counts_requirements_only_and_includes_the_default_ones(workflow, other, store):
    created = store()
    jobs = [workflow.job(), workflow.job(resource_requirements_id=created["id"])]
    kept = other.job()
    params = {"workflow_id": workflow.id}
    assert workflow.client.delete("/resource_requirements", params=params).json == {"count": 2}
    assert workflow.client.delete("/resource_requirements", params=params).json == {"count": 0}
    for job in jobs:
        workflow.client.get(f"/jobs/{job}", status=404)
    assert other.status(kept) == "uninitialized"


def test_a_job_without_requirements_needs_the_default_ones(workflow):
    workflow.client.delete("/resource_requirements", params={"workflow_id": workflow.id})
    body = {"workflow_id": workflow.id, "name": "j", "command": "c"}
    error = workflow.client.post("/jobs", json=body, status=422).json["error"]
    assert error["field"] == "resource_requirements_id"


def test_delete_waits_for_the_workflow_of_every_job_that_it_takes_along(workflow, other, store, database):
    created = store()
    job = other.job(resource_requirements_id=created["id"])
    answers = []
    target = f"/resource_requirements/{created['id']}"
    delete = threading.Thread(target=lambda: answers.append(workflow.client.delete(target).json))
    with database.transaction():
        other.sql("SELECT pg_advisory_xact_lock_shared(%s)::text", other.id)
        delete.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = %s"
        wait_for(lambda: other.sql(waits, other.id)[0], what="the delete to wait")
        assert answers == []
        assert other.status(job) == "uninitialized"
    delete.join(10)
    assert answers == [created]


def test_a_job_of_one_more_workflow_that_comes_to_use_them_meanwhile_is_waited_for_too(
    client, database, database_url, workflow, other, store
):
    """The delete starts again when it sees that the locks that it took do not cover all jobs."""
    created = store()
    third = Workflow(client, database)
    other.job(resource_requirements_id=created["id"])
    answers = []
    target = f"/resource_requirements/{created['id']}"
    delete = threading.Thread(target=lambda: answers.append(client.delete(target).json))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = %s"
    with psycopg.connect(database_url) as holder:
        with database.transaction():
            other.sql("SELECT pg_advisory_xact_lock_shared(%s)::text", other.id)
            delete.start()
            wait_for(lambda: other.sql(waits, other.id)[0], what="the delete to wait")
            late = third.job(resource_requirements_id=created["id"])
            holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", [third.id])
        wait_for(lambda: other.sql(waits, third.id)[0], what="the delete to wait for the third workflow")
        assert answers == []
        assert third.status(late) == "uninitialized"
    delete.join(10)
    assert answers == [created]
    client.get(f"/jobs/{late}", status=404)
    assert third.violations() == []


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_unknown_requirements_are_404_in_the_words_of_the_contract(client, method):
    body = {"json": {"workflow_id": 1, "name": "n"}} if method == "put" else {}
    message = getattr(client, method)("/resource_requirements/999999999", status=404, **body).json["error"]["message"]
    assert message == "Resource not found in resource_requirements with ID: 999999999"
