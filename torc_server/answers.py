"""What views answer: JSON texts and values, files of JSON, and what the contract says about an answer."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response
from marshmallow import Schema
from marshmallow.fields import Field
from werkzeug.wsgi import wrap_file

from torc_server import current
from torc_server.bodies import PIECE
from torc_server.spool import SPOOL_MEMORY, Spool

JSON = "application/json"
View = TypeVar("View", bound=Callable)


def answers(
    model: type[Schema] | Schema | Field,
    errors: dict[int, str] | None = None,
    content_type: str = "application/json",
    accepted: type[Schema] | None = None,
) -> Callable[[View], View]:
    """Decorate a view: say, for the contract, by which schema or field it answers 200, and with {status: when} which
    errors it gives beside those of every view that takes such a request. accepted: the schema of an answer 202."""

    def decorate(view: Any):
        view.answer = model() if isinstance(model, type) else model
        view.answer_type = content_type
        view.errors = errors or {}
        view.accepted = accepted and accepted()
        return view

    return decorate


def deprecated(view: Any) -> Any:
    """Decorate a view: say, in the contract, that the newest clients do without this operation."""
    view.is_deprecated = True
    return view


def json_text(text: str | bytes, status: int = 200) -> Response:
    """Answer a text that is JSON already."""
    return Response(text, status, mimetype=JSON)


def json_value(value: Any, status: int = 200) -> Response:
    """Answer a Python value as JSON; for small ones."""
    return json_text(json.dumps(value, separators=(",", ":")), status)


def send_spool(file: Spool) -> Response:
    """Answer the JSON in a Spool."""
    size = file.rewind()
    if size <= SPOOL_MEMORY:
        with file:
            return json_text(file.read())
    response = Response(wrap_file(current.environ(), file, PIECE), mimetype=JSON, direct_passthrough=True)
    response.content_length = size
    return response
