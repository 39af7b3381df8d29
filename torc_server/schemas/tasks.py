"""Tasks: work that is done after the answer."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer

STATUSES = ("queued", "running", "succeeded", "failed")


class TaskModel(Answer):
    """Work on a whole workflow that is done after the answer."""

    id = fields.Integer("Id of the task.", example=3, required=True)
    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)
    operation = fields.String("What is done.", example="initialize_jobs", required=True)
    status = fields.Word(
        "queued until a server process takes it up, running, then succeeded or failed.",
        enumeration="TaskStatus",
        words=STATUSES,
        example="succeeded",
        required=True,
    )
    created_at_ms = fields.Integer(
        "When the task was made, counted from the start of 1970 (UTC).",
        unit="milliseconds",
        example=1767225600000,
        required=True,
    )
    started_at_ms = fields.Integer(
        "When it was taken up first.", unit="milliseconds", example=1767225600010, allow_none=True
    )
    finished_at_ms = fields.Integer("When it ended.", unit="milliseconds", example=1767225601250, allow_none=True)
    error = fields.String("Why it failed.", example="Jobs wait for each other in a circle: 12, 13", allow_none=True)


class ActiveTaskResponse(Answer):
    """The active task of a workflow."""

    task = fields.Object(TaskModel, "The task that is queued or running; null: there is none.", allow_none=True)
