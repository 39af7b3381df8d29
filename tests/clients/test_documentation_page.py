"""The command lines of the documentation page work word for word, in the order of the page, on a new server.

They are sent twice: split as a shell would and sent by our own client, and by a shell with the real curl and jq.
"""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import PREFIX, clean_environment

COMMANDS = (Path(__file__).parents[1] / "documentation_page" / "commands.sh").read_text().strip().split("\n\n")
(
    CREATE_WORKFLOW, LIST_WORKFLOWS, GET_WORKFLOW, INITIALIZE_JOBS, CREATE_JOB, LIST_READY_JOBS, MANAGE_STATUS_CHANGE,
    CREATE_FILE, LIST_FILES, CREATE_USER_DATA, UPDATE_USER_DATA, CREATE_RESOURCE_REQUIREMENTS, CREATE_COMPUTE_NODE,
    LIST_ACTIVE_COMPUTE_NODES, CREATE_RESULT, LIST_EVENTS, CLAIM_NEXT_JOBS, PROCESS_CHANGED_JOB_INPUTS,
) = COMMANDS  # fmt: skip
PIPE = re.compile(r"\s*\\?\s*\| jq '(.*)'$")


def jq(text, answer):
    """What jq prints for the filters of the page: `.`, `.key`, `.key[] | {a, b}`; a list of JSON values."""
    key, each, names = re.fullmatch(r"\.(\w*)(\[\])?(?: \| \{(.*)\})?", text).groups()
    value = answer[key] if key else answer
    values = value if each else [value]
    return [{name: item.get(name) for name in names.split(", ")} for item in values] if names else values


def json_values(text):
    """The JSON values that stand one after the other in a text."""
    values = []
    while text := text.lstrip():
        value, end = json.JSONDecoder().raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


def send(server, command):
    """Send a command line over HTTP; return what its jq would print."""
    words = shlex.split(PIPE.sub("", command).replace("\\\n", ""))
    assert words.pop(0) == "curl"
    method, headers, body, url = "GET", {}, b"", None
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0)
        else:
            url = urlsplit(word)
    target = url.path.removeprefix(PREFIX) + (f"?{url.query}" if url.query else "")
    response = server.client.request(method, target, body=body, headers=headers)
    assert response.headers["content-type"] == "application/json"
    return jq(PIPE.search(command)[1], response.json)


def run(server, command):
    """Run a command line in a shell; return what it prints."""
    command = command.replace("localhost:8080", f"127.0.0.1:{server.port}")
    if shutil.which("jq"):
        return json_values(shell(command))
    return jq(PIPE.search(command)[1], json.loads(shell(PIPE.sub("", command))))


