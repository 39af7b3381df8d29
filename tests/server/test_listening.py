"""Where the server listens: TCP, a unix socket, or sockets that systemd made."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from support import BINARIES, HttpClient, Server, clean_environment, listens, wait_for
from unix import UnixClient

pytestmark = pytest.mark.slow


@pytest.fixture
def path(folder):
    return folder / "torc.sock"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_unix_socket_is_served_beside_the_port_with_the_mode_and_group_of_the_settings_and_removed_at_the_end(
    start_server, database_url, path
):
    server = start_server(database_url=database_url, socket=path, socket_mode="0666", socket_group=os.getgid())
    assert UnixClient(path).get("/ping").json == server.client.get("/ping").json == {"status": "ok"}
    assert mode(path) == 0o666
    assert path.stat().st_gid == os.getgid()
    assert f"serves {server.url} and unix:{path}" in server.log.read_text()
    assert server.stop() == 0
    assert not path.exists()


def test_only_the_owner_and_the_group_may_open_the_socket_unless_told_otherwise(start_server, database_url, path):
    start_server(database_url=database_url, socket=path)
    assert mode(path) == 0o660


def test_host_none_opens_no_port(start_server, database_url, path):
    server = start_server(wait=False, database_url=database_url, socket=path, host="none")
    wait_for(lambda: f"serves unix:{path}" in server.log.read_text(), timeout=30, what="the server")
    UnixClient(path).get("/ping")
    connections = Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()
    listening = [line for line in connections if line.split()[3] == "0A"]
    folder = f"/proc/{server.process.pid}/fd"
    sockets = {os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}
    assert not [line for line in listening if f"socket:[{line.split()[9]}]" in sockets]


def test_the_socket_of_a_killed_server_is_taken_over_and_that_of_a_living_one_and_other_files_are_not(
    start_server, database_url, path
):
    first = start_server(database_url=database_url, socket=path)
    second = start_server(wait=False, database_url=database_url, socket=path)
    assert second.process.wait(30) == 1
    assert f"cannot listen on the unix socket {path}: a server listens on it" in second.log.read_text()
    UnixClient(path).get("/ping")
    workers = wait_for(first.workers)
    first.process.kill()
    first.process.wait()
    wait_for(lambda: not any(map(psutil.pid_exists, workers)), timeout=30, what="the end of the workers")
    assert path.exists()
    start_server(database_url=database_url, socket=path)
    UnixClient(path).get("/ping")
    file = path.with_name("a-file")
    file.write_text("kept")
    third = start_server(wait=False, database_url=database_url, socket=file)
    assert third.process.wait(30) == 1
    assert file.read_text() == "kept"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": "none"}, "--host none, which opens no port, needs a unix socket: --socket"),
        ({"socket": "x", "socket_mode": "rw"}, "--socket-mode: 'rw' is not a file mode such as 0660"),
        ({"socket": "x", "socket_group": "nobody-has-it"}, "cannot listen on the unix socket x:"),
        ({"socket": "/" + "x" * 108}, "is longer than the 107 bytes that Linux allows"),
        ({"socket": "/no/such/torc.sock"}, "cannot listen on the unix socket /no/such/torc.sock: No such"),
    ],
)
def test_a_socket_that_cannot_be_made_is_one_line(folder, database_url, options, reason):
    server = Server(folder, database_url=database_url, **options)
    assert server.process.wait(30) == 1
    lines = server.log.read_text().splitlines()
    assert len(lines) == 1
    assert reason in lines[0]


def test_on_the_socket_the_forwarded_address_is_believed_and_on_the_port_it_is_not(
    start_server, fresh_database_url, path, folder
):
    (folder / "htpasswd").write_text("alice:$2b$04$" + "." * 53 + "\n")
    server = start_server(database_url=fresh_database_url, socket=path, auth_file=folder / "htpasswd")
    for client in (UnixClient(path), HttpClient(server.url)):
        headers = {"X-Forwarded-For": "192.0.2.7"}
        client.get("/ping", user=("alice", "wrong"), headers=headers, status=401)
    found = re.findall(r"login failed: user 'alice' from (\S+)", server.log.read_text())
    assert found == ["192.0.2.7", "127.0.0.1"]


def test_a_socket_that_was_made_by_the_caller_is_served_and_its_file_is_left(folder, database_url, path):
    with socket.socket(socket.AF_UNIX) as listener, open(folder / "log", "wb") as log:
        listener.bind(str(path))
        listener.listen()
        command = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@" 3<&"$0"'
        torc = [BINARIES / "torc-server", "run", "--workers=1", f"--database-url={database_url}"]
        process = subprocess.Popen(
            ["bash", "-c", command, str(listener.fileno()), *torc],
            pass_fds=[listener.fileno()], env=clean_environment(folder), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            UnixClient(path).get("/ping")
        finally:
            process.terminate()
            assert process.wait(30) == 0
    assert path.exists()


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="there is no systemd-socket-activate")
def test_the_first_connection_starts_a_server_and_a_reload_keeps_the_socket(folder, database_url):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(folder, program=_activated(folder, port), database_url=database_url)
    try:
        wait_for(lambda: listens(port), what="systemd-socket-activate")
        client = HttpClient(f"http://127.0.0.1:{port}")
        client.get("/ping")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Reloaded; changed: nothing" in server.log.read_text(), timeout=30, what="the reload")
        client.close()
        client.get("/ping")
    finally:
        server.stop()


def _activated(folder, port):
    program = folder / "activated"
    program.write_text(
        f'#!/bin/sh\nexec systemd-socket-activate -l 127.0.0.1:{port} -E HOME "{BINARIES}/torc-server" "$@"\n'
    )
    program.chmod(0o755)
    return program
