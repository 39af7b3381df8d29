"""Every method of every API class of torc-client, of any version, with the arguments of a valid call.

The methods are read off the client, so that none can be forgotten. As a program it makes each call once and prints what
came of it, {method: "ok" or the error}: `PYTHONPATH=FOLDER python client_calls.py URL WORKFLOW…`, where FOLDER holds
the version. Calls that only read go to the workflows given, in turn, the others to one made for the call.
"""

import functools
import inspect
import itertools
import json
import re
import sys
import typing
import uuid

from torc import openapi_client
from torc.openapi_client import api, models

# RO-Crate metadata and the settings of a workflow were texts up to 0.30.1.
HAS_OBJECTS = models.RoCrateEntityModel.model_fields["metadata"].annotation is not str
METADATA = {} if HAS_OBJECTS else "{}"

# What a row of each kind is made from; rows.<kind> is the id of such a row.
ROWS = {
    "workflow": lambda rows: models.WorkflowModel(name="w", user="u"),
    "compute_node": lambda rows: models.ComputeNodeModel(
        workflow_id=rows.workflow, hostname="h", pid=1, start_time="2026-01-01T00:00:00Z", num_cpus=1, memory_gb=1,
        num_gpus=0, num_nodes=1, compute_node_type="local", is_active=True, scheduler={"scheduler_id": 1},
    ),
    "resource_requirements": lambda rows: models.ResourceRequirementsModel(workflow_id=rows.workflow, name="r"),
    "failure_handler": lambda rows: models.FailureHandlerModel(workflow_id=rows.workflow, name="h", rules="[]"),
    "file": lambda rows: models.FileModel(workflow_id=rows.workflow, name="f", path="/f", st_mtime=1.5),
    "user_data": lambda rows: models.UserDataModel(workflow_id=rows.workflow, name="d", data={"x": [1, None]}),
    "job": lambda rows: models.JobModel(
        workflow_id=rows.workflow, name="j", command="c", output_file_ids=[rows.file],
        output_user_data_ids=[rows.user_data], resource_requirements_id=rows.resource_requirements,
        failure_handler_id=rows.failure_handler, priority=1,
    ),
    "result": lambda rows: models.ResultModel(
        workflow_id=rows.workflow, job_id=rows.job, run_id=0, attempt_id=1, compute_node_id=rows.compute_node,
        return_code=0, exec_time_minutes=1, completion_time="2026-01-01T00:00:00Z", status="completed",
        peak_memory_bytes=1, avg_cpu_percent=1.5,
    ),
    "event": lambda rows: models.EventModel(workflow_id=rows.workflow, timestamp=0, data={"x": 1}),
    "local_scheduler": lambda rows: models.LocalSchedulerModel(workflow_id=rows.workflow, memory="1g", num_cpus=1),
    "slurm_scheduler": lambda rows: models.SlurmSchedulerModel(
        workflow_id=rows.workflow, name="s", account="a", nodes=1, walltime="1:00:00"
    ),
    "scheduled_compute_node": lambda rows: models.ScheduledComputeNodesModel(
        workflow_id=rows.workflow, scheduler_id=1, scheduler_config_id=1, scheduler_type="slurm", status="pending"
    ),
    "slurm_stats": lambda rows: models.SlurmStatsModel(
        workflow_id=rows.workflow, job_id=rows.job, run_id=0, attempt_id=1, max_rss_bytes=1, ave_cpu_seconds=1.5
    ),
    "ro_crate_entity": lambda rows: models.RoCrateEntityModel(
        workflow_id=rows.workflow, entity_id=uuid.uuid4().hex, entity_type="File", metadata=METADATA, file_id=rows.file
    ),
}  # fmt: skip
ACTION = {"trigger_type": "on_workflow_start", "action_type": "run_commands", "action_config": {"commands": ["c"]}}

# The arguments of a valid call of each method. First those that need only a workflow …
NEED_WORKFLOW = """
    cancel_workflow claim_next_jobs delete_all_user_data delete_compute_nodes delete_events delete_files delete_jobs
    delete_local_schedulers delete_results delete_ro_crate_entities delete_scheduled_compute_nodes
    delete_slurm_schedulers delete_workflow get_ready_job_requirements get_workflow get_workflow_status initialize_jobs
    is_workflow_complete is_workflow_uninitialized list_compute_nodes list_events list_failure_handlers list_files
    list_job_dependencies list_job_file_relationships list_job_ids list_job_user_data_relationships list_jobs
    list_local_schedulers list_missing_user_data list_required_existing_files list_resource_requirements list_results
    list_ro_crate_entities list_scheduled_compute_nodes list_slurm_schedulers list_slurm_stats list_user_data
    process_changed_job_inputs reset_job_status reset_workflow_status
    get_active_task_for_workflow get_running_jobs get_slurm_job_correlations
"""
CALLS = {name: lambda rows: [rows.workflow] for name in NEED_WORKFLOW.split()}