def shell(command):
    # The & of an unquoted address ends the command: curl runs in the background, and the shell has to wait for it.
    done = subprocess.run(
        ["sh", "-c", f"{command}\nwait"], env=clean_environment("/"), capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")


@pytest.fixture(params=[send, pytest.param(run, marks=needs_curl)])
def page(request, start_server, fresh_database_url):
    """page(command): what the command line prints, on a server whose ids start at 1."""
    server = start_server(database_url=fresh_database_url)

    def page(command):
        return request.param(server, command)

    page.client = server.client
    return page


def test_every_request_of_the_documentation_page_works_word_for_word(page):
    workflow = {"id": 1, "name": "test_workflow", "user": "alice", "description": "Test workflow"}
    [created] = page(CREATE_WORKFLOW)
    assert created.items() >= workflow.items()
    [workflows] = page(LIST_WORKFLOWS)
    if isinstance(workflows, dict):  # a shell cuts the unquoted address at the &: no limit, and jq gets nothing
        assert workflows["items"] == workflows["workflows"]
        workflows = workflows["workflows"]
    assert [w["id"] for w in workflows] == [1]
    [got] = page(GET_WORKFLOW)
    assert got.items() >= created.items()
    [initialized] = page(INITIALIZE_JOBS)
    assert initialized == {"message": "Initialized job status", "jobs_taken_back": 0, "jobs_kept": 0}

    [job] = page(CREATE_JOB)
    assert job == {
        "id": 1, "workflow_id": 1, "name": "job1", "command": "echo hello", "resource_requirements_id": 1,
        "input_file_ids": [], "output_file_ids": [], "depends_on_job_ids": [], "status": "uninitialized",
    }  # fmt: skip
    assert page(LIST_READY_JOBS) == []
    [changed] = page(MANAGE_STATUS_CHANGE)
    assert (changed["id"], changed["status"]) == (1, "running")

    file = {"id": 1, "workflow_id": 1, "name": "input_data", "path": "/data/input.csv"}
    assert page(CREATE_FILE) == [file]
    assert page(LIST_FILES) == [[file]]

    user_data = {"id": 1, "workflow_id": 1, "name": "config", "data": {"learning_rate": 0.001, "batch_size": 32}}
    assert page(CREATE_USER_DATA) == [user_data]
    user_data |= {"data": {"learning_rate": 0.01, "batch_size": 64}, "is_ephemeral": False}
    assert page(UPDATE_USER_DATA) == [user_data]

    assert page(CREATE_RESOURCE_REQUIREMENTS) == [{
        "id": 2, "workflow_id": 1, "name": "gpu_large", "num_cpus": 16, "num_gpus": 4, "num_nodes": 1,
        "memory": "128g", "runtime": "PT8H",
    }]  # fmt: skip

    [node] = page(CREATE_COMPUTE_NODE)
    assert node == {
        "id": 1, "workflow_id": 1, "hostname": "compute-01", "num_cpus": 32, "memory": "256g", "memory_gb": 256,
        "num_gpus": 8, "is_active": True, "pid": 0, "num_nodes": 1, "compute_node_type": "local",
        "start_time": node["start_time"],
    }  # fmt: skip
    assert page(LIST_ACTIVE_COMPUTE_NODES) == [{"hostname": "compute-01", "num_cpus": 32, "num_gpus": 8}]

    [result] = page(CREATE_RESULT)
    assert result == {
        "id": 1, "workflow_id": 1, "job_id": 1, "exit_code": 0, "stdout": "Job completed successfully", "stderr": "",
        "return_code": 0, "status": "completed", "run_id": current_run(page), "attempt_id": 1, "compute_node_id": 1,
        "job_name": "job1", "exec_time_minutes": 0, "completion_time": result["completion_time"],
    }  # fmt: skip

    assert page(LIST_EVENTS) == [{"timestamp": e["timestamp"], "data": e["data"]} for e in stored_events(page)]
    assert page(CLAIM_NEXT_JOBS) == [[]]
    assert page(PROCESS_CHANGED_JOB_INPUTS) == [[]]


def test_the_requests_of_the_page_give_what_they_promise_where_there_is_something(page):
    """On the page the job comes after initialize_jobs, so nothing is ready there and nothing can be claimed."""
    page(CREATE_WORKFLOW)
    page(CREATE_USER_DATA)
    reader = {"workflow_id": 1, "name": "reader", "command": "cat", "input_user_data_ids": [1]}
    page.client.post("/jobs", json=reader)
    for _ in range(5):
        page(CREATE_JOB)
    page(INITIALIZE_JOBS)
    ready = page(LIST_READY_JOBS)
    assert ready[1:] == [{"name": "job1", "status": "ready", "id": id} for id in range(2, 7)]
    [claimed] = page(CLAIM_NEXT_JOBS)
    assert [(job["id"], job["status"]) for job in claimed] == [(id, "pending") for id in range(1, 6)]
    page(UPDATE_USER_DATA)
    assert page(PROCESS_CHANGED_JOB_INPUTS) == [["reader"]]
    page.client.put("/workflows/1/cancel")
    events = page(LIST_EVENTS)
    assert events[-1]["data"]["category"] == "workflow_canceled"
    assert events[-1].keys() == {"timestamp", "data"}


def current_run(page):
    return page.client.get("/workflows/1/status").json["run_id"]


def stored_events(page):
    return page.client.get("/events?workflow_id=1").json["items"]
