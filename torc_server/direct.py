"""The direct way: the calls that runners make all day are answered before Flask.

A view that is decorated with @direct returns the text of its JSON answer, and needs nothing of Flask. Its one
declaration serves both ways: Flask routes to it as to every other view; and a small WSGI class finds it in a dict, and
does without Flask's routing, contexts, signals, request and response objects. The same server and drain, in turns, took
1.39 to 1.50 ms of Python CPU a job by Flask, and 0.98 to 1.02 this way. The code that authenticates, validates, runs
the statement and makes errors is the same; logs, metrics and common headers come from the WSGI classes around both.

Whatever is not plain takes the way through Flask, which then gives its answer: a request of a browser, a path that
does not fit exactly, another method. The setting `direct` (--no-direct) sends all requests that way.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torc_server.answers import JSON, json_text
from torc_server.application import Application
from torc_server.browsers import is_browser
from torc_server.errors import InvalidPath, Later, response_to
from torc_server.lanes import shape


def direct(view: Callable) -> Callable:
    """Decorate a view, directly below its route: it returns the text of its JSON answer, which is sent either way."""

    @functools.wraps(view)
    def by_flask(**arguments):
        return json_text(view(**arguments))

    by_flask.direct = view  # ty: ignore[missing-attribute]  # wraps() hides that it is a function
    return by_flask


def wrap(app: Application) -> None:
    """Must come first of the WSGI classes, when all routes are registered."""
    if app.settings.direct:
        app.wsgi_app = Direct(app)


class Route:
    """One route: how the parameters of a path are read, and the view."""

    def __init__(self, rule: Any, view: Callable):
        self.rule = rule
        self.view = view
        places = {part[1:-1].partition(":")[2]: place for place, part in enumerate(_parts(rule)) if part[:1] == "<"}
        self._parameters = [(places[name], name, each.to_python) for name, each in rule.converters.items()]

    def arguments(self, parts: list[str]) -> dict[str, Any]:
        """The view's arguments from the parts of a path. Raises InvalidPath."""
        return {name: to_python(parts[place]) for place, name, to_python in self._parameters}

    def shapes(self) -> Iterator[str]:
        """The shapes (see lanes) of all paths that the route may serve."""
        choices = [
            self.rule.converters[part[1:-1].partition(":")[2]].shapes if part[:1] == "<" else (part,)
            for part in _parts(self.rule)
        ]
        return map("/".join, itertools.product(*choices))


def _parts(rule):
    return rule.rule.split("/")


class Direct:
    """WSGI: answers what it can, and leaves the rest to Flask."""

    def __init__(self, app: Any):
        self._flask = app.wsgi_app
        self._callers = app.extensions["callers"]
        # What browsers.Rules.add_headers() gives an answer that no browser has asked for
        self._headers = [("Content-Type", JSON)] + [("Vary", "Origin")] * bool(app.settings.allowed_origins)
        self._routes = {}
        for rule in app.url_map.iter_rules():
            view = getattr(app.view_functions[rule.endpoint], "direct", None)
            route = Route(rule, view) if view else None
            for path in route.shapes() if route else ():
                self._routes |= {(method, path): route for method in rule.methods - {"HEAD"}}
        app.extensions["lanes"].add_direct(self._routes)

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        route = self._routes.get((environ["REQUEST_METHOD"], environ.get("torc.shape") or shape(path)))
        if route is None or is_browser(environ) or "HTTP_UPGRADE" in environ:
            return self._flask(environ, start_response)
        try:
            arguments = route.arguments(path.split("/"))
        except InvalidPath:
            return self._flask(environ, start_response)
        environ["torc.rule"], environ["torc.arguments"] = route.rule, arguments
        try:
            self._callers.identify(environ)
            data = route.view(**arguments).encode()
        except Later:
            raise
        except Exception as error:  # noqa: BLE001 (it is logged there, as under Flask)
            return self._refuse(error, environ, start_response)
        start_response("200 OK", [self._headers[0], ("Content-Length", str(len(data))), *self._headers[1:]])
        return (data,)

    def _refuse(self, error, environ, start_response):
        response = response_to(error)
        response.headers.extend(self._headers[1:])
        return response(environ, start_response)
