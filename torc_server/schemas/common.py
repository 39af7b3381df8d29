"""The base classes of all schemas, and the query parameters of every list."""

from marshmallow import EXCLUDE, Schema, post_load

from torc_server.schemas import fields

MAX_LIMIT = 100000


class Model(Schema):
    """A request body. Unknown keys are ignored; a null in an optional field is the same as no key."""

    error_messages = {"type": "must be a JSON object"}

    class Meta:
        unknown = EXCLUDE

    @post_load
    def drop_nulls(self, data, **kwargs):
        return {k: v for k, v in data.items() if v is not None or getattr(self.fields[k], "keep_null", False)}

    @classmethod
    def row(cls, body):
        """Return a dict with every field of the model, None where the loaded body has no key: statement parameters."""
        return {name: body.get(name) for name in cls._declared_fields}


class Query(Schema):
    """The query parameters of one operation. Unknown ones are ignored."""

    class Meta:
        unknown = EXCLUDE


class Page(Query):
    """offset and limit of a list; its order is that of `default_column`, then of `ties`."""

    columns = ()
    default_column = "id"
    ties = ("id",)

    offset = fields.QueryInteger(minimum=0, load_default=0)
    limit = fields.QueryInteger(minimum=0, maximum=MAX_LIMIT, load_default=MAX_LIMIT)


class SortedPage(Page):
    """A page in an order. `columns` are those that sort_by may name; any other name silently means the default."""

    sort_by = fields.QueryString()
    reverse_sort = fields.QueryBoolean(load_default=False)


class WorkflowId(Query):
    """workflow_id, required: bulk deletes."""

    workflow_id = fields.QueryInteger(required=True)
