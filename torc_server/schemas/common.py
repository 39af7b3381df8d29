"""The base classes of all schemas, and what many operations share: paging, path parameters, counts, errors."""

from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, post_load

from torc_server.schemas import fields

MAX_LIMIT = 100000


class Model(Schema):
    """A request body. Unknown keys are ignored; a null in an optional field is the same as no key."""

    error_messages = {"type": "must be a JSON object"}

    class Meta(Schema.Meta):
        unknown = EXCLUDE

    @post_load
    def drop_nulls(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {k: v for k, v in data.items() if v is not None or getattr(self.fields[k], "keep_null", False)}


class StrictModel(Model):
    """An object in which no other keys are allowed."""

    error_messages = {"unknown": "is not a known key"}

    class Meta(Model.Meta):
        unknown = RAISE


class WorkflowPart(Model):
    """A request body, or answer, about one row of a workflow."""

    workflow_id = fields.Integer("Id of the workflow that it belongs to.", example=7, required=True)


class Answer(Schema):
    """An answer that is no model. Used to describe, not to convert: PostgreSQL makes the JSON."""

    class Meta(Schema.Meta):
        unknown = EXCLUDE


class Query(Schema):
    """The query parameters of one operation. Unknown ones are ignored."""

    class Meta(Schema.Meta):
        unknown = EXCLUDE


class Page(Query):
    """offset and limit of a list; its order is that of `default_column`, then of `ties`."""

    columns = ()
    default_column = "id"
    ties = ("id",)
    page_after = "workflow_id"  # the parameter of the contract after which offset, limit, … come

    offset = fields.QueryInteger("How many items to skip.", example=200, minimum=0, load_default=0)
    limit = fields.QueryInteger(
        "How many items to return at most.", example=100, minimum=0, maximum=MAX_LIMIT, load_default=MAX_LIMIT
    )


class SortedPage(Page):
    """A page in an order. `columns` are those that sort_by may name; any other name silently means the default."""

    sort_by = fields.QueryString(
        "The field to sort by; a name that is no field means the default order.", example="name"
    )
    reverse_sort = fields.QueryBoolean("Sort in descending order.", example=True, load_default=False)


class WorkflowId(Query):
    """workflow_id, required: bulk deletes."""

    workflow_id = fields.QueryInteger("Id of the workflow whose rows are deleted.", example=7, required=True)


class PathParameters(Query):
    """Every parameter of a path; {resource} is what the path is about."""

    id = fields.QueryInteger("Id of the {resource}.", example=7, required=True)
    workflow_id = fields.QueryInteger("Id of the workflow.", example=7, required=True)
    run_id = fields.QueryInteger("The current run of the job's workflow.", example=1, required=True)
    compute_node_id = fields.QueryInteger("Id of the compute node that runs the job.", example=3, required=True)
    action_id = fields.QueryInteger("Id of the workflow action.", example=5, required=True)
    group_id = fields.QueryInteger("Id of the access group.", example=2, required=True)
    limit = fields.QueryInteger(
        "How many jobs to claim at most.", example=10, minimum=0, maximum=MAX_LIMIT, required=True
    )
    status = fields.QueryJobStatus("The status that the job is to get.", required=True)
    user_name = fields.QueryString("Name of the user.", example="alice", required=True)
    worker = fields.QueryString("Address of the worker, as it was stored.", example="alice@node07:22", required=True)


class PageAnswer(Answer):
    """One page of a list."""

    offset = fields.Integer("How many items were skipped.", example=0, required=True)
    max_limit = fields.Integer("The largest limit that a request may ask for.", example=MAX_LIMIT, required=True)
    count = fields.Integer("How many items this page has.", example=1, required=True)
    total_count = fields.Integer("How many items the filters select, on all pages.", example=1, required=True)
    has_more = fields.Boolean("Whether there are items after this page.", example=False, required=True)


class AccessPageAnswer(Answer):
    """One page of a list of access control."""

    offset = fields.Integer("How many items were skipped.", example=0, required=True)
    limit = fields.Integer("How many items the request asked for at most.", example=MAX_LIMIT, required=True)
    total_count = fields.Integer("How many items there are on all pages.", example=1, required=True)
    has_more = fields.Boolean("Whether there are items after this page.", example=False, required=True)


class DeleteCountResponse(Answer):
    """How many rows were deleted."""

    count = fields.Integer("Number of deleted rows.", example=12, required=True)
    deleted_count = fields.Integer("The same number, under a name that some clients read.", example=12)
    message = fields.String("The same in words.", example="Deleted 12 user data records for workflow 7")


class MessageResponse(Answer):
    """A sentence for a person."""

    message = fields.String("What was done.", example="Initialized 12 jobs", required=True)


class ErrorResponse(Answer):
    """Every answer other than 200. The inner object holds the kind of error, a message for people and, where it can
    be said, the field that is wrong."""

    error = fields.Json(
        "Kind (error), sentence (message) and, where one is to blame, the field.",
        example={"error": "NotFound", "message": "Job not found with ID: 7"},
        required=True,
    )
    errorNum = fields.Integer("Not used by this server.", example=404, allow_none=True)
    errorMessage = fields.String("Not used by this server.", example="not found", allow_none=True)
    code = fields.Integer("Not used by this server.", example=404, allow_none=True)
