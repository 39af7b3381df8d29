"""initialize_jobs: edges from files and user data, first statuses, cycles, what it leaves alone."""

import pytest
from workflow import COMPLETE, NOT_COMPLETE, Workflow

from torc_server.schemas.fields import JOB_STATUSES

# Status before -> after, by whether a direct dependency is open, the mode, and whether an ancestor is uninitialized.
RESTARTED = ("pending", "running", "terminated", "pending_failed")
KEPT = ("completed", "failed", "canceled")
MATRIX = [
    # before, nothing open, open, open and only_uninitialized: below an uninitialized job, below others
    ("uninitialized", "ready", "blocked", "blocked", "blocked"),
    *((word, "ready", "blocked", "blocked", "ready") for word in RESTARTED),
    ("ready", "ready", "blocked", "blocked", "ready"),
    ("blocked", None, "blocked", "blocked", "blocked"),
    *((word, word, "blocked", "blocked", word) for word in KEPT),
    ("disabled", "disabled", "disabled", "disabled", "disabled"),
]
NOTHING_OPEN = [(row[0], row[1]) for row in MATRIX if row[1]]


def test_the_matrix_has_every_status():
    assert sorted(row[0] for row in MATRIX) == sorted(JOB_STATUSES)


@pytest.mark.parametrize("only_uninitialized", [False, True])
@pytest.mark.parametrize("before, after", NOTHING_OPEN)
def test_a_job_without_dependencies(workflow, before, after, only_uninitialized):
    job = workflow.job_in(before)
    assert workflow.initialize(only_uninitialized=only_uninitialized) == {
        "message": "Initialized job status", "jobs_taken_back": int(before in ("pending", "running")), "jobs_kept": 0,
    }  # fmt: skip
    assert workflow.status(job) == after


@pytest.mark.parametrize("dependency", ["completed", "failed", "canceled"])
@pytest.mark.parametrize("only_uninitialized", [False, True])
@pytest.mark.parametrize("before, after", NOTHING_OPEN)
def test_a_job_whose_dependencies_are_complete_even_by_failure(workflow, dependency, before, after, only_uninitialized):
    job = workflow.job_in(before, workflow.job_in(dependency))
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.status(job) == after


@pytest.mark.parametrize("dependency", [word for word in NOT_COMPLETE if word != "blocked"])
@pytest.mark.parametrize("before, after", [(row[0], row[2]) for row in MATRIX])
def test_a_job_with_an_open_dependency(workflow, dependency, before, after):
    job = workflow.job_in(before, workflow.job_in(dependency))
    workflow.initialize()
    assert workflow.status(job) == after


@pytest.mark.parametrize("before, after", [(row[0], row[3]) for row in MATRIX])
def test_only_uninitialized_below_an_uninitialized_job(workflow, before, after):
    job = workflow.job_in(before, workflow.job())
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(job) == after


@pytest.mark.parametrize("before, after", [(row[0], row[4]) for row in MATRIX])
def test_only_uninitialized_below_an_open_job_that_is_not_uninitialized(workflow, before, after):
    job = workflow.job_in(before, workflow.job_in("disabled"))
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(job) == after


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_a_terminated_job_restarts_together_with_its_uninitialized_dependents(workflow, only_uninitialized):
    terminated = workflow.job_in("terminated")
    dependent = workflow.job(terminated)
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.statuses(terminated, dependent) == ["ready", "ready"]


def test_without_only_uninitialized_a_finished_grandchild_stays_finished(workflow):
    first = workflow.job()
    second = workflow.job_in("completed", first)
    third = workflow.job_in("completed", second)
    workflow.initialize()
    assert workflow.statuses(first, second, third) == ["ready", "blocked", "completed"]


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word != "blocked"])
def test_only_uninitialized_reaches_everything_downstream_whatever_its_status(workflow, status):
    first = workflow.job()
    second = workflow.job_in(status, first)
    third = workflow.job_in(status, second)
    fourth = workflow.job_in(status, third, first)
    bystander = workflow.job_in("completed")
    workflow.initialize(only_uninitialized=True)
    after = "disabled" if status == "disabled" else "blocked"
    assert workflow.statuses(first, second, third, fourth) == ["ready", after, after, after]
    assert workflow.status(bystander) == "completed"


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_initializing_twice_changes_nothing_more(workflow, only_uninitialized):
    first = workflow.job()
    second = workflow.job(first)
    workflow.initialize()
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.statuses(first, second) == ["ready", "blocked"]


