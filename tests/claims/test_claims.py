"""Claims: the next ready jobs, and those that fit a worker's free resources."""

import pytest

from torc_server.schemas.fields import JOB_STATUSES

ROOMY = {"num_cpus": 64, "memory_gb": 512, "num_gpus": 8, "num_nodes": 4}


def ready(workflow, **fields):
    job = workflow.job(**fields)
    workflow.manage(job, "ready")
    return job


def cancel(workflow):
    workflow.set_run(0, is_canceled=True)


def fit(workflow, limit=10, strict=None, status=200, **resources):
    """The ids of the jobs that a worker with the given resources gets; of an error, the error."""
    params = {} if strict is None else {"strict_scheduler_match": strict}
    path = f"{workflow.path}/claim_jobs_based_on_resources/{limit}"
    answer = workflow.client.post(path, json=ROOMY | resources, params=params, status=status).json
    return [job["id"] for job in answer["jobs"]] if status == 200 else answer["error"]


# claim_next_jobs


def test_jobs_come_by_priority_then_by_id_and_become_pending(workflow):
    low, first, second, high = (ready(workflow, priority=p) for p in (1, 5, 5, 9))
    assert workflow.claim(limit=3) == [high, first, second]
    assert workflow.statuses(low, first, second, high) == ["ready", "pending", "pending", "pending"]
    assert workflow.claim() == [low]
    assert workflow.claim() == []


def test_the_default_limit_is_10(workflow):
    jobs = [ready(workflow) for _ in range(12)]
    assert workflow.claim() == jobs[:10]


@pytest.mark.parametrize(
    "params, count",
    [({"limit": 0}, 0), ({"limit": 2}, 2), ({"num_jobs": 3}, 3), ({"limit": 1, "num_jobs": 3}, 1), ({"limit": 99}, 4)],
)
def test_limit_and_its_alias_num_jobs(workflow, params, count):
    jobs = [ready(workflow) for _ in range(4)]
    assert workflow.claim(**params) == jobs[:count]
    assert workflow.statuses(*jobs) == ["pending"] * count + ["ready"] * (4 - count)


@pytest.mark.parametrize(
    "params, status", [({"limit": -1}, 422), ({"num_jobs": -1}, 422), ({"limit": 100001}, 422), ({"limit": "x"}, 400)]
)
def test_a_limit_out_of_bounds_is_422_and_what_is_no_number_400(client, workflow, params, status):
    job = ready(workflow)
    error = client.post(f"{workflow.path}/claim_next_jobs", params=params, status=status).json["error"]
    assert error["field"] in params
    assert workflow.status(job) == "ready"


@pytest.mark.parametrize("status", [word for word in JOB_STATUSES if word != "ready"])
def test_only_ready_jobs_are_handed_out(workflow, status):
    workflow.job_in(status)
    assert workflow.claim() == []
    assert fit(workflow) == []


def test_resources_and_scheduler_do_not_matter_to_the_plain_claim(workflow):
    job = ready(workflow, scheduler_id=5, resource_requirements_id=workflow.requirements(num_cpus=10**6))
    assert workflow.claim() == [job]


def test_a_canceled_workflow_hands_out_nothing_and_only_the_resource_claim_gives_a_reason(client, workflow):
    job = ready(workflow)
    cancel(workflow)
    assert client.post(f"{workflow.path}/claim_next_jobs").json == {"jobs": []}
    answer = client.post(f"{workflow.path}/claim_jobs_based_on_resources/1", json=ROOMY).json
    assert answer == {"jobs": [], "reason": "Workflow is canceled"}
    assert workflow.status(job) == "ready"


def test_an_archived_workflow_hands_out_jobs(client, workflow):
    body = {"run_id": 0, "is_canceled": False, "is_archived": True}
    client.put(f"{workflow.path}/status", json=body)
    first, second = ready(workflow), ready(workflow)
    assert workflow.claim(limit=1) == [first]
    assert fit(workflow) == [second]


def test_a_workflow_that_was_never_initialized_has_nothing_to_hand_out(workflow):
    workflow.job()
    assert workflow.claim() == fit(workflow) == []


def test_a_claim_ignores_any_body(client, workflow):
    headers = {"Content-Type": "text/plain"}
    assert client.post(f"{workflow.path}/claim_next_jobs", body="{broken", headers=headers).json == {"jobs": []}
    assert client.post(f"{workflow.path}/claim_next_jobs", json={}).json == {"jobs": []}


