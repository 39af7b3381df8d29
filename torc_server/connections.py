"""A connection to PostgreSQL: how it is opened, what is set on it, a short way to one value, whether it still lives.

Statements are prepared under a hash of their text, and what is set holds for the session, or, behind a pooler that
gives each transaction another session, for the transaction: what is not as we left it is an error, never another
statement or another limit.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import select
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiosql
import psycopg
from psycopg import errors as pg
from psycopg.adapt import PyFormat, Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus, TransactionStatus

from torc_server import __version__
from torc_server.migrations import sql_folder
from torc_server.polling import readable, wait_for
from torc_server.problems import CommandError
from torc_server.revision import git_hash

SESSION = aiosql.from_path(sql_folder() / "queries" / "session.sql", "psycopg")

HOT_SECONDS = 15  # of a statement; calls that walk a whole workflow get LONG_TIMEOUT, see repository.long_value()
CONNECT_SECONDS = 5  # for one attempt to open a connection
# Bytes of a parameter or a row after which a connection is closed: neither its buffers nor what PostgreSQL has taken to
# read that much JSON (300 MB for 1.5 MB of empty objects) are given back otherwise.
GROWN = 1 << 19

# What each statement of ours runs under. Plans are kept: one made on an empty database must serve the full one.
SETTINGS = {
    "statement_timeout": f"{HOT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "1min",
    "TimeZone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    "torc.try_locks": "on",  # see sql/functions/locks/lock_workflow.sql
    "torc.version": __version__,  # what record_ro_crate() says about this server
    "torc.program": str(Path(sys.argv[0]).absolute()),
}

# A network that swallows packets costs a request seconds, not the kernel's quarter of an hour.
_NETWORK = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}


class PoolerError(CommandError):
    """The database URL leads to a pooler that cannot serve us."""


class Connection(psycopg.Connection):
    """A connection with a short way to one value.

    worn: close it after use; set when its buffers have grown, or its session has ended.
    pooled: the next transaction may run in another session.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.worn = False
        self.add_notice_handler(self._hear)
        self.pooled = False
        self.statement_names = set()  # names of the statements that are prepared on this connection
        self.transformer = Transformer(self)
        # A second descriptor, so that another thread can cut the connection and never hits one that has its number now
        self.plug = socket.socket(fileno=os.dup(self.pgconn.socket))

    def _hear(self, diag):
        """A session that is ended while it is idle is told so in a notice."""
        if diag.severity_nonlocalized in ("FATAL", "PANIC") or (diag.sqlstate or "").startswith("57P"):
            self.worn = True

    def first(self, text: str, params: dict[str, Any]) -> Any:
        """Return what execute(text, params).fetchone()[0] would, or None without a row. Raises psycopg.Error.

        The statement is prepared when it is first sent, its parameters have the types that the statement gives them.
        psycopg's cursor needs 50 µs for what is here one call of libpq: this saves a tenth of a small request's CPU.
        """
        if self.pooled and self.pgconn.transaction_status == TransactionStatus.IDLE:
            with self.transaction():
                return self.first(text, params)
        result = self._check(self.pgconn.exec_prepared(*self._to_send(text, params)), ExecStatus.TUPLES_OK)
        return self._first_value(result)

    def firsts(self, text: str, many: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """Yield first() for each of many parameters. The next ones are made, and the last value is used, while the
        server works. Close it before the transaction ends."""
        sent = False  # a statement whose answer has not been received
        try:
            for params in many:
                found = []
                if sent:
                    sent = False
                    found = [self._receive()]
                self._send(*self._to_send(text, params))
                sent = True
                yield from found
            if sent:
                sent = False
                yield self._receive()
        finally:
            if sent:
                with contextlib.suppress(psycopg.Error):  # what else went wrong tells more
                    self._receive()

    def wear(self, *values: Any) -> None:
        """Have the connection closed after use if one of the values is long."""
        for value in values:
            if type(value) is str and len(value) > GROWN:
                self.worn = True

    def _to_send(self, text, params):
        """The name under which a statement is prepared now, and its parameters."""
        name, sent, values = self.statement(text, params)
        if name not in self.statement_names:
            self._check(self.pgconn.prepare(name, sent), ExecStatus.COMMAND_OK)
            self.statement_names.add(name)
        return name, values

    def statement(self, text: str, params: dict[str, Any]) -> tuple[bytes, bytes, Sequence[Any]]:
        """The name of a statement, its text and its parameters as they are sent. Raises psycopg.Error."""
        name, sent, names = _numbered(text)
        values = self.transformer.dump_sequence([params[each] for each in names], [PyFormat.TEXT] * len(names))
        return name, sent, values

    def _send(self, name, values):
        """Send a prepared statement and do not wait for its answer."""
        self.pgconn.send_query_prepared(name, values)
        self.flush(wait_for)

    def flush(self, wait: Callable[[int, int], Any]) -> None:
        """Send what libpq holds. wait(descriptor, events): returns when PostgreSQL reads, or has sent something."""
        while self.pgconn.flush():  # it is longer than what the kernel takes at once
            wait(self.pgconn.socket, select.POLLIN | select.POLLOUT)
            self.pgconn.consume_input()

    def _receive(self):
        """The first value of a statement that was sent."""
        found = None
        while True:
            result = self.next_result(wait_for)
            if not result:
                return self.value_of(found)
            found = result

    def next_result(self, wait: Callable[[int], Any]) -> Any:
        """The next result, or None at the end of those of a statement."""
        while self.pgconn.is_busy():  # while it is, get_result() would wait, and keep the GIL
            self.pgconn.consume_input()
            if self.pgconn.is_busy():
                wait(self.pgconn.socket)
        return self.pgconn.get_result()

    def value_of(self, result: Any) -> Any:
        """The first value of a result. Raises psycopg.Error."""
        return self._first_value(self._check(result, ExecStatus.TUPLES_OK))

    def _first_value(self, result):
        self.transformer.set_pgresult(result)
        return self.transformer.load_row(0, tuple)[0] if result.ntuples else None

    def _check(self, result, wanted):
        if result.status == wanted:
            return result
        error = pg.error_from_result(result)
        if error.sqlstate is None:  # it comes from libpq: there is no connection any more
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        raise error

    @contextlib.contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Generator[psycopg.Transaction]:
        """psycopg's, with our settings where they do not hold for the session."""
        is_outermost = self.pgconn.transaction_status == TransactionStatus.IDLE
        with super().transaction(*args, **kwargs) as transaction:
            if self.pooled and is_outermost:
                self.apply_settings(local=True)
            yield transaction

    def apply_settings(self, local: bool = False) -> None:
        """Set what our statements run under, for the session or (local) for the transaction."""
        settings = SETTINGS | {"torc.git_hash": git_hash() or ""}
        self.execute(SESSION.apply_settings.sql, {"settings": json.dumps(settings), "local": local})

    def is_alive(self) -> bool:
        """Whether the server has not hung up, as far as is known here: no round trip.

        It takes 0.4 µs, because it keeps the GIL; select() gives it up, 8 % of a busy thread's time.
        """
        try:
            self.pgconn.consume_input()  # finds the end
            self.pgconn.get_result()  # reads what the server has said; its last words may come before the end
        except psycopg.OperationalError:
            return False
        return not self.worn

    def is_hung_up(self) -> bool:
        """Whether the server has hung up; other threads may ask while one uses the connection."""
        try:
            return self.plug.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def answers(self, seconds: float) -> bool:
        """Whether the server answers an empty statement in so many seconds; if not, close the connection."""
        try:
            self.pgconn.send_query(b"")
            if not readable([self.pgconn.socket], seconds):
                return False
            while self.pgconn.get_result():
                pass
        except psycopg.OperationalError:
            return False
        return not self.closed

    def cut(self) -> None:
        """End the connection while another thread waits for its answer: that thread gets an OperationalError."""
        with contextlib.suppress(OSError):  # it has ended already
            self.plug.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        self.plug.close()


@functools.cache
def _numbered(text):
    """A statement with %(name)s parameters as PostgreSQL takes it, with $1, $2, …: (the name to prepare it under,
    bytes, the names of its parameters in that order)."""
    names = []

    def number(match):
        if match[0] == "%%":
            return "%"
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    sent = re.sub(r"%%|%\((\w+)\)s", number, text).encode()
    return b"torc_" + hashlib.sha256(sent).hexdigest()[:32].encode(), sent, names


def connect(conninfo: str, is_pooled: Callable[[], bool] | None = None) -> Connection:
    """Open a Connection with our settings. Raises psycopg.OperationalError.

    is_pooled: called, if there is a pooler in between, to tell whether it gives each transaction another session; by
    default the pooler is asked.
    """
    connection = _open(conninfo)
    try:
        if _is_direct(connection):
            connection.apply_settings()
        else:
            connection.pooled = is_pooled() if is_pooled else is_pooled_by_transaction(conninfo)
            if not connection.pooled:
                connection.apply_settings()
    except BaseException:
        connection.close()
        raise
    return connection


def is_pooled_by_transaction(conninfo: str) -> bool:
    """Whether a pooler in between gives each transaction another session.

    Raises PoolerError if it does so with single statements, or forgets prepared statements; psycopg.OperationalError.
    """
    with contextlib.closing(_open(conninfo)) as one, contextlib.closing(_open(conninfo)) as other:
        if _is_direct(one):
            return False
        # In whatever order a pooler takes its sessions: one client sees two, or both clients see the same one.
        seen = {one: set(), other: set()}
        for client in (one, one, other, one, other, other):
            seen[client].add(_backend_pid(client))
        if all(len(pids) == 1 for pids in seen.values()) and seen[one] != seen[other]:
            return False
        if not _holds_transactions(one):
            raise PoolerError("the pooler at the database URL gives each statement another session: use session mode")
        if not _holds_statements(one, other):
            raise PoolerError(
                "the pooler at the database URL gives each transaction another session and loses prepared statements: "
                "use session mode, or pgbouncer 1.21 or newer with max_prepared_statements, or PostgreSQL's own address"
            )
        return True


def _holds_transactions(client):
    try:
        with client.transaction():
            return _backend_pid(client) == _backend_pid(client)
    except psycopg.Error:
        return False


def _holds_statements(one, other):
    """Whether a statement that one client prepares is known to it in each session, and never to the other client."""
    name = b"torc_probe"
    if one.pgconn.prepare(name, b"SELECT 1").status != ExecStatus.COMMAND_OK:
        return False
    with other.transaction():
        _backend_pid(other)  # takes the session that was used last
        if one.pgconn.exec_prepared(name, []).status != ExecStatus.TUPLES_OK:
            return False
    with contextlib.suppress(psycopg.Error), other.transaction():  # pgbouncer hangs up on a client that asks for it
        return other.pgconn.exec_prepared(name, []).status != ExecStatus.TUPLES_OK
    return True


def encoding(conninfo: str) -> str:
    """The encoding of the database. Raises psycopg.OperationalError."""
    with _open(conninfo) as connection:
        return connection.execute(SESSION.encoding.sql).fetchone()[0]


def _open(conninfo):
    # psycopg prepares nothing itself: it would deallocate all statements, ours too, after each rollback
    connection = Connection.connect(complete(conninfo), autocommit=True, prepare_threshold=None)
    if not connection.answers(CONNECT_SECONDS):  # a pooler lets us in while the database behind it has stopped
        connection.close()
        raise pg.ConnectionTimeout(f"the database has not answered for {CONNECT_SECONDS} s")
    return connection


@functools.cache
def complete(conninfo: str) -> str:
    """`conninfo` with our network timeouts, unless it sets them itself, and the encoding that we speak."""
    return make_conninfo("", **_NETWORK | conninfo_to_dict(conninfo) | {"client_encoding": "UTF8"})


def _is_direct(connection):
    """A pooler gives its clients its own process numbers."""
    return connection.pgconn.backend_pid == _backend_pid(connection)


def _backend_pid(connection):
    return connection.execute(SESSION.backend_pid.sql).fetchone()[0]
