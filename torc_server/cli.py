"""The command `torc-server`: run (what it does without a command), migrate, config, htpasswd, backup, restore, prune,
import, doctor, pg.

stdout carries TORC_SERVER_PORT=<port> and nothing else while serving; whatever people read goes to stderr. What cannot
be done is one line and a non-zero exit.
"""

import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import click
import psycopg
from click.core import ParameterSource

from torc_server import (
    __version__,
    connections,
    daemon,
    embedded,
    listening,
    logs,
    migrations,
    postgres_programs,
    runtime,
)
from torc_server.backup import backup as write_backup
from torc_server.backup import held
from torc_server.backup import restore as restore_backup
from torc_server.htpasswd import HtpasswdError
from torc_server.htpasswd_commands import htpasswd_group
from torc_server.nginx_config import nginx_config_command
from torc_server.presence import Presence
from torc_server.service import install_command, service_group
from torc_server.settings import (
    ACCESS_LOGS,
    LOG_LEVELS,
    METRICS,
    Settings,
    SettingsError,
    check_database_url,
    default_data_dir,
    default_workers,
    read_config_files,
    sqlite_file,
)

log = logging.getLogger("torc_server")
SPARE_CONNECTIONS = 20  # of the embedded PostgreSQL: for psql, a backup, a migration
DATABASE_COMMANDS = ("doctor", "status", "migrate", "backup", "restore", "prune", "import", "pg")
SHOWN_WORKFLOWS = 20  # of those that `prune` would delete
NOT_RUNNING = 3  # exit code of `status`, as of systemctl
MUST_BE_MIGRATED, NO_ANSWER = 3, 4  # exit codes of `migrate --status`


def main():
    """Entry point. `torc-server` alone means `torc-server run`, as existing launchers expect."""
    try:
        found = read_config_files()
        defaults = dict.fromkeys(("run", "config", *DATABASE_COMMANDS), found.values)
        arguments = sys.argv[1:] or ["run"]
        sys.exit(cli.main(arguments, "torc-server", standalone_mode=False, default_map=defaults, obj=found))
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (
        SettingsError, HtpasswdError, embedded.EmbeddedError, migrations.MigrationError, connections.PoolerError
    ) as error:  # fmt: skip
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


cli.add_command(htpasswd_group)
cli.add_command(nginx_config_command)


class NameList(click.ParamType):
    """An option that may be repeated; its environment variable holds a list with commas."""

    name = "text"
    envvar_list_splitter = ","

    def convert(self, value, param, ctx):
        return value.strip()


def name_list(*names, **arguments):
    """A repeatable option; its value is a tuple of texts, each once."""
    return option(*names, multiple=True, type=NameList(), callback=_each_once, **arguments)


def _each_once(ctx, param, value):
    return tuple(dict.fromkeys(filter(None, value)))


def _database_url(ctx, param, value):
    if value and (file := sqlite_file(value)):
        raise click.UsageError(
            f"the database must be a PostgreSQL URL, not {value}: this server keeps nothing in SQLite. Without a URL "
            f"it brings its own PostgreSQL; to take over a database of torc's server, type: torc-server import {file}"
        )
    return value and check_database_url(value)


def database_options(command):
    """The options that say where the data is."""
    url = option(
        "database_url",
        "-d",
        "--database",
        "--database-url",
        metavar="URL",
        callback=_database_url,
        help="PostgreSQL URL (14 or newer). Without it, the embedded PostgreSQL in the data folder.",
    )
    listen = option(
        "listen_database_url",
        "--listen-database-url",
        metavar="URL",
        callback=_database_url,
        show_default="the database URL",
        help="PostgreSQL's own address, where the database URL leads to a pooler that gives each transaction another "
        "session: for event streams and migrations, which need a session.",
    )
    folder = option(
        "data_dir",
        "--data-dir",
        type=click.Path(path_type=Path),
        default=default_data_dir,
        show_default="~/.local/share/torc, for root /var/lib/torc; inside a checkout the one of `make serve`",
        help="Where the embedded PostgreSQL keeps its data.",
    )
    return url(listen(folder(command)))


