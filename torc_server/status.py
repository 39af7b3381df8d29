"""What `torc-server status` tells: the servers on this machine, and what their database says."""

import contextlib
import dataclasses
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry, multiprocess

from torc_server import migrations, runtime
from torc_server.settings import Settings

ANSWER_SECONDS = 5
_NUMBERS = (
    "workers", "connections", "streams", "threads", "threads_busy", "requests_queued", "requests_parked",
)  # fmt: skip
_WITH_SERVERS = """
    SELECT DISTINCT application_name
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'torc-server process %'
    ORDER BY 1
"""


def servers() -> list[dict[str, Any]]:
    """The servers of this user (of root: of all users) on this machine: what each has written about itself, and
    "answers" (None, or why not), "ready" (the same for the database behind it), and the numbers of its metrics."""
    found = []
    for folder, state in runtime.running():
        answers, ready = (_trouble(state["url"], path) for path in ("/healthz", "/readyz"))
        with contextlib.suppress(FileNotFoundError, ValueError):  # its folder is gone: it has just ended
            found.append({**state, "answers": answers, "ready": ready, **_numbers(folder)})
    return found


def database(conninfo: str) -> dict[str, Any]:
    """The schema's version, and the names of all servers that are connected. Raises psycopg.Error."""
    found = migrations.status(conninfo)
    with psycopg.connect(conninfo, connect_timeout=ANSWER_SECONDS) as connection:
        names = [name for (name,) in connection.execute(_WITH_SERVERS).fetchall()]
    return {"version": found.version, "latest": found.latest, "current": found.current, "servers": names}


def changed_settings(state: dict[str, Any]) -> dict[str, Any]:
    """{name: value} of the settings of a server that are not the default."""
    defaults = json.loads(json.dumps(dataclasses.asdict(Settings()), default=str))
    return {name: value for name, value in state["settings"].items() if value != defaults.get(name)}


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, whose path is the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __init__(self, path: str):
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path


def _trouble(url, path):
    """None if a GET of the path is answered 200, else why not. url: http…, or unix:/path/of/a/socket."""
    try:
        if not url.startswith("unix:"):
            return _trouble_of_url(url + path)
        with contextlib.closing(_SocketConnection(url.removeprefix("unix:"))) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return None if answer.status == 200 else f"{answer.status}: {json.load(answer)['error']['message']}"
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:  # or it is something else
        return str(getattr(error, "reason", error))


def _trouble_of_url(url):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this machine's
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS, context=context):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code}: {json.load(error)['error']['message']}"


def _numbers(folder):
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))
    values = {sample.name: sample.value for metric in registry.collect() for sample in metric.samples}
    return {name: int(values.get(f"torc_{name}", 0)) for name in _NUMBERS}


def as_text(found: list[dict[str, Any]]) -> list[str]:
    """The lines for a person about what servers() has found."""
    lines = []
    for server in found:
        age = _duration(time.time() - server["started"])
        lines.append(f"torc-server {server['version']} runs at {server['url']}: process {server['pid']}, for {age}")
        lines.append(f"  it {_said(server['answers'])}; its database {_said(server['ready'])}")
        lines.append(
            f"  {server['workers']} workers, {server['connections']} connections, {server['streams']} event streams, "
            f"{server['threads_busy']} of {server['threads']} threads busy, {server['requests_queued']} requests wait "
            f"for a thread, {server['requests_parked']} for a lock"
        )
        lines.append(f"  database: {server['database']}")
        changed = changed_settings(server)
        lines += [f"  setting {name} = {json.dumps(value)}" for name, value in changed.items() if value is not None]
    return lines


def _said(trouble):
    return "answers" if trouble is None else f"does not answer ({trouble})"


def _duration(seconds):
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
