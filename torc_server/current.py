"""The request that this thread serves, by Flask or by the direct way (see direct.py): its WSGI environ, the application
that serves it."""

from contextvars import ContextVar, Token
from typing import Any

_environ: ContextVar[Any] = ContextVar("environ", default=None)


def begin(environ: dict[str, Any], app: Any) -> Token:
    """From now on this thread serves that request; end() with what is returned."""
    environ["torc.app"] = app
    return _environ.set(environ)


end = _environ.reset


def environ() -> Any:
    """The WSGI environ, or None outside of requests."""
    return _environ.get()


def app() -> Any:
    """The application."""
    return _environ.get()["torc.app"]


def extension(name: str) -> Any:
    """What create_app() has put into app.extensions under that name."""
    return _environ.get()["torc.app"].extensions[name]


def before_waiting() -> None:
    """The request may wait from here on: tell the server, which lets another thread take up what comes meanwhile.

    Raises Later in a call of a batch, which is run again alone.
    """
    found = _environ.get()
    if found and (tell := found.get("torc.before_waiting")):
        tell()


def span_id() -> str | None:
    """The request's span id (header X-Span-ID), or None outside of requests."""
    found = _environ.get()
    return found["torc.span_id"] if found else None