RUN_OPTIONS = (
    option(
        "host",
        "-H",
        "--host",
        "-u",
        "--url",
        default="127.0.0.1",
        help="Address to listen on; 0.0.0.0 for all; none for the unix socket only.",
    ),
    option("port", "-p", "--port", default=8080, type=click.IntRange(0, 65535), help="0 picks a free one."),
    option(
        "socket",
        "--socket",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="A unix socket to listen on as well, for a proxy on this machine, whose X-Forwarded-… are believed there. "
        "It never speaks TLS.",
    ),
    option("socket_mode", "--socket-mode", default="0660", metavar="MODE", help="Who may connect to the unix socket."),
    option("socket_group", "--socket-group", metavar="GROUP", help="Group of the unix socket, that of nginx say."),
    option(
        "workers",
        "--workers",
        default=default_workers,
        type=click.IntRange(1),
        show_default="cores, at least 2",
        help="Processes.",
    ),
    option(
        "threads",
        "-t",
        "--threads",
        default=4,
        type=click.IntRange(1),
        help="Small requests that each process serves at once. Lists and calls that walk a whole workflow have threads "
        "of their own, half as many each.",
    ),
    option(
        "direct",
        "--direct/--no-direct",
        default=True,
        help="Answer the calls that runners make all day before Flask; the answers are the same without.",
    ),
    option(
        "max_connections",
        "--max-connections",
        default=4000,
        type=click.IntRange(1),
        help="Clients' connections of each process; beyond it the oldest idle ones are closed, then new ones refused.",
    ),
    option(
        "handshake_timeout_secs",
        "--handshake-timeout-secs",
        default=10,
        type=click.IntRange(1),
        help="How long a client may take for the TLS handshake.",
    ),
    option(
        "head_timeout_secs",
        "--head-timeout-secs",
        default=10,
        type=click.IntRange(1),
        help="How long a client may take to send the head of a request.",
    ),
    option(
        "body_timeout_secs",
        "--body-timeout-secs",
        default=30,
        type=click.IntRange(1),
        help="How long nothing may arrive of a body.",
    ),
    option(
        "answer_timeout_secs",
        "--answer-timeout-secs",
        default=30,
        type=click.IntRange(1),
        help="How long a client may read nothing of its answer, or of its event stream.",
    ),
    option(
        "keepalive_secs",
        "--keepalive-secs",
        default=75,
        type=click.IntRange(1),
        help="How long a connection without a request is kept.",
    ),
    database_options,
    option("log_level", "-l", "--log-level", default="info", type=click.Choice(LOG_LEVELS, case_sensitive=False)),
    option(
        "max_request_body_mb",
        "--max-request-body-mb",
        default=200,
        type=click.IntRange(1),
        help="Size in MiB of the body of a bulk operation.",
    ),
    option(
        "max_small_body_mb",
        "--max-small-body-mb",
        default=16,
        type=click.IntRange(1),
        help="Size in MiB of the body of every other operation, and of one row within a bulk.",
    ),
    option(
        "log_format",
        "--log-format",
        default="plain",
        type=click.Choice(logs.FORMATS),
        help="Of all lines: plain text, or a JSON object each.",
    ),
    option(
        "log_dir",
        "--log-dir",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Write torc-server.log there too. It is rotated to .1, .2, … .5.",
    ),
    option(
        "log_max_mb",
        "--log-max-mb",
        default=10,
        type=click.IntRange(0),
        help="MiB at which the file is rotated; 0: never, as for logrotate.",
    ),
    option("json_logs", "--json-logs/--no-json-logs", default=False, help="Write the file as JSON, stderr as it is."),
    option(
        "access_log",
        "--access-log",
        default="errors",
        type=click.Choice(ACCESS_LOGS),
        help="Which answers are a line in the log: none, those of status 400 and more, all.",
    ),
    option(
        "slow_statement_ms",
        "--slow-statement-ms",
        default=1000,
        type=click.IntRange(0),
        help="Log the names of statements that take so many milliseconds; 0: of none.",
    ),
    option(
        "metrics",
        "--metrics",
        default="local",
        type=click.Choice(METRICS),
        help="Who may read GET /metrics: nobody; programs on this machine, without a password, that come through no "
        "proxy; or everybody who may call the server.",
    ),
    option(
        "daemon",
        "--daemon/--no-daemon",
        default=False,
        help="Go on in the background once the server listens. Needs --log-dir for its log.",
    ),
    option(
        "pid_file",
        "--pid-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        show_default="with --daemon /var/run/torc-server.pid",
        help="Holds the process id while the server runs; a second server with the same file is refused.",
    ),
    option(
        "node_timeout",
        "--node-timeout",
        default=0,
        type=click.IntRange(0),
        metavar="SECONDS",
        help="Give up a compute node that no request has named for so long: its running jobs fail, its claimed ones "
        "are ready again; 0: never. docs/monitoring.md tells what is safe for which client.",
    ),
    option("max_streams", "--max-streams", default=200, type=click.IntRange(0), help="Open event streams per process."),
    option(
        "api_event_body_max_bytes",
        "--api-event-body-max-bytes",
        default=8192,
        type=click.IntRange(0, 65536),
        help="So much of each body is shown to administrators who follow the requests with their bodies.",
    ),
    option(
        "auth_file",
        "--auth-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Users and passwords, made by `torc-server htpasswd add` or Apache's `htpasswd -B`. It is read again when "
        "it changes. Without it everybody is anonymous.",
    ),
    option("require_auth", "--require-auth/--no-require-auth", default=False, help="Refuse who gives no password."),
    option(
        "enforce_access_control",
        "--enforce-access-control/--no-enforce-access-control",
        default=False,
        help="Let users see and change only what is theirs, or shared with a group of theirs.",
    ),
    name_list("admin_users", "--admin-user", metavar="NAME", help="A system administrator. Repeatable."),
    option(
        "enable_admin_sql",
        "--enable-admin-sql/--disable-admin-sql",
        default=False,
        help="Let system administrators run SQL statements that read, through POST /admin/sql.",
    ),
    option(
        "enable_admin_sql_writes",
        "--enable-admin-sql-writes/--disable-admin-sql-writes",
        default=False,
        help="Let them also run INSERT, UPDATE and DELETE there, which bypass the rules of all other operations.",
    ),
    option(
        "admin_sql_without_access_control",
        "--admin-sql-without-access-control/--no-admin-sql-without-access-control",
        default=False,
        help="Let everybody who may call the server use admin SQL while access control is off.",
    ),
    option(
        "credential_cache_ttl_secs",
        "--credential-cache-ttl-secs",
        default=60,
        type=click.IntRange(0),
        help="How long a right password is remembered; 0: not at all, which costs a quarter of a second a request.",
    ),
    option(
        "max_login_failures",
        "--max-login-failures",
        default=10,
        type=click.IntRange(0),
        help="So many different wrong passwords for a user from an address, and then 429; 0: no limit.",
    ),
    option(
        "login_failure_window_secs",
        "--login-failure-window-secs",
        default=60,
        type=click.IntRange(1),
        help="How long a wrong password counts.",
    ),
    name_list(
        "trusted_proxies",
        "--trusted-proxy",
        metavar="ADDRESS",
        help="An address or network, such as 10.0.0.0/8, whose X-Forwarded-For, -Proto, -Host and -Prefix are "
        "believed; it must set them itself. Repeatable.",
    ),
    name_list(
        "allowed_origins",
        "--allowed-origin",
        metavar="ORIGIN",
        help="An origin, such as https://dashboard.example, whose pages may send requests from browsers and read the "
        "answers. Others only show what they are given. Repeatable.",
    ),
    name_list(
        "allowed_hosts",
        "--allowed-host",
        metavar="NAME",
        help="A name by which browsers may call this server, beside localhost and this machine's addresses and name; "
        "* for any. Repeatable.",
    ),
    option(
        "limit_request_field_size",
        "--limit-request-field-size",
        default=65536,
        type=click.IntRange(1024, 1 << 20),
        help="Bytes of one header; cookies of single sign-on are long.",
    ),
    option("https", "--https/--no-https", default=False, help="Speak TLS; needs the two files that follow."),
    option("tls_cert", "--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain, PEM."),
    option("tls_key", "--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Private key, PEM."),
    click.option(
        "--shutdown-on-stdin-eof",
        is_flag=True,
        expose_value=False,
        hidden=True,
        callback=lambda context, option, given: given and _stop_with_stdin(),
    ),
    option(
        "completion_check_interval_secs",
        "-c",
        "--completion-check-interval-secs",
        default=30.0,
        type=float,
        help="Accepted for compatibility; has no effect: jobs are released at once when what they wait for completes.",
    ),
)


