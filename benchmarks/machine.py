"""What the machine says of a server: CPU and memory by kind of process, the cores that it may use, versions."""

import contextlib
import os
import platform
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """The processes behind a URL, if it is on this machine and we may see them: those that listen on its port, and the
    PostgreSQL that they have started, or that of the given postmaster's pid."""

    def __init__(self, url, postmaster=None):
        address = urlsplit(url)
        is_here = address.hostname in ("127.0.0.1", "localhost", "::1")
        self._inodes = _listening(address.port or 80) if is_here else set()
        self._postmaster = postmaster
        self._server, self._found = set(), float("-inf")

    def pids(self):
        """{"server": pids, "postgres": pids}. Those that listen are found every 10 s: to read which sockets all
        processes have open takes a while."""
        if time.monotonic() - self._found > 10:
            self._found = time.monotonic()
            self._server = {pid for pid in _pids() if self._inodes & _sockets(pid)}
        below = _descendants(self._server | {self._postmaster})
        postgres = {pid for pid in below if _name(pid) == "postgres"}
        return {"server": self._server - postgres, "postgres": postgres}

    def cpu(self):
        """{kind: seconds of CPU so far}; see used()."""
        mine = os.times()
        driver = mine.user + mine.system + mine.children_user + mine.children_system
        return {kind: sum(map(_cpu, pids)) for kind, pids in self.pids().items()} | {"driver": driver}

    def memory(self):
        """MB by kind of process; what is shared counts once (PSS). Empty if the processes are not to be seen."""
        found = {kind: sum(map(_memory, pids)) / 1e6 for kind, pids in self.pids().items()}
        return {kind: round(megabytes, 1) for kind, megabytes in found.items() if megabytes}

    def pin(self, cores):
        """Let the server and its PostgreSQL use these cores only. Raises OSError, or LookupError without processes."""
        pids = self.pids()
        if not pids["server"]:
            raise LookupError("the processes of the server are not to be seen")
        for pid in pids["server"] | pids["postgres"]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), cores)


def used(before, after, count):
    """Milliseconds of CPU between two cpu(), by kind of process, for each of `count` things."""
    return {kind: round(1000 * (seconds - before[kind]) / max(1, count), 3) for kind, seconds in after.items()}


def describe():
    """Processor, cores, memory, kernel and Python of this machine, and the commit."""
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in processors if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load": os.getloadavg()[0],
    }


def _pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _name(pid):
    return _read(pid, "comm").strip()


def _read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:  # it has ended, or is another user's
        return ""


def _cpu(pid):
    """Seconds of a process and of the children that it has seen end: backends that carried a long value are closed."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS if fields else 0


def _memory(pid):
    lines = _read(pid, "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _listening(port):
    """The inodes of the sockets that listen on a port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in _read("net", table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _descendants(pids):
    """These processes, and what they have started, and so on."""
    parents = {pid: int(stat.rpartition(")")[2].split()[1]) for pid in _pids() if (stat := _read(pid, "stat"))}
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {None}


def _sockets(pid):
    found = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            target = os.readlink(entry.path)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found
