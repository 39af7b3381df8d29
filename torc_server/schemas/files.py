"""Files: what jobs consume and produce, by name and path. The server never reads the disk."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer, Model, PageAnswer, SortedPage, WorkflowPart


class FileModel(WorkflowPart):
    """A file that jobs read or write. The server knows it by its path and never reads the disk."""

    id = fields.RowId(example=15)
    name = fields.String("What the file is called; need not be unique.", example="part_1", required=True)
    path = fields.String(
        "Where the file is, as jobs and clients see it; need not be unique.", example="/data/part_1.csv", required=True
    )
    st_mtime = fields.Float(
        "When the file was last changed, as a client saw it, counted from the start of 1970 (UTC); absent if that is "
        "not known, or there is no such file yet. initialize_jobs records files that have it in the RO-Crate of a "
        "workflow with enable_ro_crate.",
        example=1767225600.25,
        unit="seconds",
        allow_none=True,
    )


class FilesModel(Model):
    """Files to be created together."""

    files = fields.Objects(FileModel, "1 to 100000 files of one workflow, each with another name.", required=True)


class CreateFilesResponse(Answer):
    """The files that were created."""

    files = fields.Objects(FileModel, "The files in the order of the request, each with its id.", allow_none=True)


class ListFiles(SortedPage):
    """Filters of list_files."""

    columns = ("id", "workflow_id", "name", "path", "st_mtime")
    page_after = "produced_by_job_id"

    workflow_id = fields.QueryInteger("Id of the workflow whose files are listed.", example=7, required=True)
    produced_by_job_id = fields.QueryInteger("Only output files of this job.", example=12)
    name = fields.QueryString("Only those with exactly this name.", example="part_1")
    path = fields.QueryString(
        "Only those whose path holds this text, in upper or lower case.", example="/data/part_1.csv"
    )
    is_output = fields.QueryBoolean("true: only files that some job writes; false filters nothing.", example=True)


class ListFilesResponse(PageAnswer):
    """A page of files."""

    items = fields.Objects(FileModel, "The files of this page.", required=True)
    files = fields.Objects(FileModel, "The same as items, under the name that the documentation page uses.")
