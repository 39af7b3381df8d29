"""The configuration of nginx in front of the server, made from the server's settings so that both stay in step."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torc_server.settings import Settings, SettingsError

TEMPLATES = Path(__file__).parent / "ops_templates"
READ_SECS = 620  # the database ends the longest statements after ten minutes (database.LONG_TIMEOUT)

ERRORS = {
    400: ("BadRequest", "nginx: the request cannot be read"),
    413: ("PayloadTooLarge", "The body is larger than this server takes (setting max_request_body_mb)"),
    414: ("BadRequest", "nginx: the URL is too long"),
    494: ("BadRequest", "nginx: the headers are too large (setting limit_request_field_size)"),
    500: ("InternalServerError", "nginx failed; its log says why"),
    502: ("ServiceUnavailable", "nginx: the connection to the server failed; try again"),
    503: ("ServiceUnavailable", "nginx: no connection to the server; try again"),
    504: ("ServiceUnavailable", "nginx: the connection to the server has timed out; try again"),
}


def render(template: str, **values: Any) -> str:
    """Return the text of a template for operations."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # not needed by other commands

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # none of it is HTML
    )  # fmt: skip
    return environment.get_template(template).render(**values)


def nginx_config(
    settings: Settings,
    server_name: str,
    listen: int = 443,
    bind: str = "",
    prefix: str = "",
    certificate: str | None = None,
    certificate_key: str | None = None,
    upstreams: Sequence[str] = (),
    upstream_ca: str | None = None,
    upstream_name: str | None = None,
    access_log: str = "/var/log/nginx/torc-server.log",
) -> str:
    """Return the configuration for Settings; without upstreams nginx connects to the socket or port of the settings.

    Raises SettingsError for what nginx could not use.
    """
    upstreams = upstreams or [_own_address(settings)]
    tls_to_server = {address.startswith("https://") for address in upstreams}
    if len(tls_to_server) > 1:
        raise SettingsError("--upstream: either all or none with https://")
    tls_to_server = tls_to_server.pop()
    if tls_to_server and not (upstream_ca and upstream_name):
        raise SettingsError("an upstream with https:// needs --upstream-ca and --upstream-name")
    if bool(certificate) != bool(certificate_key):
        raise SettingsError("--certificate and --certificate-key belong together")
    for text in (server_name, bind, certificate, certificate_key, upstream_ca, upstream_name, access_log, *upstreams):
        if text and re.search(r"[\s;{}\"'$#\\]", str(text)):
            raise SettingsError(f"{text!r} has a character that nginx would not take as it is")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix):
        raise SettingsError(f"--prefix: {prefix!r} is not a path such as /torc")
    errors = {code: json.dumps({"error": {"error": kind, "message": text}}) for code, (kind, text) in ERRORS.items()}
    addresses = [address.removeprefix("https://").removeprefix("http://") for address in upstreams]
    scheme = "https" if tls_to_server else "http"
    return render(
        "nginx.conf.j2", settings=settings, server_name=server_name, listen=listen, bind=bind and f"{bind}:",
        prefix=prefix, certificate=certificate, certificate_key=certificate_key, upstreams=addresses,
        sockets=all(address.startswith("unix:") for address in addresses), tls_to_server=tls_to_server,
        upstream_ca=upstream_ca, upstream_name=upstream_name, access_log=access_log, errors=errors,
        proxy_pass=f"{scheme}://torc_server{'$torc_server_uri' if prefix else ''}", read_timeout=READ_SECS,
    )  # fmt: skip


def _own_address(settings):
    if settings.socket:
        return f"unix:{settings.socket.absolute()}"
    if not settings.port:
        raise SettingsError("with port 0 nobody knows where the server will listen: set a port or a socket")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https://' if settings.https else ''}{host}:{settings.port}"
