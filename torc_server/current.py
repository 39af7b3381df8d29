"""The request that this thread serves, by Flask or by the direct way (see direct.py): its WSGI environ, the application
that serves it."""

from contextvars import ContextVar

_environ = ContextVar("environ", default=None)


def begin(environ, app):
    """From now on this thread serves that request; end() with what is returned."""
    environ["torc.app"] = app
    return _environ.set(environ)


end = _environ.reset


def environ():
    """The WSGI environ, or None outside of requests."""
    return _environ.get()


def app():
    """The application."""
    return _environ.get()["torc.app"]


def extension(name):
    """What create_app() has put into app.extensions under that name."""
    return _environ.get()["torc.app"].extensions[name]


def span_id():
    """The request's span id (header X-Span-ID), or None outside of requests."""
    found = _environ.get()
    return found and found["torc.span_id"]
