"""Whether answers are what the emitted OpenAPI document says. Every client of the tests asks here, so that document
and behaviour cannot part."""

import functools
import json

import jsonschema_rs
from werkzeug.exceptions import HTTPException

from torc_server.app import create_app
from torc_server.bodies import BASE_PATH
from torc_server.openapi import document
from torc_server.settings import Settings

UNROUTED = {400, 401, 403, 404, 405, 429}  # of a path or method that is no operation


@functools.cache
def app():
    return create_app(Settings(), "")


@functools.cache
def routes():
    return app().url_map.bind("localhost")


@functools.cache
def contract():
    """The document, in which models have no other keys than those that they declare."""
    found = document(app())
    for model in found["components"]["schemas"].values():
        if "properties" in model:
            model["additionalProperties"] = False
    return found


@functools.cache
def operations():
    """{operationId: operation}"""
    return {op["operationId"]: op for path in contract()["paths"].values() for op in path.values()}


def operation_of(method, target):
    """The operation that serves a request line, or None."""
    path, _, query = target.partition("?")
    try:
        endpoint, _ = routes().match(path, method, query_args=query)
    except HTTPException:
        return None
    return operations().get(endpoint.split(".")[1])


def check_answer(method, target, response):
    """Raise AssertionError unless the document declares this answer. What is not below the base path is not in it."""
    if not target.startswith(BASE_PATH + "/") or method == "HEAD" or response.status_code == 204:  # 204: to a preflight
        return
    shown = f"{method} {target[:200]}: {response.status_code} {response.text[:500]}"
    operation = operation_of(method, target)
    if operation is None:
        assert response.status_code in UNROUTED, shown
        errors = error_validator().iter_errors(json.loads(response.text))
    else:
        status = str(response.status_code)
        assert status in operation["responses"], f"{shown}: the contract does not declare this status"
        kind, validator = declared(operation["operationId"], status)
        assert response.headers["content-type"] == kind, shown
        errors = validator.iter_errors(json.loads(response.text) if kind == "application/json" else response.text)
    wrong = next(iter(errors), None)
    assert wrong is None, f"{shown}: not as the contract says: {wrong}"


@functools.cache
def declared(operation_id, status):
    """(content type, validator) of an operation's answer."""
    answer = operations()[operation_id]["responses"][status]
    if "$ref" in answer:
        answer = contract()["components"]["responses"][answer["$ref"].split("/")[-1]]
    ((kind, content),) = answer["content"].items()
    return kind, validator(content["schema"])


@functools.cache
def error_validator():
    return validator({"$ref": "#/components/schemas/ErrorResponse"})


def validator(schema):
    return jsonschema_rs.Draft202012Validator(schema | {"components": contract()["components"]})
