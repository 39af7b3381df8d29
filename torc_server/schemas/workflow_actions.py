"""Workflow actions: what workers do when a workflow starts, jobs become ready or complete, or all is done."""

from typing import Any

from marshmallow import ValidationError, validates, validates_schema

from torc_server.errors import ApiError
from torc_server.schemas import fields
from torc_server.schemas.common import Answer, Model, Query

SCHEDULE_NODES_KEYS = {
    "scheduler_id": (int, "an integer"),
    "scheduler_type": (str, "a string"),
    "num_allocations": (int, "an integer"),
    "start_one_worker_per_node": (bool, "a boolean"),
    "max_parallel_jobs": (int, "an integer"),
}


class WorkflowActionModel(Model):
    """An action: what workers do when a workflow starts, when jobs become ready or complete, or when all is done.

    It is pending, that is to be claimed, once trigger_count has reached required_triggers, until it is executed.
    """

    id = fields.RowId(example=5)
    workflow_id = fields.Integer(
        "Id of the workflow; a create takes that of the path, whatever is sent.", example=7, required=True
    )
    trigger_type = fields.String(
        "on_workflow_start, on_workflow_complete, on_jobs_ready, on_jobs_complete, on_worker_start or "
        "on_worker_complete; any other is stored and never fires.",
        example="on_jobs_ready",
        required=True,
    )
    action_type = fields.String(
        "run_commands or schedule_nodes; any other is for clients that know it.", example="run_commands", required=True
    )
    action_config = fields.Json(
        "A JSON object. For run_commands only commands, a list of command lines; for schedule_nodes any of "
        "scheduler_id, scheduler_type, num_allocations, start_one_worker_per_node and max_parallel_jobs; else any.",
        example={"commands": ["mkdir -p output"]},
        required=True,
        keep_null=True,
    )
    job_ids = fields.ListOfIntegers(
        "Ids of jobs of the workflow that the two triggers on jobs wait for; an id given twice counts twice. A job "
        "that is deleted leaves the list. Absent: such an action never fires; created empty: it is pending at once; "
        "emptied by deletions: it never fires.",
        example=[10, 11],
        allow_none=True,
    )
    trigger_count = fields.Integer(
        "How often it was triggered; a create may begin with any number.", example=0, load_default=0
    )
    required_triggers = fields.Integer(
        "How many triggers it takes: the length of job_ids for the two triggers on jobs, else 1. Computed, whatever "
        "a create sends.",
        example=1,
        load_default=1,
    )
    executed = fields.Boolean("Whether it was claimed.", example=False, load_default=False)
    executed_at = fields.String(
        "When it was claimed last: UTC, ISO 8601. A create does not take it.",
        example="2026-01-31T08:00:00.000000+00:00",
        allow_none=True,
    )
    executed_by = fields.Integer(
        "Id of the compute node that claimed it; absent: none did. A create does not take it.",
        example=3,
        allow_none=True,
    )
    persistent = fields.Boolean(
        "Whether every worker may claim it, again and again; it is never executed then.",
        example=False,
        load_default=False,
    )
    is_recovery = fields.Boolean(
        "Whether it is there for one recovery only: the next initialize_jobs deletes it.",
        example=False,
        load_default=False,
    )

    @validates("action_config")
    def check_is_object(self, value: Any, data_key: str) -> None:
        if type(value) is not dict:
            raise ValidationError("Invalid action_config: action_config must be an object")

    @validates_schema(skip_on_field_errors=True)
    def check_config(self, data: dict[str, Any], **kwargs: Any) -> None:
        check_config(data["action_type"], data["action_config"])


def check_updates(updates: Any) -> None:
    """Raise ApiError 422 unless a body, any JSON value, is an object with keys, which may replace some of a stored
    configuration."""
    if type(updates) is not dict:
        raise ApiError(422, "updates body must be a JSON object")
    if not updates:
        raise ApiError(422, "updates body has no fields to merge")


def check_config(action_type: str, config: Any) -> None:
    """Raise ApiError 422 unless the configuration fits the action type. Other types take any object."""
    if reason := _config_error(action_type, config):
        raise ApiError(422, f"Invalid action_config: {reason}", field="action_config")


def _config_error(action_type, config):
    check = {"run_commands": _run_commands_error, "schedule_nodes": _schedule_nodes_error}.get(action_type)
    return check(config) if check else None


def _run_commands_error(config):
    commands = config.get("commands")
    if set(config) != {"commands"}:
        return "For action_type 'run_commands', only 'commands' field is allowed"
    if type(commands) is not list:
        return "'commands' must be an array"
    if not commands:
        return "'commands' array cannot be empty"
    wrong = next((i for i, command in enumerate(commands) if type(command) is not str), None)
    return None if wrong is None else f"'commands[{wrong}]' must be a string"


def _schedule_nodes_error(config):
    if not config.keys() <= SCHEDULE_NODES_KEYS.keys():  # not named: clients retry at a word such as "timeout"
        return f"Unsupported field for action_type 'schedule_nodes'. Allowed fields: {', '.join(SCHEDULE_NODES_KEYS)}"
    for key, (kind, words) in SCHEDULE_NODES_KEYS.items():
        if key in config and not (type(config[key]) is kind and (kind is not int or fields.is_int64(config[key]))):
            return f"'{key}' must be {words}"
    return None


class ClaimActionRequest(Model):
    """Who claims an action."""

    compute_node_id = fields.Integer(
        "Id of the compute node that is to run it; absent: nobody in particular.", example=3, allow_none=True
    )


class ClaimActionResponse(Answer):
    """The action is claimed."""

    action_id = fields.Integer("Id of the action.", example=5, required=True)
    success = fields.Boolean("Always true: a claim that fails is an error.", example=True, load_default=False)


class PendingActions(Query):
    """trigger_type: may be given several times; none means all."""

    trigger_type = fields.QueryStrings(
        "Only actions with one of these triggers; may be given several times, absent: all.",
        example=["on_jobs_ready", "on_jobs_complete"],
    )
