"""Shows that this server uses the database, so that no migration removes the schema under it.

Each serving process holds a shared advisory lock, on a connection that does nothing else and is made again when it is
lost. A downgrade takes that lock exclusively: while a server is connected it is refused and names the server. The lock
belongs to a session of PostgreSQL: behind a pooler the connection must reach PostgreSQL directly or through a pool in
session mode.
"""

import logging
import os
import socket
import threading
import time

import psycopg
from psycopg.conninfo import make_conninfo

from torc_server import migrations
from torc_server.polling import readable

log = logging.getLogger("torc_server")
RETRY_SECONDS = 1.0
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}  # seconds, seconds, probes


class Presence:
    """The presence of one server on the database at conninfo. Its connections carry the id of the process that made the
    object, gunicorn's master: that is the process to stop."""

    def __init__(self, conninfo: str):
        name = f"torc-server process {os.getpid()} on {socket.gethostname()}"
        self._conninfo = make_conninfo(conninfo, application_name=name, connect_timeout=5, **KEEPALIVE)
        self._ours = self._theirs = None

    def connect(self) -> psycopg.Connection:
        """Return a connection that holds the lock until it is closed; waits while a downgrade holds it.

        Raises psycopg.Error when the database cannot be reached.
        """
        connection = psycopg.connect(self._conninfo, autocommit=True)
        try:
            connection.execute("SET idle_session_timeout = 0")
            while not migrations.share_with_servers(connection):
                time.sleep(RETRY_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def open(self) -> None:
        """Hold the lock from now on in this process, in a thread that connects again when the connection is lost."""
        self._ours, self._theirs = socket.socketpair()
        threading.Thread(target=self._keep, args=(self._theirs,), name="presence", daemon=True).start()

    def close(self) -> None:
        """Release the lock of this process."""
        if self._ours:
            self._ours.close()

    def _keep(self, told_to_stop):
        with told_to_stop:
            while not readable([told_to_stop], 0):
                try:
                    with self.connect() as connection:
                        self._hold(connection, told_to_stop)
                except psycopg.Error as error:
                    log.debug("this server is not announced to the database: %s", str(error).strip())
                    readable([told_to_stop], RETRY_SECONDS)

    def _hold(self, connection, told_to_stop):
        """Return when told to stop. Raises psycopg.OperationalError when the connection is lost."""
        if not migrations.serves_running(connection):
            log.error("the database does not have the schema of this release: stop this server, then migrate")
        while told_to_stop not in readable([connection, told_to_stop], None):
            connection.pgconn.consume_input()  # a notice, or the end
            if connection.closed:
                raise psycopg.OperationalError("the connection was closed")
