"""Going on in the background (--daemon), and the file that holds the process id (--pid-file)."""

import contextlib
import fcntl
import functools
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

from torc_server.settings import SettingsError

DEFAULT_PID_FILE = Path("/var/run/torc-server.pid")
UMASK = 0o027


def go_to_background() -> Callable[[], None]:
    """Return in a process with its own session, and with ready(), which is to be called once the server listens.

    The process that was started waits for that, so that what goes wrong is told on its stderr; its exit code is 0 then,
    and 1 if the server ended before. From ready() on the terminal is not used any more.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writing)
        with open(reading, "rb") as pipe:
            sys.exit(0 if pipe.read() else 1)
    os.setsid()
    if os.fork():
        sys.exit(0)
    os.close(reading)
    os.umask(UMASK)
    return functools.partial(_leave_terminal, writing)


def _leave_terminal(writing):
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.write(writing, b"ready")
    os.close(writing)


@contextlib.contextmanager
def pid_file(path: Path | None) -> Generator[None]:
    """Hold a file with our process id, or none if path is None. Raises SettingsError: another server holds it, or it
    cannot be written."""
    if path is None:
        yield
        return
    path = Path(path).expanduser().absolute()
    try:
        file = open(path, "a+")  # open as long as the server runs
    except OSError as error:
        message = f"cannot write the PID file {path}: {error.strerror}; choose another with --pid-file"
        raise SettingsError(message) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a POSIX lock: forked workers do not inherit it
        except OSError as error:
            file.seek(0)
            message = f"a server with the PID file {path} is running: process {file.read().strip()}"
            raise SettingsError(message) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        master = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == master:  # a forked worker leaves through here too
                path.unlink(missing_ok=True)
