"""Every answer is counted and, if the settings say so, logged: a WSGI class around all others.

It costs a request some 8 µs: a span id, two readings of the clock, one histogram. An access line is written for answers
of 400 and more, or for all. It names who asked for what, never passwords, query strings or bodies.
"""

import json
import logging
import re
import time
from typing import Any, cast
from urllib.parse import parse_qs, quote

from flask import request

from torc_server import current
from torc_server.application import Application
from torc_server.errors import Later
from torc_server.proxies import client_address, networks

access_log = logging.getLogger("torc_server.access")
audit_log = logging.getLogger("torc_server.audit")
access_log.setLevel(logging.INFO)  # the setting access_log decides, not log_level
audit_log.setLevel(logging.INFO)

NO_ROUTE = "none"  # instead of the path of an answer that no route has given: labels of metrics must be few
_LEAST_STATUS = {"off": 1000, "errors": 400, "all": 0}
_WORKFLOW = "/workflows/<"


def audited(view: Any) -> Any:
    """Decorate a view: a request that succeeds is one line in the log, whatever is logged of others. Its function in
    SQL writes the row of the audit table."""
    view.is_audited = True
    return view


def init_app(app: Application) -> None:
    """Must come before whatever refuses requests: it notes their routes."""

    @app.before_request
    def note_route():  # Flask takes its request from the environment when it has answered
        found: Any = cast(Any, request)._get_current_object()  # each attribute of the proxy would cost 1 µs
        found.environ["torc.rule"] = found.url_rule
        found.environ["torc.arguments"] = found.view_args


def wrap(app: Application) -> None:
    """Must come last: all other WSGI classes are inside."""
    app.extensions["observer"] = app.wsgi_app = Observer(app)


class Observer:
    """WSGI: gives a request its span id, counts and logs the answer."""

    def __init__(self, app: Application):
        self._app = app
        self._wsgi_app = app.wsgi_app
        self._audited = {name for name, view in app.view_functions.items() if getattr(view, "is_audited", False)}
        self._metrics = app.extensions["metrics"]
        self._traffic = app.extensions["api_traffic"]
        self._proxies = networks(app.settings.trusted_proxies)
        self._least_status = _LEAST_STATUS[app.settings.access_log]

    def __call__(self, environ, start_response):
        since = environ.get("torc.received") or time.monotonic()
        environ["torc.span_id"] = _span_id(environ)
        told = []

        def start(status, headers, exc_info=None):
            told[:] = status, headers
            return start_response(status, headers, exc_info)

        token = current.begin(environ, self._app)
        if self._traffic.wants_bodies:
            self._traffic.listen_to_body(environ)
        try:
            answer = self._wsgi_app(environ, start)
            self._note(environ, told, since)
            if self._traffic.is_watched:
                answer = self._traffic.keep(environ, _path(environ), told, since, answer)
            return answer
        except Later:  # it is run again
            raise
        except Exception:
            self._note(environ, ("500", []), since)
            raise
        finally:
            current.end(token)

    def refuse(self, address: Any, status: int, reason: str) -> None:
        """Count and log an answer that the server gave without the application, because it could not read a request or
        has no room for it."""
        self._metrics.observe(NO_ROUTE, "", status, 0.0)
        self._traffic.count(status, {}, ())
        if status >= self._least_status:
            peer = address[0] if isinstance(address, tuple) and address else "unix"
            fields = {"status": status, "client": peer, "reason": reason}
            access_log.info("refused %s from %s: %s", status, peer, reason, extra={"fields": fields})

    def _note(self, environ, told, since):
        seconds = time.monotonic() - since
        status = int(told[0][:3])
        self._traffic.count(status, environ, told[1])
        rule = environ.get("torc.rule")
        if rule:
            self._metrics.observe(rule.rule, environ["REQUEST_METHOD"], status, seconds)
        else:  # a method may be any word
            self._metrics.observe(NO_ROUTE, "", status, seconds)
        if status >= self._least_status:
            self._log_access(environ, rule, status, told[1], seconds)
        if rule and status < 400 and rule.endpoint in self._audited:
            self._log_audit(environ, rule)

    def _log_access(self, environ, rule, status, headers, seconds):
        fields = {
            "method": environ["REQUEST_METHOD"],
            "path": _path(environ),
            "status": status,
            "ms": round(seconds * 1000, 1),
            "bytes": next((int(value) for name, value in headers if name.lower() == "content-length"), None),
            "user": environ.get("torc.user"),
            "client": client_address(environ, self._proxies),
            "workflow_id": _workflow_id(environ, rule),
            "route": rule.rule if rule else NO_ROUTE,
        }
        level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
        _log(access_log, level, fields, "method", "path", "status")

    def _log_audit(self, environ, rule):
        fields = {
            "action": rule.endpoint.rpartition(".")[2],
            "user": environ.get("torc.user"),
            "path": _path(environ),
            "client": client_address(environ, self._proxies),
            "workflow_id": _workflow_id(environ, rule),
        }
        _log(audit_log, logging.INFO, fields, "action")


def _log(logger, level, fields, *bare):
    """Log the fields that have a value; the names of `bare` ones go without saying."""
    fields = {name: value for name, value in fields.items() if value is not None}
    words = [_word(fields[name]) for name in bare]
    words += [f"{name}={_word(value)}" for name, value in fields.items() if name not in bare]
    logger.log(level, "%s", " ".join(words), extra={"fields": fields})


def _word(value):
    """A value as one word of a plain line: in quotation marks if it has blanks or quotation marks in it."""
    text = str(value)
    return text if text and not re.search(r"[\s\"=]", text) else json.dumps(text, ensure_ascii=False)


def _span_id(environ):
    span = environ.get("HTTP_X_SPAN_ID")
    return span if span and span.isascii() and span.isprintable() else str(time.time_ns())


def _path(environ):
    return quote(environ.get("PATH_INFO", ""), safe="/:@-._~!$&'()*+,;=", encoding="latin-1")


def _workflow_id(environ, rule):
    if rule is None:
        return None
    arguments = environ["torc.arguments"] or {}
    if "workflow_id" in arguments:
        return arguments["workflow_id"]
    if _WORKFLOW in rule.rule:
        return arguments.get("id")
    given = parse_qs(environ.get("QUERY_STRING", "")).get("workflow_id", [""])[0]
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else None
