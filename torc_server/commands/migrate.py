"""`torc-server migrate`."""

import sys

import click
import psycopg

from torc_server import connections, data_folder, embedded, migrations
from torc_server.commands.database import describe, session
from torc_server.commands.messages import fail, one_line, say, warn_of_foreign_variable
from torc_server.commands.options import database_options
from torc_server.settings import Settings

MUST_BE_MIGRATED, NO_ANSWER = 3, 4  # exit codes of `migrate --status`


@click.command("migrate")
@database_options
@click.option("--to", type=click.IntRange(0), metavar="N", help="Up or down to version N; 0 removes everything.")
@click.option("--yes", is_flag=True, help="Go down to version N even if that deletes data.")
@click.option(
    "--status", is_flag=True,
    help="Only print the version; nothing is made or started. Exit code 0: current, 3: it must be migrated, "
    "4: it does not answer, 1: it is too new for this release.",
)  # fmt: skip
def command(to, yes, status, **where):
    """Bring the database to the newest schema.

    A downgrade is refused while servers are connected, and without --yes if it deletes data.
    """
    if status and (to is not None or yes):
        raise click.UsageError("--status cannot be combined with --to or --yes")
    if status:
        warn_of_foreign_variable()
        sys.exit(_print_status(Settings(**where)))
    with session(where) as conninfo:
        for line in migrations.migrate(conninfo, to, lose_data=yes):
            click.echo(line)
        click.echo(describe(migrations.status(conninfo)))


def _print_status(settings):
    """Print where the database is and at which version; return the exit code that `migrate --status` promises."""
    try:
        url = settings.listen_database_url or settings.database_url or _conninfo_of_running(settings.data_dir)
        found = migrations.status(connections.complete(url))
    except psycopg.OperationalError as error:
        fail(f"the database does not answer: {one_line(error)}", NO_ANSWER)
    click.echo(describe(found))
    if found.current:
        return 0
    return 1 if found.version > found.latest else MUST_BE_MIGRATED


def _conninfo_of_running(data_dir):
    """The conninfo of the embedded PostgreSQL, which is not started for this; ends the program if it does not run."""
    if not data_folder.has_database(data_dir):
        fail(f"there is no database in {data_dir.expanduser().resolve()}; `torc-server run` makes it", NO_ANSWER)
    state = embedded.reachable_folder(data_dir)
    say(f"The data folder is {state}")
    if not embedded.is_running(state):
        fail(f"PostgreSQL on {state} is not running; `torc-server run` starts and migrates it", NO_ANSWER)
    embedded.forget_environment()
    return embedded.conninfo(state)
