"""Remote workers: addresses, such as user@host:port, at which clients start workers of a workflow."""

from typing import Any

from torc_server.errors import ApiError
from torc_server.schemas import fields
from torc_server.schemas.common import Answer
from torc_server.schemas.fields import is_text


class RemoteWorkerModel(Answer):
    """An address at which clients start workers of a workflow. The server only keeps it."""

    worker = fields.String("The address, word for word as it was sent.", example="alice@node07:22", required=True)
    workflow_id = fields.Integer("Id of the workflow that it belongs to.", example=7, required=True)


def check_workers(body: Any) -> None:
    """Raise ApiError 422 unless a body is a list of strings; names the first item that is none."""
    if type(body) is not list:
        raise ApiError(422, "The body must be a JSON array of strings")
    for index, worker in enumerate(body):
        if not is_text(worker):
            field = f"[{index}]"
            rule = "must be a string without NUL characters and unpaired surrogates"
            raise ApiError(422, f"{field}: {rule}", field=field)
