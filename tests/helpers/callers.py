"""Clients that call as somebody, with or without access control. Only here does a header say who is calling."""

import dataclasses
import functools

import psycopg
from psycopg.rows import tuple_row
from support import MemoryClient
from workflow import Workflow

from torc_server import admin_sql
from torc_server.app import create_app
from torc_server.auth import ANONYMOUS, Caller
from torc_server.settings import Settings


class Access:
    """`access.user("eve").get("/workflows/1", status=403)`; .client is not under access control; .database is a
    connection. There is a system administrator, root."""

    def __init__(self, conninfo):
        self.app = create_app(with_admin_sql(Settings()), conninfo)
        self.app.extensions["callers"].identify = _take_headers_word
        streams = self.app.extensions["streams"]
        streams.subscribe = _ended(streams.subscribe)
        traffic = self.app.extensions["api_traffic"]
        traffic.subscribe = _ended(traffic.subscribe)
        traffic._start = lambda: None  # its thread would change rows between two looks at them
        self.client = MemoryClient(self.app)
        self.database = psycopg.connect(conninfo, autocommit=True, row_factory=tuple_row)

    def __enter__(self):
        self.app.extensions["database"].open()
        group = "INSERT INTO torc.access_group (name, is_system) VALUES ('admin', true) RETURNING id"
        admin_sql.set_up(self.database)
        self.system_group = self.database.execute(group).fetchone()[0]
        member = "INSERT INTO torc.user_group_membership (user_name, group_id, role) VALUES ('root', %s, 'admin')"
        self.database.execute(member, [self.system_group])
        return self

    def __exit__(self, *error):
        self.app.extensions["database"].close()
        self.database.close()

    def user(self, name, enforced=True):
        """A client that calls as this user."""
        return CallingAs(self.app, name, enforced)

    def workflow(self, user, **fields):
        """A Workflow of this user."""
        return Workflow(self.client, self.database, user=user, **fields)

    def rows(self):
        """Everything that is stored: (table, row as text), sorted."""
        return self.database.execute(self._all_rows).fetchall()

    @functools.cached_property
    def _all_rows(self):
        tables = self.database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'torc'").fetchall()
        selects = [f"SELECT '{table}', t::text FROM torc.{table} AS t" for (table,) in tables]  # noqa: S608
        return " UNION ALL ".join(selects) + " ORDER BY 1, 2"


class CallingAs(MemoryClient):
    """Calls as a user."""

    def __init__(self, app, user, enforced):
        super().__init__(app)
        self._headers = {"X-Test-User": user, "X-Test-Enforced": "yes" if enforced else ""}

    def _send(self, method, target, body, headers):
        return super()._send(method, target, body, headers | self._headers)


def with_admin_sql(settings):
    """The settings, with admin SQL for everybody where access control is off."""
    return dataclasses.replace(
        settings, enable_admin_sql=True, enable_admin_sql_writes=True, admin_sql_without_access_control=True
    )


def _ended(subscribe):
    """subscribe(), whose streams end at once: a client in memory reads until the end."""

    def call(*arguments):
        subscription = subscribe(*arguments)
        subscription.end()
        return subscription

    return call


def _take_headers_word(environ):
    name = environ.get("HTTP_X_TEST_USER", ANONYMOUS)
    environ["torc.caller"] = Caller(name, bool(environ.get("HTTP_X_TEST_ENFORCED")))
