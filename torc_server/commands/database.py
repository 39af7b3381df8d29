"""The database of a command: reached, started if it is the embedded one, checked, and migrated."""

import contextlib
import os
from collections.abc import Callable, Generator
from typing import Any

from torc_server import connections, embedded, migrations
from torc_server.commands.messages import say, warn_of_foreign_variable
from torc_server.settings import Settings, SettingsError

SPARE_CONNECTIONS = 20  # of the embedded PostgreSQL: for psql, a backup, a migration


def describe(found: migrations.Status) -> str:
    """The version of the schema, and what to do about it."""
    if found.current:
        return f"The database is at version {found.version}, the newest."
    if found.version > found.latest:
        return f"The database is at version {found.version}; this release knows only {found.latest}."
    if found.version == found.latest > 0:
        return f"The database is at version {found.version} with another release's functions; type: torc-server migrate"
    return f"The database is at version {found.version} of {found.latest}; type: torc-server migrate"


@contextlib.contextmanager
def open_database(settings: Settings, attach: bool = False) -> Generator[tuple[str, Callable[[], None] | None]]:
    """Give (conninfo, restart). The embedded PostgreSQL is started, and stopped at the end if it was ours to start.

    attach: if another torc-server owns the data folder, use its PostgreSQL instead of refusing.
    """
    if settings.database_url:
        yield connections.complete(settings.database_url), None
        return
    state = embedded.reachable_folder(settings.data_dir)
    if state != settings.data_dir.expanduser().resolve():
        say(f"PostgreSQL's account cannot reach {settings.data_dir.resolve()}: the data folder is {state}")
    owner = embedded.own(state)
    if owner is not None:
        os.set_inheritable(owner.fileno(), True)  # the lock lasts through a reload, which costs one descriptor
    if owner is None and attach:
        say(f"The data folder is {state}; its PostgreSQL is running")
        yield embedded.start(state), None
        return
    if owner is None:
        raise embedded.EmbeddedError(
            f"another torc-server runs on the data folder {state}; stop it, or choose another with --data-dir"
        )
    say(f"Starting PostgreSQL on {state}")
    options = {"max_connections": str(settings.connections + SPARE_CONNECTIONS)}
    main_process = os.getpid()

    def restart():
        """Called by a worker whose database is away: start PostgreSQL again, unless the whole server is ending."""
        if os.getppid() == main_process:
            embedded.start(state, options, timeout=30)

    try:
        yield embedded.start(state, options, tie=True), restart
    finally:
        if os.getpid() == main_process:  # a forked worker leaves through here too
            say("Stopping PostgreSQL")
            embedded.stop(state)
            owner.close()


@contextlib.contextmanager
def session(where: dict[str, Any]) -> Generator[str]:
    """Give the conninfo of a session with the database, for a command that works on its data; the PostgreSQL of a
    running server is used. where: the values of database_options()."""
    warn_of_foreign_variable()
    settings = Settings(**where)
    with open_database(settings, attach=True) as (conninfo, _):
        session = connections.complete(settings.listen_database_url or conninfo)
        check_database(session, session)
        yield session


def check_database(conninfo: str, session: str) -> None:
    """Refuse a database that is not in UTF-8, and poolers that cannot serve us. `session`: the conninfo for whatever
    needs a session."""
    encoding = connections.encoding(session)
    if encoding != "UTF8":
        raise SettingsError(f"the database has the encoding {encoding}; make one with: createdb -E UTF8 -T template0 …")
    if connections.is_pooled_by_transaction(session):
        raise SettingsError(
            "the pooler at the database URL gives each transaction another session; "
            "event streams and migrations need one: give PostgreSQL's own address with --listen-database-url"
        )
    if session != conninfo:
        connections.is_pooled_by_transaction(conninfo)


def bring_up_to_date(settings: Settings, conninfo: str, alone: bool = False) -> None:
    """Migrate an empty or an embedded database; refuse any other that does not fit this release.

    alone: this process owns the embedded database, and may be connected as its server already.
    """
    found = migrations.status(conninfo)
    if found.version > found.latest:
        raise migrations.MigrationError(f"{describe(found)} Install the torc-server that belongs to it.")
    if settings.database_url and found.version and not found.current:
        raise migrations.MigrationError(describe(found))
    if not found.current:
        for line in migrations.migrate(conninfo, alone=alone):
            say(f"Database: {line}")


def refuse_other_schema(conninfo: str) -> None:
    """Raises MigrationError for a schema that is not that of this release."""
    found = migrations.status(conninfo)
    if not found.current:
        raise migrations.MigrationError(describe(found))
