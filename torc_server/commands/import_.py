"""`torc-server import`."""

import contextlib

import click

from torc_server.backup import held
from torc_server.commands.database import bring_up_to_date, session
from torc_server.commands.messages import progress_bar
from torc_server.commands.options import FILE, database_options
from torc_server.moving_in import Source, move_in
from torc_server.settings import Settings


@click.command("import")
@database_options
@FILE
@click.option(
    "--keep-ids/--new-ids", default=None,
    help="Keep the ids of FILE, or give new ones. Without either: keep them if the database holds no workflows.",
)  # fmt: skip
@click.option("--after", type=int, default=0, metavar="ID", help="Only workflows with ids above ID, of FILE.")
def command(file, keep_ids, after, **where):
    """Import all workflows from FILE, the SQLite database of torc's own server, version 0.22.2 or 1.0.0.

    FILE is only read. Each workflow is imported in one transaction; the server may serve meanwhile.
    """
    with contextlib.closing(Source(file)) as source, session(where) as conninfo:
        bring_up_to_date(Settings(**where), conninfo)
        summary = move_in(source, conninfo, _import_progress, keep_ids, after)
    click.echo(f"Imported {held(summary.rows)} of torc {source.version}, {_ids_of(summary)}")
    for what, count in sorted(summary.left_out.items()):
        if count:
            click.echo(f"Left out: {what} ({count:,})")


def _import_progress(workflow_ids):
    with progress_bar("Importing", iterable=workflow_ids) as bar:
        yield from bar


def _ids_of(summary):
    return "with their ids" if summary.keep_ids else "with new ids"