def _stop_with_stdin():
    """Stop as by SIGTERM when stdin ends: `torc --standalone` closes it when it ends, however it ends."""

    def wait():
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run_options(command):
    """The options of a server."""
    for add in reversed(RUN_OPTIONS):
        command = add(command)
    return command


@cli.command()
@run_options
@click.option("--check", is_flag=True, help="Start nothing; find out whether a start or a reload would fail, and why.")
def run(check=False, **values):
    """Serve until stopped.

    SIGTERM lets running requests finish. SIGHUP takes up the settings files, certificates and code without losing a
    request, and says what changed and what needs a restart.
    """
    settings = Settings(**values)
    settings.check()
    if check:
        _check_start(settings)
        say("The settings and the database are fine")
        return
    serve(settings)


install_command(run_options, lambda: run.params)
cli.add_command(service_group)


def settings_of_environment():
    """Return the Settings that `torc-server run` without options has. Raises SettingsError, click.ClickException."""
    found = read_config_files()
    values = run.make_context("torc-server", [], default_map=found.values).params
    settings = Settings(**{name: value for name, value in values.items() if name != "check"})
    settings.check()
    return settings


@cli.command()
@run_options
@click.option("--template", is_flag=True, help="Print a file with all settings, explained and commented out.")
@click.pass_context
def config(context, template=False, **values):
    """Print the settings that `run` would use, as a TOML file, and where each comes from. Takes the options of run."""
    if template:
        click.echo(_template())
        return
    settings = Settings(**values)
    settings.check()
    click.echo("[server]")
    for name in (field.name for field in dataclasses.fields(settings)):
        click.echo(f"{_toml(name, values[name])}  # {_origin(context, name)}")
    for key in context.obj.unknown:
        click.echo(f"# ignored, because there is no such setting: {key}")


