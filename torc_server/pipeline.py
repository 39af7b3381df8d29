"""Statements of several calls that share a connection: PostgreSQL works on one while the next is being made, and while
the answer to the last is put into words."""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, ExecStatus

from torc_server.connections import SESSION, Connection


class Pipeline:
    """Sends statements, each as its own transaction, and receives their outcomes in the same order.

    What they have written is durable when end() returns: one commit that waits for the disk is enough for all.

    wait(descriptor, events=POLLIN): returns when PostgreSQL has sent something, or reads. give_way: called before the
    thread waits in another way.

    The methods raise psycopg.OperationalError when the connection is lost; then none of the outcomes counts.
    """

    def __init__(self, connection: Connection, wait: Callable, give_way: Callable[[], None]):
        self._connection = connection
        self._pgconn = connection.pgconn
        self._wait = wait
        self._give_way = give_way
        self._outcomes = deque()  # (function that returns or raises it, whether it is that of a statement of ours)
        self._preparing = set()  # names of statements
        self._may_have_written = False
        self._commits_later = False
        if not connection.pooled:
            self._pgconn.enter_pipeline_mode()

    def send(self, text: str, params: dict[str, Any], may_write: bool, is_alone: bool) -> None:
        """Send a statement. is_alone: none is expected to follow."""
        if self._connection.pooled:
            self._give_way()
            outcome = self._outcome(self._connection.first, text, params)
            self._outcomes.append((lambda: outcome, False))
            return
        statement = self._outcome(self._connection.statement, text, params)
        if isinstance(statement, Exception):
            self._outcomes.append((lambda: statement, False))
            return
        if may_write and not self._commits_later and (self._may_have_written or not is_alone):
            self._commits_later = True
            self._send_ours(SESSION.commit_later)
        self._may_have_written |= may_write
        self._outcomes.append((self._send(*statement), False))

    def receive(self) -> Any:
        """The first value of the next statement, or the error that its call is to raise."""
        self._receive_ours()
        receive, _ = self._outcomes.popleft()
        return self._outcome(receive)

    def make_durable(self) -> None:
        """Have PostgreSQL make durable what the statements sent so far write, as soon as it has done them."""
        if self._commits_later:
            self._commits_later = False
            self._send_ours(SESSION.make_durable)

    def end(self) -> None:
        """Return when all that was written is durable."""
        if self._connection.pooled:
            return
        self.make_durable()
        self._receive_ours()
        self._pgconn.exit_pipeline_mode()

    def _send_ours(self, statement):
        self._outcomes.append((self._send(*self._connection.statement(statement.sql, {})), True))

    def _receive_ours(self):
        while self._outcomes and self._outcomes[0][1]:
            receive, _ = self._outcomes.popleft()
            receive()

    def _send(self, name, text, values):
        """Send a statement, which is prepared when it is sent for the first time; return the function that receives
        its value."""
        prepares = name not in self._connection.statement_names and name not in self._preparing
        if prepares:
            self._preparing.add(name)
            self._pgconn.send_prepare(name, text)
        self._pgconn.send_query_prepared(name, values)
        self._pgconn.pipeline_sync()  # ends the transaction, whether it failed or not
        self._connection.flush(self._wait)
        return functools.partial(self._value, name) if prepares else self._value

    def _value(self, prepared=None):
        found = None
        while (result := self._connection.next_result(self._wait)) is None or result.status != ExecStatus.PIPELINE_SYNC:
            if result is None:
                if self._pgconn.status != ConnStatus.OK:
                    raise psycopg.OperationalError("the connection was closed")
            elif result.status == ExecStatus.COMMAND_OK:
                self._connection.statement_names.add(prepared)
            elif found is None or found.status == ExecStatus.TUPLES_OK:
                found = result  # the first error: of the statement, or, after its value, of the commit
        return self._connection.value_of(found)

    def _outcome(self, function, *args):
        """What the function returns, or its error. Raises the error only if the connection is lost."""
        try:
            return function(*args)
        except Exception as error:
            if self._pgconn.status != ConnStatus.OK and getattr(error, "sqlstate", None) is None:
                raise
            return error
