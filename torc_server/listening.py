"""The sockets on which the server listens: TCP, a unix socket, or those that it was started with.

Sockets are passed as systemd does it (sd_listen_fds(3)): descriptors from 3 on, LISTEN_FDS says how many, LISTEN_PID
for whom. A reload passes them to the next program in the same way, so they are never closed in between.
"""

import os
import shutil
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from torc_server.settings import NO_TCP, Settings, SettingsError

FIRST_PASSED = 3
BACKLOG = 2048


def listen(settings: Settings) -> tuple[list[socket.socket], bool]:
    """Return (listening sockets, whether they were passed to this process). They are bound before anything is started,
    so that a busy port is told at once. Raises SettingsError."""
    found = passed()
    if found:
        return found, True
    found = [] if settings.host == NO_TCP else [_listen_on_port(settings)]
    if settings.socket:
        found.append(_listen_on_file(settings))
    return found, False


def passed() -> list[socket.socket]:
    """The sockets that systemd, or this server before a reload, passed to this process; [] if there are none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    del os.environ["LISTEN_PID"]
    os.environ.pop("LISTEN_FDNAMES", None)
    found = [socket.socket(fileno=number) for number in range(FIRST_PASSED, FIRST_PASSED + count)]
    for each in found:
        each.set_inheritable(False)
        _answer_at_once(each)
    return found


def pass_on(descriptors: Iterable[int]) -> None:
    """Pass listening sockets to the program that this process is about to execute. Whatever had their new numbers is
    closed."""
    copies = [os.dup(number) for number in descriptors]  # their numbers may be among the new ones
    high = [os.dup2(number, FIRST_PASSED + len(copies) + max(copies) + i) for i, number in enumerate(copies)]
    for i, number in enumerate(high):
        os.dup2(number, FIRST_PASSED + i, inheritable=True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
    for number in high:
        os.set_inheritable(number, False)


def port(listeners: list[socket.socket]) -> int | None:
    """The TCP port of the first socket that has one, None if none has."""
    return next((each.getsockname()[1] for each in listeners if each.family != socket.AF_UNIX), None)


def remove(listeners: list[socket.socket]) -> None:
    """Close sockets that never came to serve, and remove their files."""
    for each in listeners:
        path = each.getsockname() if each.family == socket.AF_UNIX else None
        each.close()
        if path:
            Path(path).unlink(missing_ok=True)


def _listen_on_port(settings):
    address = (settings.host, settings.port)
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda f: f[0] != socket.AF_INET)  # localhost: 127.0.0.1 before ::1
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}, port {settings.port}"
        raise SettingsError(f"cannot listen on {where}: {error.strerror}; choose others with --host, --port") from error
    _answer_at_once(listener)
    return listener


def _answer_at_once(listener):
    if listener.family != socket.AF_UNIX:
        # Connections inherit it when they are made. Those made while we still start would take 40 ms more for each
        # answer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _listen_on_file(settings):
    path = settings.socket
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        mask = os.umask(0o777)  # nobody can connect before mode and group are set
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        if settings.socket_group:
            group = settings.socket_group
            shutil.chown(path, group=int(group) if group.isdigit() else group)
        path.chmod(int(settings.socket_mode, 8))
        listener.listen(BACKLOG)
    except (OSError, LookupError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot listen on the unix socket {path}: {reason}") from error
    return listener


def _remove_stale(path):
    """Remove the file that a killed server left; refuse to take it from one that listens."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SettingsError(f"cannot listen on the unix socket {path}: it is a file of another kind")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SettingsError(f"cannot listen on the unix socket {path}: a server listens on it")
