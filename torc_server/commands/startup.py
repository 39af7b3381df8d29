"""What `torc-server run` does: listen, open the database, bring it up to date, and run gunicorn until it is stopped."""

import contextlib
import dataclasses
import os
import signal
import socket
import time
from pathlib import Path

import psycopg

from torc_server import (
    __version__,
    admin_sql,
    connections,
    daemon,
    data_folder,
    embedded,
    gunicorn_conf,
    listening,
    master,
    metrics,
    migrations,
    runtime,
)
from torc_server.app import create_app
from torc_server.commands.database import bring_up_to_date, check_database, describe, open_database
from torc_server.commands.messages import (
    say,
    set_up_logging,
    warn,
    warn_of_foreign_variable,
    warn_of_unknown_settings,
)
from torc_server.database_errors import is_lost
from torc_server.presence import Presence
from torc_server.repository import sql
from torc_server.settings import RESTART_ONLY, Settings, without_password

LOST_SECONDS = 1.0  # for which a step of the start is taken again


def serve(settings: Settings) -> None:
    """Listen, have the database, bring it up to date, and run gunicorn until it is stopped."""
    set_up_logging(settings)
    warn_of_unknown_settings()
    warn_of_foreign_variable()
    if settings.enforce_access_control and not settings.auth_file:
        warn("access control is enforced without --auth-file: everybody is anonymous and may do nearly nothing")
    if settings.enable_admin_sql_writes and not settings.enable_admin_sql:
        warn("--enable-admin-sql-writes has no effect without --enable-admin-sql")
    if settings.daemon and not settings.log_dir:
        warn("--daemon without --log-dir: once the server listens, nothing is logged")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # until it can be served; the default would end us
    before = master.former_state()
    wanted = settings
    if before:
        settings = _as_before(settings, before["settings"])
    on_ready = daemon.go_to_background() if settings.daemon and not before else lambda: None
    pid_file = settings.pid_file or (daemon.DEFAULT_PID_FILE if settings.daemon else None)
    with daemon.pid_file(pid_file), runtime.folder(before["runtime"] if before else None) as folder:
        metrics.share(folder)
        _serve(settings, wanted, before, folder, on_ready)


def _serve(settings, wanted, before, folder, on_ready):
    with _listeners(settings) as (listeners, passed), open_database(settings) as (conninfo, restart):
        session = connections.complete(settings.listen_database_url or conninfo)
        _again_if_lost(check_database, conninfo, session)
        with _presence(session):
            _again_if_lost(_prepare_database, settings, conninfo, session)
            state = master.current_state(settings, before["passed"] if before else passed)
            state["runtime"] = str(folder)
            if before:
                say(master.describe_changes(before, state, wanted))
            former = before["workers"] if before else {}
            _run_gunicorn(settings, listeners, conninfo, restart, former, state, on_ready)


def _as_before(settings, former):
    """The settings, but for those that a reload cannot change."""
    paths = {declared.name for declared in dataclasses.fields(Settings) if declared.type in (Path, Path | None)}
    kept = {name: Path(former[name]) if name in paths and former[name] else former[name] for name in RESTART_ONLY}
    return dataclasses.replace(settings, **kept)


@contextlib.contextmanager
def _listeners(settings):
    """Give (listening sockets, whether they were passed to us). What has not been detached at the end is closed."""
    listeners, passed = listening.listen(settings)
    try:
        yield listeners, passed
    finally:
        if not passed:
            listening.remove([each for each in listeners if each.fileno() != -1])


def check_start(settings: Settings) -> None:
    """Find what would keep a server from starting, or from being reloaded, beyond the settings: the application, and
    the database if it runs. Raises what `run` would raise."""
    create_app(settings, settings.database_url or "")
    running = settings.listen_database_url or settings.database_url
    if not running and data_folder.has_database(settings.data_dir):
        state = embedded.reachable_folder(settings.data_dir)
        running = embedded.conninfo(state) if embedded.is_running(state) else None
    if running:
        found = migrations.status(running)
        if found.version and not found.current:
            raise migrations.MigrationError(describe(found))


def _again_if_lost(step, *args):
    """Take a step of the start, whose connection may be ended meanwhile by a failover or an administrator: it is taken
    again then. What it has done before does no harm."""
    end = time.monotonic() + LOST_SECONDS
    while True:
        try:
            return step(*args)
        except psycopg.Error as error:
            if not is_lost(error) or time.monotonic() > end:
                raise
        time.sleep(LOST_SECONDS / 2)


@contextlib.contextmanager
def _presence(conninfo):
    """Show that a server is connected from before the check of the version: its workers show it only later."""
    connection = _again_if_lost(Presence(conninfo).connect)
    main_process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == main_process:  # a forked worker has the same socket and would end the master's session
            connection.close()


def _prepare_database(settings, conninfo, session):
    bring_up_to_date(settings, session, alone=True)
    _synchronize_admins(settings, conninfo)
    _set_up_admin_sql(settings, session)
    _check_connections(settings, conninfo)


def _synchronize_admins(settings, conninfo):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        names = {"user_names": list(settings.admin_users)}
        connection.execute(sql.authentication.synchronize_admins.sql, names)


def _set_up_admin_sql(settings, conninfo):
    if settings.enable_admin_sql:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            admin_sql.set_up(connection)


def _check_connections(settings, conninfo):
    with psycopg.connect(conninfo) as connection:
        [(most,)] = connection.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        ).fetchall()
    if most < settings.connections:
        warn(
            f"{settings.workers} workers with {settings.threads} threads may open {settings.connections} "
            f"connections, the database allows {most}: raise its max_connections, or lower --workers or --threads"
        )


def _run_gunicorn(settings, listeners, conninfo, restart, former, state, on_ready):
    port = listening.port(listeners)
    where = [] if port is None else [_url(settings, port)]
    where += [f"unix:{each.getsockname()}" for each in listeners if each.family == socket.AF_UNIX]

    def when_ready(_server):
        if port is not None and not former:
            print(f"TORC_SERVER_PORT={port}", flush=True)
        threads = f"{settings.workers} workers with {settings.threads} threads"
        say(f"torc-server {__version__} serves {' and '.join(where)} ({threads})")
        master.notify(f"STATUS=serves {' and '.join(where)}")
        if port is not None and not former:
            say(f"Dashboard: {where[0]}/")
            say(f"Interface: curl {where[0]}/torc-service/v1/ping")
        runtime.write(Path(state["runtime"]), _state(settings, where[0], conninfo))
        on_ready()

    gunicorn_conf.allow_open_files(settings.max_connections)
    options = gunicorn_conf.options(settings, [each.detach() for each in listeners], when_ready)
    gunicorn_conf.Server(options, lambda: create_app(settings, conninfo, restart=restart), former, state).run()


def _url(settings, port):
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"{'https' if settings.https else 'http'}://{host}:{port}"


def _state(settings, url, conninfo):
    """What `torc-server status` tells about this server."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    urls = {name: value for name, value in values.items() if value and name.endswith("database_url")}
    values |= {name: without_password(value) for name, value in urls.items()}
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": url,
        "started": time.time(),
        "database": without_password(conninfo),
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in values.items()},
    }
