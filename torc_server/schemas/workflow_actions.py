"""Workflow actions: what workers do when a workflow starts, jobs become ready or complete, or all is done."""

from marshmallow import ValidationError, validates

from torc_server.schemas import fields
from torc_server.schemas.common import Model, Query

SCHEDULE_NODES_KEYS = {
    "scheduler_id": (int, "an integer"),
    "scheduler_type": (str, "a string"),
    "num_allocations": (int, "an integer"),
    "start_one_worker_per_node": (bool, "a boolean"),
    "max_parallel_jobs": (int, "an integer"),
}


class WorkflowActionModel(Model):
    """An action of a workflow. workflow_id is that of the path; required_triggers is computed by the server."""

    workflow_id = fields.Integer(required=True)
    trigger_type = fields.String(required=True)
    action_type = fields.String(required=True)
    action_config = fields.Json(required=True, keep_null=True)
    job_ids = fields.ListOfIntegers(allow_none=True)
    trigger_count = fields.Integer(load_default=0)
    required_triggers = fields.Integer(load_default=1)
    executed = fields.Boolean(load_default=False)
    executed_at = fields.String(allow_none=True)
    executed_by = fields.Integer(allow_none=True)
    persistent = fields.Boolean(load_default=False)
    is_recovery = fields.Boolean(load_default=False)

    @validates("action_config")
    def check_is_object(self, value, data_key):
        if type(value) is not dict:
            raise ValidationError("Invalid action_config: action_config must be an object")


def config_error(action_type, config):
    """Return why the configuration does not fit the action type, or None. Other types take any object."""
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
    """compute_node_id: the node that runs the action, if any."""

    compute_node_id = fields.Integer(allow_none=True)


class PendingActions(Query):
    """trigger_type: may be given several times; none means all."""

    trigger_type = fields.QueryStrings()
