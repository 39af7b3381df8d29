"""Versions of torc-client on one server, at the same time, on the same workflows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from client_versions import NEW, OPERATIONS, environment_with
from torc import openapi_client
from torc.openapi_client import models

CALLS = Path(__file__).parents[1] / "helpers" / "client_calls.py"

# What torc-client 0.35.0 does; prints what it has read, as JSON. Arguments: the server's URL, the id of a workflow that
# torc-client 0.22.2 has made.
SCRIPT = """
import json, sys
from torc import openapi_client
from torc.openapi_client import api, models

url, old_id = sys.argv[1], int(sys.argv[2])
client = openapi_client.ApiClient(openapi_client.Configuration(host=url + "/torc-service/v1"))
workflows, jobs, entities = api.WorkflowsApi(client), api.JobsApi(client), api.RoCrateEntitiesApi(client)
old = workflows.get_workflow(old_id)
made = workflows.create_workflow(models.WorkflowModel(
    name="new", user="u", metadata={"a": 1}, env={"X": "1"}, submission_directory="/s",
    slurm_defaults={"account": "a"}, execution_config=models.ExecutionConfig(limit_resources=True),
    resource_monitor_config=models.ResourceMonitorConfig(enabled=True),
))
job = jobs.create_job(models.JobModel(workflow_id=made.id, name="j", command="c", env={"Y": "2"}))
reset = [workflows.reset_workflow_status(id) for id in (made.id, old_id)]
workflows.initialize_jobs(made.id)
claimed = workflows.claim_next_jobs(made.id).jobs
node = api.ComputeNodesApi(client).create_compute_node(models.ComputeNodeModel(
    workflow_id=made.id, hostname="h", pid=1, start_time="2026-01-01T00:00:00Z", num_cpus=1, memory_gb=1,
    num_gpus=0, num_nodes=1, compute_node_type="local", is_active=True,
))
run_id = workflows.get_workflow(made.id).run_id
jobs.start_job(job.id, run_id, node.id)
started = jobs.get_job(job.id)
status = workflows.get_workflow_status(made.id)
entity = entities.create_ro_crate_entity(models.RoCrateEntityModel(
    workflow_id=old_id, entity_id="new", entity_type="File", metadata={"n": 1}
))
listed = workflows.list_workflows(limit=1000).items
print(json.dumps({
    "old": old.metadata, "old_config": old.execution_config.to_dict(), "old_run": workflows.get_workflow(old_id).run_id,
    "made": made.id, "env": started.env, "start_time": str(started.start_time),
    "node": started.compute_node_id == node.id,
    "run": run_id, "running": status.jobs_by_status.running, "claimed": len(claimed),
    "entities": [e.metadata for e in entities.list_ro_crate_entities(old_id).items],
    "listed": sorted(w.id for w in listed if w.id in (made.id, old_id)),
    "read": workflows.get_workflow(made.id).resource_monitor_config.flush_interval_seconds,
}))
"""


@pytest.mark.long
def test_every_method_of_each_version_works_while_the_others_use_the_same_workflows(server):
    """Every kind of caller has made one of the workflows, so that each reads what each other has written."""
    shared = [make_workflow(server, agent, body) for agent, body in WRITERS]
    started = {}
    for version in OPERATIONS:
        command = [sys.executable, CALLS, server.url, *map(str, shared)]
        started[version] = subprocess.Popen(command, env=environment_with(version), stdout=subprocess.PIPE, text=True)
    outcomes = {version: json.loads(process.communicate(timeout=500)[0]) for version, process in started.items()}
    assert {version: len(found) for version, found in outcomes.items()} == OPERATIONS
    assert {
        (version, method): outcome
        for version, found in outcomes.items() for method, outcome in found.items() if outcome != "ok"
    } == {}  # fmt: skip


# How clients of each generation write settings, and what they call themselves.
TEXTS = {
    "metadata": '{"a": 1}', "execution_config": '{"mode": "direct"}', "resource_monitor_config": '{"enabled": true}'
}  # fmt: skip
OBJECTS = {name: json.loads(text) for name, text in TEXTS.items()} | {"env": {"A": "1"}, "dynamic_jobs": {}}
WRITERS = (
    ({"User-Agent": "OpenAPI-Generator/v0.7.0/rust"}, TEXTS | {"slurm_config": "{}"}),
    ({"User-Agent": "OpenAPI-Generator/v0.7.0/rust", "X-Torc-Client-User": "u"}, OBJECTS),
    ({"User-Agent": "curl/8"}, TEXTS | {"metadata": "no JSON"}),
    ({"User-Agent": "curl/8"}, OBJECTS | {"slurm_defaults": {"qos": "high"}}),
)


def make_workflow(server, headers, settings):
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"} | settings, headers=headers).json["id"]
    job = {"workflow_id": workflow, "name": "j", "command": "c"}
    server.client.post("/jobs", json=job, headers=headers)
    entity = {"workflow_id": workflow, "entity_id": "own", "entity_type": "File", "metadata": settings["metadata"]}
    server.client.post("/ro_crate_entities", json=entity, headers=headers)
    return workflow


def test_the_oldest_and_a_new_client_read_what_the_other_has_written(server):
    with openapi_client.ApiClient(openapi_client.Configuration(host=f"{server.url}/torc-service/v1")) as client:
        workflows = openapi_client.WorkflowsApi(client)
        config = '{"limit_resources": false}'
        model = models.WorkflowModel(name="old", user="u", metadata='{"b": [1, null]}', execution_config=config)
        old = workflows.create_workflow(model)
        entities = openapi_client.RoCrateEntitiesApi(client)
        entity = {"workflow_id": old.id, "entity_id": "old", "entity_type": "File", "metadata": '{"o": 1}'}
        entities.create_ro_crate_entity(models.RoCrateEntityModel(**entity))

        command = [sys.executable, "-c", SCRIPT, server.url, str(old.id)]
        done = subprocess.run(command, env=environment_with(NEW), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        read = json.loads(done.stdout)
        made = read.pop("made")
        assert read.pop("start_time").startswith("20")
        assert read == {
            "old": {"b": [1, None]}, "old_config": {"mode": "direct", "limit_resources": False}, "old_run": 1,
            "env": {"X": "1", "Y": "2"}, "node": True, "run": 1, "running": 1, "claimed": 1,
            "entities": [{"o": 1}, {"n": 1}], "listed": [old.id, made], "read": 300,
        }  # fmt: skip

        found = {workflow.id: workflow for workflow in workflows.list_workflows(limit=1000).items}
        assert found[old.id].execution_config == config
        assert json.loads(found[made].metadata) == {"a": 1}
        assert json.loads(found[made].execution_config) == {"limit_resources": True}
        texts = [item.metadata for item in entities.list_ro_crate_entities(old.id).items]
        assert [json.loads(text) for text in texts] == [{"o": 1}, {"n": 1}]
        assert workflows.get_workflow_status(made).run_id == 1
        assert workflows.is_workflow_complete(made).needs_to_run_completion_script is False