def _template():
    """A TOML file that explains each setting, in the order of the help, with its default."""
    lines = [
        "# Settings of torc-server, with their defaults: ./torc.toml, ~/.config/torc/config.toml or",
        "# /etc/torc/config.toml. Made by `torc-server config --template`.",
        "[server]",
    ]
    for parameter in run.params:
        if parameter.name not in {field.name for field in dataclasses.fields(Settings)}:
            continue
        shown = parameter.show_default if isinstance(parameter.show_default, str) else None
        told = [parameter.help or f"One of {', '.join(parameter.type.choices)}."] + [f"Default: {shown}."] * bool(shown)
        default = getattr(Settings(), parameter.name) if shown is None else None
        setting = "= …" if default is None else f"= {_as_toml(default)}"
        lines += ["", *textwrap.wrap(" ".join(told), 98, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"# {parameter.name} {setting}")
    return "\n".join(lines)


def _as_toml(value):
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)  # TOML writes it alike


def _toml(name, value):
    if value is None:
        return f"# {name} ="
    if name in ("database_url", "listen_database_url"):
        value = _without_password(value)
    return f"{name} = {_as_toml(value)}"


def _without_password(url):
    url = re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)
    return re.sub(r"(password\s*=\s*)('([^'\\]|\\.)*'|[^\s&]+)", r"\1***", url)


def _origin(context, name):
    source = context.get_parameter_source(name)
    if source == ParameterSource.DEFAULT_MAP:
        return context.obj.origins[name]
    if source == ParameterSource.ENVIRONMENT:
        return f"environment variable TORC_{name.upper()}"
    return {ParameterSource.COMMANDLINE: "option"}.get(source, "default")


def serve(settings):
    """Listen, have the database, bring it up to date, and run gunicorn until it is stopped."""
    from torc_server import master, metrics  # gunicorn, Flask and all statements: what no other command waits for

    _set_up_logging(settings)
    warn_of_unknown_settings()
    _warn_of_foreign_variable()
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
    with daemon.pid_file(pid_file), runtime.folder(before and before["runtime"]) as folder:
        metrics.share(folder)
        _serve(settings, wanted, before, folder, on_ready)


def _serve(settings, wanted, before, folder, on_ready):
    from torc_server import master

    with _listeners(settings) as (listeners, passed), _database(settings) as (conninfo, restart):
        session = connections.complete(settings.listen_database_url or conninfo)
        _check_database(conninfo, session)
        with _presence(session):
            _bring_up_to_date(settings, session, alone=True)
            _synchronize_admins(settings, conninfo)
            _set_up_admin_sql(settings, session)
            _check_connections(settings, conninfo)
            state = master.current_state(settings, before["passed"] if before else passed)
            state["runtime"] = str(folder)
            if before:
                say(master.describe_changes(before, state, wanted))
            former = before["workers"] if before else {}
            _run_gunicorn(settings, listeners, conninfo, restart, former, state, on_ready)


