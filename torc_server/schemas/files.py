"""Files: what jobs consume and produce, by name and path. The server never looks at the disk."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class FileModel(Model):
    """A file of a workflow."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(required=True)
    path = fields.String(required=True)
    st_mtime = fields.Float(allow_none=True)


class ListFiles(SortedPage):
    """Filters of list_files."""

    columns = ("id", "workflow_id", "name", "path", "st_mtime")

    workflow_id = fields.QueryInteger(required=True)
    produced_by_job_id = fields.QueryInteger()
    name = fields.QueryString()
    path = fields.QueryString()
    is_output = fields.QueryBoolean()
