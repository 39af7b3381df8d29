"""Proxies in front of the server: whose headers about the original request are believed."""

import functools
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from torc_server.application import Application

_PREFIX = re.compile(r"(/[A-Za-z0-9._~%-]+)*")


def wrap(app: Application) -> None:
    """Let an application believe the X-Forwarded-… of the trusted proxies."""
    app.wsgi_app = Forwarded(app.wsgi_app, networks(app.settings.trusted_proxies))


class Forwarded:
    """WSGI: scheme, host and path prefix of a request as the client sent it, if a trusted proxy passes it on.

    A trusted proxy must set X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix itself or remove them; those of
    other peers are ignored. The address of the client is found by client_address(), through any number of proxies.
    """

    def __init__(self, wsgi_app: Callable, proxies: list):
        self._wsgi_app = wsgi_app
        self._fixed = ProxyFix(self._call, x_for=0, x_proto=1, x_host=1, x_prefix=1)
        self._is_trusted = functools.lru_cache(1024)(lambda peer: is_trusted(_ip(peer), proxies))

    def __call__(self, environ, start_response):
        trusted = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        return (self._fixed if trusted else self._wsgi_app)(environ, start_response)

    def _call(self, environ, start_response):
        before = environ["werkzeug.proxy_fix.orig"]
        if environ["wsgi.url_scheme"] not in ("http", "https"):
            environ["wsgi.url_scheme"] = before["wsgi.url_scheme"]
        prefix = environ["SCRIPT_NAME"].rstrip("/")
        environ["SCRIPT_NAME"] = prefix if _PREFIX.fullmatch(prefix) else before["SCRIPT_NAME"]
        return self._wsgi_app(environ, start_response)


def networks(texts: Iterable[str]) -> list:
    """The networks of addresses such as 10.0.0.7 and 10.0.0.0/8. Raises ValueError."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def is_trusted(address: str | None, proxies: list) -> bool:
    """Whether a peer is a trusted proxy. One without an address, on a unix socket, is: who may open the socket is a
    matter of file permissions."""
    return address is None or any(address in network for network in proxies)


def client_address(environ: dict[str, Any], proxies: list) -> str:
    """The address of the client: the peer's, or if that is a trusted proxy what it says about its own peer, hop by hop
    from the right; "unix" for a peer on a unix socket."""
    address = _ip(environ.get("REMOTE_ADDR", ""))
    hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while hops and is_trusted(address, proxies):
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