def _as_before(settings, former):
    """The settings, but for those that a reload cannot change."""
    from torc_server.master import RESTART_ONLY

    paths = {"socket", "data_dir", "pid_file"}
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


def _check_start(settings):
    """Find what would keep a server from starting, or from being reloaded, beyond the settings: the application, and
    the database if it runs. Raises what `run` would raise."""
    from torc_server.app import create_app

    create_app(settings, settings.database_url or "")
    running = settings.listen_database_url or settings.database_url
    if not running and embedded.has_database(settings.data_dir):
        state = embedded.reachable_folder(settings.data_dir)
        running = embedded.conninfo(state) if embedded.is_running(state) else None
    if running:
        found = migrations.status(running)
        if found.version and not found.current:
            raise migrations.MigrationError(_describe(found))


@cli.command()
@database_options
@click.option("--to", type=click.IntRange(0), metavar="N", help="Up or down to version N; 0 removes everything.")
@click.option("--yes", is_flag=True, help="Go down to version N even if that deletes data.")
@click.option(
    "--status", is_flag=True,
    help="Only print the version; nothing is made or started. Exit code 0: current, 3: it must be migrated, "
    "4: it does not answer, 1: it is too new for this release.",
)  # fmt: skip
def migrate(to, yes, status, **where):
    """Bring the database to the newest schema.

    A downgrade is refused while servers are connected, and without --yes if it deletes data.
    """
    if status and (to is not None or yes):
        raise click.UsageError("--status cannot be combined with --to or --yes")
    if status:
        _warn_of_foreign_variable()
        sys.exit(_print_status(Settings(**where)))
    with _session(where) as conninfo:
        for line in migrations.migrate(conninfo, to, lose_data=yes):
            click.echo(line)
        click.echo(_describe(migrations.status(conninfo)))


def _print_status(settings):
    """Print where the database is and at which version; return the exit code that `migrate --status` promises."""
    try:
        url = settings.listen_database_url or settings.database_url or _conninfo_of_running(settings.data_dir)
        found = migrations.status(connections.complete(url))
    except psycopg.OperationalError as error:
        _fail(f"the database does not answer: {_one_line(error)}", NO_ANSWER)
    click.echo(_describe(found))
    if found.current:
        return 0
    return 1 if found.version > found.latest else MUST_BE_MIGRATED


def _conninfo_of_running(data_dir):
    """The conninfo of the embedded PostgreSQL, which is not started for this; ends the program if it does not run."""
    if not embedded.has_database(data_dir):
        _fail(f"there is no database in {data_dir.expanduser().resolve()}; `torc-server run` makes it", NO_ANSWER)
    state = embedded.reachable_folder(data_dir)
    say(f"The data folder is {state}")
    if not embedded.is_running(state):
        _fail(f"PostgreSQL on {state} is not running; `torc-server run` starts and migrates it", NO_ANSWER)
    embedded.forget_environment()
    return embedded.conninfo(state)


FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@cli.command()
@database_options
@FILE
def backup(file, **where):
    """Write all data to FILE, while the server serves.

    It is one file in the custom format of PostgreSQL's pg_dump, and holds what was committed when the backup began. It
    is read back whole before it gets its name; an older FILE is replaced only then.
    """
    with _session(where) as conninfo:
        click.echo(f"{file} holds {held(write_backup(conninfo, file).rows)}")


@cli.command()
@database_options
@FILE
@click.option("--replace", is_flag=True, help="Also if the database holds workflows: they are deleted.")
def restore(file, replace, **where):
    """Put the backup FILE into the database, and bring it to the schema of this release.

    All or nothing. It is refused while servers are connected, and, without --replace, if the database holds data.
    """
    with _session(where) as conninfo:
        click.echo(f"Restored {held(restore_backup(conninfo, file, replace).rows)}")


class Age(click.ParamType):
    """A number of hours, days or weeks, such as 90d; a timedelta."""

    name = "age"

    def convert(self, value, param, ctx):
        if isinstance(value, timedelta):
            return value
        from torc_server.schemas.fields import parse_age

        return parse_age(value) or self.fail("is no number of hours, days or weeks, such as 12h, 90d or 8w", param, ctx)


