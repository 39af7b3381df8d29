"""User data: JSON values that jobs consume and produce."""

from torc_server.schemas import fields
from torc_server.schemas.common import Answer, Model, PageAnswer, Query, SortedPage, WorkflowPart


class UserDataModel(WorkflowPart):
    """A JSON value with a name, which jobs read or write."""

    id = fields.RowId(example=21)
    name = fields.String("What the value is called; need not be unique.", example="threshold", required=True)
    is_ephemeral = fields.Boolean(
        "Whether initialize_jobs with clear_ephemeral_user_data empties the data while a job that writes it is not "
        "complete.",
        example=True,
        default=False,
        allow_none=True,
    )
    data = fields.Json(
        "Any JSON value, at most 128 levels deep; false, 0, an empty text, object or list are values too. Absent or "
        "null: there is none yet.",
        example={"threshold": 0.75},
    )


class UserDataListModel(Model):
    """User data to be created together."""

    user_data = fields.Objects(
        UserDataModel, "1 to 100000 records of one workflow, each with another name.", required=True
    )


class CreateUserDataListResponse(Answer):
    """The user data that was created."""

    user_data = fields.Objects(
        UserDataModel, "The records in the order of the request, each with its id.", allow_none=True
    )


class RelatedJobs(Query):
    """The jobs that new user data is an input or an output of."""

    consumer_job_id = fields.QueryInteger(
        "Id of the job, of the same workflow, that reads the data.", example=13, load_default=None
    )
    producer_job_id = fields.QueryInteger(
        "Id of the job, of the same workflow, that writes the data.", example=12, load_default=None
    )


class ListUserData(SortedPage):
    """Filters of list_user_data."""

    columns = ("id", "workflow_id", "name", "is_ephemeral", "data")
    page_after = "producer_job_id"

    workflow_id = fields.QueryInteger("Id of the workflow whose user data is listed.", example=7, required=True)
    consumer_job_id = fields.QueryInteger("Only inputs of this job.", example=13)
    producer_job_id = fields.QueryInteger("Only outputs of this job.", example=12)
    name = fields.QueryString(
        "Only those whose name has this text somewhere in it, without regard to case; % and _ mean themselves.",
        example="thresh",
    )
    is_ephemeral = fields.QueryBoolean("Only those that are ephemeral, or only those that are not.", example=True)


class ListUserDataResponse(PageAnswer):
    """A page of user data."""

    items = fields.Objects(UserDataModel, "The records of this page.", required=True)
