"""`torc-server restore`."""

import click

from torc_server.backup import held, restore
from torc_server.commands.database import session
from torc_server.commands.options import FILE, database_options


@click.command("restore")
@database_options
@FILE
@click.option("--replace", is_flag=True, help="Also if the database holds workflows: they are deleted.")
def command(file, replace, **where):
    """Put the backup FILE into the database, and bring it to the schema of this release.

    All or nothing. It is refused while servers are connected, and, without --replace, if the database holds data.
    """
    with session(where) as conninfo:
        click.echo(f"Restored {held(restore(conninfo, file, replace).rows)}")
