"""Files of a workflow."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.files import FileModel, ListFiles

blueprint = Blueprint("files", __name__)


@blueprint.post("/files")
@wire.body(FileModel)
def create_file(body):
    """Store a file; answer it with its id."""
    return wire.json_value(body | {"id": value(sql.files.create_file, **FileModel.row(body))})


@blueprint.get("/files")
@wire.query(ListFiles)
def list_files(query):
    """List the files of a workflow."""
    return wire.page(sql.files.list_files, ListFiles, query, alias="files")


@blueprint.delete("/files")
@wire.query(WorkflowId)
def delete_files(query):
    """Delete all files of a workflow; answer how many, under both names that clients read."""
    count = long_value(sql.files.delete_files, **query)
    return wire.json_value({"count": count, "deleted_count": count})


@blueprint.get("/files/<int64:id>")
def get_file(id):
    """Return one file."""
    return wire.json_text(row_json(sql.files.get_file, "file", id))


@blueprint.put("/files/<int64:id>")
@wire.body(FileModel)
def update_file(id, body):
    """Replace a file; an absent st_mtime clears it."""
    return wire.json_text(row_json(sql.files.update_file, "file", id, **FileModel.row(body)))


@blueprint.delete("/files/<int64:id>")
def delete_file(id):
    """Delete a file and return it."""
    return wire.json_text(row_json(sql.files.delete_file, "file", id))
