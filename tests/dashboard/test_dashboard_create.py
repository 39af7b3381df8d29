"""The page that makes workflows: what a specification becomes, what is refused, that all or nothing is made."""

import json
import uuid
from urllib.parse import urlencode

import pytest
from test_dashboard import BROWSER, FORM, text_of

from torc_server.dashboard.spec import plan
from torc_server.errors import ApiError

SWEEP = {
    "name": "sweep",
    "resource_requirements": [{"name": "small", "num_cpus": 2, "memory": "4g", "runtime": "PT30M"}],
    "files": [{"name": "out_{i}", "path": "/scratch/out_{i}.nc", "parameters": {"i": "1:3"}}],
    "jobs": [
        {
            "name": "simulate_{i:03d}_{x}", "command": "run {i} ${HOME} {x} {other}",
            "parameters": {"i": "1:3", "x": "a, b"}, "resource_requirements": "small", "output_files": ["out_{i}"],
        },
        {"name": "reduce_{i}", "command": "r", "parameters": {"i": "1:3"}, "depends_on": ["simulate_{i:03d}_{x}"]},
        {"name": "report", "command": "p", "depends_on": ["reduce_{i}", "simulate_001_a"]},
    ],
}  # fmt: skip


def send(client, status=200, **fields):
    return client.post("/ui/new", prefix="", body=urlencode(fields, doseq=True), headers=FORM | BROWSER, status=status)


def test_parameters_make_a_job_for_each_combination():
    jobs = plan(SWEEP, "u")["jobs"]
    assert [job["name"] for job in jobs] == [
        "simulate_001_a", "simulate_001_b", "simulate_002_a", "simulate_002_b", "simulate_003_a", "simulate_003_b",
        "reduce_1", "reduce_2", "reduce_3", "report",
    ]  # fmt: skip
    assert jobs[0]["command"] == "run 1 ${HOME} a {other}"
    assert [job["after"] for job in jobs[6:]] == [[0, 1], [2, 3], [4, 5], [0, 6, 7, 8]]
    assert [job["level"] for job in jobs] == [0] * 6 + [1] * 3 + [2]
    assert jobs[3]["writes"] == [1]
    assert jobs[3]["requirement"] == 0


