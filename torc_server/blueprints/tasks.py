"""Tasks: how far work is that is done after the answer."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import sql, value
from torc_server.schemas.tasks import ActiveTaskResponse, TaskModel

blueprint = Blueprint("tasks", __name__)


@blueprint.get("/tasks/<int64:id>")
@wire.answers(TaskModel, {404: "There is no such task, or the caller may not use its workflow."})
def get_task(id):
    """Get a task.

    It belongs to its workflow and is deleted with it.
    """
    return wire.json_text(value(sql.tasks.get_task, task_id=id))


@blueprint.get("/workflows/<int64:id>/active_task")
@wire.answers(ActiveTaskResponse, {404: "There is no such workflow, or the caller may not use it."})
def get_active_task_for_workflow(id):
    """Get the task of a workflow that is queued or running.

    There is at most one.
    """
    return wire.json_text(value(sql.tasks.get_active_task, workflow_id=id))
