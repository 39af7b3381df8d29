"""Clients of all generations on one server: each call is answered in the form that its client reads."""

import json
import uuid

import pytest
from workflow import Workflow

from torc_server.dialect import api_version, dialect

# Requests of clients, by what they send of themselves.
RUST = {"User-Agent": "OpenAPI-Generator/v0.7.0/rust"}
CLIENTS = {
    "cli 0.22.2": RUST,
    "cli 1.0.0": RUST | {"X-Torc-Client-User": "alice"},
    "python 0.22.2": {"User-Agent": "OpenAPI-Generator/0.12.0/python"},
    "python 0.27.0": {"User-Agent": "OpenAPI-Generator/0.15.0/python"},
    "python 0.30.1": {"User-Agent": "OpenAPI-Generator/0.17.0/python"},
    "python 0.33.0": {"User-Agent": "OpenAPI-Generator/0.20.0/python"},
    "python 0.35.0": {"User-Agent": "OpenAPI-Generator/0.21.0/python"},
    "curl": {"User-Agent": "curl/8.5.0"},
    "nobody": {},
}
WITH_TEXT = ["cli 0.22.2", "python 0.22.2", "python 0.27.0", "python 0.30.1"]
WITH_OBJECTS = ["cli 1.0.0", "python 0.33.0", "python 0.35.0"]
UNKNOWN = ["curl", "nobody"]
OBJECTS = {
    "metadata": {"ticket": 41, "note": None},
    "slurm_defaults": {"account": "research"},
    "execution_config": {"limit_resources": True, "stdio": {"mode": "combined"}},
    "resource_monitor_config": {"enabled": True, "sample_interval_seconds": 5},
}
# What clients that read objects get of these: execution_config with a mode, resource_monitor_config with every key.
READ_BACK = OBJECTS | {
    "execution_config": {"mode": "direct"} | OBJECTS["execution_config"],
    "resource_monitor_config": {
        "enabled": True, "granularity": "summary", "sample_interval_seconds": 5, "flush_interval_seconds": 300,
        "generate_plots": False, "jobs": None, "compute_node": None,
    },
}  # fmt: skip
TEXTS = {name: json.dumps(value) for name, value in OBJECTS.items()}


class As:
    """A client of some generation; see CLIENTS."""

    def __init__(self, client, name):
        self._client, self._headers = client, CLIENTS[name]

    def __getattr__(self, method):
        call = getattr(self._client, method)
        return lambda *args, **kwargs: call(*args, headers=self._headers, **kwargs)


@pytest.fixture
def as_client(client):
    """as_client("cli 1.0.0") calls as that one."""
    return lambda name: As(client, name)


# Who is who


@pytest.mark.parametrize(
    "name, expected",
    {
        "cli 0.22.2": "text_initialize", "cli 1.0.0": "objects", "python 0.22.2": "text", "python 0.27.0": "text_reset",
        "python 0.30.1": "text_reset", "python 0.33.0": "objects", "python 0.35.0": "objects", "curl": None,
        "nobody": None,
    }.items(),
)  # fmt: skip
def test_a_client_is_known_by_its_headers(name, expected):
    environ = {f"HTTP_{key.upper().replace('-', '_')}": value for key, value in CLIENTS[name].items()}
    assert dialect(environ) == expected


@pytest.mark.parametrize(
    "agent",
    ["OpenAPI-Generator/1.0.0/python", "OpenAPI-Generator/0.12/python", "OpenAPI-Generator/0.7.0/rust", "", "x" * 9999],
)
def test_another_user_agent_is_of_unknown_make(agent):
    assert dialect({"HTTP_USER_AGENT": agent}) is None


def test_each_client_is_told_the_version_that_keeps_it_silent(as_client):
    assert api_version(None) == "0.23.0"
    for name, version in (("cli 0.22.2", "0.12.0"), ("cli 1.0.0", "0.23.0"), ("curl", "0.23.0")):
        assert as_client(name).get("/version").json["api_version"] == version


# Settings of workflows: rows 1 and 2 of the list of conflicts