# … then what every kind of row has, as far as there is such a method …
for kind, model in ROWS.items():
    CALLS[f"create_{kind}"] = lambda rows, model=model: [model(rows)]
    CALLS[f"get_{kind}"] = CALLS[f"delete_{kind}"] = lambda rows, kind=kind: [getattr(rows, kind)]
    CALLS[f"update_{kind}"] = lambda rows, kind=kind, model=model: [getattr(rows, kind), model(rows)]

# … then the rest.
CALLS |= {
    "ping": lambda rows: [],
    "get_version": lambda rows: [],
    "reload_auth": lambda rows: [],
    "list_workflows": lambda rows: [],
    "update_workflow_status": lambda rows: [rows.workflow, models.WorkflowStatusModel(run_id=0, is_canceled=False)],
    "claim_jobs_based_on_resources": lambda rows: [
        rows.workflow, 5, models.ComputeNodesResources(num_cpus=9, memory_gb=9, num_gpus=0, num_nodes=1),
    ],
    "create_jobs": lambda rows: [models.JobsModel(jobs=[ROWS["job"](rows)])],
    "create_result": lambda rows: [ROWS["result"](rows).model_copy(update={"attempt_id": 2})],
    "create_ro_crate_entity": lambda rows: [ROWS["ro_crate_entity"](rows).model_copy(update={"entity_id": "f"})],
    "create_slurm_stats": lambda rows: [ROWS["slurm_stats"](rows).model_copy(update={"attempt_id": 2})],
    "update_event": lambda rows: [rows.event, {"y": [None, 1.5]}],
    "delete_resource_requirements": lambda rows: [rows.workflow],
    "delete_resource_requirement": lambda rows: [rows.resource_requirements],
    "start_job": lambda rows: [rows.job_in("pending"), 0, rows.compute_node],
    "complete_job": lambda rows: [(job := rows.job_in("running")), "completed", 0, result_of(job, rows)],
    "retry_job": lambda rows: [rows.failed_job(), 0, 3],
    "manage_status_change": lambda rows: [rows.job, "ready", 0],
    "create_remote_workers": lambda rows: [rows.workflow, ["me@other:22"]],
    "list_remote_workers": lambda rows: [rows.remote_worker[0]],
    "delete_remote_worker": lambda rows: rows.remote_worker,
    "create_workflow_action": lambda rows: [rows.workflow, action_of(rows)],
    "get_workflow_actions": lambda rows: [rows.action[0]],
    "get_pending_actions": lambda rows: [rows.action[0]],
    "create_access_group": lambda rows: [group_model()],
    "list_access_groups": lambda rows: [],
    "get_access_group": lambda rows: rows.member[:1],
    "delete_access_group": lambda rows: rows.member[:1],
    "add_user_to_group": lambda rows: [
        rows.member[0], models.UserGroupMembershipModel(user_name="other", group_id=rows.member[0], role="admin"),
    ],
    "list_group_members": lambda rows: rows.member[:1],
    "remove_user_from_group": lambda rows: rows.member,
    "list_user_groups": lambda rows: rows.member[1:],
    "list_workflow_groups": lambda rows: rows.shared[:1],
    "add_workflow_to_group": lambda rows: [rows.workflow, rows.member[0]],
    "remove_workflow_from_group": lambda rows: rows.shared,
    "check_workflow_access": lambda rows: [rows.workflow, "u"],
    "archive_workflow": lambda rows: [rows.workflow, models.ArchiveWorkflowRequest(is_archived=False)],
    "batch_complete_jobs": lambda rows: [rows.workflow, completion_of(rows.job_in("running"), rows)],
    "create_files": lambda rows: [models.FilesModel(files=[ROWS["file"](rows)])],
    "create_user_data_list": lambda rows: [models.UserDataListModel(user_data=[ROWS["user_data"](rows)])],
    "get_task": lambda rows: [rows.call["initialize_jobs"](rows.workflow, var_async=True).id],
    "spawn_jobs": lambda rows: [
        rows.job_in("running"),
        models.SpawnJobsRequest(jobs=[models.SpawnJobModel(name="s", command="c")], state={"x": [1, None]}),
    ],
    "claim_action": lambda rows: [
        *rows.action, models.ClaimActionRequest(compute_node_id=rows.compute_node),
    ],
}  # fmt: skip


def action_of(rows):
    return models.WorkflowActionModel(workflow_id=rows.workflow, **ACTION)


def group_model():
    return models.AccessGroupModel(name=uuid.uuid4().hex, description="d")


def result_of(job, rows, **fields):
    return ROWS["result"](rows).model_copy(update={"job_id": job} | fields)


