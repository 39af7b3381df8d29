"""A server that is connected to the database is known there: no downgrade removes the schema under it."""

import os
import signal
import threading

import psycopg
import pytest
from support import wait_for

from torc_server import migrations
from torc_server.presence import Presence

SESSIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND starts_with(application_name, 'torc-server process')
"""
LOCKS = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %s::bigint::oid AND objid = %s::bigint::oid AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def downgrade(url):
    return migrations.migrate(url, to=migrations.status(url).latest - 1, lose_data=True)


def holders(url):
    """The sessions that hold the lock of a server."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {pid for (pid,) in connection.execute(LOCKS, migrations.SERVERS)}


def sessions(url):
    """The sessions in which servers show themselves."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {pid for (pid,) in connection.execute(SESSIONS)}


def cut(url):
    """End all sessions in which servers show themselves; return which."""
    ended = sessions(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [list(ended)])
    return ended


def test_a_downgrade_is_refused_while_a_server_is_connected_and_names_it(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=2)
    name = f"torc-server process {server.process.pid} on"
    with pytest.raises(migrations.MigrationError, match=f"stop the servers that use the database first: {name}"):
        downgrade(fresh_database_url)
    assert server.client.get("/readyz", prefix="").json
    server.stop()
    assert downgrade(fresh_database_url)


def test_each_process_of_a_server_holds_the_lock_again_after_its_connection_was_cut(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=2)
    wait_for(lambda: len(holders(fresh_database_url)) == 3, what="the master and both workers to show themselves")
    ended = cut(fresh_database_url)
    wait_for(lambda: len(holders(fresh_database_url) - ended) == 2, what="both workers to be connected again")
    with pytest.raises(migrations.MigrationError, match=f"process {server.process.pid} on"):
        downgrade(fresh_database_url)


def test_a_worker_that_replaces_a_killed_one_holds_the_lock(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1)
    wait_for(lambda: len(holders(fresh_database_url)) == 2)
    killed = server.workers()[0]
    os.kill(killed, signal.SIGKILL)
    server.wait_for_workers(1, without={killed})
    wait_for(lambda: len(holders(fresh_database_url)) == 2, what="the new worker to show itself")


def test_a_server_that_starts_waits_until_a_downgrade_has_ended(fresh_database_url):
    connected = []

    def connect():
        with Presence(fresh_database_url).connect() as connection:
            connected.append(connection)

    with psycopg.connect(fresh_database_url, autocommit=True) as downgrading:
        assert downgrading.execute("SELECT pg_try_advisory_lock(%s, %s)", migrations.SERVERS).fetchone()[0]
        starting = threading.Thread(target=connect)
        starting.start()
        wait_for(lambda: sessions(fresh_database_url), what="the server to be connected")
        assert connected == []
    starting.join(10)
    assert len(connected) == 1


def test_an_upgrade_is_possible_while_servers_are_connected(fresh_database_url):
    downgrade(fresh_database_url)
    with Presence(fresh_database_url).connect():
        assert migrations.migrate(fresh_database_url)


def test_one_that_is_closed_holds_nothing(fresh_database_url):
    presence = Presence(fresh_database_url)
    presence.open()
    wait_for(lambda: len(holders(fresh_database_url)) == 1)
    presence.close()
    wait_for(lambda: len(holders(fresh_database_url)) == 0)
