"""Origins and host names as browsers write them."""

import re

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]*[a-z0-9_-])\.?(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> tuple[str, str, int | None] | None:
    """Return (scheme, host, port) of an origin such as https://host:8443, None if it is none, "null" for example."""
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        return None
    scheme, name, port = match.groups()
    return scheme, name, int(port) if port else _DEFAULT_PORTS.get(scheme)


def host_name(text: str) -> str | None:
    """Return a host's name or address as browsers write it (lower case, punycode, [] around IPv6); None if it is none,
    or has a port."""
    name = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    try:
        origin = parse_origin("http://" + name.encode("idna").decode())
    except UnicodeError:
        return None
    return origin[1] if origin and origin[2] == 80 else None