@pytest.mark.parametrize("path", ["claim_next_jobs", "claim_jobs_based_on_resources/5"])
def test_a_claimed_job_has_its_outputs_but_neither_inputs_nor_scheduler_nor_dependencies(client, workflow, path):
    outputs = {"output_file_ids": [workflow.file(), workflow.file()], "output_user_data_ids": [workflow.user_data()]}
    (handler,) = workflow.sql(
        "INSERT INTO torc.failure_handler (workflow_id, name, rules) VALUES (%s, 'h', '[]') RETURNING id", workflow.id
    )
    given = {"invocation_script": "i", "priority": 3, "failure_handler_id": handler, "supports_termination": True}
    inputs = {"input_file_ids": [workflow.file()], "input_user_data_ids": [workflow.user_data()], "scheduler_id": 4}
    requirements = workflow.requirements()
    given_all = {"resource_requirements_id": requirements} | inputs | outputs | given
    full = workflow.job(workflow.job_in("completed"), **given_all)
    workflow.manage(full, "ready")
    bare = ready(workflow, resource_requirements_id=requirements, scheduler_id=4)
    body = ROOMY | {"scheduler_config_id": 4}
    always = {
        "workflow_id": workflow.id, "name": "j", "command": "c", "status": "pending",
        "cancel_on_blocking_job_failure": True, "supports_termination": False, "attempt_id": 1, "priority": 0,
        "resource_requirements_id": requirements,
    }  # fmt: skip
    assert client.post(f"{workflow.path}/{path}", json=body).json == {
        "jobs": [always | {"id": full} | outputs | given, always | {"id": bare}]
    }


def test_a_claim_records_no_node_no_event_and_keeps_the_attempt(workflow):
    job = ready(workflow)
    workflow.claim()
    assert workflow.sql("SELECT active_compute_node_id, attempt_id FROM torc.job WHERE id = %s", job) == [(None, 1)]
    assert workflow.events() == []


# claim_jobs_based_on_resources: which jobs are candidates


@pytest.mark.parametrize(
    "needs, offer, fits",
    [
        ({"num_cpus": 4}, {"num_cpus": 4}, True),
        ({"num_cpus": 5}, {"num_cpus": 4}, False),
        ({"memory": "2g"}, {"memory_gb": 2}, True),
        ({"memory": "2147483649"}, {"memory_gb": 2}, False),
        ({"memory": "1536m"}, {"memory_gb": 1.5}, True),
        ({"memory": "1"}, {"memory_gb": 0.0000000009}, False),
        ({"num_gpus": 1}, {"num_gpus": 1}, True),
        ({"num_gpus": 2}, {"num_gpus": 1}, False),
        ({"num_nodes": 2}, {"num_nodes": 2}, True),
        ({"num_nodes": 3}, {"num_nodes": 2}, False),
        ({"num_nodes": 1}, {"num_nodes": 0}, False),
        ({"runtime": "PT1H"}, {"time_limit": "PT60M"}, True),
        ({"runtime": "PT1H"}, {"time_limit": "PT3599S"}, False),
        ({"runtime": "P100Y"}, {}, True),
        ({"runtime": "P100Y"}, {"time_limit": None}, True),
        ({"runtime": "PT0S"}, {"time_limit": "PT"}, True),
        ({"num_cpus": 0, "memory": "0"}, {"num_cpus": 0, "memory_gb": 0, "num_gpus": 0}, True),
        ({"memory": "8191g"}, {"memory_gb": 1e300}, True),
        ({"num_cpus": 0, "memory": "0"}, {"num_cpus": -1}, False),
        ({"memory": "0"}, {"memory_gb": -1e300}, False),
    ],
)
def test_a_job_is_handed_out_if_each_of_its_needs_fits(workflow, needs, offer, fits):
    job = ready(workflow, resource_requirements_id=workflow.requirements(**needs))
    assert fit(workflow, **offer) == ([job] if fits else [])
    assert workflow.status(job) == ("pending" if fits else "ready")


def test_fitting_jobs_of_several_requirements_come_in_claim_order(workflow):
    small, large, huge = (workflow.requirements(num_cpus=n) for n in (1, 2, 99))
    jobs = [
        ready(workflow, resource_requirements_id=r, priority=p)
        for r, p in ((small, 1), (large, 3), (huge, 9), (large, 1), (small, 3), (small, 0))
    ]
    assert fit(workflow, limit=4) == [jobs[1], jobs[4], jobs[3], jobs[0]]  # the larger one of the same priority first
    assert fit(workflow) == [jobs[5]]


def test_limit_zero_gives_nothing(workflow):
    job = ready(workflow)
    assert fit(workflow, limit=0) == []
    assert workflow.status(job) == "ready"


@pytest.mark.parametrize("limit", [-1, 100001])
def test_a_limit_of_the_resource_claim_out_of_bounds_is_422(workflow, limit):
    job = ready(workflow)
    error = fit(workflow, limit=limit, status=422)
    assert error["field"] == "limit" and str(limit) in error["message"]
    assert workflow.status(job) == "ready"


def test_a_limit_that_is_no_number_is_400(workflow):
    fit(workflow, limit="x", status=400)


# claim_jobs_based_on_resources: schedulers


