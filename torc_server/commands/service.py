"""`torc-server service`."""

import shutil
import subprocess
import sys
from pathlib import Path

import click

from torc_server.commands.options import run_options
from torc_server.service import ENABLED, SOCKET, folder_of, install, spelled_out, systemctl, uninstall
from torc_server.settings import Settings, SettingsError


@click.group("service")
def command():
    """Run the server as a service of systemd, with a nightly backup and a weekly prune.

    Settings belong into /etc/torc/config.toml and /etc/torc/torc.env (--user: ~/.config/torc); options of run that are
    given to install are written into the unit.
    """


user_option = click.option("--user", is_flag=True, help="A service of yours, without root.")


@command.command("install")
@user_option
@click.option("--account", default="torc", show_default=True, help="The service's user; made if missing.")
@click.option("--activation", is_flag=True, help="Let systemd open the sockets: no client is refused at a restart.")
@run_options
@click.pass_context
def install_service(context, user, account, activation, **values):
    """Write the units and enable them; `service start` starts the server."""
    settings = Settings(**values)
    settings.check()
    arguments = spelled_out(context, [each for each in context.command.params if each.name in values])
    install(_program(), user, account, arguments=arguments, settings=settings, activation=activation)
    click.echo(f"Start it: torc-server service start{' --user' if user else ''}", err=True)
    if user:
        click.echo("It ends when you log out, unless you type: loginctl enable-linger", err=True)


def _program():
    return Path(sys.argv[0]).absolute()


@command.command("uninstall")
@user_option
def uninstall_service(user):
    """Stop the service and remove its units; data and settings stay."""
    uninstall(user)


@command.command("start")
@user_option
def start_service(user):
    """Start the server and the timers."""
    folder = folder_of(user)
    systemctl(user, "start", *([SOCKET] if (folder / SOCKET).exists() else []), *ENABLED)


@command.command("stop")
@user_option
def stop_service(user):
    """Stop the server and the timers; requests under way are finished."""
    folder = folder_of(user)
    systemctl(user, "stop", *([SOCKET] if (folder / SOCKET).exists() else []), *ENABLED)


@command.command("status")
@user_option
def status_of_service(user):
    """Show how the service is. Exit code: that of systemctl status (0 running, 3 stopped, 4 not installed)."""
    command = ["systemctl", *(["--user"] if user else []), "--no-pager", "status", "torc-server.service"]
    if not shutil.which(command[0]):
        raise SettingsError("systemctl is needed, and is not on this machine")
    sys.exit(subprocess.run(command, stdin=subprocess.DEVNULL).returncode)
