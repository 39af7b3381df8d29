"""Two PostgreSQL clusters, one the standby of the other: the server follows the one that takes changes."""

import os
import signal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support import wait_for
from test_crash import Drain

from torc_server import embedded

pytestmark = pytest.mark.long


class Cluster:
    """A PostgreSQL in a data folder: the first primary, or a copy of another cluster that follows it."""

    def __init__(self, state, follows=None):
        self.state = state
        self.data = state / "data"
        if follows:
            state.mkdir()
            self._copy(follows)
        self.start()

    def start(self):
        embedded.start(self.state, tie=True)

    def _copy(self, primary):
        uid, gid = embedded._account(primary.data)
        os.chown(self.state, uid, gid)
        command = [embedded._binaries(primary.state, uid, gid) / "pg_basebackup", "-h", primary.host(), "-U", "torc"]
        result = embedded._run([*command, "-D", self.data, "-R", "-X", "stream", "-c", "fast"], uid, gid)
        assert result.returncode == 0, result.stderr

    def host(self):
        return str(embedded._socket_folder(self.state))

    def sql(self, statement):
        with psycopg.connect(embedded.conninfo(self.state), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else None

    def wait_for_standby(self):
        """From now on a commit is answered when the standby has it."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        wait_for(lambda: self.sql(state) == [("sync",)], timeout=30, what="the standby")

    def promote(self):
        self.sql("SELECT pg_promote()")
        self.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.sql("SELECT pg_reload_conf()")

    def follow(self, primary):
        """Start, after a clean stop, as the standby of another."""
        owner = self.data.stat()
        signal_file = self.data / "standby.signal"
        signal_file.touch(0o600)
        os.chown(signal_file, owner.st_uid, owner.st_gid)
        with open(self.data / "postgresql.auto.conf", "a") as settings:
            settings.write(f"primary_conninfo = 'host={primary.host()} user=torc'\n")
        self.start()

    def kill(self):
        """kill -9 of all of it."""
        pid = embedded._postmaster(self.data)
        os.killpg(pid, signal.SIGKILL)
        wait_for(self._is_dead, what="the end of PostgreSQL")

    def _is_dead(self):
        lock = embedded._lock_of_server(self.state)
        if lock is not None:
            os.close(lock)
        return lock is not None

    def stop(self):
        embedded.stop(self.state)


@pytest.fixture
def clusters(folder):
    """(primary, its standby); each commit waits for the standby."""
    primary = Cluster(folder / "a")
    standby = Cluster(folder / "b", follows=primary)
    primary.wait_for_standby()
    yield primary, standby
    primary.stop()
    standby.stop()


def url(*clusters):
    hosts = ",".join(cluster.host() for cluster in clusters)
    return make_conninfo("", host=hosts, user="torc", dbname="torc", target_session_attrs="read-write")


def test_a_drain_goes_on_after_a_failover_and_nothing_that_was_answered_is_lost(clusters, start_server):
    primary, standby = clusters
    server = start_server(database_url=url(primary, standby))
    drain = Drain(server.client, primary.state)
    with drain.running():
        drain.wait_until_done(0.3)
        primary.kill()
        standby.promote()
    drain.data_dir = standby.state
    drain.check()


def test_a_drain_goes_on_after_a_switch_there_and_back(clusters, start_server):
    a, b = clusters
    server = start_server(database_url=url(a, b))
    drain = Drain(server.client, a.state)
    with drain.running():
        drain.wait_until_done(0.3)
        a.stop()
        b.promote()
        drain.wait_until_done(0.5)
        a.follow(b)
        b.wait_for_standby()
        drain.wait_until_done(0.7)
        b.stop()
        a.promote()
    drain.check()
    assert server.client.get("/readyz", prefix="").json == {"status": "ok"}


def test_a_server_on_a_standby_alone_is_alive_and_not_ready_until_that_is_promoted(clusters, start_server):
    primary, standby = clusters
    server = start_server(database_url=url(primary, standby))
    workflow = {"name": "w", "user": "u"}
    kept = server.client.post("/workflows", json=workflow).json["id"]
    primary.kill()
    error = server.client.post("/workflows", json=workflow, status=503).json["error"]
    assert "connection" in error["message"]
    server.client.get("/readyz", prefix="", status=503)
    server.client.get("/healthz", prefix="")
    standby.promote()
    ready = wait_for(lambda: server.client.get("/readyz", prefix="", status=None).status_code == 200, timeout=30)
    assert ready
    assert server.client.get(f"/workflows/{kept}").json["name"] == "w"
    server.client.post("/workflows", json=workflow)
