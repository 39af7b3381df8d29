"""Ids of another workflow, under access control: they reach no further than the caller may.

Requirements, failure handlers and compute nodes need only exist; here mel owns one workflow, olga the other.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import ROWS, new_group
from support import wait_for

MISSING = 10**15


@pytest.fixture
def mine(access):
    workflow = access.workflow(user="mel")
    yield workflow
    assert workflow.violations() == []


@pytest.fixture
def theirs(access):
    workflow = access.workflow(user="olga")
    yield workflow
    assert workflow.violations() == []


@pytest.fixture
def mel(access):
    return access.user("mel")


@pytest.fixture
def share(access, theirs):
    """Let mel into olga's workflow."""

    def share():
        access.client.post(f"{theirs.path}/access_groups/{new_group(access.client, mel='member')}")

    return share


def handler(workflow):
    body = ROWS["failure_handlers"] | {"workflow_id": workflow.id}
    return workflow.client.post("/failure_handlers", json=body).json["id"]


def action(workflow, **fields):
    body = ROWS["workflow_actions"] | {"workflow_id": workflow.id} | fields
    return workflow.client.post(f"{workflow.path}/actions", json=body).json["id"]


def result(job, workflow, node):
    return ROWS["results"] | {"job_id": job, "workflow_id": workflow.id, "compute_node_id": node}


# Naming: calls of mel's that name a row of olga's workflow


def create_job(mine, job, row):
    return "POST", "/jobs", {"workflow_id": mine.id, "name": "x", "command": "c", "resource_requirements_id": row}


def create_jobs(mine, job, row):
    jobs = [{"workflow_id": mine.id, "name": name, "command": "c"} for name in "xyz"]
    jobs[2]["resource_requirements_id"] = row
    return "POST", "/bulk_jobs", {"jobs": jobs}


def update_job(mine, job, row):
    return "PUT", f"/jobs/{job}", {
        "workflow_id": mine.id, "name": "j", "command": "c", "resource_requirements_id": row,
    }  # fmt: skip


def create_job_with_handler(mine, job, row):
    return "POST", "/jobs", {"workflow_id": mine.id, "name": "x", "command": "c", "failure_handler_id": row}


def start_job(mine, job, row):
    return "PUT", f"/jobs/{job}/start_job/0/{row}", None


def complete_job(mine, job, row):
    return "POST", f"/jobs/{job}/complete_job/completed/0", result(job, mine, row)


def create_result(mine, job, row):
    return "POST", "/results", result(job, mine, row)


def claim_action(mine, job, row):
    return "POST", f"{mine.path}/actions/{action(mine)}/claim", {"compute_node_id": row}


NAMING = [
    (lambda theirs: theirs.requirements(), "uninitialized", create_job),
    (lambda theirs: theirs.requirements(), "uninitialized", create_jobs),
    (lambda theirs: theirs.requirements(), "uninitialized", update_job),
    (handler, "uninitialized", create_job_with_handler),
    (lambda theirs: theirs.node(), "pending", start_job),
    (lambda theirs: theirs.node(), "running", complete_job),
    (lambda theirs: theirs.node(), "running", create_result),
    (lambda theirs: theirs.node(), "running", claim_action),
]
naming = pytest.mark.parametrize("make, status, call", [pytest.param(*case, id=case[2].__name__) for case in NAMING])


def send(client, call, status):
    method, path, body = call
    arguments = {} if body is None else {"json": body}
    return client.request(method, path, status=status, **arguments)


@naming
def test_a_row_of_a_workflow_that_one_may_not_use_is_a_row_that_does_not_exist(
    access, mel, mine, theirs, make, status, call
):
    job, row = mine.job_in(status), make(theirs)
    hidden, missing = call(mine, job, row), call(mine, job, MISSING)
    stored = access.rows()
    answers = [send(mel, hidden, 422).text, send(mel, missing, 422).text]
    assert answers[0] == answers[1]
    assert access.rows() == stored


@naming
def test_a_row_of_a_workflow_that_one_may_use_can_be_named_from_another(mel, mine, theirs, share, make, status, call):
    share()
    send(mel, call(mine, mine.job_in(status), make(theirs)), 200)


