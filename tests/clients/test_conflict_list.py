"""Where clients of torc 0.22.2 and of 1.0.0 expect different things of the same call: one test for each row of that
list, with callers of both generations. The rows about texts and objects, run ids, versions and RO-Crate entities (1 to
3, 6, 7, 9, 10, 17, 22 to 24) are in test_dialects.py.
"""

import subprocess

import pytest
from support import BINARIES, clean_environment
from test_dialects import as_client  # noqa: F401 (a fixture)
from workflow import Workflow

from torc_server.bodies import BASE_PATH, MIB, body_limit
from torc_server.settings import Settings

WORKER = {"num_cpus": 5, "memory_gb": 256, "num_gpus": 4, "num_nodes": 1}


@pytest.fixture(params=["cli 0.22.2", "python 0.22.2", "cli 1.0.0", "python 0.35.0"])
def caller(request, as_client):  # noqa: F811
    return as_client(request.param)


@pytest.fixture
def asked(caller, database):
    """A workflow that the caller has made."""
    workflow = Workflow(caller, database)
    yield workflow
    assert workflow.violations() == []


def bulk(workflow, *names, **fields):
    return {"jobs": [{"workflow_id": workflow.id, "name": name, "command": "c"} | fields for name in names]}


def test_row_4_the_status_has_the_keys_of_both(asked):
    status = asked.client.get(f"{asked.path}/status").json
    assert status.keys() >= {"id", "run_id", "is_canceled", "is_archived", "has_detected_need_to_run_completion_script"}
    assert status.keys() >= {
        "workflow_id", "workflow_name", "workflow_user", "total_jobs", "jobs_by_status", "total_exec_time_minutes",
        "active_compute_nodes", "pending_scheduled_nodes", "active_scheduled_nodes", "is_complete", "is_canceled",
        "runtime_blocked_ready_jobs",
    }  # fmt: skip


def test_row_5_the_status_may_be_put(asked):
    body = {"run_id": 4, "is_canceled": False, "is_archived": True}
    asked.client.put(f"{asked.path}/status", json=body)
    assert asked.client.get(asked.path).json.items() >= body.items()


def test_row_8_cancel_and_reset_answer_the_workflow_and_the_flag(asked):
    for method, path in (("PUT", "cancel"), ("POST", "reset_status")):
        answer = asked.client.request(method, f"{asked.path}/{path}").json
        assert (answer["id"], answer["name"], answer["user"]) == (asked.id, "w", "u")
        assert answer["is_canceled"] == (path == "cancel")
        assert answer["has_detected_need_to_run_completion_script"] is False


def test_row_11_a_bulk_without_jobs_is_422(asked):
    error = asked.client.post("/bulk_jobs", json={"jobs": []}, status=422).json["error"]
    assert error["field"] == "jobs" and "requires a non-empty `jobs` array" in error["message"]


def test_row_12_a_name_that_comes_twice_in_a_bulk_is_422_and_one_that_is_stored_is_not(asked):
    error = asked.client.post("/bulk_jobs", json=bulk(asked, "a", "b", "a"), status=422).json["error"]
    assert (error["field"], error["message"]) == (
        "jobs[2].name", "Duplicate name in bulk create request: jobs[0] and jobs[2]"
    )  # fmt: skip
    for _ in range(2):
        assert len(asked.client.post("/bulk_jobs", json=bulk(asked, "a", "b")).json["jobs"]) == 2
    assert asked.client.get("/jobs", params={"workflow_id": asked.id}).json["total_count"] == 4


def test_row_13_more_than_100000_jobs_are_422(asked):
    [row] = bulk(asked, "a")["jobs"]
    error = asked.client.post("/bulk_jobs", json={"jobs": [row] * 100_001}, status=422).json["error"]
    assert error["message"] == "Too many jobs in batch: 100001. Maximum is 100000"


def test_row_14_hostname_and_path_filter_by_a_part(asked):
    asked.node()
    asked.file("data/input.csv")
    for path, name, text in (("/compute_nodes", "hostname", "H"), ("/files", "path", "INPUT")):
        for value, count in ((text, 1), ("elsewhere", 0)):
            page = asked.client.get(path, params={"workflow_id": asked.id, name: value}).json
            assert page["total_count"] == count


@pytest.mark.parametrize("name", ["offset", "limit"])
def test_row_15_a_negative_offset_or_limit_is_422(asked, name):
    error = asked.client.get("/jobs", params={"workflow_id": asked.id, name: -1}, status=422).json["error"]
    assert error["field"] == name


@pytest.mark.parametrize("wrong", [{"status_of_result": "failed"}, {"run_id": 7}, {"job_id": 1}, {"workflow_id": 0}])
def test_row_16_a_result_that_differs_from_the_path_is_422(asked, wrong):
    job = asked.job_in("running")
    path, result = f"/jobs/{job}/complete_job/completed/0", asked.result(job)
    field = next(iter(wrong)).removesuffix("_of_result")
    error = asked.client.post(path, json=result | {field: next(iter(wrong.values()))}, status=422).json["error"]
    assert error["field"] == field
    assert (asked.status(job), asked.results(job)) == ("running", [])


