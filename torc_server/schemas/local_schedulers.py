"""Local schedulers: what a worker on the user's own machine may use."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class LocalSchedulerModel(Model):
    """A local scheduler. name is accepted and echoed by create, never stored, as in the reference."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(allow_none=True)
    memory = fields.String(allow_none=True)
    num_cpus = fields.Integer(allow_none=True)


class ListLocalSchedulers(SortedPage):
    """Filters of list_local_schedulers."""

    columns = ("id", "workflow_id", "memory", "num_cpus")

    workflow_id = fields.QueryInteger(required=True)
    memory = fields.QueryString()
    num_cpus = fields.QueryInteger()