def test_an_empty_workflow_can_be_initialized(workflow):
    assert workflow.initialize()["message"] == "Initialized job status"


def test_any_body_is_ignored_and_a_bad_parameter_is_400(client, workflow):
    body = {"reinitialize": True, "ignore_missing_data": True}
    client.post(f"{workflow.path}/initialize_jobs", json=body)
    client.post(f"{workflow.path}/initialize_jobs", body="{broken", headers={"Content-Type": "text/plain"})
    workflow.initialize(400, only_uninitialized="1")
    workflow.initialize(400, clear_ephemeral_user_data="yes")
    workflow.initialize(400, keep_running="yes")


# Cancellation by dependency


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_jobs_canceled_by_a_dependency_stay_canceled_while_it_stays_failed(workflow, only_uninitialized):
    cause = workflow.job()
    first = workflow.job(cause)
    second = workflow.job(first)
    workflow.initialize()
    workflow.complete(cause, "failed")
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.statuses(cause, first, second) == ["failed", "canceled", "canceled"]


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_jobs_canceled_by_a_dependency_wait_again_when_it_restarts(workflow, only_uninitialized):
    cause = workflow.job()
    first = workflow.job(cause)
    second = workflow.job(first)
    workflow.initialize()
    workflow.complete(cause, "terminated")
    assert workflow.statuses(first, second) == ["canceled", "canceled"]
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.statuses(cause, first, second) == ["ready", "blocked", "blocked"]
    workflow.set_run(1)
    workflow.complete(cause, run_id=1)
    assert workflow.statuses(first, second) == ["ready", "blocked"]


# Disabled jobs


def test_a_disabled_job_stays_disabled_until_somebody_sets_another_status(client, workflow):
    first = workflow.job()
    disabled, below = workflow.job(first), None
    body = {"workflow_id": workflow.id, "name": "j", "command": "c", "status": "disabled"}
    client.put(f"/jobs/{disabled}", json=body)
    below = workflow.job(disabled)
    workflow.initialize()
    workflow.complete(first)
    assert workflow.statuses(first, disabled, below) == ["completed", "disabled", "blocked"]
    for call in ("reset_job_status", "initialize_jobs", "reset_status", "process_changed_job_inputs"):
        client.post(f"{workflow.path}/{call}")
        assert workflow.status(disabled) == "disabled", call
    assert workflow.claim() == [first]
    workflow.complete(first, "failed", run_id=1)  # reset_status began another run
    assert workflow.statuses(disabled, below) == ["disabled", "blocked"]
    workflow.retry(first, run_id=1)
    client.post(f"{workflow.path}/reset_job_status", params={"failed_only": True})
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(disabled) == "disabled"
    workflow.manage(disabled, "uninitialized", run_id=1)
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(disabled) == "blocked"


# Pending and running jobs


def held(workflow, is_active=True):
    """A pending and a running job, and the node of the latter."""
    node = workflow.node()
    running, pending = workflow.job(), workflow.job()
    workflow.initialize()
    assert workflow.claim() == [running, pending]
    workflow.start(running, node)
    workflow.sql("UPDATE torc.compute_node SET is_active = %s WHERE id = %s RETURNING id", is_active, node)
    return pending, running, node


def initialize(workflow, **params):
    """How many jobs were taken back and kept."""
    answer = workflow.initialize(**params)
    return answer["jobs_taken_back"], answer["jobs_kept"]


@pytest.mark.parametrize("only_uninitialized", [False, True])
@pytest.mark.parametrize("params", [{}, {"keep_running": False}])
def test_pending_and_running_jobs_are_taken_back_by_default(workflow, params, only_uninitialized):
    pending, running, _ = held(workflow)
    assert initialize(workflow, only_uninitialized=only_uninitialized, **params) == (2, 0)
    assert workflow.statuses(pending, running) == ["ready", "ready"]


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_keep_running_leaves_jobs_alone_that_an_active_node_holds(workflow, only_uninitialized):
    pending, running, node = held(workflow)
    ready = workflow.job()
    assert initialize(workflow, keep_running=True, only_uninitialized=only_uninitialized) == (0, 2)
    assert workflow.statuses(pending, running, ready) == ["pending", "running", "ready"]
    assert workflow.active_on(node) == [running]
    assert workflow.claim() == [ready]
    workflow.complete(running, compute_node_id=node)
    workflow.start(pending, node)


