"""Two PostgreSQL clusters, one the standby of the other: the server follows the one that takes changes."""

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass

import psycopg
import pytest
from fleet import Fleet
from nginx import NGINX, Nginx
from psycopg.conninfo import make_conninfo
from support import wait_for
from test_crash import Drain
from together import outcomes_of

from torc_server import embedded
from torc_server.database import Database
from torc_server.errors import Later
from torc_server.settings import Settings

pytestmark = pytest.mark.long


class Cluster:
    """A PostgreSQL in a data folder: the first primary, or a copy of another cluster that follows it. It listens on a
    socket in the folder, and on an address if it is given one."""

    def __init__(self, state, follows=None, address=""):
        self.state = state
        self.data = state / "data"
        self.address = address
        if follows:
            state.mkdir()
            self._copy(follows)
        self.start()
        if address and not follows:
            self._admit_other_hosts()

    def start(self):
        embedded.start(self.state, {"listen_addresses": self.address}, tie=True)

    def _admit_other_hosts(self):
        with open(self.data / "pg_hba.conf", "r+") as rules:
            first = "host all,replication torc 0.0.0.0/0 trust\n" + rules.read()
            rules.seek(0)
            rules.write(first)
        self.sql("SELECT pg_reload_conf()")

    def _copy(self, primary):
        uid, gid = embedded._account(primary.data)
        os.chown(self.state, uid, gid)
        command = [embedded._binaries(primary.state, uid, gid) / "pg_basebackup", "-h", primary.host(), "-U", "torc"]
        result = embedded._run([*command, "-D", self.data, "-R", "-X", "stream", "-c", "fast"], uid, gid)
        assert result.returncode == 0, result.stderr

    def host(self):
        return self.address or str(embedded._socket_folder(self.state))

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


def test_of_statements_that_are_sent_together_to_a_standby_reads_succeed_and_changes_are_left_to_their_calls(clusters):
    database = Database(embedded.conninfo(clusters[1].state))
    read, change = "SELECT %(number)s::int", "SELECT pg_current_xact_id()::text || %(number)s::int"
    statements = [(change, {"number": 1}, True), (read, {"number": 2}, False), (change, {"number": 3}, True)]
    assert [type(each) for each in outcomes_of(database, *statements)] == [Later, int, Later]
    database.close()


# Several hosts


@dataclass
class Host:
    """A host of servers: its address, the one by which it reaches others, and the command that runs a program on it."""

    address: str
    gateway: str
    inside: tuple = ()
    namespace: str = ""

    def cut(self):
        """No packet comes or goes."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")

    def connect(self):
        _ip("-n", self.namespace, "link", "set", "eth0", "up")
        _ip("-n", self.namespace, "route", "add", "default", "via", self.gateway)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@pytest.fixture
def hosts():
    """Two hosts in network namespaces, each with a cable to this one."""
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("needs root and ip")
    network, made = f"10.{100 + os.getpid() % 100}", []
    with contextlib.ExitStack() as stack:
        for number in (1, 2):
            namespace, cable = f"torc-{os.getpid()}-{number}", f"torc{os.getpid()}{number}"[-15:]
            address, gateway = f"{network}.{number}.2", f"{network}.{number}.1"
            try:
                _ip("netns", "add", namespace)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces: {error.stderr.decode().strip()}")
            stack.callback(_ip, "netns", "delete", namespace)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("address", "add", f"{gateway}/24", "dev", cable)
            _ip("link", "set", cable, "up")
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "lo", "up")
            made.append(Host(address, gateway, ("ip", "netns", "exec", namespace), namespace))
            made[-1].connect()
        yield made


@pytest.mark.skipif(not NGINX, reason="there is no nginx")
def test_two_hosts_work_on_one_database_and_go_on_without_one_of_them_and_after_a_failover(hosts, folder, start_server):
    with contextlib.ExitStack() as stack:
        primary = Cluster(folder / "a", address=hosts[0].gateway)
        stack.callback(primary.stop)
        standby = Cluster(folder / "b", follows=primary, address=hosts[1].gateway)
        stack.callback(standby.stop)
        primary.wait_for_standby()
        servers = [
            start_server(
                inside=host.inside, host=host.address, database_url=url(primary, standby), trusted_proxy=host.gateway
            )
            for host in hosts
        ]
        upstreams = [f"{host.address}:{server.port}" for host, server in zip(hosts, servers, strict=True)]
        nginx = stack.enter_context(Nginx(folder / "nginx", Settings(), upstreams=upstreams))
        with Fleet(nginx.url, folder / "fleet") as fleet:
            wait_for_more(fleet)
            served = (nginx.folder / "access.log").read_text()
            assert all(f" {upstream} 200 " in served for upstream in upstreams)
            hosts[0].cut()
            wait_for_more(fleet)
            hosts[0].connect()
            wait_for_more(fleet)
            primary.kill()
            standby.promote()
            wait_for_more(fleet)
        print(f"\n{fleet.stored()} results, {fleet.lost_claims} lost claims, {fleet.troubles().total()} lost answers")
        with psycopg.connect(embedded.conninfo(standby.state)) as connection:
            fleet.check(connection)
        for server in servers:
            assert server.client.get("/readyz", prefix="").json == {"status": "ok"}


def wait_for_more(fleet, count=200):
    wanted = fleet.stored() + count
    wait_for(lambda: fleet.stored() >= wanted or fleet.failed(), 240, "results")
