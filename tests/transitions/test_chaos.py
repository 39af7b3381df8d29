"""Everything fails at once for a minute, while runners work: what was answered is stored, and nothing is done twice."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import psycopg
import pytest
from fleet import Fleet
from nginx import NGINX, Nginx, free_port
from support import Server, listens, wait_for

from torc_server import embedded
from torc_server.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.skipif(not NGINX, reason="there is no nginx")]
SECONDS = int(os.environ.get("TORC_TEST_CHAOS_SECONDS", 60))
POSTGRES = {"max_connections": "200"}
LOG_SIZE = "300k"


@pytest.fixture
def log_folder(folder):
    """A folder for logs; for root a small file system."""
    path = folder / "log"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LOG_SIZE}", "none", path], capture_output=True)
    yield path
    if not mounted.returncode:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def postgres(folder):
    """The data folder of a PostgreSQL that keeps what it answered (fsync is on)."""
    state = folder / "postgres"
    embedded.start(state, POSTGRES, tie=True)
    yield state
    embedded.stop(state)


class Servers:
    """Two servers with one database, on ports that stay the same."""

    def __init__(self, folder, database_url, log_folder):
        self._folder, self._processes = folder, {}
        options = {"database_url": database_url, "workers": 2, "threads": 2}
        self._options = {free_port(): options | {"log_dir": log_folder}, free_port(): options}
        self.addresses = [f"127.0.0.1:{port}" for port in self._options]
        for port in self._options:
            self._start(port)

    def _start(self, port):
        self._processes[port] = Server(self._folder / str(port), port=port, **self._options[port])
        return self._processes[port].wait_until_it_listens()

    def kill_a_worker(self):
        server = random.choice(list(self._processes.values()))
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the server is just being killed
            for pid in server.workers()[:1]:
                os.kill(pid, signal.SIGKILL)

    def kill_one(self):
        """kill -9 of a whole server, and a new one on its port."""
        port, server = random.choice(list(self._processes.items()))
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        wait_for(lambda: not listens(port), what="the end of the server")
        self._start(port)

    def stop(self):
        with contextlib.ExitStack() as stack:
            for server in self._processes.values():
                stack.callback(server.stop)

    def logs(self):
        return "\n".join(server.log.read_text() for server in self._processes.values())


def end_a_backend(postgres):
    """Terminate one connection of the servers."""
    with contextlib.suppress(psycopg.OperationalError):  # PostgreSQL is restarted just now
        connection = psycopg.connect(embedded.conninfo(postgres), autocommit=True)
        with connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND datname = 'torc' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
            )


def fill(folder):
    """Write a file until a small file system is full; the next time make room again."""
    file = folder / "full"
    if file.exists():
        file.unlink()
    elif folder.is_mount():
        with contextlib.suppress(OSError), open(file, "wb", buffering=0) as filled:
            while filled.write(b"x" * 1024):
                pass
        assert shutil.disk_usage(folder).free < 4096


class Chaos:
    """`with Chaos(name=(seconds, function, *arguments), …)`: threads that call it every so many seconds, until the end
    of the block; .counts: how often."""

    def __init__(self, **harms):
        self.counts = dict.fromkeys(harms, 0)
        self._failures = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=[name, *harm]) for name, harm in harms.items()]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._failures and exception[1] is None:
            raise self._failures[0]

    def _repeat(self, name, seconds, harm, *arguments):
        while not self._ended.wait(seconds):
            try:
                harm(*arguments)
                self.counts[name] += 1
            except BaseException as error:  # noqa: BLE001 (raised at the end of the block)
                self._failures.append(error)
                return


def go_on(fleet, seconds):
    """Wait; not for longer than the fleet works."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not fleet.failed():
        time.sleep(0.2)


def test_a_minute_of_failures_loses_nothing_and_runs_nothing_twice(folder, postgres, log_folder):
    servers = Servers(folder, embedded.conninfo(postgres), log_folder)
    with contextlib.ExitStack() as stack:
        stack.callback(servers.stop)
        nginx = stack.enter_context(Nginx(folder / "nginx", Settings(), upstreams=servers.addresses))
        with Fleet(nginx.url, folder / "fleet") as fleet:
            wait_for(lambda: fleet.stored() or fleet.failed(), 30, "the first result")
            chaos = Chaos(
                workers_killed=(1, servers.kill_a_worker),
                backends_ended=(0.2, end_a_backend, postgres),
                servers_killed=(SECONDS * 0.3, servers.kill_one),
                nginx_reloaded=(7, nginx.process.send_signal, signal.SIGHUP),
                log_folder_filled=(SECONDS / 8, fill, log_folder),
                runners_killed=(6, fleet.kill_a_runner),
            )
            with chaos:
                go_on(fleet, SECONDS / 2)
                embedded.stop(postgres)
                embedded.start(postgres, POSTGRES, tie=True)  # by the main thread, with which it ends
                go_on(fleet, SECONDS / 2)
            print(f"\n{chaos.counts}")
        print(
            f"{len(fleet.workflows)} workflows, {fleet.stored()} results, {fleet.lost_claims} lost claims, "
            f"{fleet.orphans} jobs left by {fleet.killed} killed runners, {fleet.troubles().total()} lost answers"
        )
        assert all(chaos.counts.values())
        with psycopg.connect(embedded.conninfo(postgres)) as connection:
            fleet.check(connection)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
