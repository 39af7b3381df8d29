"""`torc-server pg`."""

import signal
import subprocess
import sys

import click

from torc_server import postgres_programs
from torc_server.commands.database import session
from torc_server.commands.options import database_options


@click.command("pg", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@database_options
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(program, arguments, **where):
    """Run a PROGRAM of PostgreSQL, such as psql or pg_basebackup, on the database.

    It finds the one that fits the database, also that of the embedded PostgreSQL, and tells it where the database is.
    """
    with session(where) as conninfo:
        command = [postgres_programs.find(program, conninfo), *arguments]
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the program
        code = subprocess.run(command, env=postgres_programs.environment(conninfo)).returncode
    sys.exit(code)