@naming
def test_without_access_control_any_row_can_be_named(access, mine, theirs, make, status, call):
    send(access.user("mel", enforced=False), call(mine, mine.job_in(status), make(theirs)), 200)


def test_requirements_that_a_job_has_already_may_stay_when_the_job_is_changed(mel, mine, theirs):
    requirements = theirs.requirements()
    job = mine.job(resource_requirements_id=requirements)
    _method, path, body = update_job(mine, job, requirements)
    assert mel.put(path, json=body | {"priority": 3}).json["priority"] == 3


# Deleting: (olga's row, how it came to be in use by mel's workflow, the deletion)


def use_requirements(mine, theirs):
    row = theirs.requirements()
    mine.job(resource_requirements_id=row)
    return f"/resource_requirements/{row}"


def use_handler(mine, theirs):
    row = handler(theirs)
    mine.job(failure_handler_id=row)
    return f"/failure_handlers/{row}"


def use_node_for_a_result(mine, theirs):
    row, job = theirs.node(), mine.job_in("running")
    send(mine.client, complete_job(mine, job, row), 200)
    return f"/compute_nodes/{row}"


def use_node_for_a_job(mine, theirs):
    row = theirs.node()
    mine.start(mine.job_in("pending"), row)
    return f"/compute_nodes/{row}"


def use_node_for_an_action(mine, theirs):
    row = theirs.node()
    send(mine.client, claim_action(mine, None, row), 200)
    return f"/compute_nodes/{row}"


USES = [use_requirements, use_handler, use_node_for_a_result, use_node_for_a_job, use_node_for_an_action]
uses = pytest.mark.parametrize("use", USES)


@pytest.fixture
def deletions(theirs):
    """The calls that delete olga's row: itself, all of its kind, the workflow."""

    def deletions(path):
        collection = path.split("/")[1]
        bulk = [] if collection == "failure_handlers" else [f"/{collection}?workflow_id={theirs.id}"]
        return [path, *bulk, theirs.path]

    return deletions


@uses
def test_what_the_workflow_of_somebody_else_needs_cannot_be_deleted_under_it(access, mine, theirs, deletions, use):
    paths = deletions(use(mine, theirs))
    stored = access.rows()
    for path in paths:
        message = access.user("olga").delete(path, status=403).json["error"]["message"]
        assert message.startswith("Another workflow needs it")
    assert access.rows() == stored


@pytest.mark.parametrize("column", ["resource_requirements_id", "failure_handler_id", "active_compute_node_id"])
@pytest.mark.parametrize("whole_workflow", [False, True])
def test_a_deletion_waits_for_somebody_who_is_just_naming_the_row_and_is_refused_then(
    access, mine, theirs, column, whole_workflow
):
    collection, row = {
        "resource_requirements_id": ("resource_requirements", theirs.requirements()),
        "failure_handler_id": ("failure_handlers", handler(theirs)),
        "active_compute_node_id": ("compute_nodes", theirs.node()),
    }[column]
    path = theirs.path if whole_workflow else f"/{collection}/{row}"
    job = mine.job()
    field = column.removeprefix("active_")
    with ThreadPoolExecutor(1) as threads, access.database.transaction():
        access.database.execute("SELECT torc.keep_references(%s, %s, ARRAY[%s::bigint])", [mine.id, field, row])
        access.database.execute(f"UPDATE torc.job SET {column} = %s WHERE id = %s", [row, job])  # noqa: S608
        deletion = threads.submit(access.user("olga").delete, path, status=None)
        wait_for(lambda: waiting(access) or deletion.done())
        assert not deletion.done()
    assert deletion.result().status_code == 403


def waiting(access):
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return access.database.execute(sessions).fetchall()


@uses
@pytest.mark.parametrize("which", [0, -1])
def test_one_who_may_use_both_workflows_deletes_it(access, mel, mine, theirs, share, deletions, use, which):
    path = deletions(use(mine, theirs))[which]
    share()
    mel.delete(path)


@uses
@pytest.mark.parametrize("which", [0, -1])
def test_a_system_administrator_deletes_it(access, mine, theirs, deletions, use, which):
    access.user("root").delete(deletions(use(mine, theirs))[which])