@pytest.mark.parametrize("writer", CLIENTS)
@pytest.mark.parametrize("sent", [OBJECTS, TEXTS], ids=["objects", "texts"])
def test_settings_are_taken_in_either_form_from_anybody_and_answered_in_the_form_that_the_reader_wants(
    as_client, writer, sent
):
    workflow = Workflow(as_client(writer), None, **sent)
    answers = [(writer, workflow.created)]
    for reader in CLIENTS:
        client = as_client(reader)
        answers.append((reader, client.get(workflow.path).json))
        listed = client.get("/workflows", params={"sort_by": "id", "reverse_sort": True, "limit": 20}).json["items"]
        answers.append((reader, next(item for item in listed if item["id"] == workflow.id)))
        answers.append((reader, client.put(workflow.path, json={"name": "w", "user": "u"}).json))
        answers.append((reader, client.put(f"{workflow.path}/cancel").json))
        answers.append((reader, client.post(f"{workflow.path}/reset_status").json))
    for reader, answer in answers:
        found = {name: answer[name] for name in OBJECTS}
        if reader in WITH_OBJECTS or reader in UNKNOWN and sent is OBJECTS:
            assert found == READ_BACK, reader
        elif sent is TEXTS:
            assert found == TEXTS, reader
        else:
            assert {name: json.loads(text) for name, text in found.items()} == OBJECTS, reader
    assert as_client(writer).delete(workflow.path).json.keys() >= OBJECTS.keys()


def test_an_update_changes_the_form_of_what_it_names(as_client):
    workflow = Workflow(as_client("curl"), None, **OBJECTS)
    changed = workflow.client.put(workflow.path, json={"name": "w", "user": "u", "metadata": "[1]"}).json
    assert (changed["metadata"], changed["slurm_defaults"]) == ("[1]", OBJECTS["slurm_defaults"])
    changed = workflow.client.put(workflow.path, json={"name": "w", "user": "u", "metadata": {"a": 1}}).json
    assert changed["metadata"] == {"a": 1}


@pytest.mark.parametrize("text", ["", "plain", "[1]", "{", '{"a": "\\u0000"}', '{"a": "\\ud800"}', "{" * 100_000])
def test_a_text_that_holds_no_object_is_left_out_for_clients_that_read_objects(as_client, text):
    workflow = Workflow(as_client("cli 0.22.2"), None, **dict.fromkeys(OBJECTS, text))
    assert workflow.client.get(workflow.path).json.items() >= dict.fromkeys(OBJECTS, text).items()
    assert not as_client("cli 1.0.0").get(workflow.path).json.keys() & OBJECTS.keys()


@pytest.mark.parametrize(
    "name, value",
    [
        ("execution_config", {"colour": "red"}), ("execution_config", {"mode": "fast"}),
        ("execution_config", {"stdio": {"colour": "red"}}), ("execution_config", {"oom_exit_code": 1.5}),
        ("execution_config", {"job_stdio_overrides": {"j": {"mode": 1}}}), ("execution_config", {"mode": 5}),
        ("resource_monitor_config", {"enabled": "yes"}), ("resource_monitor_config", {"jobs": [1]}),
        ("resource_monitor_config", {"granularity": "all"}),
    ],
)  # fmt: skip
def test_settings_with_a_wrong_key_or_type_are_422_as_objects_and_left_out_for_readers_of_objects_as_text(
    as_client, name, value
):
    body = {"name": "w", "user": "u", name: value}
    assert as_client("cli 1.0.0").post("/workflows", json=body, status=422).json["error"]["field"].startswith(name)
    workflow = Workflow(as_client("cli 0.22.2"), None, **{name: json.dumps(value)})
    assert workflow.created[name] == json.dumps(value)
    assert name not in as_client("cli 1.0.0").get(workflow.path).json


def test_unknown_keys_of_resource_monitor_config_are_ignored(as_client):
    sent = {"resource_monitor_config": {"colour": 1, "jobs": {"enabled": True}}}
    workflow = Workflow(as_client("cli 1.0.0"), None, **sent)
    config = workflow.client.get(workflow.path).json["resource_monitor_config"]
    assert config["jobs"] == {"enabled": True, "granularity": "summary"} and "colour" not in config


def test_srun_mpi_is_kept_from_clients_that_would_drop_all_settings_because_of_it(as_client):
    workflow = Workflow(as_client("cli 1.0.0"), None, execution_config={"mode": "slurm", "srun_mpi": "none"})
    assert workflow.client.get(workflow.path).json["execution_config"] == {"mode": "slurm", "srun_mpi": "none"}
    text = as_client("cli 0.22.2").get(workflow.path).json["execution_config"]
    assert json.loads(text) == {"mode": "slurm"}


