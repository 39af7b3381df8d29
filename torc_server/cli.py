"""The command `torc-server`: run (what it does without a command) and migrate.

stdout carries TORC_SERVER_PORT=<port> and nothing else while serving; whatever people read goes to stderr. What cannot
be done is one line and a non-zero exit.
"""

import contextlib
import logging
import os
import socket
import sys
from pathlib import Path

import click
import psycopg

from torc_server import __version__, embedded, gunicorn_conf, migrations
from torc_server.settings import (
    LOG_LEVELS,
    Settings,
    SettingsError,
    check_database_url,
    default_data_dir,
    default_workers,
    read_config_files,
)

log = logging.getLogger("torc_server")
SPARE_CONNECTIONS = 20  # of the embedded PostgreSQL: for psql, a backup, a migration


def main():
    """Entry point. `torc-server` alone means `torc-server run`, as existing launchers expect."""
    try:
        values = read_config_files()
        defaults = dict.fromkeys(cli.commands, values)
        sys.exit(cli.main(sys.argv[1:] or ["run"], "torc-server", standalone_mode=False, default_map=defaults))
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (SettingsError, embedded.EmbeddedError, migrations.MigrationError) as error:
        _fail(error)
    except psycopg.errors.LockNotAvailable as error:
        _fail(f"the database is too busy to migrate ({_one_line(error)}); stop its servers, or try again")
    except psycopg.Error as error:
        _fail(f"the database: {_one_line(error)}")
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="torc-server %(version)s")
def cli():
    """A workflow-management server for thousands of shell jobs. Without a command it runs.

    Each option is also an environment variable, TORC_<OPTION>, and a key in section [server] of ./torc.toml,
    ~/.config/torc/config.toml or /etc/torc/config.toml; an option wins over the environment, that over the files.
    """


def option(*names, **arguments):
    """A click option with its environment variable TORC_<NAME> and its default shown in the help."""
    name = next(n for n in names if not n.startswith("-"))
    arguments = {"show_envvar": True, "show_default": True, **arguments}
    return click.option(*names, envvar=f"TORC_{name.upper()}", **arguments)


def _database_url(ctx, param, value):
    return value and check_database_url(value)


def database_options(command):
    """The options that say where the data is."""
    url = option(
        "database_url", "-d", "--database", "--database-url", metavar="URL", callback=_database_url,
        help="PostgreSQL URL (14 or newer). Without it: a PostgreSQL of its own in the data folder.",
    )
    folder = option(
        "data_dir", "--data-dir", type=click.Path(path_type=Path), default=default_data_dir,
        show_default="~/.local/share/torc, for root /var/lib/torc",
        help="Where the PostgreSQL of its own keeps its data.",
    )
    return url(folder(command))