@uses
@pytest.mark.parametrize("which", [0, -1])
def test_without_access_control_anybody_deletes_it(access, mine, theirs, deletions, use, which):
    access.client.delete(deletions(use(mine, theirs))[which])


def test_ones_own_rows_in_use_are_ones_own_to_delete(access, mine, theirs):
    olga = access.user("olga")
    job = theirs.job_in("running", failure_handler_id=handler(theirs), resource_requirements_id=theirs.requirements())
    send(theirs.client, complete_job(theirs, job, theirs.node()), 200)
    olga.delete(f"/compute_nodes?workflow_id={theirs.id}")
    olga.delete(f"/resource_requirements?workflow_id={theirs.id}")
    olga.delete(theirs.path)


def test_deleting_a_workflow_settles_the_dependents_of_jobs_that_go_with_it_elsewhere(access, mine, theirs):
    first = mine.job(resource_requirements_id=theirs.requirements())
    second = mine.job(first)
    mine.initialize()
    access.client.delete(theirs.path)
    mine.client.get(f"/jobs/{first}", status=404)
    assert mine.status(second) == "ready"


# Reading: what names rows of another workflow shows nothing of them


def test_an_action_cannot_list_a_job_of_another_workflow_and_the_answer_is_that_of_a_missing_job(mel, mine, theirs):
    job = theirs.job_in("completed")
    body = {"workflow_id": mine.id, "trigger_type": "on_jobs_complete", "action_type": "x", "action_config": {}}
    foreign, missing = (
        mel.post(f"{mine.path}/actions", json=body | {"job_ids": [i]}, status=422).text.replace(str(i), "ID")
        for i in (job, 999_999_999)
    )
    assert foreign == missing
    assert mel.get(f"{mine.path}/actions").json == []


@pytest.mark.parametrize("path", [
    "/jobs?upstream_job_id={job}", "/jobs?needs_file_id={file}", "/jobs?active_compute_node_id={node}",
    "/files?produced_by_job_id={job}", "/results?job_id={job}", "/results?compute_node_id={node}",
    "/user_data?consumer_job_id={job}", "/user_data?producer_job_id={job}", "/slurm_stats?job_id={job}",
    "/resource_requirements?job_id={job}", "/compute_nodes?scheduled_compute_node_id=1",
])  # fmt: skip
def test_a_filter_that_names_a_row_of_another_workflow_finds_nothing(mel, mine, theirs, path):
    file, node = theirs.file(), theirs.node()
    job = theirs.job(input_file_ids=[file])
    theirs.job(job)
    path = path.format(job=job, file=file, node=node)
    assert mel.get(f"{path}&workflow_id={mine.id}").json["items"] == []


@pytest.mark.parametrize("field", ["depends_on_job_ids", "input_file_ids", "output_file_ids"])
def test_an_edge_to_another_workflow_is_the_same_as_one_to_nowhere(mel, mine, theirs, field):
    row = theirs.job() if field == "depends_on_job_ids" else theirs.file()

    def refused(id):
        body = {"workflow_id": mine.id, "name": "x", "command": "c", field: [id]}
        return mel.post("/jobs", json=body, status=422).json["error"]

    there, nowhere = str(refused(row)), str(refused(MISSING))
    assert re.sub(rf"\b{row}\b", "ID", there) == re.sub(rf"\b{MISSING}\b", "ID", nowhere)


def test_bodies_that_name_a_workflow_are_checked_against_that_workflow(mel, mine, theirs):
    for collection, row in ROWS.items():
        if collection not in ("workflows", "access_groups", "workflow_actions"):
            body = {key: 1 if value is ... else value for key, value in row.items()} | {"workflow_id": theirs.id}
            mel.post(f"/{collection}", json=body, status=403)
    here, there = (ROWS["jobs"] | {"workflow_id": workflow.id} for workflow in (mine, theirs))
    mel.post("/bulk_jobs", json={"jobs": [there, here]}, status=403)
    mel.post("/bulk_jobs", json={"jobs": [here, there]}, status=422)
