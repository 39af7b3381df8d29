"""Identifies the caller of a request: anonymous, or a user of the htpasswd file. SQL decides what a caller may do, by
torc.authorize_workflow(), in the statement that does the work."""

import base64
import logging
from typing import Any, NamedTuple

from flask import request

from torc_server import current
from torc_server.application import Application
from torc_server.dialect import dialect
from torc_server.errors import ApiError
from torc_server.proxies import client_address, networks

log = logging.getLogger("torc_server")

ANONYMOUS = "anonymous"  # also an account of that name is nobody
LOCAL_BLUEPRINT = "metrics"  # its route answers this machine without credentials, unless the setting metrics is "all"
OPEN_BLUEPRINT = "health"  # its routes answer without credentials, whatever the settings


class Caller(NamedTuple):
    """A user's name, whether access control is enforced for this request, and the client's dialect."""

    name: str
    enforced: bool
    dialect: str | None = None  # see dialect.py


def init_app(app: Application) -> None:
    """Identify the caller before each request of Flask, and close the connections of refused ones."""
    callers = app.extensions["callers"] = Callers(app)

    @app.before_request  # runs for unknown paths too
    def identify_caller():
        callers.identify(request.environ)


class Callers:
    """Finds out who sends a request."""

    def __init__(self, app: Application):
        self._app = app
        self._proxies = networks(app.settings.trusted_proxies)
        self._enforced = app.settings.enforce_access_control

    def identify(self, environ: dict[str, Any]) -> None:
        """Put the Caller into the environ of a request, whose route is there already. Raises ApiError 401, 429, 503."""
        accounts = self._app.extensions["accounts"]
        name = self._user_name(environ, accounts) if accounts else ANONYMOUS
        environ["torc.caller"] = Caller(name, self._enforced, dialect(environ))
        environ["torc.user"] = name  # for the access line

    def _user_name(self, environ, accounts):
        blueprint = rule.endpoint.partition(".")[0] if (rule := environ["torc.rule"]) else None
        if blueprint == OPEN_BLUEPRINT or (blueprint == LOCAL_BLUEPRINT and self._app.settings.metrics == "local"):
            return ANONYMOUS
        credentials = basic_credentials(environ.get("HTTP_AUTHORIZATION", ""))
        if credentials is None:
            if self._app.settings.require_auth:
                raise _unauthorized("This server wants a user name and a password")
            return ANONYMOUS
        name, password = credentials
        _authenticate(accounts, name, password, client_address(environ, self._proxies))
        return name


def caller() -> Caller:
    """Return the Caller of the current request."""
    return current.environ()["torc.caller"]


def has_user(app: Any, name: str) -> bool:
    """Whether somebody of that name may still log in; anonymous may where it could."""
    accounts = app.extensions["accounts"]
    return accounts is None or name == ANONYMOUS or name in accounts.table().users


def _authenticate(accounts, name, password, address):
    """Return if the password is the user's. Raises ApiError 401; 429 after too many; 503 if that cannot be said."""
    throttle = current.extension("throttle")
    digest = accounts.digest(name, password)
    table = accounts.table()
    throttle.check(address, name)
    right = table.remembered(digest)
    if right is None:
        current.before_waiting()
        table = accounts.table(thorough=True)
        # While others wait to be verified: the file is as it was, so bcrypt could only say again what it said before.
        right = (table.was_right(digest) and accounts.turns.all_taken()) or _verified(
            accounts.turns, table, throttle, name, password, address, digest
        )
    if not right:
        log.warning("login failed: user %r from %s", name[:200], address)
        raise _unauthorized("Wrong user name or password")


def _verified(turns, table, throttle, name, password, address, digest):
    with turns.place(table.knows(name), name, digest), table.one_at_a_time(digest):
        right = table.remembered(digest)
        if right is None:
            right = _verify(turns, table, throttle, name, password, address, digest)
    return right


def _verify(turns, table, throttle, name, password, address, digest):
    throttle.begin(address, name, digest)
    with turns.turn(table.knows(name)):
        right = table.verify(name, password)
    if right:
        throttle.forget(address, name, digest)
    table.remember(digest, right)
    return right


def _unauthorized(message):
    return ApiError(401, message, {"WWW-Authenticate": 'Basic realm="Torc"'})


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Return (name, password) of an Authorization header; None if there is none, or one of another scheme, which may
    be meant for a proxy. Raises ApiError 401 if it says Basic, in any case of letters, and cannot be read."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = _text(base64.b64decode(token.strip(), validate=True))
    except ValueError as error:  # not base64, not ASCII
        raise _unauthorized("The Authorization header cannot be read: what follows Basic is not base64") from error
    name, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise _unauthorized(
            "The Authorization header cannot be read: it must hold name:password, without NUL characters"
        )
    return name, password


def _text(raw):
    """Credentials are UTF-8; some clients, torc-client among them, send latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