@cli.command("prune")
@database_options
@click.option("--older-than", required=True, type=Age(), metavar="AGE", help="Such as 90d; also h (hours), w (weeks).")
@click.option("--archived-only", is_flag=True, help="Only of archived workflows.")
@click.option("--events", is_flag=True, help="Delete old events, and keep the workflows.")
@click.option("--results", is_flag=True, help="Delete old results of earlier runs that have a newer one, likewise.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune_database(older_than, archived_only, events, results, dry_run, yes, **where):
    """Delete what is old: workflows that are complete, canceled or archived, in which nothing has happened for AGE.

    Workflows with pending or running jobs or active compute nodes are never deleted. The server may serve meanwhile.
    """
    from torc_server import prune  # not needed to migrate

    with _session(where) as conninfo:
        _refuse_other_schema(conninfo)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SET timezone = 'UTC'; SET statement_timeout = 0")
            plan = prune.plan(connection, older_than, archived_only, events, results)
            _print_plan(plan)
            if dry_run or not plan.steps:
                return
            if not yes:
                _confirm("Delete this?")
            _print_deleted(connection, plan)


def _print_plan(plan):
    for number, name, jobs, results, events in plan.workflows[:SHOWN_WORKFLOWS]:
        click.echo(f"workflow {number} ({name}): {jobs:,} jobs, {results:,} results, {events:,} events")
    if len(plan.workflows) > SHOWN_WORKFLOWS:
        click.echo(f"and {len(plan.workflows) - SHOWN_WORKFLOWS:,} more")
    counts = {
        "workflows": len(plan.workflows),
        "events": sum(rows for _, rows in plan.events),
        "results": sum(rows for _, rows in plan.results),
    }
    old = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing"
    click.echo(f"Older than {plan.before:%Y-%m-%d %H:%M} UTC: {old}")


def _print_deleted(connection, plan):
    from torc_server.prune import carry_out

    done = Counter()
    with _progress_bar("Deleting", length=plan.steps) as bar:
        for what, count in carry_out(connection, plan):
            done[what] += count
            bar.update(count)
    skipped = done.pop("skipped", 0)
    click.echo(f"Deleted {', '.join(f'{count:,} {what}s' for what, count in done.items()) or 'nothing'}")
    if skipped:
        click.echo(f"{skipped:,} workflows were in use, and were left")


def _confirm(question):
    if not sys.stdin.isatty():
        _fail("nothing has been deleted: repeat the command with --yes")
    click.confirm(question, abort=True, err=True)


def _progress_bar(label, **arguments):
    """On a terminal; elsewhere nothing is shown."""
    return click.progressbar(label=label, file=sys.stderr, hidden=not sys.stderr.isatty(), **arguments)


@cli.command("import")
@database_options
@FILE
@click.option(
    "--keep-ids/--new-ids", default=None,
    help="Keep the ids of FILE, or give new ones. Without either: keep them if the database holds no workflows.",
)  # fmt: skip
@click.option("--after", type=int, default=0, metavar="ID", help="Only workflows with ids above ID, of FILE.")
def import_database(file, keep_ids, after, **where):
    """Import all workflows from FILE, the SQLite database of torc's own server, version 0.22.2 or 1.0.0.

    FILE is only read. Each workflow is imported in one transaction; the server may serve meanwhile.
    """
    from torc_server.moving_in import Source, move_in  # not needed to migrate

    with contextlib.closing(Source(file)) as source, _session(where) as conninfo:
        _bring_up_to_date(Settings(**where), conninfo)
        summary = move_in(source, conninfo, _import_progress, keep_ids, after)
    click.echo(f"Imported {held(summary.rows)} of torc {source.version}, {_ids_of(summary)}")
    for what, count in sorted(summary.left_out.items()):
        if count:
            click.echo(f"Left out: {what} ({count:,})")


def _import_progress(workflow_ids):
    with _progress_bar("Importing", iterable=workflow_ids) as bar:
        yield from bar


def _ids_of(summary):
    return "with their ids" if summary.keep_ids else "with new ids"


@cli.command("pg", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@database_options
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_program(program, arguments, **where):
    """Run a PROGRAM of PostgreSQL, such as psql or pg_basebackup, on the database.

    It finds the one that fits the database, also that of the embedded PostgreSQL, and tells it where the database is.
    """
    with _session(where) as conninfo:
        command = [postgres_programs.find(program, conninfo), *arguments]
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the program
        code = subprocess.run(command, env=postgres_programs.environment(conninfo)).returncode
    sys.exit(code)


def _refuse_other_schema(conninfo):
    found = migrations.status(conninfo)
    if not found.current:
        raise migrations.MigrationError(_describe(found))


@cli.command()
@database_options
@click.option("--json", "as_json", is_flag=True, help="All of it, settings included, as one JSON object.")
def status(database_url, listen_database_url, data_dir, as_json):
    """Tell which servers run on this machine, how busy they are, and what their database says.

    Exit code 0: one runs, and all that run answer; 1: one does not answer; 3: none runs.
    """
    from torc_server import status as servers

    found = servers.servers()
    about = _about_database(listen_database_url or database_url, data_dir)
    if as_json:
        click.echo(json.dumps({"servers": found, "database": about}, indent=2))
    else:
        for line in servers.as_text(found) or ["No torc-server of this user runs on this machine."]:
            click.echo(line)
        _print_database(about)
    if not found:
        sys.exit(NOT_RUNNING)
    sys.exit(any(server["answers"] or server["ready"] for server in found))


def _about_database(database_url, data_dir):
    """What the database says, {"error": why not}; None for an embedded one that does not run."""
    from torc_server import status as servers

    state = embedded.reachable_folder(data_dir)
    if not database_url and not embedded.is_running(state):
        return None
    try:
        return servers.database(connections.complete(database_url or embedded.conninfo(state)))
    except psycopg.Error as error:
        return {"error": _one_line(error)}


def _print_database(about):
    if about is None:
        click.echo("The PostgreSQL that comes along does not run in the data folder of this command.")
    elif "error" in about:
        click.echo(f"The database does not answer: {about['error']}")
    else:
        click.echo(f"The database has version {about['version']} of the schema; this release has {about['latest']}.")
        for name in about["servers"]:
            click.echo(f"  connected: {name}")


def _check_names(ctx, param, value):
    from torc_server.doctor import NAMES

    for name in value:
        if name not in NAMES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(NAMES)}", ctx, param)
    return value


@cli.command()
@run_options
@click.option("--fix", "fixes", is_flag=True, help="Mend what can be mended without a risk, and say what was done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: checks, findings, how many are left.")
@click.option("--only", multiple=True, metavar="CHECK", callback=_check_names, help="Only this check. Repeatable.")
def doctor(fixes, as_json, only, **values):
    """Examine the data, the schema, PostgreSQL, files, clocks and disks, and say what to do about what is not fine.

    Takes the options of run, for the settings of the server. It changes nothing without --fix, which restores functions
    and indexes, removes dead rows, sets wrong counters of jobs right, and closes files to others. Exit code 0: all is
    fine, or was fixed; 1: something is left.
    """
    from torc_server import doctor as examination  # not needed to migrate

    settings = Settings(**values)
    checks = []
    with _database_or_reason(settings) as conninfo:
        folder = None if settings.database_url else embedded.reachable_folder(settings.data_dir)
        for check in examination.examine(settings, conninfo, folder, only or examination.NAMES, fixes):
            checks.append(check)
            if not as_json:
                for line in examination.as_text(check):
                    click.echo(line)
    left = examination.problems(checks)
    if as_json:
        found = [
            {"name": each.name, "summary": each.summary, "findings": [finding.as_dict() for finding in each.findings]}
            for each in checks
        ]
        click.echo(json.dumps({"checks": found, "problems": left}, indent=2))
    else:
        click.echo(f"{left} to do" if left else "Nothing to do")
    sys.exit(left > 0)


@contextlib.contextmanager
def _database_or_reason(settings):
    """Give the conninfo of a session with the database, which is started for that if it is ours; if there is none, a
    list of one text that says why."""
    with contextlib.ExitStack() as stack:
        try:
            if not settings.database_url and not embedded.has_database(settings.data_dir):
                raise embedded.EmbeddedError(f"there is none in {settings.data_dir}; `torc-server run` makes it")
            conninfo, _ = stack.enter_context(_database(settings, attach=True))
            conninfo = connections.complete(settings.listen_database_url or conninfo)
            _check_database(conninfo, conninfo)
        except (psycopg.Error, SettingsError, embedded.EmbeddedError, connections.PoolerError) as error:
            conninfo = [_one_line(error)]
        yield conninfo


@cli.command("openapi")
def print_openapi():
    """Print the HTTP contract: an OpenAPI document in YAML, made from the code that serves it."""
    from torc_server.app import create_app
    from torc_server.openapi import as_yaml

    print(as_yaml(create_app(Settings(), "")), end="")


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
def _session(where):
    """Give the conninfo of a session with the database, for a command that works on its data; the PostgreSQL of a
    running server is used. where: the values of database_options()."""
    _warn_of_foreign_variable()
    settings = Settings(**where)
    with _database(settings, attach=True) as (conninfo, _):
        session = connections.complete(settings.listen_database_url or conninfo)
        _check_database(session, session)
        yield session


@contextlib.contextmanager
def _presence(conninfo):
    """Show that a server is connected from before the check of the version: its workers show it only later."""
    connection = Presence(conninfo).connect()
    main_process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == main_process:  # a forked worker has the same socket and would end the master's session
            connection.close()


def _check_database(conninfo, session):
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


def _bring_up_to_date(settings, conninfo, alone=False):
    """Migrate an empty or an embedded database; refuse any other that does not fit this release.

    alone: this process owns the embedded database, and may be connected as its server already.
    """
    found = migrations.status(conninfo)
    if found.version > found.latest:
        raise migrations.MigrationError(f"{_describe(found)} Install the torc-server that belongs to it.")
    if settings.database_url and found.version and not found.current:
        raise migrations.MigrationError(_describe(found))
    if not found.current:
        for line in migrations.migrate(conninfo, alone=alone):
            say(f"Database: {line}")


def _synchronize_admins(settings, conninfo):
    from torc_server.repository import sql  # not needed to migrate

    with psycopg.connect(conninfo, autocommit=True) as connection:
        names = {"user_names": list(settings.admin_users)}
        connection.execute(sql.authentication.synchronize_admins.sql, names)


def _set_up_admin_sql(settings, conninfo):
    from torc_server import admin_sql  # not needed to migrate

    if settings.enable_admin_sql:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            admin_sql.set_up(connection)


def _check_connections(settings, conninfo):
    with psycopg.connect(conninfo) as connection:
        most = connection.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        ).fetchone()[0]
    if most < settings.connections:
        warn(
            f"{settings.workers} workers with {settings.threads} threads may open {settings.connections} "
            f"connections, the database allows {most}: raise its max_connections, or lower --workers or --threads"
        )


