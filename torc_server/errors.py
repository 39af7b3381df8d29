"""The one error shape: {"error": {"error": Kind, "message": text, …}} for everything that is not 200."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import BadRequest, HTTPException

log = logging.getLogger("torc_server")

OWN_FAULT = "The server failed; its log says why"
KINDS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    422: "UnprocessableEntity",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}


class ApiError(Exception):
    """An answer other than 200: HTTP status, one sentence for a person, extra keys of the error object, headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **extra: Any):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> Response:
        kind = KINDS.get(self.status, "BadRequest" if self.status < 500 else "InternalServerError")
        body = json.dumps({"error": {"error": kind, "message": self.message, **self.extra}}, sort_keys=True)
        return Response(body, self.status, self.headers, mimetype="application/json")


class Later(Exception):
    """The request waits for something; nothing of it was done. The caller of the application has to run it again after
    `delay` seconds, and meanwhile keep no thread for it.

    It leaves the application as an exception, and only for a server that says that it does so (see Database.run).
    """

    def __init__(self, delay: float):
        super().__init__(f"run the request again after {delay} s")
        self.delay = delay


class LaterWithJobs(Later):
    """The request is a claim that found nothing, and waits for jobs: the caller of the application has to run it again
    when its waiter is resumed (see waiting_claims.WaitingClaims.add), with the waiter in the environ."""

    def __init__(self, waiter: Any):
        super().__init__(float("inf"))
        self.waiter = waiter


class InvalidPath(BadRequest):
    """A path parameter that cannot be read. Not an ApiError: werkzeug only passes on its own exceptions."""

    def __init__(self, field: str, rule: str):
        super().__init__(f"Invalid URL: {field} {rule}")
        self.extra = {"field": field}


def response_to(error: Exception) -> Response:
    """The answer to an exception of a view."""
    if isinstance(error, ApiError):
        return error.response()
    return _from_framework(error) if isinstance(error, HTTPException) else _unexpected(error)


def init_app(app: Flask) -> None:
    """Answer all errors of an application in the one shape."""
    for kind in (ApiError, HTTPException, Exception):
        app.register_error_handler(kind, response_to)
    app.register_error_handler(Later, _pass_on)
    app.handle_exception = _unless_later(app.handle_exception)


def _pass_on(error):
    raise error


def _unless_later(handle_exception):
    """Flask's last resort, which makes a 500 of whatever an error handler raises, but not of Later."""

    def handle(error):
        if isinstance(error, Later):
            raise error
        return handle_exception(error)

    return handle


def _from_framework(error):
    if error.code < 400:
        return error
    headers = {"Allow": ",".join(sorted(error.valid_methods))} if getattr(error, "valid_methods", None) else {}
    extra = getattr(error, "extra", {})
    return ApiError(error.code, _MESSAGES.get(error.code, error.description), headers, **extra).response()


_MESSAGES = {
    404: "There is nothing at this path",
    405: "This path does not take that method; the Allow header lists those that it takes",
    413: "The body is larger than this server takes (settings max_request_body_mb and max_small_body_mb)",
}


def _unexpected(error):
    log.error("a request failed by our own fault", exc_info=error)
    return ApiError(500, OWN_FAULT).response()