def test_a_worker_gets_unpinned_jobs_and_those_of_its_own_scheduler(workflow):
    other, own, unpinned = (ready(workflow, scheduler_id=s) for s in (1, 2, None))
    assert fit(workflow, scheduler_config_id=2) == [own, unpinned]
    assert workflow.status(other) == "ready"


def test_one_unpinned_job_hides_all_jobs_of_other_schedulers_for_this_call(workflow):
    first, second, unpinned = ready(workflow, scheduler_id=1), ready(workflow, scheduler_id=2), ready(workflow)
    assert fit(workflow, scheduler_config_id=3) == [unpinned]
    assert fit(workflow, scheduler_config_id=3) == [first, second]


def test_a_worker_without_a_scheduler_gets_pinned_jobs_only_by_the_fallback(workflow):
    pinned, unpinned = ready(workflow, scheduler_id=1), ready(workflow)
    assert fit(workflow) == [unpinned]
    assert fit(workflow, strict=True) == []
    assert fit(workflow, strict=False) == [pinned]


def test_strict_never_falls_back_to_other_schedulers(workflow):
    job = ready(workflow, scheduler_id=1)
    assert fit(workflow, strict=True, scheduler_config_id=2) == []
    assert fit(workflow, strict=True, scheduler_config_id=1) == [job]


def test_an_unpinned_job_that_does_not_fit_hides_nothing(workflow):
    ready(workflow, resource_requirements_id=workflow.requirements(num_cpus=99))
    pinned = ready(workflow, scheduler_id=1)
    assert fit(workflow) == [pinned]


def test_strict_scheduler_match_must_be_true_or_false(workflow):
    fit(workflow, strict="1", status=400)


# claim_jobs_based_on_resources: packing


@pytest.mark.parametrize(
    "nodes, cpus, memory, gpus, limit, candidates, accepted",
    [
        (1, 4, 8, 1, 9, [(1, 6, 0, 1), (1, 4, 0, 1), (3, 2, 0, 1), (1, 0, 1, 1)], [0, 2]),
        (2, 4, 100, 0, 9, [(3, 1, 0, 1), (3, 1, 0, 1), (2, 1, 0, 1), (1, 1, 0, 1)], [0, 1, 2]),  # a pool of 8 cpus
        (3, 4, 100, 0, 9, [(4, 1, 0, 1), (4, 1, 0, 2), (2, 1, 0, 1)], [0, 1]),
        (3, 4, 100, 0, 9, [(4, 1, 0, 1), (1, 1, 0, 1), (1, 1, 0, 2), (4, 1, 0, 1)], [0, 1, 3]),
        (1, 5, 8, 0, 2, [(4, 1, 0, 1), (4, 1, 0, 1), (1, 1, 0, 1)], [0, 2]),  # the third was cut: it is tried again
        (1, 5, 8, 0, 2, [(4, 1, 0, 1), (4, 1, 0, 1), (2, 1, 0, 1), (1, 9, 0, 1), (1, 1, 0, 1)], [0, 4]),
        (1, 5, 8, 0, 3, [(2, 1, 0, 1), (4, 1, 0, 1), (4, 1, 0, 1), (2, 1, 0, 1), (1, 1, 0, 1)], [0, 3, 4]),
        (1, 6, 8, 0, 3, [(2, 1, 0, 1), (5, 1, 0, 1), (5, 1, 0, 1), (3, 1, 0, 1), (2, 1, 0, 1), (1, 1, 0, 1)], [0, 3]),
        (2, 4, 8, 0, 2, [(1, 1, 0, 2), (1, 1, 0, 2), (1, 1, 0, 1)], [0]),  # no node is left
        (2, 4, 8, 1, 9, [(4, 8, 1, 2), (1, 1, 0, 1)], [0]),  # whole nodes leave nothing
        (4, 4, 8, 0, 9, [(1, 1, 0, 2), (1, 1, 0, 2), (1, 1, 0, 1)], [0, 1]),
        (4, 4, 8, 0, 9, [(1, 1, 0, 3), (1, 1, 0, 2), (4, 8, 0, 1), (1, 0, 0, 1)], [0, 2]),
        (1, 9, 8, 2, 9, [(1, 0, 1, 1), (1, 0, 2, 1), (1, 0, 1, 1), (1, 0, 1, 1)], [0, 2]),
        (1, 9, 8, 0, 9, [(1, 5, 0, 1), (1, 4, 0, 1), (1, 3, 0, 1), (0, 0, 0, 1)], [0, 2, 3]),
    ],
)  # fmt: skip
def test_candidates_are_packed_in_claim_order_and_once_more_into_what_is_left(
    workflow, nodes, cpus, memory, gpus, limit, candidates, accepted
):
    """A candidate is (cpus, GiB, gpus, nodes) of a job; accepted are the places of those that are handed out."""
    jobs = [
        ready(workflow, priority=100 - place, resource_requirements_id=workflow.requirements(c, f"{m}g", g, n))
        for place, (c, m, g, n) in enumerate(candidates)
    ]
    claimed = fit(workflow, limit, num_nodes=nodes, num_cpus=cpus, memory_gb=memory, num_gpus=gpus)
    assert claimed == [jobs[place] for place in accepted]
    assert [i for i, job in enumerate(jobs) if workflow.status(job) == "pending"] == accepted


