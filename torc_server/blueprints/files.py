"""Files of a workflow: what its jobs read and write."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.bulk import Rows
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.files import CreateFilesResponse, FileModel, FilesModel, ListFiles, ListFilesResponse

blueprint = Blueprint("files", __name__)
exact_file = ExactTypes(FileModel())


@blueprint.post("/files")
@wire.body(FileModel)
@wire.answers(FileModel)
def create_file(body):
    """Create a file.

    Jobs name it in input_file_ids and output_file_ids; initialize_jobs makes jobs that read a file depend on those that
    write it. Neither name nor path need be unique, and nothing has to be at the path. The answer is what was sent, with
    the new id.
    """
    return wire.json_text(value(sql.files.create_file, body=json.dumps(body)))


@blueprint.post("/bulk_files")
@wire.takes(FilesModel())
@wire.answers(CreateFilesResponse, {422: "A value breaks a rule, or two files of the request have the same name."})
@lane("walks")
def create_files():
    """Create up to 100000 files of one workflow.

    All or none are created, in the order of the request and with ascending ids. No two files of a request may have the
    same name; files that are there already may.
    """
    with Rows("files", exact_file, has_unique_names=True) as files:
        files.read()
        files.refuse_empty()
        return wire.spooled_pieces(sql.files.create_files, files, "files", workflow_id=files.first["workflow_id"])


@blueprint.get("/files")
@wire.query(ListFiles)
@wire.answers(ListFilesResponse)
def list_files(query):
    """List the files of a workflow.

    One page, by id unless sort_by says otherwise; each filter that is given narrows the list. No file is listed twice.
    """
    return wire.page(sql.files.list_files, ListFiles, query, alias="files")


@blueprint.delete("/files")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_files(query):
    """Delete all files of a workflow.

    Jobs lose their links to the files but keep the dependencies that initialize_jobs has derived from them; RO-Crate
    entities stay, without file_id. The answer says how many were deleted, under both names that clients read.
    """
    count = long_value(sql.files.delete_files, **query)
    return wire.json_value({"count": count, "deleted_count": count})


@blueprint.get("/files/<int64:id>")
@direct
@wire.answers(FileModel)
def get_file(id):
    """Get a file.

    An unset st_mtime is left out of the answer.
    """
    return row_json(sql.files.get_file, "file", id)


@blueprint.put("/files/<int64:id>")
@wire.body(FileModel)
@wire.answers(FileModel, {422: "A value breaks a rule, or workflow_id is not that of the file."})
def update_file(id, body):
    """Replace a file.

    All fields are stored as they are sent: without st_mtime, the stored one is cleared. workflow_id cannot be changed.
    """
    return wire.json_text(row_json(sql.files.update_file, "file", id, body=json.dumps(body)))


@blueprint.delete("/files/<int64:id>")
@wire.answers(FileModel)
def delete_file(id):
    """Delete a file.

    Jobs lose their links to it but keep the dependencies that initialize_jobs has derived from it; RO-Crate entities
    stay, without file_id. The answer is the file that was deleted.
    """
    return wire.json_text(row_json(sql.files.delete_file, "file", id))
