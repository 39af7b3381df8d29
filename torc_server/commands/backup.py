"""`torc-server backup`."""

import click

from torc_server.backup import backup, held
from torc_server.commands.database import session
from torc_server.commands.options import FILE, database_options


@click.command("backup")
@database_options
@FILE
def command(file, **where):
    """Write all data to FILE, while the server serves.

    It is one file in the custom format of PostgreSQL's pg_dump, and holds what was committed when the backup began. It
    is read back whole before it gets its name; an older FILE is replaced only then.
    """
    with session(where) as conninfo:
        click.echo(f"{file} holds {held(backup(conninfo, file).rows)}")
