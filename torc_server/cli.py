"""The program `torc-server`: its commands are the modules of torc_server/commands; without a command it runs.

stdout carries TORC_SERVER_PORT=<port> and nothing else while serving; whatever people read goes to stderr. What cannot
be done is one line and a non-zero exit.
"""

import importlib
import sys

import click

from torc_server import __version__
from torc_server.commands.messages import fail, one_line
from torc_server.problems import CommandError
from torc_server.settings import read_config_files

# One line of the help for each command, so that the help needs none of their imports.
COMMANDS = {
    "run": "Serve until stopped.",
    "config": "Print the settings that `run` would use, as a TOML file, and where each comes from.",
    "status": "Tell which servers run on this machine, how busy they are, and what their database says.",
    "doctor": "Examine the data, the schema, PostgreSQL, files, clocks and disks.",
    "migrate": "Bring the database to the newest schema.",
    "backup": "Write all data to FILE, while the server serves.",
    "restore": "Put the backup FILE into the database, and bring it to the schema of this release.",
    "prune": "Delete what is old.",
    "import": "Import all workflows from FILE, the SQLite database of torc's own server.",
    "pg": "Run a PROGRAM of PostgreSQL, such as psql or pg_basebackup, on the database.",
    "htpasswd": "Edit a file of users and passwords.",
    "service": "Run the server as a service of systemd, with a nightly backup and a weekly prune.",
    "nginx-config": "Print a configuration of nginx that fits the settings.",
    "openapi": "Print the HTTP contract, an OpenAPI document in YAML.",
}
TAKE_SETTINGS = ("run", "config", "status", "doctor", "migrate", "backup", "restore", "prune", "import", "pg")


class Commands(click.Group):
    """The commands of COMMANDS; the module of one is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        return importlib.import_module(f"torc_server.commands.{module}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main() -> None:
    """Entry point. `torc-server` alone means `torc-server run`, as existing launchers expect."""
    try:
        found = read_config_files()
        defaults = dict.fromkeys(TAKE_SETTINGS, found.values)
        arguments = sys.argv[1:] or ["run"]
        sys.exit(cli.main(arguments, "torc-server", standalone_mode=False, default_map=defaults, obj=found))
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except CommandError as error:
        fail(error)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:
        psycopg = sys.modules.get("psycopg")  # only commands with a database have imported it
        if psycopg and isinstance(error, psycopg.errors.LockNotAvailable):
            fail(f"the database is too busy to migrate ({one_line(error)}); stop its servers, or try again")
        if psycopg and isinstance(error, psycopg.Error):
            fail(f"the database: {one_line(error)}")
        raise


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="torc-server %(version)s")
def cli():
    """A workflow-management server for thousands of shell jobs. Without a command it runs.

    Each option is also an environment variable, TORC_<OPTION>, and a key in section [server] of ./torc.toml,
    ~/.config/torc/config.toml or /etc/torc/config.toml; an option wins over the environment, that over the files.
    """
