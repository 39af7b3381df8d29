"""Local schedulers: what a worker on the user's own machine may use."""

from torc_server.schemas import fields
from torc_server.schemas.common import PageAnswer, SortedPage, WorkflowPart


class LocalSchedulerModel(WorkflowPart):
    """What a worker on the user's own machine may use. The server only keeps it."""

    id = fields.RowId(example=4)
    name = fields.String("Answered by a create, never stored.", example="laptop", allow_none=True)
    memory = fields.String("Memory that jobs may use: a number and k, m, g or t.", example="32g", allow_none=True)
    num_cpus = fields.Integer("CPUs that jobs may use.", example=8, allow_none=True)


class ListLocalSchedulers(SortedPage):
    """Filters of list_local_schedulers."""

    columns = ("id", "workflow_id", "memory", "num_cpus")

    workflow_id = fields.QueryInteger("Id of the workflow whose schedulers are listed.", example=7, required=True)
    memory = fields.QueryString("Only those with this memory, by its text.", example="32g")
    num_cpus = fields.QueryInteger("Only those with so many CPUs.", example=8)


class ListLocalSchedulersResponse(PageAnswer):
    """A page of local schedulers."""

    items = fields.Objects(LocalSchedulerModel, "The local schedulers of this page.", required=True)