# RO-Crate entities: rows 3 and 22 to 24


def entity(workflow, metadata, **fields):
    return {"workflow_id": workflow.id, "entity_id": "e", "entity_type": "File", "metadata": metadata} | fields


@pytest.mark.parametrize("writer", CLIENTS)
@pytest.mark.parametrize("sent", [{"@id": "e", "n": None}, '{"@id": "e", "n": null}'], ids=["object", "text"])
def test_metadata_of_entities_are_taken_in_either_form_and_answered_in_that_of_the_reader(as_client, writer, sent):
    workflow = Workflow(as_client(writer), None)
    created = workflow.client.post("/ro_crate_entities", json=entity(workflow, sent)).json
    path = f"/ro_crate_entities/{created['id']}"
    answers = [(writer, created), (writer, workflow.client.put(path, json=entity(workflow, sent)).json)]
    for reader in CLIENTS:
        answers.append((reader, as_client(reader).get(path).json))
        answers.append((reader, as_client(reader).get(f"{workflow.path}/ro_crate_entities").json["items"][0]))
    for reader, answer in answers:
        if reader in WITH_OBJECTS or reader in UNKNOWN and type(sent) is dict:
            assert answer["metadata"] == {"@id": "e", "n": None}, reader
        else:
            assert json.loads(answer["metadata"]) == {"@id": "e", "n": None}, reader


def test_metadata_that_are_no_object_are_an_empty_one_for_clients_that_read_objects(as_client):
    workflow = Workflow(as_client("python 0.22.2"), None)
    created = workflow.client.post("/ro_crate_entities", json=entity(workflow, "no JSON")).json
    assert created["metadata"] == "no JSON"
    assert as_client("cli 1.0.0").get(f"/ro_crate_entities/{created['id']}").json["metadata"] == {}


@pytest.mark.parametrize("name", CLIENTS)
def test_an_entity_that_exists_is_422_with_the_words_that_clients_search_for(as_client, name):
    workflow = Workflow(as_client(name), None)
    workflow.client.post("/ro_crate_entities", json=entity(workflow, "{}"))
    error = workflow.client.post("/ro_crate_entities", json=entity(workflow, "{}"), status=422).json["error"]
    assert error["message"] == "RO-Crate entity already exists for this workflow/entity_id link"


def test_a_file_has_one_entity_where_clients_read_objects_and_any_number_for_earlier_ones(as_client):
    workflow = Workflow(as_client("cli 1.0.0"), None)
    file = workflow.file()
    first = entity(workflow, {}, file_id=file)
    created = workflow.client.post("/ro_crate_entities", json=first).json
    second = entity(workflow, {}, file_id=file, entity_id="second")
    error = workflow.client.post("/ro_crate_entities", json=second, status=422).json["error"]
    assert (error["field"], error["message"][-9:]) == ("file_id", "file link")
    workflow.client.put(f"/ro_crate_entities/{created['id']}", json=first)
    as_client("cli 0.22.2").post("/ro_crate_entities", json=second)


@pytest.mark.parametrize("name", CLIENTS)
def test_initialize_jobs_records_entities_as_the_generation_of_its_client_expects_them(as_client, name):
    workflow = Workflow(as_client(name), None, enable_ro_crate=True)
    workflow.file(st_mtime=0)
    workflow.client.post(f"{workflow.path}/initialize_jobs")
    file, software = as_client("cli 1.0.0").get(f"{workflow.path}/ro_crate_entities").json["items"]
    new = name in WITH_OBJECTS
    assert file["metadata"]["@type"] == (["File", "prov:Entity"] if new else "File")
    assert software["metadata"]["@type"] == (
        ["SoftwareApplication", "prov:SoftwareAgent"] if new else "SoftwareApplication"
    )
    run_id = workflow.client.get(workflow.path).json["run_id"]
    assert file["metadata"]["torc:run_id"] == run_id
    assert software["entity_id"] == f"#software-torc-server-run-id-{run_id}"


def test_initialize_jobs_merges_into_the_metadata_that_a_client_wrote_for_a_file(as_client):
    workflow = Workflow(as_client("cli 1.0.0"), None, enable_ro_crate=True)
    file = workflow.file(st_mtime=0)
    workflow.client.post("/ro_crate_entities", json=entity(workflow, {"author": "alice", "name": "x"}, file_id=file))
    workflow.client.post(f"{workflow.path}/initialize_jobs")
    params = {"file_id": file, "entity_id": "e"}
    [found] = workflow.client.get(f"{workflow.path}/ro_crate_entities", params=params).json["items"]
    assert (found["metadata"]["author"], found["metadata"]["name"]) == ("alice", "f")


