"""`torc-server config`: the settings in force, and where each comes from."""

import json
import textwrap
from dataclasses import fields
from pathlib import Path

import click
from click.core import ParameterSource

from torc_server.commands.options import run_options
from torc_server.settings import Settings, default_of, option_of, without_password


@click.command("config")
@run_options
@click.option("--template", is_flag=True, help="Print a file with all settings, explained and commented out.")
@click.pass_context
def command(context, template=False, **values):
    """Print the settings that `run` would use, as a TOML file, and where each comes from. Takes the options of run."""
    if template:
        click.echo(_template())
        return
    settings = Settings(**values)
    settings.check()
    click.echo("[server]")
    for declared in fields(Settings):
        click.echo(f"{_toml(declared, values[declared.name])}  # {_origin(context, declared.name)}")
    for key in context.obj.unknown:
        click.echo(f"# ignored, because there is no such setting: {key}")


def _template():
    """A TOML file that explains each setting, in the order of the help, with its default."""
    lines = [
        "# Settings of torc-server, with their defaults: ./torc.toml, ~/.config/torc/config.toml or",
        "# /etc/torc/config.toml. Made by `torc-server config --template`.",
        "[server]",
    ]
    for declared in fields(Settings):
        about = option_of(declared)
        told = [about.help or f"One of {', '.join(about.choices)}."]
        told += [f"Default: {about.shown_default}."] if about.shown_default else []
        default = None if about.shown_default else default_of(declared)
        lines += ["", *textwrap.wrap(" ".join(told), 98, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"# {declared.name} = {'…' if default is None else _as_toml(default)}")
    return "\n".join(lines)


def _as_toml(value):
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)  # TOML writes it alike


def _toml(declared, value):
    if value is None:
        return f"# {declared.name} ="
    if option_of(declared).metavar == "URL":
        value = without_password(value)
    return f"{declared.name} = {_as_toml(value)}"


def _origin(context, name):
    source = context.get_parameter_source(name)
    if source == ParameterSource.DEFAULT_MAP:
        return context.obj.origins[name]
    if source == ParameterSource.ENVIRONMENT:
        return f"environment variable TORC_{name.upper()}"
    return {ParameterSource.COMMANDLINE: "option"}.get(source, "default")