@pytest.mark.parametrize("is_active", [False, None])
@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_keep_running_takes_back_what_no_active_node_holds(workflow, is_active, only_uninitialized):
    pending, running, _ = held(workflow, is_active)
    assert initialize(workflow, keep_running=True, only_uninitialized=only_uninitialized) == (2, 0)
    assert workflow.statuses(pending, running) == ["ready", "ready"]


def test_keep_running_takes_back_the_running_jobs_of_a_dead_node_beside_an_active_one(workflow):
    pending, running, _ = held(workflow, is_active=False)
    other = workflow.node()
    without_node = workflow.job_in("running")
    assert initialize(workflow, keep_running=True) == (2, 1)
    assert workflow.statuses(pending, running, without_node) == ["pending", "ready", "ready"]
    assert workflow.active_on(other) == []


def test_a_node_of_another_workflow_holds_the_job_that_it_runs_and_no_pending_one(client, workflow):
    foreign = Workflow(client, workflow.database).node()
    running, pending = workflow.job(), workflow.job()
    workflow.initialize()
    workflow.claim()
    workflow.start(running, foreign)
    assert initialize(workflow, keep_running=True) == (1, 1)
    assert workflow.statuses(running, pending) == ["running", "ready"]


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_a_kept_job_is_left_alone_below_an_uninitialized_one_too(workflow, only_uninitialized):
    first = workflow.job()
    held_job = workflow.job_in("pending", first)
    below = workflow.job_in("completed", held_job)
    node = workflow.node()
    workflow.start(held_job, node)
    assert initialize(workflow, keep_running=True, only_uninitialized=only_uninitialized) == (0, 1)
    assert workflow.statuses(first, held_job, below) == ["ready", "running", "blocked"]
    assert initialize(workflow, only_uninitialized=only_uninitialized)[1] == 0


def test_a_kept_job_keeps_the_hash_of_the_inputs_that_it_was_started_with(client, workflow):
    data = workflow.user_data("1")
    job, other = (workflow.job(name=name, input_user_data_ids=[data]) for name in ("kept", "other"))
    workflow.initialize()
    workflow.claim(limit=1)
    workflow.start(job, workflow.node())
    workflow.sql("UPDATE torc.user_data SET data = '2' WHERE id = %s RETURNING id", data)
    workflow.initialize(keep_running=True)
    answer = client.post(f"{workflow.path}/process_changed_job_inputs", params={"dry_run": True}).json
    assert answer == {"reinitialized_jobs": ["kept"]}
    assert workflow.statuses(job, other) == ["running", "ready"]


def test_a_kept_job_keeps_the_hash_also_if_it_has_no_files_and_user_data(client, workflow):
    jobs = [workflow.job(name=name) for name in ("kept", "changed", "other")]
    workflow.initialize()
    workflow.claim(limit=2)
    node = workflow.node()
    for job in jobs[:2]:
        workflow.start(job, node)
    workflow.initialize(keep_running=True)
    for job in jobs[1:]:
        body = {"workflow_id": workflow.id, "name": "j", "command": "c", "invocation_script": "new"}
        client.put(f"/jobs/{job}", json=body | {"name": client.get(f"/jobs/{job}").json["name"]})
    for _ in range(2):
        workflow.initialize(keep_running=True)
        answer = client.post(f"{workflow.path}/process_changed_job_inputs", params={"dry_run": True}).json
        assert answer == {"reinitialized_jobs": ["changed"]}


# Edges from files and user data