def _run_gunicorn(settings, listeners, conninfo, restart, former, state, on_ready):
    from torc_server import gunicorn_conf, master
    from torc_server.app import create_app

    port = listening.port(listeners)
    where = [] if port is None else [_url(settings, port)]
    where += [f"unix:{each.getsockname()}" for each in listeners if each.family == socket.AF_UNIX]

    def when_ready(server):
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
    values |= {name: _without_password(value) for name, value in urls.items()}
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": url,
        "started": time.time(),
        "database": _without_password(conninfo),
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in values.items()},
    }


def _set_up_logging(settings):
    try:
        logs.set_up(settings)
    except OSError as error:
        raise SettingsError(f"cannot log to {settings.log_dir}: {error.strerror}") from error


def warn_of_unknown_settings():
    """Name the keys of the configuration files that are no settings."""
    for key in click.get_current_context().obj.unknown:
        warn(f"there is no setting {key}")


def _warn_of_foreign_variable():
    if os.environ.get("DATABASE_URL"):
        warn("the environment variable DATABASE_URL is ignored; torc-server takes TORC_DATABASE_URL")


def say(line):
    """Tell a person what happens; on stderr, because stdout is for programs. A server logs it."""
    if logs.is_set_up():
        log.info("%s", line)
    else:
        click.echo(line, err=True)


def warn(message):
    """The same for what is likely to be a mistake."""
    if logs.is_set_up():
        log.warning("%s", message)
    else:
        click.echo(f"Warning: {message}", err=True)


def _fail(message, code=1):
    if logs.is_set_up():
        logs.fail(message)
    else:
        click.echo(f"torc-server: {message}", err=True)
    sys.exit(code)


def _one_line(error):
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
