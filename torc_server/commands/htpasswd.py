"""`torc-server htpasswd add|remove|list|verify`: the users of a server's password file."""

import sys
from collections.abc import Callable

import click

from torc_server import htpasswd

FILE = click.argument("file", type=click.Path(dir_okay=False))
NAME = click.argument("name")


def password_options(command: Callable) -> Callable:
    """Where the password comes from: a prompt, unless these say otherwise."""
    stdin = click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin.")
    given = click.option(
        "-p", "--password", help="The password itself. Others on this machine can see it, and the shell remembers it."
    )
    return stdin(given(command))


@click.group("htpasswd")
def command():
    """Edit a file of users and passwords, such as `run --auth-file` takes. A running server sees changes at once.

    Apache's `htpasswd -B` reads and writes the same files.
    """


@command.command()
@FILE
@NAME
@password_options
@click.option(
    "--cost",
    default=htpasswd.DEFAULT_COST,
    type=click.IntRange(4, 31),
    show_default=True,
    help="Of verifying; one more doubles the time. 12 takes about a quarter of a second.",
)
def add(file, name, password, from_stdin, cost):
    """Add a user, or give a new password. The file is made if there is none."""
    htpasswd.check_name(name)
    password = _password(password, from_stdin, twice=True)
    htpasswd.check_password(password)
    if len(password.encode()) > htpasswd.MAX_PASSWORD_BYTES:
        click.echo(f"Only the first {htpasswd.MAX_PASSWORD_BYTES} bytes of the password count", err=True)
    hashed = htpasswd.hash_password(password, cost)
    htpasswd.edit(file, lambda lines: htpasswd.with_user(lines, name, hashed), create=True)
    click.echo(f"{name} has that password now", err=True)


@command.command()
@FILE
@NAME
def remove(file, name):
    """Remove a user."""
    htpasswd.edit(file, lambda lines: htpasswd.without_user(lines, name))
    click.echo(f"{name} is removed", err=True)
    if not htpasswd.names(htpasswd.read_lines(file)):
        click.echo("No user is left: a running server keeps those it has, and none can be started", err=True)


@command.command("list")
@FILE
def list_names(file):
    """List the users, in the order of the file."""
    for name in htpasswd.names(htpasswd.read_lines(file)):
        click.echo(name)


@command.command()
@FILE
@NAME
@password_options
def verify(file, name, password, from_stdin):
    """Say whether a password is right: exit code 0, or 1."""
    users = htpasswd.parse("".join(htpasswd.read_lines(file)))
    password = _password(password, from_stdin)
    if not htpasswd.verify_password(password, users.get(name, "")):
        raise htpasswd.HtpasswdError("wrong user name or password")
    click.echo("The password is right", err=True)


def _password(given, from_stdin, twice=False):
    if given is not None:
        return given
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True)