def test_entities_are_filtered_by_file_and_entity_id(as_client):
    workflow = Workflow(as_client("cli 1.0.0"), None)
    file = workflow.file()
    workflow.client.post("/ro_crate_entities", json=entity(workflow, {}, file_id=file))
    workflow.client.post("/ro_crate_entities", json=entity(workflow, {}, entity_id="other"))
    for params, found in (({"file_id": file}, ["e"]), ({"entity_id": "other"}, ["other"]), ({"file_id": 0}, [])):
        page = workflow.client.get(f"{workflow.path}/ro_crate_entities", params=params).json
        assert [item["entity_id"] for item in page["items"]] == found and page["total_count"] == len(found)


# The run id: rows 5 and 6


def run_id(workflow):
    return workflow.client.get(workflow.path).json["run_id"]


@pytest.mark.parametrize("name", CLIENTS)
def test_reset_status_begins_the_next_run_unless_the_client_does_that_itself(as_client, name):
    workflow = Workflow(as_client(name), None)
    raises = name not in ("cli 0.22.2", "python 0.22.2")
    for expected in (1, 2):
        answer = workflow.client.post(f"{workflow.path}/reset_status").json
        assert answer["run_id"] == run_id(workflow) == (expected if raises else 0)
        assert answer["has_detected_need_to_run_completion_script"] is answer["is_canceled"] is False


def initialize_0_22_2(workflow, reinitialize=False):
    """What torc CLI 0.22.2 sends."""
    client, path = workflow.client, workflow.path
    if not reinitialize:
        client.post(f"{path}/reset_status")
        client.post(f"{path}/reset_job_status")
    status = client.get(f"{path}/status").json
    client.put(f"{path}/status", json={"run_id": status["run_id"] + 1, "is_canceled": False})
    if reinitialize:
        client.post(f"{path}/reset_status")
    client.post(f"{path}/initialize_jobs", params={"only_uninitialized": reinitialize})


def initialize_0_27(workflow, reinitialize=False):
    """What torc CLI 0.27 sends, and 1.0.0 with another header."""
    workflow.client.post(f"{workflow.path}/reset_status")
    if not reinitialize:
        workflow.client.post(f"{workflow.path}/reset_job_status")
    workflow.client.post(f"{workflow.path}/initialize_jobs", params={"only_uninitialized": reinitialize})


@pytest.mark.parametrize("reinitialize", [False, True])
@pytest.mark.parametrize(
    "name, initialize",
    [("cli 0.22.2", initialize_0_22_2), ("cli 0.22.2", initialize_0_27), ("cli 1.0.0", initialize_0_27)],
)
def test_each_start_of_a_workflow_is_one_run_for_every_generation(as_client, name, initialize, reinitialize):
    workflow = Workflow(as_client(name), None)
    workflow.job()
    initialize(workflow)
    assert run_id(workflow) == 1
    for expected in (2, 3):
        initialize(workflow, reinitialize)
        assert run_id(workflow) == expected


def test_generations_may_take_turns_in_starting_a_workflow(as_client):
    workflow = Workflow(as_client("cli 0.22.2"), None)
    initialize_0_27(workflow)
    workflow.client = as_client("cli 1.0.0")
    initialize_0_27(workflow)
    assert run_id(workflow) == 2
    workflow.client = as_client("cli 0.22.2")
    initialize_0_22_2(workflow)
    initialize_0_27(workflow, reinitialize=True)
    workflow.client = as_client("cli 1.0.0")
    initialize_0_27(workflow, reinitialize=True)
    assert run_id(workflow) == 5


def test_a_job_that_was_retried_is_at_attempt_1_in_the_run_that_reset_status_begins(workflow):
    job = workflow.job_in("failed")
    workflow.client.post(f"/jobs/{job}/retry/0", params={"max_retries": 3})
    assert workflow.client.get(f"/jobs/{job}").json["attempt_id"] == 2
    workflow.client.post(f"{workflow.path}/reset_status")
    assert workflow.client.get(f"/jobs/{job}").json["attempt_id"] == 1


# Answers that hold what both generations need: rows 4 and 7 to 9


