"""Which generation of client asks. This module alone knows clients' versions; everything else is told what they need.

Decided for each request by itself: proxies share connections, and one user may have clients of several generations.

    DIALECT            CLIENTS                                    SETTINGS   RUN ID RAISED BY
    text               torc-client (Python) up to API 0.12        text       the client
    text_initialize    torc CLI up to 0.28                        text       the client, or else initialize_jobs
    text_reset         torc-client with API 0.13 to 0.17          text       reset_status
    objects            torc CLI from 0.29, torc-client from 0.18  objects    reset_status
    None               curl, browsers, other programs             as written reset_status

The names are those of the SQL type torc.dialect. The torc CLI has sent the same User-Agent in all versions; from 0.29
on it also sends X-Torc-Client-User. 0.29 and 0.30 would want text, but cannot be told from later ones.
"""

import re
from typing import Any

RUST = "OpenAPI-Generator/v0.7.0/rust"
PYTHON = re.compile(r"OpenAPI-Generator/0\.([0-9]{1,4})\.[0-9]+/python")
LAST_THAT_RAISES_RUNS = 12  # minor versions of the API
LAST_WITH_TEXT = 17

API_VERSION = "0.23.0"  # of the HTTP contract; clients refuse another major version
FIRST_API_VERSION = "0.12.0"


def dialect(environ: dict[str, Any]) -> str | None:
    """Return the dialect of a WSGI request: a name from the table above, or None."""
    if "HTTP_X_TORC_CLIENT_USER" in environ:
        return "objects"
    agent = environ.get("HTTP_USER_AGENT", "")
    if agent == RUST:
        return "text_initialize"
    found = PYTHON.fullmatch(agent)
    if not found:
        return None
    minor = int(found[1])
    if minor > LAST_WITH_TEXT:
        return "objects"
    return "text" if minor <= LAST_THAT_RAISES_RUNS else "text_reset"


def api_version(dialect: str | None) -> str:
    """Return the version that a client of the dialect is told: the CLI prints a warning for another minor version."""
    return FIRST_API_VERSION if dialect in ("text", "text_initialize") else API_VERSION
