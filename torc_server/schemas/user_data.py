"""User data: JSON values that jobs consume and produce."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, Query, SortedPage


class UserDataModel(Model):
    """A named JSON value of a workflow. null is no data; every other value is, false and {} too."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(required=True)
    is_ephemeral = fields.Boolean(allow_none=True)
    data = fields.Json()


class RelatedJobs(Query):
    """The jobs that new user data is an input or an output of."""

    consumer_job_id = fields.QueryInteger(load_default=None)
    producer_job_id = fields.QueryInteger(load_default=None)


class ListUserData(SortedPage):
    """Filters of list_user_data. name matches a part, without regard to case."""

    columns = ("id", "workflow_id", "name", "is_ephemeral", "data")

    workflow_id = fields.QueryInteger(required=True)
    consumer_job_id = fields.QueryInteger()
    producer_job_id = fields.QueryInteger()
    name = fields.QueryString()
    is_ephemeral = fields.QueryBoolean()