@pytest.mark.parametrize("kind", ["file", "user_data"])
def test_consumers_depend_on_every_producer_and_the_edges_stay(client, workflow, kind):
    item = workflow.file() if kind == "file" else workflow.user_data()
    producers = [workflow.job(**{f"output_{kind}_ids": [item]}) for _ in "12"]
    explicit = workflow.job()
    consumers = [workflow.job(explicit, **{f"input_{kind}_ids": [item]}), workflow.job(**{f"input_{kind}_ids": [item]})]
    assert workflow.depends_on(consumers[0]) == [explicit]
    workflow.initialize()
    assert workflow.depends_on(consumers[0]) == [*producers, explicit]
    assert workflow.depends_on(consumers[1]) == producers
    assert workflow.statuses(*producers, *consumers) == ["ready", "ready", "blocked", "blocked"]
    if kind == "file":
        client.delete(f"/files/{item}")
        assert workflow.depends_on(consumers[1]) == producers
    client.delete(f"/jobs/{producers[0]}")
    workflow.initialize()
    assert workflow.depends_on(consumers[1]) == producers[1:]


def test_an_edge_that_is_both_explicit_and_derived_counts_once(workflow):
    file, data = workflow.file(), workflow.user_data()
    producer = workflow.job(output_file_ids=[file], output_user_data_ids=[data])
    consumer = workflow.job(producer, input_file_ids=[file], input_user_data_ids=[data])
    workflow.initialize()
    assert workflow.depends_on(consumer) == [producer]
    workflow.complete(producer)
    assert workflow.status(consumer) == "ready"


def test_derived_edges_of_finished_jobs_count_too(workflow):
    file = workflow.file()
    producer = workflow.job_in("completed", output_file_ids=[file])
    consumer = workflow.job(input_file_ids=[file])
    workflow.initialize(only_uninitialized=True)
    assert workflow.status(consumer) == "ready"
    assert workflow.depends_on(consumer) == [producer]


# Cycles


def cycle_by_files(workflow, **fields):
    """Two jobs that wait for each other's file."""
    first, second = workflow.file("1"), workflow.file("2")
    return (
        workflow.job(name="ping", input_file_ids=[first], output_file_ids=[second], **fields),
        workflow.job(name="pong", input_file_ids=[second], output_file_ids=[first], **fields),
    )


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_a_cycle_is_422_naming_its_jobs_and_the_way_out_and_nothing_is_changed(workflow, only_uninitialized):
    free = workflow.job(name="free")
    ping, pong = cycle_by_files(workflow)
    below = workflow.job(ping, name="below")
    error = workflow.initialize(422, only_uninitialized=only_uninitialized)["error"]
    for text in (f"job {ping} (ping)", f"job {pong} (pong)", "Delete one of these jobs", "DELETE /jobs/"):
        assert text in error["message"]
    assert "free" not in error["message"] and "below" not in error["message"]
    assert sorted(error["job_ids"]) == [ping, pong]
    assert workflow.statuses(free, ping, pong, below) == ["uninitialized"] * 4
    assert workflow.depends_on(ping) == workflow.depends_on(pong) == []
    workflow.client.delete(f"/jobs/{ping}")
    workflow.initialize()
    assert workflow.statuses(free, pong, below) == ["ready", "ready", "ready"]


def test_a_longer_cycle_of_edges_is_named_in_waiting_order(workflow):
    first = workflow.job(name="a")
    second = workflow.job(first, name="b")
    third = workflow.job(second, name="c")
    body = {"workflow_id": workflow.id, "name": "a", "command": "c", "depends_on_job_ids": [third]}
    workflow.client.put(f"/jobs/{first}", json=body)
    message = workflow.initialize(422)["error"]["message"]
    chain = [f"job {first} (a)", f"job {third} (c)", f"job {second} (b)"] * 2
    assert any(" waits for ".join(chain[i : i + 4]) in message for i in range(3))


def test_a_job_that_consumes_its_own_product_is_422_naming_it_and_nothing_is_changed(workflow):
    data = workflow.user_data()
    job = workflow.job(name="ouroboros", input_user_data_ids=[data], output_user_data_ids=[data])
    error = workflow.initialize(422)["error"]
    assert f"job {job} (ouroboros)" in error["message"] and error["job_ids"] == [job]
    assert workflow.status(job) == "uninitialized"
    assert workflow.depends_on(job) == []


@pytest.mark.parametrize("status", COMPLETE)
def test_a_cycle_through_a_complete_job_does_not_count_as_long_as_the_others_can_run(workflow, status):
    ping, pong = cycle_by_files(workflow)
    workflow.complete(ping, status)
    workflow.initialize()
    assert workflow.depends_on(ping) == [pong] and workflow.depends_on(pong) == [ping]
    assert workflow.statuses(ping, pong) == ["blocked", "ready"]


