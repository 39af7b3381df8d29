"""What the query strings of pages hold. An empty value, as forms send it, is the same as none."""

from typing import Any

from marshmallow import pre_load, validate

from torc_server.schemas import fields
from torc_server.schemas.common import Query

PAGE_SIZE = 100


class Filter(Query):
    """Filters, order and page of a table."""

    offset = fields.QueryInteger(minimum=0, load_default=0)

    @pre_load
    def drop_empty(self, values: dict[str, str], **kwargs: Any) -> dict[str, str]:
        return {name: value for name, value in values.items() if value != ""}


def word(*words):
    """One of some words; the first is the default."""
    rule = validate.OneOf(words, error=f"must be one of {', '.join(words)}")
    return fields.QueryString(validate=rule, load_default=words[0])


class WorkflowFilter(Filter):
    search = fields.QueryString(load_default="")
    whose = word("all", "mine", "shared")
    state = word("any", "active", "new", "stuck", "failed", "done", "canceled")
    age = word("any", "day", "week", "month", "older")
    archived = fields.QueryBoolean(load_default=False)
    sort = word("active", "newest", "name", "user", "project")


class NodeFilter(Filter):
    show = word("active", "all")


class DoctorFilter(Filter):
    graph = fields.QueryBoolean(load_default=False)


class JobFilter(Filter):
    status = fields.QueryJobStatus(None)
    name = fields.QueryString()
    label = fields.QueryString()
    node = fields.QueryInteger()
    requirement = fields.QueryInteger()
    attempt = fields.QueryInteger()
    return_code = fields.QueryInteger()
    sort = word("id", "name", "status", "priority", "attempt")
    descending = fields.QueryBoolean(load_default=False)
