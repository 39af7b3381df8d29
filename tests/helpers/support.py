"""What tests share: clients with one interface for the application in memory and for a real server, and that server."""

import base64
import http.client
import json as jsonlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import forked
import webtest
from contract import check_answer

PREFIX = "/torc-service/v1"
BINARIES = Path(sys.executable).parent
_ABSENT = object()
# For tests only: what a crash of the machine would lose is lost anyhow, and no plan may need that tables are analyzed.
POSTGRES_SETTINGS = {
    "max_connections": "400", "fsync": "off", "full_page_writes": "off", "autovacuum": "off", "track_functions": "all",
}  # fmt: skip


@dataclass(frozen=True)
class Response:
    """An answer: status code, headers by lower-case name, text."""

    status_code: int
    headers: dict
    text: str

    @property
    def json(self):
        return jsonlib.loads(self.text)


class Client:
    """`client.post("/jobs", json={…}, status=422).json`: sends below /torc-service/v1, checks the status (200) and that
    the answer is what the contract declares.

    status=None accepts any; params become the query string (lists: repeated keys; true and false as JSON writes them);
    body sends raw text or bytes instead of json; user=("name", "password") sends Basic credentials; prefix="" leaves
    the path as it is.
    """

    def get(self, path, **arguments):
        return self.request("GET", path, **arguments)

    def post(self, path, **arguments):
        return self.request("POST", path, **arguments)

    def put(self, path, **arguments):
        return self.request("PUT", path, **arguments)

    def patch(self, path, **arguments):
        return self.request("PATCH", path, **arguments)

    def delete(self, path, **arguments):
        return self.request("DELETE", path, **arguments)

    def request(
        self, method, path, json=_ABSENT, params=None, body=b"", headers=None, status=200, user=None, prefix=PREFIX
    ):
        headers = dict(headers or {})
        if user:
            headers["Authorization"] = basic(*user)
        if json is not _ABSENT:
            body = jsonlib.dumps(json)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        if params:
            path += "?" + urlencode({k: _query_value(v) for k, v in params.items()}, doseq=True)
        response = self._send(method, prefix + path, body, headers)
        self._check(method, prefix + path, response)
        if status is not None and response.status_code != status:
            raise AssertionError(f"{method} {path}: {response.status_code}, not {status}: {response.text[:2000]}")
        return response

    def _check(self, method, target, response):
        check_answer(method, target, response)


