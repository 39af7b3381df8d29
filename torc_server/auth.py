"""Who is asking: nobody, or a user of the htpasswd file. May they? is answered in SQL, by torc.authorize_workflow(),
in the statement that does the work."""

import base64
import ipaddress
import logging
from typing import NamedTuple

from flask import current_app, g, request

from torc_server.errors import ApiError

log = logging.getLogger("torc_server")

ANONYMOUS = "anonymous"  # also an account of that name is nobody
OPEN_BLUEPRINT = "health"  # its routes answer without credentials, whatever the settings


class Caller(NamedTuple):
    """A user's name, and whether access control is enforced for this request."""

    name: str
    enforced: bool


def init_app(app):
    proxies = networks(app.settings.trusted_proxies)
    enforced = app.settings.enforce_access_control

    @app.before_request  # runs for unknown paths too
    def identify_caller():
        accounts = app.extensions["accounts"]
        g.caller = Caller(_user_name(accounts, proxies) if accounts else ANONYMOUS, enforced)


def caller():
    """Return the Caller of the current request."""
    return g.caller


def has_user(app, name):
    """Whether somebody of that name may still log in; anonymous may where it could."""
    accounts = app.extensions["accounts"]
    return accounts is None or name == ANONYMOUS or name in accounts.table().users


def _user_name(accounts, proxies):
    if request.blueprint == OPEN_BLUEPRINT:
        return ANONYMOUS
    credentials = basic_credentials(request.headers.get("Authorization", ""))
    if credentials is None:
        if current_app.settings.require_auth:
            raise _unauthorized("This server wants a user name and a password")
        return ANONYMOUS
    name, password = credentials
    _authenticate(accounts, name, password, client_address(request.environ, proxies))
    return name


def _authenticate(accounts, name, password, address):
    """Return if the password is the user's. Raises ApiError 401; 429 after too many; 503 if that cannot be said."""
    throttle = current_app.extensions["throttle"]
    digest = accounts.digest(name, password)
    table = accounts.table()
    throttle.check(address, name)
    right = table.remembered(digest)
    if right is None:
        table = accounts.table(thorough=True)
        with table.one_at_a_time(digest):
            right = table.remembered(digest)
            if right is None:
                right = _verify(table, throttle, name, password, address, digest)
    if not right:
        log.warning("login failed: user %r from %s", name[:200], address)
        raise _unauthorized("Wrong user name or password")


def _verify(table, throttle, name, password, address, digest):
    throttle.begin(address, name, digest)
    right = table.verify(name, password)
    if right:
        throttle.forget(address, name, digest)
    table.remember(digest, right)
    return right


def _unauthorized(message):
    return ApiError(401, message, {"WWW-Authenticate": 'Basic realm="Torc"'})


def basic_credentials(header):
    """Return (name, password) of an Authorization header, None if it is not well-formed Basic (then it counts as none):
    "Basic " in that spelling, padded base64 of UTF-8 text, in it a colon."""
    if not header.startswith("Basic "):
        return None
    try:
        text = base64.b64decode(header[6:], validate=True).decode()
    except ValueError:  # not base64, not ASCII, not UTF-8
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon and "\0" not in text else None


def networks(texts):
    """The networks of addresses such as 10.0.0.7 and 10.0.0.0/8. Raises ValueError."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def client_address(environ, proxies):
    """The address of who is asking: the peer's, but what a trusted proxy says about its own peer is believed, hop by
    hop from the right. A peer on a unix socket is trusted: who may open it is a matter of file permissions."""
    address = _ip(environ.get("REMOTE_ADDR", ""))
    hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while hops and (address is None or any(address in network for network in proxies)):
        hop = _ip(hops.pop().strip())
        if hop is None:
            break
        address = hop
    return str(address or "unix")


def _ip(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
