"""The settings as options of commands, made from their declarations in settings.py."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

from torc_server.settings import (
    Settings,
    SettingsError,
    flags_of,
    option_of,
    read_config_files,
)

FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
_DATABASE = ("database_url", "listen_database_url", "data_dir")


class NameList(click.ParamType):
    """An option that may be repeated; its environment variable holds a list with commas."""

    name = "text"
    envvar_list_splitter = ","

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002
        return value.strip()


def _each_once(_ctx, _param, value):
    return tuple(dict.fromkeys(filter(None, value)))


def _checked(check):
    def callback(ctx, _param, value):
        try:
            if value:
                check(value)
        except SettingsError as error:
            raise click.UsageError(str(error), ctx) from error
        return value

    return callback


def _option(declared: Field) -> Callable:
    about = option_of(declared)
    arguments: dict[str, Any] = {
        "help": about.help or None,
        "metavar": about.metavar,
        "default": declared.default if declared.default_factory is MISSING else declared.default_factory,
        "show_default": about.shown_default or True,
        "envvar": f"TORC_{declared.name.upper()}",
        "show_envvar": True,
        "type": _type(declared),
    }
    if declared.type == tuple[str, ...]:
        arguments |= {"multiple": True, "callback": _each_once}
    elif about.check:
        arguments["callback"] = _checked(about.check)
    return click.option(declared.name, *flags_of(declared), **arguments)


def _type(declared):
    about = option_of(declared)
    if about.choices:
        return click.Choice(about.choices, case_sensitive=False)
    if declared.type == tuple[str, ...]:
        return NameList()
    if declared.type is int:
        return click.IntRange(about.least, about.most)
    if declared.type in (Path, Path | None):
        return click.Path(path_type=Path)
    return None if declared.type is bool else {float: float}.get(declared.type, str)


def _add(names):
    def decorate(command):
        for declared in reversed(fields(Settings)):
            if declared.name in names:
                command = _option(declared)(command)
        return command

    return decorate


run_options = _add([declared.name for declared in fields(Settings)])  # the options of a server
database_options = _add(_DATABASE)  # those that say where the data is


@click.command("torc-server")
@run_options
def _settings(**values):
    return Settings(**values)


def settings_of_environment() -> Settings:
    """Return the Settings that `torc-server run` without options has. Raises SettingsError, click.ClickException."""
    settings = _settings.main([], standalone_mode=False, default_map=read_config_files().values)
    settings.check()
    return settings
