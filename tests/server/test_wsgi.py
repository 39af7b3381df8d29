"""`gunicorn 'torc_server.wsgi:app'`: the application under any WSGI server, configured by the environment."""

import contextlib
import http.client
import json
import socket
import subprocess
import time

import pytest
from support import BINARIES, PREFIX, clean_environment

STREAM_SECONDS = 10


@pytest.fixture
def serve(folder, fresh_database_url):
    """serve("--threads=4", …) starts gunicorn with these arguments and returns its port."""
    processes = []

    def serve(*arguments, **environment):
        environment = clean_environment(folder, {"TORC_DATABASE_URL": fresh_database_url, **environment})
        with socket.create_server(("127.0.0.1", 0)) as listener, open(folder / "log", "wb") as log:
            port, number = listener.getsockname()[1], listener.fileno()
            command = [BINARIES / "gunicorn", f"--bind=fd://{number}", *arguments, "torc_server.wsgi:app"]
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, pass_fds=[number]
            )  # fmt: skip
        processes.append(process)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if is_served(port):
                return port
            time.sleep(0.1)
        raise AssertionError((folder / "log").read_text())

    yield serve
    for process in processes:
        process.terminate()
        process.wait(40)


def is_served(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def call(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, PREFIX + path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    return json.loads(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers=2"],
        ["--workers=2", "--threads=4", "--preload"],
        ["--workers=2", "--threads=4", "--worker-class=torc_server.worker.Worker", "--preload"],
    ],
    ids=["sync", "gthread", "ours"],
)
def test_the_application_runs_under_any_worker_class(serve, arguments):
    port = serve(*arguments)
    workflow = call(port, "POST", "/workflows", {"name": "w", "user": "u"})["id"]
    job = call(port, "POST", "/jobs", {"workflow_id": workflow, "name": "j", "command": "true"})["id"]
    call(port, "POST", f"/workflows/{workflow}/initialize_jobs")
    claimed = call(port, "POST", f"/workflows/{workflow}/claim_next_jobs?limit=1")["jobs"]
    assert [each["id"] for each in claimed] == [job]
    assert call(port, "GET", f"/jobs?workflow_id={workflow}")["total_count"] == 1


@pytest.mark.long
def test_an_event_stream_takes_a_thread_where_the_worker_class_is_not_ours(serve):
    port = serve("--workers=1", "--threads=4")
    workflow = call(port, "POST", "/workflows", {"name": "w", "user": "u"})["id"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STREAM_SECONDS)
    connection.request("GET", f"{PREFIX}/workflows/{workflow}/events/stream")
    answer = connection.getresponse()
    assert answer.readline() == b": listening\n"
    call(port, "PUT", f"/workflows/{workflow}/cancel")
    while not (line := answer.readline()).startswith(b"event: "):
        pass
    assert line == b"event: workflow_canceled\n"
    connection.close()


def test_settings_come_from_the_environment_and_wrong_ones_are_named(serve):
    with pytest.raises(AssertionError, match="require-auth needs a password file"):
        serve("--workers=1", TORC_REQUIRE_AUTH="true")
