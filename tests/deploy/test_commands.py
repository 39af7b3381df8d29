"""The program's list of commands, and what they import."""

import subprocess
import sys
from dataclasses import fields

import click
import pytest

from torc_server import cli
from torc_server.commands.options import run_options
from torc_server.settings import Settings, option_of

HEAVY = {"psycopg", "flask", "gunicorn", "bcrypt", "jinja2", "marshmallow", "igraph", "ssl", "prometheus_client"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_line_of_each_command_in_the_help_is_how_its_own_help_begins(name):
    command = cli.cli.get_command(None, name)
    assert command.name == name
    assert " ".join(command.help.split()).startswith(cli.COMMANDS[name].removesuffix("."))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_files_and_the_environment_give_settings_to_each_command_that_has_options_for_them(name):
    has = {each.name for each in cli.cli.get_command(None, name).params} & {each.name for each in fields(Settings)}
    if name == "nginx-config":  # its --access-log is another one
        has.remove("access_log")
    assert bool(has) == (name in cli.TAKE_SETTINGS)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["config"], ["run", "--help"]], ids=" ".join)
def test_small_commands_import_no_library_that_they_do_not_use(arguments):
    program = (
        "import sys\nfrom torc_server.cli import main\n"
        f"sys.argv = ['torc-server', *{arguments}]\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert HEAVY.isdisjoint(done.stderr.split())


def test_each_setting_has_an_option_with_its_default_and_its_text(monkeypatch):
    monkeypatch.delenv("TORC_DATA_DIR", raising=False)  # make sets it

    @click.command()
    @run_options
    def command(**values):
        return Settings(**values)

    assert [each.name for each in command.params] == [each.name for each in fields(Settings)]
    assert command.main([], standalone_mode=False) == Settings()
    assert all(option_of(each).help or option_of(each).choices for each in fields(Settings))
