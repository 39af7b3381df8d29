"""The folder of a running server: the metrics of its processes, and what `torc-server status` tells about it.

It is in memory where there is /dev/shm. A server that is killed leaves it behind; the next one of the same user removes
it. Whether a server lives is asked of the kernel: it and its workers hold a lock on a file in the folder.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

PREFIX = "torc-server-"
_STATE = "server.json"
_LOCK = "lock"


@contextlib.contextmanager
def folder(existing: str | None = None) -> Generator[Path]:
    """Make the folder of this server, and remove it at the end. Gives its Path. existing: the one from before a reload,
    which its workers share with the new ones."""
    for path in _folders():
        if not _is_held(path):
            shutil.rmtree(path, ignore_errors=True)
    path = Path(existing or tempfile.mkdtemp(prefix=f".{PREFIX}{os.getpid()}-", dir=_parent()))
    master = os.getpid()
    with open(path / _LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not existing:  # only now may another server that starts see it: it removes what is not locked
            path = path.rename(path.with_name(path.name.removeprefix(".")))
        try:
            yield path
        finally:
            if os.getpid() == master:  # a forked worker leaves through here too
                shutil.rmtree(path, ignore_errors=True)


def write(path: Path, state: dict[str, Any]) -> None:
    """Say in the folder `path` what `status` tells about the server."""
    new = path / f".{_STATE}"
    new.write_text(json.dumps(state))
    new.replace(path / _STATE)


def running() -> list[tuple[Path, dict[str, Any]]]:
    """The servers of this user (of root: of all users) on this machine: list of (folder, what was written about it)."""
    found = []
    for path in _folders():
        with contextlib.suppress(OSError, ValueError):  # it has just ended, or does not listen yet
            if _is_held(path):
                found.append((path, json.loads((path / _STATE).read_text())))
    return sorted(found, key=lambda each: each[1]["started"])


def _parent():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else tempfile.gettempdir()


def _folders():
    found = []
    for path in Path(_parent()).glob(f"{PREFIX}*-*"):
        with contextlib.suppress(OSError):
            if os.geteuid() in (0, path.lstat().st_uid) and path.is_dir() and not path.is_symlink():
                found.append(path)
    return found


def _is_held(path):
    try:
        with open(path / _LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held; or there is no such file yet, or any more
        return True
    return False
