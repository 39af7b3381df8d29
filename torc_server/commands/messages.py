"""What commands tell people: on stderr, because stdout is for programs. A server that has set up its log writes it
there."""

import logging
import os
import sys
from typing import Any, NoReturn

import click

from torc_server.settings import Settings, SettingsError

log = logging.getLogger("torc_server")
_logged = False


def set_up_logging(settings: Settings) -> None:
    """From now on messages are lines of the log. Raises SettingsError."""
    from torc_server import logs  # gunicorn's logger, for servers only

    global _logged
    try:
        logs.set_up(settings)
    except OSError as error:
        raise SettingsError(f"cannot log to {settings.log_dir}: {error.strerror}") from error
    _logged = True


def say(line: str) -> None:
    """Tell what happens."""
    if _logged:
        log.info("%s", line)
    else:
        click.echo(line, err=True)


def warn(message: str) -> None:
    """Tell what is likely to be a mistake."""
    if _logged:
        log.warning("%s", message)
    else:
        click.echo(f"Warning: {message}", err=True)


def fail(message: object, code: int = 1) -> NoReturn:
    """Tell why the program cannot go on, in one line, and end it."""
    if _logged:
        from torc_server import logs

        logs.fail(message)
    else:
        click.echo(f"torc-server: {message}", err=True)
    sys.exit(code)


def one_line(error: BaseException) -> str:
    """The text of an error without line ends."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def warn_of_unknown_settings() -> None:
    """Name the keys of the configuration files that are no settings."""
    for key in click.get_current_context().obj.unknown:
        warn(f"there is no setting {key}")


def warn_of_foreign_variable() -> None:
    """A launcher of another server may have set DATABASE_URL."""
    if os.environ.get("DATABASE_URL"):
        warn("the environment variable DATABASE_URL is ignored; torc-server takes TORC_DATABASE_URL")


def progress_bar(label: str, **arguments: Any) -> Any:
    """A bar on a terminal; elsewhere nothing is shown."""
    return click.progressbar(label=label, file=sys.stderr, hidden=not sys.stderr.isatty(), **arguments)