@pytest.mark.parametrize(
    "text, values",
    [
        ("1:4", [1, 2, 3, 4]), ("0:10:5", [0, 5, 10]), ("0.0:1.0:0.25", [0.0, 0.25, 0.5, 0.75, 1.0]), ("a", ["a"]),
        ("[a, b]", ["a", "b"]), ("-2:0", [-2, -1, 0]), ([1, "x"], [1, "x"]),
    ],
)  # fmt: skip
def test_values_of_parameters_are_ranges_or_lists(text, values):
    spec = {"name": "w", "jobs": [{"name": "{p}", "command": "c", "parameters": {"p": text}}]}
    assert [job["name"] for job in plan(spec, "u")["jobs"]] == [str(value) for value in values]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"jobs": [{"name": "j"}]}, "jobs[0].command: Missing"),
        ({"jobs": [{"command": "c"}]}, "jobs[0]: must have a name"),
        ({"jobs": "x"}, "jobs: must be a list"),
        ({"jobs": ["x"]}, "jobs[0]: must be a JSON object"),
        ({"jobs": [{"name": "j", "command": "c", "depends_on": ["k"]}]}, "depends_on: there is none of the name 'k'"),
        ({"jobs": [{"name": "j", "command": "c", "depends_on": ["j"]}]}, "jobs wait for each other in a circle: j"),
        ({"jobs": [{"name": "j", "command": "c", "depends_on": [7]}]}, "jobs[0].depends_on: must hold names"),
        ({"jobs": [{"name": "j", "command": "c", "input_files": ["f"]}]}, "jobs[0].input_files: there is none"),
        ({"jobs": [{"name": "j", "command": "c", "resource_requirements": "big"}]}, "jobs[0].resource_requirements"),
        ({"jobs": [{"name": "j", "command": "c", "parameters": {"i": "1:999999"}}]}, "the range must have"),
        ({"jobs": [{"name": "j", "command": "c", "parameters": {"i": "1:999", "k": "1:999"}}]}, "make 998001 rows"),
        ({"jobs": [{"name": "{i:d}", "command": "c", "parameters": {"i": "a"}}]}, "{i:d}: does not fit the value a"),
        ({"jobs": [{"name": "j", "command": "c", "priority": -1}]}, "jobs[0].priority"),
        ({"resource_requirements": [{"name": "r", "num_cpus": "two"}]}, "resource_requirements[0].num_cpus"),
        ({"name": 7}, "name: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_specification_is_named(change, message):
    with pytest.raises(ApiError) as refused:
        plan({"name": "w", "jobs": []} | change, "u")
    assert refused.value.status == 422
    assert message.lower() in refused.value.message.lower()


def test_a_preview_shows_the_graph_and_makes_nothing(client, database):
    count = "SELECT count(*) FROM torc.workflow"
    before = database.execute(count).fetchone()
    page = send(client, spec=json.dumps(SWEEP), do="preview").text
    assert "10 jobs, 10 dependencies, 3 files" in text_of(page)
    assert page.count('<rect class="node"') == 10
    assert database.execute(count).fetchone() == before


def test_create_makes_all_of_it_and_leads_to_the_workflow(client):
    got = send(client, 303, spec=json.dumps(SWEEP | {"name": f"w{uuid.uuid4()}"}), do="create", initialize="yes")
    workflow = int(got.headers["location"].rpartition("/")[2])
    params = {"workflow_id": workflow, "include_relationships": True}
    jobs = {job["name"]: job for job in client.get("/jobs", params=params).json["items"]}
    assert len(jobs) == 10
    assert jobs["simulate_002_b"]["status"] == "ready"
    reduce = jobs["reduce_2"]
    assert reduce["status"] == "blocked"
    assert reduce["depends_on_job_ids"] == [jobs["simulate_002_a"]["id"], jobs["simulate_002_b"]["id"]]
    files = {file["name"]: file["id"] for file in client.get("/files", params={"workflow_id": workflow}).json["items"]}
    assert jobs["simulate_003_a"]["output_file_ids"] == [files["out_3"]]
    requirement = client.get(f"/resource_requirements/{jobs['simulate_001_a']['resource_requirements_id']}").json
    assert (requirement["name"], requirement["memory"]) == ("small", "4g")


def test_the_form_without_json_makes_the_same(client):
    steps = {
        "step_name": ["run_{i}", "join", ""], "step_command": ["echo {i}", "cat", ""],
        "step_parameters": ["i = 1:5", "", ""], "step_after": ["", "run_{i}", ""], "step_cpus": ["2", "", ""],
        "step_memory": ["1g", "", ""], "step_runtime": ["PT5M", "", ""],
    }  # fmt: skip
    page = send(client, name="by form", project="p", do="preview", **steps).text
    assert "6 jobs, 5 dependencies" in text_of(page)
    assert "&#34;num_cpus&#34;: 2" in page
    for change, message in (
        ({"step_cpus": ["two", "", ""]}, "CPUs: must be a number"), ({"step_memory": ["lots", "", ""]}, None),
        ({"step_name": ["", "", ""]}, "describe at least one"), ({"step_parameters": ["i", "", ""]}, "write them as"),
    ):  # fmt: skip
        text = send(client, 422 if message else 200, name="w", do="preview", **steps | change).text
        assert not message or message in text_of(text)


def test_what_the_database_refuses_leaves_nothing(client, database):
    count = "SELECT count(*) FROM torc.workflow"
    before = database.execute(count).fetchone()
    spec = SWEEP | {"resource_requirements": [{"name": "small", "memory": "lots"}]}
    page = send(client, 422, spec=json.dumps(spec), do="create").text
    assert "memory" in text_of(page)
    for text, status in (("{", 400), ('{"name": 1}', 422), ("[]", 422), ('{"name": "a", "name": "b"}', 422)):
        send(client, status, spec=text, do="create")
    assert database.execute(count).fetchone() == before


def test_a_long_specification_is_taken(client):
    jobs = [{"name": f"job {i}", "command": "c" * 300} for i in range(3000)]
    assert "3,000 jobs" in text_of(send(client, spec=json.dumps({"name": "w", "jobs": jobs}), do="preview").text)


def test_a_file_is_taken_like_the_text(client):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="do"\r\n\r\npreview\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="w.json"\r\n\r\n'
        + json.dumps(SWEEP).encode() + b"\r\n--x--\r\n"
    )  # fmt: skip
    headers = BROWSER | {"Content-Type": "multipart/form-data; boundary=x"}
    assert "10 jobs" in text_of(client.post("/ui/new", prefix="", body=body, headers=headers).text)


def test_under_access_control_the_workflow_is_the_callers(access):
    body = urlencode({"spec": json.dumps(SWEEP | {"user": "olga"}), "do": "create"})
    assert access.user("anonymous").post("/ui/new", prefix="", body=body, headers=FORM, status=403)
    got = access.user("eve").post("/ui/new", prefix="", body=body, headers=FORM, status=303)
    workflow = int(got.headers["location"].rpartition("/")[2])
    assert access.user("eve").get(f"/workflows/{workflow}").json["user"] == "eve"


def test_many_jobs_are_made_in_seconds(client):
    jobs = [
        {"name": "s_{i:05d}", "command": "c {i}", "parameters": {"i": "1:4000"}},
        {"name": "r_{i:05d}", "command": "c {i}", "parameters": {"i": "1:4000"}, "depends_on": ["s_{i:05d}"]},
    ]
    got = send(client, 303, spec=json.dumps({"name": "many", "jobs": jobs}), do="create")
    workflow = int(got.headers["location"].rpartition("/")[2])
    assert client.get(f"/workflows/{workflow}/status").json["total_jobs"] == 8000
