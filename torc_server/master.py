"""gunicorn's master process as a service: it tells systemd how it is, and a reload (SIGHUP) executes it again.

A reload starts the same command line in the same process: settings files, certificates, packages and code are read as
at a start, while the workers serve. The listening sockets stay open; the process id and an embedded PostgreSQL stay
the same. Once the new workers run, those of before finish their requests and end. What would fail is found before, by
`torc-server run --check` with the same arguments: then nothing changes.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.systemd import sd_notify

from torc_server import __version__, listening
from torc_server.metrics import FOLDER
from torc_server.settings import RESTART_ONLY, Settings
from torc_server.worker import STOP_SIGNALS

log = logging.getLogger("torc_server")

STATE = "TORC_RELOAD_STATE"  # the descriptor of what one program tells the next one; no setting
CHECK_SECS = 30
SIGNALS_THAT_WAIT = (signal.SIGHUP, *STOP_SIGNALS)  # until the next program can handle them


class FormerWorker:
    """A worker that was forked before the reload, as gunicorn's bookkeeping needs it: it is told to stop, awaited, and
    killed when it takes too long."""

    aborted = False

    def __init__(self, pid: int, slot: int, age: int, killed_at: float):
        self.pid = pid
        self.slot = slot  # in the metrics
        self.age = age
        self.tmp = self
        self._killed_at = killed_at

    def last_update(self) -> float:
        return self._killed_at

    def close(self) -> None:
        pass


class Master(Arbiter):
    """The arbiter of a Server; `former`: {process id: slot} of the workers from before a reload."""

    def __init__(self, app: Any, former: dict[str, int], says_what_is_open: dict[str, Any]):
        super().__init__(app)
        self._former = former
        self._state = says_what_is_open
        self._is_told_to_stop = False

    def signal(self, sig: int, frame: Any) -> None:
        self._is_told_to_stop |= sig in STOP_SIGNALS
        super().signal(sig, frame)

    def start(self) -> None:
        super().start()
        self.systemd = self._state["passed"]  # then it is systemd's to remove a socket file
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_THAT_WAIT)
        latest = time.monotonic() + self.cfg.graceful_timeout + 10 - self.timeout
        for age, (pid, slot) in enumerate(self._former.items(), -1000):
            self.WORKERS[int(pid)] = FormerWorker(int(pid), slot, age, latest)
        for _ in self._former and range(self.num_workers):
            self.spawn_worker()

    def spawn_worker(self) -> int:
        """gunicorn's; but a signal that comes before the new worker can handle it waits until then, see
        Worker.init_signals(). It would be lost, and the server would take its graceful timeout to stop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def murder_workers(self) -> None:
        super().murder_workers()
        notify("WATCHDOG=1")

    def stop(self, graceful: bool = True) -> None:
        notify("STOPPING=1")
        super().stop(graceful)

    def reload(self) -> None:
        """Become the same program again; stay what it is if that would fail."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        problem = find_problem()
        if problem:
            log.error("not reloaded, everything stays as it is: %s", problem)
            notify("READY=1")
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_THAT_WAIT)  # the default would end the program that starts
        if self._is_told_to_stop:  # gunicorn has queued that; the next program would not know of it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_THAT_WAIT)
            return
        listening.pass_on([each.fileno() for each in self.LISTENERS])
        state = os.memfd_create("torc-server reload", 0)
        workers = {pid: worker.slot for pid, worker in self.WORKERS.items()}
        os.write(state, json.dumps({**self._state, "workers": workers}).encode())
        os.environ[STATE] = str(state)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def find_problem() -> str | None:
    """What would keep this program from starting again: one line, None if there is nothing."""
    command = [sys.executable, *sys.orig_argv[1:], *(["run"] if len(sys.argv) == 1 else []), "--check"]
    apart = {name: value for name, value in os.environ.items() if name != FOLDER}  # it would leave files among ours
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CHECK_SECS, stdin=subprocess.DEVNULL,
            env=apart,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[-1]}: {error}"
    lines = tried.stderr.strip().splitlines() or [f"it ended with {tried.returncode}"]
    return lines[-1].removeprefix("torc-server: ") if tried.returncode else None


def former_state() -> dict[str, Any] | None:
    """What the program of before the reload left for this one, None at a start."""
    if STATE not in os.environ:
        return None
    with open(int(os.environ.pop(STATE)), "rb") as file:
        file.seek(0)
        return json.load(file)


def current_state(settings: Settings, passed: bool) -> dict[str, Any]:
    """What the next program is to know: settings, version, and digests of the files that are read at a start."""
    files = {"certificates": [settings.tls_cert, settings.tls_key], "code": _code()}
    return {
        "settings": {name: _plain(value) for name, value in vars(settings).items()},
        "version": __version__,
        "passed": passed,
        **{name: _digest(filter(None, paths)) for name, paths in files.items()},
    }


def describe_changes(old: dict[str, Any], new: dict[str, Any], wanted: Settings) -> str:
    """One line: what a reload changed from state `old` to `new`, and what of the `wanted` settings needs a restart."""
    changed = sorted(name for name, value in new["settings"].items() if old["settings"].get(name, value) != value)
    changed += [name for name in ("certificates", "code") if old[name] != new[name]]
    if old["version"] != new["version"]:
        changed.append(f"version {old['version']} to {new['version']}")
    waits = [name for name in RESTART_ONLY if _plain(getattr(wanted, name)) != new["settings"][name]]
    told = f"Reloaded; changed: {', '.join(changed) or 'nothing'}"
    return f"{told}; needs a restart: {', '.join(waits)}" if waits else told


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing without it."""
    sd_notify(state, log)


def _plain(value):
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _code():
    package = Path(__file__).parent
    return [*sorted(package.rglob("*.py")), *sorted(package.rglob("*.sql"))]


def _digest(paths):
    found = hashlib.sha256()
    for path in paths:
        found.update(Path(path).read_bytes())
    return found.hexdigest()
