"""Decorators of views that read a request: the query string and the body, validated by a schema."""

import functools
from collections.abc import Callable
from typing import Any

from flask import Request
from marshmallow import Schema, ValidationError
from marshmallow.fields import Field

from torc_server import current
from torc_server.application import Application
from torc_server.bodies import MIB, parse_json, read_body
from torc_server.errors import ApiError
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.fields import Json

Decorator = Callable[[Callable], Callable]

MOST_REMEMBERED = 100  # characters of a query string whose values a process remembers


def init_app(app: Application) -> None:
    """Bound the bodies that Flask reads."""
    app.config["MAX_CONTENT_LENGTH"] = app.settings.max_request_body_mb * MIB


def query(schema_class: type[Schema]) -> Decorator:
    """Decorate a view: validate the query string (400; 422 for a number out of bounds) and pass it as `query`."""
    schema = schema_class()

    def decorate(view):
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            return view(*args, query=load_query(schema), **kwargs)

        answer: Any = wrapper
        answer.query_schema = schema
        return answer

    return decorate


def body(schema_class: type[Schema], model: type[Schema] | None = None) -> Decorator:
    """Decorate a view: read the JSON body, validate it (400, 415, 413, 422) and pass it as `body`.

    model: the schema under which the contract publishes the body, where the server is content with less.
    """
    schema = schema_class()
    exact = ExactTypes(schema)

    def decorate(view):
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            return view(*args, body=load_body(exact, parse_json(read_body())), **kwargs)

        answer: Any = wrapper
        answer.body_schema = schema
        return takes((model or schema_class)())(answer)

    return decorate


def any_body(view: Callable) -> Callable:
    """Decorate a view: read the JSON body, whatever value it is (400, 415, 413, 422), and pass it as `body`."""
    field = Json("Any JSON value.", example={"note": "done"}, keep_null=True)

    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        try:
            data = field.deserialize(parse_json(read_body()))
        except ValidationError as error:
            raise ApiError(422, f"The body {error.messages[0]}") from error
        return view(*args, body=data, **kwargs)

    return takes(field)(wrapper)


def takes(model: Schema | Field) -> Decorator:
    """Decorate a view that reads the body itself: say, for the contract, by which schema or field."""

    def decorate(view):
        view.body_model = model
        return view

    return decorate


def load_query(schema: Schema) -> dict[str, Any]:
    """Return the loaded query string. Raises ApiError 400 (422: out of bounds) naming the parameter and the rule."""
    text = current.environ().get("QUERY_STRING", "")
    return dict(_load_short(schema, text) if len(text) <= MOST_REMEMBERED else _load_text(schema, text))


def _load_text(schema, text):
    values = {}
    for name, given in _arguments(text).items():
        repeatable = getattr(schema.fields.get(name), "repeatable", False)
        if len(given) > 1 and name in schema.fields and not repeatable:
            raise ApiError(400, f"Query parameter {name} is given twice", field=name)
        values[name] = given if repeatable else given[0]
    try:
        return schema.load(values)
    except ValidationError as error:
        name, reason = first_message(error.messages)
        raise ApiError(400, f"Query parameter {name}: {reason}", field=name) from error


# Runners send the same few queries all day; see benchmarks/decisions/short_queries.
_load_short = functools.lru_cache(512)(_load_text)


def _arguments(text):
    """{name: [values]} of a query string."""
    return Request({"REQUEST_METHOD": "GET", "QUERY_STRING": text}).args.to_dict(flat=False) if text else {}


def load_body(exact: ExactTypes, data: Any) -> dict[str, Any]:
    """Return the body as ExactTypes load it. Raises ApiError 422 naming the first field that does not fit, and why."""
    if type(data) is not dict:
        raise ApiError(422, "The body must be a JSON object")
    try:
        return exact.load(data)
    except ValidationError as error:
        name, reason = first_message(error.messages)
        raise ApiError(422, f"{name}: {reason}", field=name) from error


def first_message(messages: Any, path: str = "") -> tuple[str, str]:
    """The first (field path, reason) of marshmallow's nested messages."""
    if isinstance(messages, list):
        return path, messages[0]
    key, inner = next(iter(messages.items()))
    if key == "_schema":  # the object itself, not one of its keys
        return first_message(inner, path)
    return first_message(inner, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip("."))