def basic(name, password):
    """The Authorization header of a user."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _query_value(value):
    if isinstance(value, list | tuple):
        return [_query_value(v) for v in value]
    return str(value).lower() if isinstance(value, bool) else value


class MemoryClient(Client):
    """Calls the Flask application directly."""

    def __init__(self, app):
        self.app = app
        self._app = webtest.TestApp(app)

    def _send(self, method, target, body, headers):
        got = self._app.request(target, method=method, body=body, headers=headers, status="*", expect_errors=True)
        return Response(got.status_code, {k.lower(): v for k, v in got.headers.items()}, got.body.decode())


class _Kept:
    """A connection that is closed with the thread, or the client, that keeps it."""

    def __init__(self, connection):
        self.connection = connection
        self.used = time.monotonic()

    def __del__(self):
        self.connection.close()


class HttpClient(Client):
    """Talks to a real server; each thread keeps a separate connection. A connection error is raised as OSError.

    idle: seconds for which a connection is kept without a request. The server closes it after 75 s; one that stops or
    reloads does so after 2 s, as clients must expect.
    """

    def __init__(self, url, timeout=60, idle=15):
        self._address = urlsplit(url)
        self._timeout = timeout
        self._idle = idle
        self._local = threading.local()

    def _send(self, method, target, body, headers):
        connection = self._connection()
        try:
            connection.request(method, target, body=body, headers=headers)
            got = connection.getresponse()
            return Response(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(f"{method} {target}: {error!r}") from error

    def _connection(self):
        kept = getattr(self._local, "kept", None)
        if kept is None or time.monotonic() - kept.used > self._idle:
            kept = self._local.kept = _Kept(self._new_connection())
        kept.used = time.monotonic()
        return kept.connection

    def _new_connection(self):
        return http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=self._timeout)

    def close(self):
        """Close the connection of this thread."""
        if kept := getattr(self._local, "kept", None):
            self._local.kept = None
            kept.connection.close()


class Server:
    """A `torc-server run` of its own: .url, .port, .client, .process, .log (a Path), .data_dir, .database_url."""

    def __init__(self, folder, program=None, environment=None, inside=(), **options):
        """options: port=0, workers=2, require_auth=True become --port=0 --workers=2 --require-auth and so on.

        program: a file to execute instead of forking a process that has imported ours (see forked).

        inside: a command in front of the program that executes it, as in ip netns exec NAME.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "stderr"
        self._out = folder / "stdout"
        options = {"port": 0, "workers": 2, "threads": 4, **options}
        if "database_url" not in options:
            options.setdefault("data_dir", folder / "data")
        self._count = int(options["workers"])
        self.data_dir = options.get("data_dir")
        self.database_url = options.get("database_url")
        flags = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        arguments = [flag if value is True else f"{flag}={value}" for flag, value in flags.items()]
        with open(self._out, "ab") as out, open(self.log, "ab") as log:
            self._start_of_out = out.tell()
            self._told = set()  # signals that were sent
            self.process = self._start(program, inside, ["run", *arguments], folder, environment, out, log)
        self._host = options.get("host", "127.0.0.1")
        self.port = None
        self.url = None
        self.client = None

    @staticmethod
    def _start(program, inside, arguments, folder, environment, out, log):
        environment = clean_environment(folder, environment)
        if program is None and not inside:
            with open(os.devnull) as null:
                return forked.Process(arguments, folder, environment, null, out, log)
        # A thread's end would count as the parent's.
        dying = forked.die_with_parent if threading.current_thread() is threading.main_thread() else None
        return subprocess.Popen(
            [*inside, str(program or BINARIES / "torc-server"), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
            preexec_fn=dying,
        )

    def wait_until_it_listens(self, timeout=60):
        """Wait until it has said its port and has forked its workers: all that it writes at its start is there then."""
        end = time.monotonic() + timeout
        while not (self.out().endswith("\n") and len(self.workers()) == self._count):
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log.read_text()}")
            if time.monotonic() > end:
                raise AssertionError(f"the server did not listen in {timeout} s:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.port = int(self.out().removeprefix("TORC_SERVER_PORT="))
        self.url = f"http://{self._host}:{self.port}"
        self.client = HttpClient(self.url)
        return self

    def out(self):
        return self._out.read_text()[self._start_of_out :]

    def workers(self):
        """The pids of the worker processes."""
        list_of_kernel = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        before, children = None, _read(list_of_kernel)
        while children != before:  # it may leave some out while others end
            before, children = children, _read(list_of_kernel)
        return [int(pid) for pid in children.decode().split() if b"torc-server" in _command_line(pid)]

    def wait_for_workers(self, count, without=()):
        """Wait until there are that many, and none of them `without`. These are asked for before the others are
        counted: a killed process may still be there for a moment, and would be counted too."""
        end = time.monotonic() + 60
        while any(map(_command_line, without)) or len(self.workers()) != count:
            if time.monotonic() > end:
                log = self.log.read_text()[-5000:]
                raise AssertionError(f"not {count} workers without {list(without)} but {self.workers()}:\n{log}")
            time.sleep(0.02)

    def tell_to_stop(self, how=signal.SIGTERM):
        """Send the signal, once, if it runs."""
        if self.client:
            self.client.close()
        if self.process.poll() is None and how not in self._told:
            self._told.add(how)
            self.process.send_signal(how)

    def stop(self, how=signal.SIGTERM, timeout=40):
        """Send the signal, wait for the end, check that nothing listens any more; return the exit code."""
        self.tell_to_stop(how)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if self._told and self.port and listens(self.port):  # a port that was free for long may be another server's
            raise AssertionError(f"something still listens on port {self.port}")
        return code


def _command_line(pid):
    return _read(f"/proc/{pid}/cmdline")


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError:  # the process has just ended
        return b""


def raw_request(method, path, body=None, headers=""):
    """The bytes of a request with JSON, for a socket; headers: further lines, each with its end."""
    data = jsonlib.dumps(body) if body else ""
    return (
        f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n{data}"
    ).encode()


def listens(port):
    """Whether a connection to 127.0.0.1:port is accepted."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def clean_environment(home, more=None):
    """The environment without settings of anybody's server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TORC_", "PG", "PYTHON")) and k != "DATABASE_URL"}
    return {**kept, "HOME": str(home), **(more or {})}


def torc_server(folder, *arguments, code=0, environment=None, input=""):
    """Run `torc-server …` in a folder; return the subprocess.CompletedProcess, whose exit code must be `code`."""
    result = forked.run(arguments, folder, clean_environment(folder, environment), input)
    assert result.returncode == code, result.stderr
    return result


def wait_for(condition, timeout=30, what="the condition"):
    """Call until it returns something true, and return that."""
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.02)
    return result