@pytest.mark.parametrize("status", COMPLETE)
def test_a_cycle_is_refused_when_initialize_makes_a_complete_job_of_it_wait_again(workflow, status):
    """Else the jobs would stay blocked for ever: initialize makes all of them uninitialized first."""
    ping, pong = cycle_by_files(workflow)
    workflow.complete(ping, status)
    workflow.initialize(only_uninitialized=True, status=422)
    assert workflow.statuses(ping, pong) == [status, "uninitialized"]


@pytest.mark.parametrize("only_uninitialized", [False, True])
def test_a_cycle_through_a_disabled_job_waits_for_the_decision_about_it(workflow, only_uninitialized):
    ping, pong = cycle_by_files(workflow)
    workflow.manage(ping, "disabled")
    workflow.initialize(only_uninitialized=only_uninitialized)
    assert workflow.statuses(ping, pong) == ["disabled", "blocked"]


def test_two_branches_that_meet_again_are_no_cycle(workflow):
    top = workflow.job()
    left, right = workflow.job(top), workflow.job(top)
    bottom = workflow.job(left, right, top)
    edge_to_higher = {"workflow_id": workflow.id, "name": "j", "command": "c", "depends_on_job_ids": [workflow.job()]}
    workflow.client.put(f"/jobs/{top}", json=edge_to_higher)
    workflow.initialize()
    assert workflow.statuses(top, left, right, bottom) == ["blocked"] * 4


# What it does to results, runs and user data


@pytest.mark.parametrize("status", [*COMPLETE, "pending_failed"])
def test_a_result_stays_current_only_while_its_job_is_complete(workflow, status):
    job = workflow.job_in(status)
    if status == "pending_failed":
        workflow.manage(job, "running")
        workflow.complete(job, "pending_failed")
    assert [current for *_, current in workflow.results(job)] == [True]
    workflow.initialize()
    assert [current for *_, current in workflow.results(job)] == [status in ("completed", "failed", "canceled")]


def test_the_run_the_flags_and_its_attempts_stay(workflow):
    body = {"run_id": 6, "is_canceled": True, "is_archived": True}
    workflow.client.put(f"{workflow.path}/status", json=body)
    node, job = workflow.node(), workflow.job_in("pending", run_id=6)
    workflow.start(job, node, run_id=6)
    workflow.retry(job, run_id=6)
    workflow.initialize()
    assert workflow.client.get(f"{workflow.path}/status").json.items() >= body.items()
    assert workflow.client.get(f"/jobs/{job}").json["attempt_id"] == 2


def data_of(workflow, *ids):
    return [workflow.sql("SELECT data FROM torc.user_data WHERE id = %s", i)[0] for i in ids]


def test_ephemeral_data_is_cleared_only_on_an_explicit_true(workflow):
    data = workflow.user_data("1", is_ephemeral=True)
    workflow.job(output_user_data_ids=[data])
    workflow.initialize()
    workflow.initialize(clear_ephemeral_user_data=False)
    assert data_of(workflow, data) == [1]
    workflow.initialize(clear_ephemeral_user_data=True)
    assert data_of(workflow, data) == [None]


def test_only_ephemeral_data_is_cleared_whose_producer_is_not_complete_afterwards(workflow):
    lasting = workflow.user_data("1")
    unproduced, to_be_made, made, restarted = (workflow.user_data("1", is_ephemeral=True) for _ in range(4))
    workflow.job(input_user_data_ids=[unproduced, made], output_user_data_ids=[lasting, to_be_made])
    workflow.job_in("completed", output_user_data_ids=[made])
    workflow.job_in("terminated", output_user_data_ids=[restarted])
    workflow.initialize(clear_ephemeral_user_data=True)
    assert data_of(workflow, lasting, unproduced, to_be_made, made, restarted) == [1, 1, None, 1, None]


def test_nothing_is_cleared_when_initialize_is_refused(workflow):
    data = workflow.user_data("1", is_ephemeral=True)
    workflow.job(output_user_data_ids=[data])
    cycle_by_files(workflow)
    workflow.initialize(422, clear_ephemeral_user_data=True)
    assert data_of(workflow, data) == [1]
