"""`torc-server doctor`."""

import contextlib
import json
import sys

import click
import psycopg

from torc_server import connections, data_folder, embedded
from torc_server import doctor as examination
from torc_server.commands.database import check_database, open_database
from torc_server.commands.messages import one_line
from torc_server.commands.options import run_options
from torc_server.settings import Settings, SettingsError


def _check_names(ctx, param, value):
    for name in value:
        if name not in examination.NAMES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(examination.NAMES)}", ctx, param)
    return value


@click.command("doctor")
@run_options
@click.option("--fix", "fixes", is_flag=True, help="Mend what can be mended without a risk, and say what was done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: checks, findings, how many are left.")
@click.option("--only", multiple=True, metavar="CHECK", callback=_check_names, help="Only this check. Repeatable.")
def command(fixes, as_json, only, **values):
    """Examine the data, the schema, PostgreSQL, files, clocks and disks, and say what to do about what is not fine.

    Takes the options of run, for the settings of the server. It changes nothing without --fix, which restores functions
    and indexes, removes dead rows, sets wrong counters of jobs right, and closes files to others. Exit code 0: all is
    fine, or was fixed; 1: something is left.
    """
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
            if not settings.database_url and not data_folder.has_database(settings.data_dir):
                raise embedded.EmbeddedError(f"there is none in {settings.data_dir}; `torc-server run` makes it")
            conninfo, _ = stack.enter_context(open_database(settings, attach=True))
            conninfo = connections.complete(settings.listen_database_url or conninfo)
            check_database(conninfo, conninfo)
        except (psycopg.Error, SettingsError, embedded.EmbeddedError, connections.PoolerError) as error:
            conninfo = [one_line(error)]
        yield conninfo