def completion_of(job, rows):
    entry = {"job_id": job, "status": "completed", "run_id": 0, "result": result_of(job, rows)}
    return models.BatchCompleteJobsRequest(completions=[models.JobCompletionEntry(**entry)])


def methods_of_the_client():
    """(API class, method) of all operations, without the two variants that the generator adds to each."""
    for api_class in filter(inspect.isclass, vars(api).values()):
        for name, method in inspect.getmembers(api_class, inspect.isfunction):
            if not name.startswith("_") and not name.endswith(("_with_http_info", "_without_preload_content")):
                yield api_class, method


class Rows:
    """The ids of rows of one workflow, related to one another, each made when it is first asked for."""

    def __init__(self, api_client):
        found = methods_of_the_client()
        self.call = {method.__name__: getattr(cls(api_client), method.__name__) for cls, method in found}

    def __getattr__(self, kind):
        if kind not in ROWS:
            raise AttributeError(kind)
        row_id = self.call[f"create_{kind}"](ROWS[kind](self)).id
        setattr(self, kind, row_id)
        return row_id

    @functools.cached_property
    def action(self):
        """Path values of an action: workflow and its id. It waits to be claimed."""
        self.job_in("ready")
        action = self.call["create_workflow_action"](self.workflow, action_of(self)).id
        self.call["initialize_jobs"](self.workflow)
        return [self.workflow, action]

    @functools.cached_property
    def remote_worker(self):
        self.call["create_remote_workers"](self.workflow, ["me@[::1]:22"])
        return [self.workflow, "me@[::1]:22"]

    @functools.cached_property
    def member(self):
        """Path values of a membership: a group's id and its member."""
        group = self.call["create_access_group"](group_model()).id
        model = models.UserGroupMembershipModel(user_name="a/b", group_id=group, role="member")
        self.call["add_user_to_group"](group, model)
        return [group, "a/b"]

    @functools.cached_property
    def shared(self):
        """Path values of a link: a workflow and the group it is shared with."""
        link = self.call["add_workflow_to_group"](self.workflow, self.member[0])
        return [link.workflow_id, link.group_id]

    def job_in(self, status):
        job = self.call["create_job"](models.JobModel(workflow_id=self.workflow, name="j", command="c")).id
        return self.call["manage_status_change"](job, status, 0).id

    def failed_job(self):
        job = self.job_in("running")
        return self.call["complete_job"](job, "failed", 0, result_of(job, self, status=models.JobStatus("failed"))).id

    def fill(self):
        """Make a row of every kind, a group to share with, and a job that waits for the other, its file and data."""
        for kind in ROWS:
            getattr(self, kind)
        assert self.shared
        related = {"depends_on_job_ids": [self.job], "input_file_ids": [self.file]}
        self.call["create_job"](models.JobModel(workflow_id=self.workflow, name="d", command="c", **related))


def assert_is(answer, method):
    """That the answer is of the declared type. `object` is any JSON; all of these answer a JSON object."""
    declared = inspect.signature(method).return_annotation
    if typing.get_origin(declared) is list:
        assert answer and all(isinstance(item, typing.get_args(declared)[0]) for item in answer)
    else:
        assert isinstance(answer, dict if declared is object else declared)


def parameters_of(method):
    """{name: type hint} of a method's own parameters; the generator's begin with an underscore."""
    hints = {name: p.annotation for name, p in inspect.signature(method).parameters.items()}
    return {name: hint for name, hint in hints.items() if name != "self" and not name.startswith("_")}


def example_of(hint):
    """A value for a parameter: JobStatus, or the primitive inside Optional[Annotated[…]], or else some model."""
    if "JobStatus" in str(hint):
        return "ready"
    word = re.search(r"Annotated\[(bool|int|str)\b", str(hint))
    model = {"name": "n", "user_name": "u", "role": "member", "group_id": 1}
    return {"bool": True, "int": 1, "str": "name"}[word[1]] if word else model


def placeholders(method):
    """Arguments for a call that has no one to read it."""
    return [example_of(hint) for hint in parameters_of(method).values()]


def main(url, *shared):
    with openapi_client.ApiClient(openapi_client.Configuration(host=f"{url}/torc-service/v1")) as client:
        turn = itertools.cycle(map(int, shared))
        found = {method.__name__: outcome(client, cls, method, turn) for cls, method in methods_of_the_client()}
        print(json.dumps(found))


def outcome(client, api_class, method, turn):
    rows = Rows(client)
    if method.__name__.startswith(("get_", "list_", "is_")):
        rows.workflow = next(turn)
    try:
        assert_is(getattr(api_class(client), method.__name__)(*CALLS[method.__name__](rows)), method)
    except Exception as error:  # noqa: BLE001 (it is the outcome)
        return f"{type(error).__name__}: {error}"
    return "ok"


if __name__ == "__main__":
    main(*sys.argv[1:])