@cli.command()
@option("host", "-H", "--host", "-u", "--url", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
@option("port", "-p", "--port", default=8080, type=click.IntRange(0, 65535), help="0 picks a free one.")
@option("workers", "--workers", default=default_workers, type=click.IntRange(1), show_default="cores + 1",
        help="Processes.")
@option("threads", "-t", "--threads", default=8, type=click.IntRange(1), help="Threads of each process.")
@database_options
@option("log_level", "-l", "--log-level", default="info", type=click.Choice(LOG_LEVELS, case_sensitive=False))
@option("max_request_body_mb", "--max-request-body-mb", default=200, type=click.IntRange(1), help="In MiB.")
@option("max_streams", "--max-streams", default=4, type=click.IntRange(0), help="Open event streams per process.")
@option(
    "completion_check_interval_secs", "-c", "--completion-check-interval-secs", default=30.0, type=float,
    help="Accepted for compatibility; has no effect: jobs are released at once when what they wait for completes.",
)
def run(**values):
    """Serve until stopped: SIGTERM lets running requests finish, SIGHUP restarts the workers one by one."""
    serve(Settings(**values))


def serve(settings):
    """Listen, have the database, bring it up to date, and run gunicorn until it is stopped."""
    _set_up_logging(settings)
    _warn_of_foreign_variable()
    with _listen(settings) as listener, _database(settings) as (conninfo, restart):
        _bring_up_to_date(settings, conninfo)
        _check_connections(settings, conninfo)
        _run_gunicorn(settings, listener, conninfo, restart)


@cli.command()
@database_options
@click.option("--to", type=click.IntRange(0), metavar="N", help="Up or down to version N; 0 removes everything.")
@click.option("--status", is_flag=True, help="Only say where the database stands.")
def migrate(database_url, data_dir, to, status):
    """Bring the database to the newest schema."""
    _warn_of_foreign_variable()
    with _database(Settings(database_url=database_url, data_dir=data_dir), attach=True) as (conninfo, _):
        if not status:
            for line in migrations.migrate(conninfo, to):
                click.echo(line)
        click.echo(_describe(migrations.status(conninfo)))


def _describe(found):
    if found.current:
        return f"The database is at version {found.version}, the newest."
    if found.version > found.latest:
        return f"The database is at version {found.version}; this release knows only {found.latest}."
    if found.version == found.latest > 0:
        return f"The database is at version {found.version} with another release's functions; type: torc-server migrate"
    return f"The database is at version {found.version} of {found.latest}; type: torc-server migrate"


@contextlib.contextmanager
def _database(settings, attach=False):
    """Give (conninfo, restart). The embedded PostgreSQL is started, and stopped at the end if it was ours to start.

    attach: if another torc-server owns the data folder, use its PostgreSQL instead of refusing.
    """
    if settings.database_url:
        yield settings.database_url, None
        return
    state = embedded.reachable_folder(settings.data_dir)
    if state != settings.data_dir.expanduser().resolve():
        say(f"PostgreSQL's account cannot reach {settings.data_dir.resolve()}: the data folder is {state}")
    owner = embedded.own(state)
    if owner is None and attach:
        yield embedded.start(state), None
        return
    if owner is None:
        raise embedded.EmbeddedError(
            f"another torc-server runs on the data folder {state}; stop it, or choose another with --data-dir"
        )
    say(f"Starting PostgreSQL on {state}")
    options = {"max_connections": str(settings.connections + SPARE_CONNECTIONS)}
    master = os.getpid()

    def restart():
        """Called by a worker whose connection failed: start PostgreSQL again, unless the whole server is ending."""
        if os.getppid() == master:
            try:
                embedded.start(state, options, timeout=30)
            except embedded.EmbeddedError as error:  # the request is answered 503, the next one tries again
                log.error("%s", error)

    try:
        yield embedded.start(state, options, tie=True), restart
    finally:
        if os.getpid() == master:  # a forked worker leaves through here too
            say("Stopping PostgreSQL")
            embedded.stop(state)
            owner.close()


def _bring_up_to_date(settings, conninfo):
    """Migrate an empty or an embedded database; refuse any other that does not fit this release."""
    found = migrations.status(conninfo)
    if found.version > found.latest:
        raise migrations.MigrationError(f"{_describe(found)} Install the torc-server that belongs to it.")
    if settings.database_url and found.version and not found.current:
        raise migrations.MigrationError(_describe(found))
    if not found.current:
        for line in migrations.migrate(conninfo):
            say(f"Database: {line}")


def _check_connections(settings, conninfo):
    with psycopg.connect(conninfo) as connection:
        most = connection.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        ).fetchone()[0]
    if most < settings.connections:
        say(
            f"Warning: {settings.workers} workers with {settings.threads} threads may open {settings.connections} "
            f"connections, the database allows {most}: raise its max_connections, or lower --workers or --threads"
        )


def _listen(settings):
    """The listening socket: bound before anything is started, so that a busy port is told at once."""
    address = (settings.host, settings.port)
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda f: f[0] != socket.AF_INET)  # localhost: 127.0.0.1 before ::1
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        where = f"{settings.host}, port {settings.port}"
        raise SettingsError(f"cannot listen on {where}: {error.strerror}; choose others with --host, --port") from error
    # Connections inherit it when they are made. Those made while we still start would take 40 ms more for each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _run_gunicorn(settings, listener, conninfo, restart):
    from torc_server.app import create_app  # not needed to migrate

    port = listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    url = f"http://{host}:{port}"

    def when_ready(server):
        print(f"TORC_SERVER_PORT={port}", flush=True)
        say(f"torc-server {__version__} serves {url} ({settings.workers} workers with {settings.threads} threads)")
        say(f"Try: curl {url}/torc-service/v1/ping")

    gunicorn_conf.allow_open_files()
    options = gunicorn_conf.options(settings, listener.detach(), when_ready)
    gunicorn_conf.Server(options, lambda: create_app(settings, conninfo, restart=restart)).run()


def _set_up_logging(settings):
    level = {"warn": "WARNING", "trace": "DEBUG"}.get(settings.log_level, settings.log_level.upper())
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _warn_of_foreign_variable():
    if os.environ.get("DATABASE_URL"):
        say("Warning: the environment variable DATABASE_URL is ignored; torc-server takes TORC_DATABASE_URL")


def say(line):
    """Tell a person what happens; on stderr, because stdout is for programs."""
    click.echo(line, err=True)


def _fail(message, code=1):
    say(f"torc-server: {message}")
    sys.exit(code)


def _one_line(error):
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
