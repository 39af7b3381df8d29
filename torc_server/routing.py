"""Paths: what the converters of routes accept, and which parameter an error names."""

from typing import Any

from werkzeug.routing import BaseConverter, Rule

from torc_server.application import Application
from torc_server.errors import InvalidPath
from torc_server.schemas.fields import JOB_STATUSES, is_text, parse_int64


def init_app(app: Application) -> None:
    """Set up the converters and rules of paths; before any route is registered."""
    app.url_rule_class = NamingRule  # ty: ignore[invalid-assignment]  # the checker refuses subclasses
    app.url_map.converters |= {"int64": Int64Converter, "job_status": JobStatusConverter, "text": TextConverter}
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False


class NamingRule(Rule):
    """A route whose converters know which parameter they convert, to name it in errors; `converters` are those by the
    names of their parameters."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.converters = {}
        super().__init__(*args, **kwargs)

    def get_converter(self, variable_name: str, *args: Any, **kwargs: Any) -> BaseConverter:
        converter: Any = super().get_converter(variable_name, *args, **kwargs)
        converter.name = variable_name
        self.converters[variable_name] = converter
        return converter


class NamedConverter(BaseConverter):
    """A converter that NamingRule has told the name of its parameter."""

    name: str


# Refusals do without the value: clients retry when an error of a job's call holds a word such as "network".
class Int64Converter(NamedConverter):
    """An id in a path. What is not an integer of 64 bits is 400, not an unknown path."""

    shapes = ("",)  # that such a part of a path can have, see lanes

    def to_python(self, value: str) -> int:
        number = parse_int64(value)
        if number is None:
            raise InvalidPath(self.name, "must be an integer of 64 bits")
        return number


class JobStatusConverter(NamedConverter):
    """A job status in a path."""

    shapes = JOB_STATUSES

    def to_python(self, value: str) -> str:
        if value not in JOB_STATUSES:
            raise InvalidPath(self.name, f"must be one of {', '.join(JOB_STATUSES)}")
        return value


class TextConverter(NamedConverter):
    """The rest of a path, percent-decoded: any text but none; slashes are part of it."""

    regex = "(?s:.+)"
    part_isolating = False

    def to_python(self, value: str) -> str:
        if not is_text(value):
            raise InvalidPath(self.name, "must be text without NUL characters")
        return value
