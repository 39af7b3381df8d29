"""torc-client 0.35.0 and torc-client 0.22.2 on one server, at the same time, on the same workflows.

0.22.2 is installed with the tests; 0.35.0 goes into a folder below build/, once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torc import openapi_client
from torc.openapi_client import models

NEW = "0.35.0"
FOLDER = Path(__file__).parent.parent / "build" / f"torc-client-{NEW}"

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


@pytest.fixture(scope="session")
def new_client():
    """The folder that holds torc-client 0.35.0; what it needs is installed with 0.22.2."""
    if not (FOLDER / "torc").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", FOLDER, f"torc-client=={NEW}"]
        subprocess.run(command, check=True, timeout=300)
    return FOLDER


def test_the_oldest_and_a_new_client_read_what_the_other_has_written(server, new_client):
    with openapi_client.ApiClient(openapi_client.Configuration(host=f"{server.url}/torc-service/v1")) as client:
        workflows = openapi_client.WorkflowsApi(client)
        config = '{"limit_resources": false}'
        model = models.WorkflowModel(name="old", user="u", metadata='{"b": [1, null]}', execution_config=config)
        old = workflows.create_workflow(model)
        entities = openapi_client.RoCrateEntitiesApi(client)
        entity = {"workflow_id": old.id, "entity_id": "old", "entity_type": "File", "metadata": '{"o": 1}'}
        entities.create_ro_crate_entity(models.RoCrateEntityModel(**entity))

        command = [sys.executable, "-c", SCRIPT, server.url, str(old.id)]
        environment = os.environ | {"PYTHONPATH": str(new_client)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
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
