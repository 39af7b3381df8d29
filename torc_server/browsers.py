"""What browsers may do: pages of other origins send nothing here unless they are listed, and a browser must call the
server by a name that is the server's.

A browser sends requests for any page that is open in it, with the password that it has stored for this server. Other
programs (runners, curl) send none of the headers that are read here, and are never refused.
"""

import ipaddress
import re
import socket
from typing import Any

from flask import Response, request

from torc_server.application import Application
from torc_server.auth import OPEN_BLUEPRINT
from torc_server.errors import ApiError
from torc_server.names import host_name, parse_origin
from torc_server.settings import Settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # no GET of this server changes anything
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
READABLE_HEADERS = "ETag, Retry-After, WWW-Authenticate, X-Span-ID"
PREFLIGHT_SECS = 7200  # how long a browser remembers the answer to a preflight; Chromium's limit

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]+( *, *[A-Za-z0-9_-]+)*")


def init_app(app: Application) -> None:
    """Must come before auth: a preflight carries no credentials."""
    rules = Rules(app.settings)

    @app.before_request  # runs for unknown paths too
    def check_browser():
        return rules.answer(request.environ) if is_browser(request.environ) else None

    if app.settings.allowed_origins:
        app.after_request(rules.add_headers)


def is_browser(environ: dict[str, Any]) -> bool:
    """Whether a browser sends the request.

    Only those send Origin and Sec-Fetch-Site. They leave both out where a page reads from its own origin over plain
    HTTP, as DNS rebinding does; but they always send Accept-Language, which a page can change and cannot remove.
    Node.js sends that too, with a Sec-Fetch-Mode that no page can forge, and is no browser.
    """
    return (
        "HTTP_ORIGIN" in environ
        or "HTTP_SEC_FETCH_SITE" in environ
        or ("HTTP_ACCEPT_LANGUAGE" in environ and "HTTP_SEC_FETCH_MODE" not in environ)
    )


class Rules:
    """Which pages and which host names the settings allow."""

    def __init__(self, settings: Settings):
        self._origins = {parse_origin(text) for text in settings.allowed_origins} - {None}  # None: what is no origin
        self._any_host = "*" in settings.allowed_hosts
        self._names = {host_name(text) for text in settings.allowed_hosts} | own_names(settings.host)

    def answer(self, environ: dict[str, Any]) -> Response | None:
        """Return the answer to a preflight, None to go on with the request. Raises ApiError 403."""
        own = parse_origin(f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}")
        if not self._any_host and request.blueprint != OPEN_BLUEPRINT and not (own and self._is_own(own[1])):
            raise ApiError(
                403,
                "The Host header does not name this server. If browsers may call it by that name, give it with "
                "--allowed-host (setting allowed_hosts)",
            )
        preflight = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        if (preflight or environ["REQUEST_METHOD"] not in SAFE_METHODS) and not self._may_send(environ, own):
            raise ApiError(
                403,
                f"A browser sends this for a page of another origin than {environ['wsgi.url_scheme']}://"
                f"{environ.get('HTTP_HOST')}. Allow the page's origin with --allowed-origin (setting allowed_origins); "
                "if it is this server's own behind a proxy, name the proxy with --trusted-proxy (trusted_proxies)",
            )
        return self._preflight_answer(environ) if preflight and "HTTP_ORIGIN" in environ else None

    def add_headers(self, response: Response) -> Response:
        """Let the pages of allowed origins read an answer, errors included."""
        response.vary.add("Origin")
        origin = request.environ.get("HTTP_ORIGIN", "")
        if parse_origin(origin) in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = READABLE_HEADERS
        return response

    def _may_send(self, environ, own):
        origin = environ.get("HTTP_ORIGIN")
        parsed = parse_origin(origin or "")
        if parsed in self._origins:
            return True
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
            return False
        return origin is None or (parsed is not None and parsed == own)

    def _is_own(self, name):
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self._names or name.endswith(".localhost")
        # Loopback also where the server listens elsewhere: the browser's end of a tunnel.
        return address.is_loopback or name in self._names or is_own_address(address)

    @staticmethod
    def _preflight_answer(environ):
        headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": str(PREFLIGHT_SECS)}
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        if _HEADER_NAMES.fullmatch(asked):
            headers["Access-Control-Allow-Headers"] = asked
        answer = Response(status=204, headers=headers)
        del answer.headers["Content-Type"]
        return answer


def own_names(host: str) -> set[str | None]:
    """The names of this machine, and of the address that the server listens on.

    The full name is asked of the resolver, so only where others can reach the server.
    """
    name = socket.gethostname().lower()
    names = {"localhost", name, name.partition(".")[0], host_name(host)} - {None, ""}
    return names if _is_local(host) else names | {socket.getfqdn().lower()}


def _is_local(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of this machine: then a socket can be bound to it."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