@pytest.mark.parametrize("name", CLIENTS)
def test_every_workflow_comes_with_its_run_state_and_status_id(as_client, name):
    workflow = Workflow(as_client(name), None)
    for answer in (
        workflow.client.get(workflow.path).json,
        workflow.client.put(workflow.path, json={"name": "w", "user": "u", "run_id": 7, "is_canceled": True}).json,
        workflow.client.put(f"{workflow.path}/cancel").json,
    ):
        assert (answer["status_id"], answer["run_id"], answer["is_archived"]) == (workflow.id, 0, False)
    assert answer["is_canceled"] is True and answer["has_detected_need_to_run_completion_script"] is False
    complete = workflow.client.get(f"{workflow.path}/is_complete").json
    assert complete == {"is_canceled": True, "is_complete": True, "needs_to_run_completion_script": False}


# What 1.0.0 added to workflows and jobs


def test_the_env_of_a_job_is_that_of_its_workflow_under_its_own(as_client):
    workflow = Workflow(as_client("cli 1.0.0"), None, env={"A": "1", "B": "2"})
    body = {"workflow_id": workflow.id, "name": "j", "command": "c"}
    created = workflow.client.post("/jobs", json=body | {"env": {"B": "3"}}).json
    assert created["env"] == {"A": "1", "B": "3"}
    [plain] = workflow.client.post("/bulk_jobs", json={"jobs": [body]}).json["jobs"]
    assert plain["env"] == {"A": "1", "B": "2"}
    path = f"/jobs/{created['id']}"
    assert workflow.client.get(path).json["env"] == created["env"]
    assert workflow.client.put(path, json=body | {"env": created["env"]}).json["env"] == created["env"]
    assert workflow.client.put(path, json=body | {"env": {"B": "3"}}, status=422).json["error"]["field"] == "env"
    workflow.client.post(f"{workflow.path}/initialize_jobs")
    claimed = workflow.client.post(f"{workflow.path}/claim_next_jobs").json["jobs"]
    assert [job["env"] for job in claimed] == [created["env"], plain["env"]]


@pytest.mark.parametrize("env", [{"1A": "x"}, {"A-B": "x"}, {"": "x"}, {"A": 1}, [], {"A\n": "x"}])
def test_an_env_with_another_name_or_type_is_422(workflow, env):
    body = {"name": "w", "user": "u", "env": env}
    assert workflow.client.post("/workflows", json=body, status=422).json["error"]["field"].startswith("env")
    body = {"workflow_id": workflow.id, "name": "j", "command": "c", "env": env}
    workflow.client.post("/jobs", json=body, status=422)


@pytest.mark.parametrize(
    "field, value, other",
    [
        ("env", {"A": "1"}, {"A": "2"}), ("dynamic_jobs", {"max_iterations": 3}, {"max_iterations": 4}),
        ("submission_directory", "/a", "/b"),
    ],
)  # fmt: skip
def test_what_is_fixed_at_creation_may_be_repeated_and_not_changed(as_client, field, value, other):
    workflow = Workflow(as_client("cli 1.0.0"), None, **{field: value})
    assert workflow.client.get(workflow.path).json[field] == value
    assert workflow.client.put(workflow.path, json={"name": "w", "user": "u", field: value}).json[field] == value
    error = workflow.client.put(workflow.path, json={"name": "w", "user": "u", field: other}, status=422).json["error"]
    assert error["message"] == f"Cannot modify {field} - this field is immutable after workflow creation"


@pytest.mark.parametrize("config", [{"max_iterations": 0}, {"other": 1}, []])
def test_a_dynamic_jobs_that_does_not_fit_is_422(client, config):
    body = {"name": "w", "user": "u", "dynamic_jobs": config}
    assert client.post("/workflows", json=body, status=422).json["error"]["field"].startswith("dynamic_jobs")


def test_a_workflow_is_shared_with_the_groups_that_its_creation_names(client):
    names = [f"{letter} {uuid.uuid4().hex}" for letter in "ba"]
    for name in names:
        client.post("/access_groups", json={"name": name})
    workflow = Workflow(client, None, access_groups=names)
    assert workflow.created["access_groups"] == sorted(names)
    listed = client.get("/workflows", params={"access_group": names[0]}).json["items"]
    assert [item["id"] for item in listed] == [workflow.id]
    assert client.get("/workflows", params={"access_group": "no such group"}).json["total_count"] == 0
    client.put(workflow.path, json={"name": "w", "user": "u", "access_groups": names})
    client.put(workflow.path, json={"name": "w", "user": "u", "access_groups": names[:1]}, status=422)
    before = client.get("/workflows").json["total_count"]
    for wrong in (["no such group"], names[:1] * 2):
        body = {"name": "w", "user": "u", "access_groups": wrong}
        assert client.post("/workflows", json=body, status=422).json["error"]["field"] == "access_groups"
    assert client.get("/workflows").json["total_count"] == before


