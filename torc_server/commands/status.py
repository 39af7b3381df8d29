"""`torc-server status`."""

import json
import sys

import click
import psycopg

from torc_server import connections, embedded
from torc_server import status as servers
from torc_server.commands.messages import one_line
from torc_server.commands.options import database_options

NOT_RUNNING = 3  # exit code, as of systemctl


@click.command("status")
@database_options
@click.option("--json", "as_json", is_flag=True, help="All of it, settings included, as one JSON object.")
def command(database_url, listen_database_url, data_dir, as_json):
    """Tell which servers run on this machine, how busy they are, and what their database says.

    Exit code 0: one runs, and all that run answer; 1: one does not answer; 3: none runs.
    """
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
    state = embedded.reachable_folder(data_dir)
    if not database_url and not embedded.is_running(state):
        return None
    try:
        return servers.database(connections.complete(database_url or embedded.conninfo(state)))
    except psycopg.Error as error:
        return {"error": one_line(error)}


def _print_database(about):
    if about is None:
        click.echo("The PostgreSQL that comes along does not run in the data folder of this command.")
    elif "error" in about:
        click.echo(f"The database does not answer: {about['error']}")
    else:
        click.echo(f"The database has version {about['version']} of the schema; this release has {about['latest']}.")
        for name in about["servers"]:
            click.echo(f"  connected: {name}")