def test_row_18_claims_take_what_needs_more_first_and_fill_the_rest_once(asked):
    one, four = asked.requirements(num_cpus=1), asked.requirements(num_cpus=4)
    small = [asked.job_in("ready", resource_requirements_id=one) for _ in range(2)]
    large = [asked.job_in("ready", resource_requirements_id=four) for _ in range(2)]
    path = f"{asked.path}/claim_jobs_based_on_resources/2"
    claimed = [job["id"] for job in asked.client.post(path, json=WORKER).json["jobs"]]
    assert claimed == [large[0], small[0]]
    assert asked.claim(limit=9) == [small[1], large[1]]


def test_row_19_a_worker_without_labels_gets_no_job_with_labels(asked):
    asked.job_in("ready", labels=["gpu"])
    plain = asked.job_in("ready")
    path = f"{asked.path}/claim_jobs_based_on_resources/9"
    assert [job["id"] for job in asked.client.post(path, json=WORKER).json["jobs"]] == [plain]
    assert asked.claim() == []


def test_row_20_a_job_is_not_started_on_an_unknown_node(asked):
    job = asked.job_in("pending")
    error = asked.start(job, 10**12, status=422)["error"]
    assert error["field"] == "compute_node_id"
    assert asked.status(job) == "pending"


def test_row_21_a_partial_initialize_keeps_what_was_executed_and_a_full_one_does_not(asked):
    asked.job_in("completed")
    path = f"{asked.path}/actions"
    action = {"workflow_id": asked.id, "trigger_type": "on_workflow_start", "action_type": "x", "action_config": {}}
    created = asked.client.post(path, json=action).json["id"]
    asked.initialize()
    asked.client.post(f"{path}/{created}/claim", json={})
    for only_uninitialized, executed in ((True, True), (False, False)):
        asked.initialize(only_uninitialized=only_uninitialized)
        assert [item["executed"] for item in asked.client.get(path).json] == [executed]


def test_row_25_a_failure_cancels_everything_behind_it_whatever_its_return_code(asked):
    first = asked.job()
    second = asked.job(first)
    third = asked.job(second)
    asked.initialize()
    asked.complete(first, "failed", return_code=0)
    assert asked.statuses(second, third) == ["canceled", "canceled"]


def test_row_26_events_are_filtered_by_their_category(asked):
    for category in ("a", "b"):
        asked.client.post("/events", json={"workflow_id": asked.id, "data": {"category": category}})
    page = asked.client.get("/events", params={"workflow_id": asked.id, "category": "b"}).json
    assert [item["data"] for item in page["items"]] == [{"category": "b"}]


def test_row_27_inputs_have_not_changed_whoever_initialized(asked, as_client):  # noqa: F811
    asked.job()
    asked.initialize()
    for other in ("cli 0.22.2", "cli 1.0.0"):
        answer = as_client(other).post(f"{asked.path}/process_changed_job_inputs", params={"dry_run": True}).json
        assert answer == {"reinitialized_jobs": []}


def test_row_28_errors_have_the_words_that_clients_search_for(asked):
    job = asked.job_in("completed")
    messages = [
        asked.complete(job, return_code=5, status=422)["error"]["message"],
        asked.retry(job, status=422)["error"]["message"],
        asked.retry(asked.job_in("failed"), max_retries=1, status=422)["error"]["message"],
        asked.complete(asked.job_in("running"), run_id=9, status=422)["error"]["message"],
    ]
    words = ["already complete", "cannot be retried", "max_retries=1", "Run ID mismatch"]
    assert [word in message for word, message in zip(words, messages, strict=True)] == [True] * 4


@pytest.mark.parametrize("path, limit", [("/bulk_jobs", 200), ("/bulk_files", 200), ("/bulk_user_data", 200)])
def test_row_29_bulk_bodies_may_have_200_mib(path, limit):
    assert body_limit("POST", BASE_PATH + path, Settings()) == limit * MIB


def test_row_30_the_same_completion_again_is_200_and_one_that_differs_in_any_field_is_422(asked):
    job = asked.job_in("running")
    first = asked.complete(job)
    assert asked.complete(job) == first
    for other in ({"completion_time": "later"}, {"return_code": 9}, {"exec_time_minutes": 3}, {"stdout": "x"}):
        assert "already complete" in asked.complete(job, status=422, **other)["error"]["message"]
    assert asked.results(job) == [(0, 1, "completed", 0, True)]


def test_row_31_run_takes_the_flags_of_both(folder):
    command = [BINARIES / "torc-server", "run", "--check", "--shutdown-on-stdin-eof", "--disable-admin-sql",
               "--disable-admin-sql-writes", "-p", "0", "-l", "info", "-t", "1", "-c", "0.5"]  # fmt: skip
    done = subprocess.run(
        command, env=clean_environment(folder), cwd=folder, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert "No such option" not in done.stderr