def test_the_origin_tells_of_a_retry_and_start_time_and_node_of_the_present_execution(workflow):
    job = workflow.job_in("pending")
    node = workflow.node()
    workflow.start(job, node)
    started = workflow.client.get(f"/jobs/{job}").json
    assert started["compute_node_id"] == node and started["start_time"].endswith("+00:00")
    workflow.client.post(f"/jobs/{job}/retry/0", params={"max_retries": 3})
    retried = workflow.client.get(f"/jobs/{job}").json
    assert retried["origin"] == "retry" and not {"start_time", "compute_node_id"} & retried.keys()
    other = workflow.job(name="Other")
    for params, found in (
        ({"origin_is_set": True}, [job]), ({"origin_is_set": False}, [other]), ({"name": "oTHE"}, [other]),
        ({"name": "%"}, []), ({"command": "C"}, [job, other]),
    ):  # fmt: skip
        page = workflow.client.get("/jobs", params={"workflow_id": workflow.id} | params).json
        assert ([item["id"] for item in page["items"]], page["total_count"]) == (found, len(found))


# Row 17


@pytest.mark.parametrize("name", CLIENTS)
def test_requirements_without_cpus_are_refused_where_the_client_reads_objects(as_client, name):
    workflow = Workflow(as_client(name), None)
    body = {"workflow_id": workflow.id, "name": "r", "num_cpus": 0}
    answer = workflow.client.post("/resource_requirements", json=body, status=422 if name in WITH_OBJECTS else 200)
    assert name not in WITH_OBJECTS or answer.json["error"]["message"] == "num_cpus must be > 0, got 0"


# Row 4


def test_the_status_sums_up_jobs_results_and_nodes(workflow):
    jobs = [workflow.job_in("completed"), workflow.job_in("failed"), workflow.job_in("ready"), workflow.job()]
    status = workflow.client.get(f"{workflow.path}/status").json
    counts = status["jobs_by_status"]
    assert len(counts) == 11 and sum(counts.values()) == status["total_jobs"] == len(jobs)
    assert {word: n for word, n in counts.items() if n} == {"completed": 1, "failed": 1, "ready": 1, "uninitialized": 1}
    assert status["total_exec_time_minutes"] == 1 and status["walltime_seconds"] >= 0
    assert (status["workflow_id"], status["workflow_name"], status["workflow_user"]) == (workflow.id, "w", "u")
    assert (status["is_complete"], status["runtime_blocked_ready_jobs"]) == (False, 0)
    assert status["active_compute_nodes"] == 1 and "longest_ready_runtime_seconds" not in status


def test_the_status_counts_ready_jobs_that_need_more_time_than_all_nodes_have(workflow):
    workflow.job_in("ready", resource_requirements_id=workflow.requirements(runtime="PT9H"))
    workflow.job_in("ready")
    node = workflow.node()
    path = f"/compute_nodes/{node}"
    body = workflow.client.get(path).json
    assert "max_allocation_remaining_seconds" not in workflow.client.get(f"{workflow.path}/status").json
    for end_time, blocked in (("2001-01-01T00:00:00Z", 1), ("2999-01-01T00:00:00+02:00", 0)):
        workflow.client.put(path, json=body | {"end_time": end_time})
        status = workflow.client.get(f"{workflow.path}/status").json
        assert (status["runtime_blocked_ready_jobs"], status["longest_ready_runtime_seconds"]) == (blocked, 9 * 3600)
        assert (status["max_allocation_remaining_seconds"] == 0) == bool(blocked)


@pytest.mark.parametrize("minutes", [1e308, -1e308])
def test_the_status_survives_results_that_no_clock_has_measured(workflow, minutes):
    for _ in range(2):
        workflow.complete(workflow.job(), exec_time_minutes=minutes, completion_time="2026-99-99T00:00:00Z")
    workflow.client.get(f"{workflow.path}/status")