@pytest.mark.parametrize(
    "first, second",
    [
        ({"num_gpus": 1}, {"num_cpus": 4, "memory": "8g", "runtime": "PT9M"}),
        ({"runtime": "PT9M"}, {"num_cpus": 4, "memory": "8g"}),
        ({"memory": "8g"}, {"num_cpus": 4}),
        ({"num_cpus": 4}, {}),
    ],
)
def test_of_the_same_priority_the_job_that_needs_more_comes_first(workflow, first, second):
    jobs = [ready(workflow, resource_requirements_id=workflow.requirements(**needed)) for needed in (second, first)]
    assert fit(workflow, limit=1, num_gpus=1) == [jobs[1]]


def test_each_claim_packs_afresh(workflow):
    jobs = [ready(workflow, resource_requirements_id=workflow.requirements(num_cpus=3)) for _ in "12"]
    assert fit(workflow, num_nodes=1, num_cpus=4) == jobs[:1]
    assert fit(workflow, num_nodes=1, num_cpus=4) == jobs[1:]


# claim_jobs_based_on_resources: the body


@pytest.mark.parametrize("time_limit", [
    "", " ", "P", "30m", "pt1m", "P1.5D", "-PT1H", "PT1.5H", "PT-5M", "PT30M1H", "P1W2D", "PT1M junk", "PT4294967296S",
    "PT1H PT1H", "P-1D", "1H", "P1Y1W", "PT١H",
])  # fmt: skip
@pytest.mark.parametrize("with_jobs", [True, False])
def test_a_time_limit_that_is_no_duration_is_422_naming_the_field_without_the_text(workflow, time_limit, with_jobs):
    if with_jobs:
        ready(workflow)
    error = fit(workflow, time_limit=time_limit, status=422)
    assert error.keys() == {"error", "message", "field"}
    assert error["field"] == "time_limit"
    assert error["message"].startswith("Invalid time_limit format: ")
    assert not time_limit.strip("P ") or time_limit not in error["message"]


@pytest.mark.parametrize(
    "time_limit, seconds",
    [
        ("PT30M", 1800), ("PT1.9S", 1), ("PT1,9S", 1), ("P1DT12H", 129600), ("PT", 0), ("P1DT", 86400), ("P0DT1M", 60),
        ("P1M", 2629800), ("P1W", 604800), (" PT90M ", 5400), ("PT36H", 129600), ("P1Y", 31557600),
        ("P1Y2M3DT4H5M6S", 37091106), ("P0001-02-03T04:05:06", 37091106), ("P00010203T040506", 37091106),
        ("PT4294967295S", 4294967295),
    ],
)  # fmt: skip
def test_a_time_limit_is_compared_in_seconds(workflow, time_limit, seconds):
    exactly = ready(workflow, resource_requirements_id=workflow.requirements(runtime=f"PT{seconds}S"))
    over = [
        ready(workflow, resource_requirements_id=workflow.requirements(runtime=f"PT{seconds + 1}S"))
        for _ in range(seconds < 4294967295)
    ]
    assert fit(workflow, time_limit=time_limit) == [exactly]
    assert workflow.statuses(*over) == ["ready"] * len(over)


def test_a_canceled_workflow_says_so_before_it_looks_at_the_time_limit(workflow):
    cancel(workflow)
    assert fit(workflow, time_limit="nonsense") == []


@pytest.mark.parametrize("field", ["num_cpus", "memory_gb", "num_gpus", "num_nodes"])
@pytest.mark.parametrize("value", [None, "1", True, "absent"])
def test_the_four_resources_are_required_numbers(client, workflow, field, value):
    body = ROOMY | {field: value}
    if value == "absent":
        del body[field]
    path = f"{workflow.path}/claim_jobs_based_on_resources/1"
    assert client.post(path, json=body, status=422).json["error"]["field"] == field


def test_memory_may_be_a_fraction_and_counts_may_not(workflow):
    assert fit(workflow, memory_gb=0.5) == []
    assert fit(workflow, num_cpus=1.0, status=422)["field"] == "num_cpus"


def test_the_resource_claim_needs_a_json_body(client, workflow):
    path = f"{workflow.path}/claim_jobs_based_on_resources/1"
    client.post(path, status=415)
    client.post(path, body="", headers={"Content-Type": "application/json"}, status=400)
