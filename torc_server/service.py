"""`torc-server service`: writes the systemd units of the server, its backup and its pruning, and drives them."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from torc_server.nginx_config import render
from torc_server.settings import NO_TCP, Settings, SettingsError

SYSTEM_FOLDER = Path("/etc/systemd/system")
UNITS = (
    "torc-server.service", "torc-server-backup.service", "torc-server-backup.timer", "torc-server-prune.service",
    "torc-server-prune.timer",
)  # fmt: skip
SOCKET = "torc-server.socket"
ENABLED = ("torc-server.service", "torc-server-backup.timer", "torc-server-prune.timer")
CLOSED_FOLDERS = ("/home", "/root", "/run/user")  # ProtectHome hides them from the service


def units(
    program: Path | str,
    user: bool = False,
    account: str = "torc",
    arguments: Iterable[str] = (),
    settings: Settings | None = None,
    activation: bool = False,
) -> dict[str, str]:
    """Return {file name: text} of the systemd units. `arguments` are options of `run`, `settings` the Settings that
    they give, for `activation`: systemd opens the sockets."""
    quoted = "".join(f" {quote(each)}" for each in arguments)
    common = render("oneshot.j2", user=user, account=account).rstrip("\n")
    values = {
        "program": quote(program), "user": user, "account": account, "arguments": quoted, "common": common,
        "folder": "%h/.local/share/torc/backups" if user else "/var/lib/torc/backups",
    }  # fmt: skip
    made = {name: render(f"{name}.j2", **values) for name in UNITS}
    if activation:
        made[SOCKET] = _socket_unit(settings)
    return made


def _socket_unit(settings):
    host = {"0.0.0.0": "0.0.0.0", "::": "[::]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    port = None if settings.host == NO_TCP else f"{host}:{settings.port}"
    socket = settings.socket and settings.socket.absolute()
    return render(f"{SOCKET}.j2", port=port, socket=socket, mode=settings.socket_mode, group=settings.socket_group)


def quote(word: object) -> str:
    """A word of a command line in a unit (systemd.service(5))."""
    word = str(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word or set(word) & set(" \t\n'\"\\;") else word


def spelled_out(context: click.Context, parameters: Iterable[click.Option]) -> list[str]:
    """The options that were given on the command line, as words."""
    words = []
    for option in parameters:
        if context.get_parameter_source(option.name) != ParameterSource.COMMANDLINE:
            continue
        value = context.params[option.name]
        flag = max(option.opts, key=len)
        if isinstance(value, bool):
            words.append(flag if value else max(option.secondary_opts, key=len))
            continue
        values = value if option.multiple else [value]
        words += [f"{flag}={each.absolute() if isinstance(each, Path) else each}" for each in values]
    return words


def install(program: Path | str, user: bool, account: str, **options: Any) -> None:
    """Write the units, make the account if it is missing, and enable them. Raises SettingsError."""
    _check_place(program, user)
    folder = folder_of(user)
    if not user:
        _make_account(account)
    folder.mkdir(parents=True, exist_ok=True)
    made = units(program, user, account, **options)
    for name, text in made.items():
        (folder / name).write_text(text)
        click.echo(f"wrote {folder / name}", err=True)
    systemctl(user, "daemon-reload")
    systemctl(user, "enable", *([SOCKET] if SOCKET in made else []), *ENABLED)


def uninstall(user: bool) -> None:
    """Stop and disable the units, and remove their files; data, settings and the account stay."""
    folder = folder_of(user)
    present = [name for name in (SOCKET, *UNITS) if (folder / name).exists()]
    if not present:
        raise SettingsError(f"there is no torc-server.service in {folder}")
    systemctl(user, "disable", "--now", *[name for name in present if name in (SOCKET, *ENABLED)])
    for name in present:
        (folder / name).unlink()
    systemctl(user, "daemon-reload")


def folder_of(user: bool) -> Path:
    """Where the units are; `user`: those of this user. Raises SettingsError."""
    if user:
        return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"
    if os.geteuid() != 0:
        raise SettingsError("a service of the system is root's to install; --user makes one of yours")
    return SYSTEM_FOLDER


def _check_place(program, user):
    real = Path(program).resolve()
    if not user and any(real.is_relative_to(folder) for folder in CLOSED_FOLDERS):
        raise SettingsError(f"the service cannot reach {real}: install torc-server outside of home folders, in /opt")


def _make_account(account):
    try:
        pwd.getpwnam(account)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--home-dir", "/var/lib/torc", "--shell", "/usr/sbin/nologin"]
        _run([*command, account])
        return
    try:
        grp.getgrnam(account)
    except KeyError as error:
        raise SettingsError(f"the account {account} exists, but no group {account}") from error


def systemctl(user: bool, *arguments: str) -> None:
    """Run systemctl. Raises SettingsError."""
    _run(["systemctl", *(["--user"] if user else []), *arguments])


def _run(command):
    if not shutil.which(command[0]):
        raise SettingsError(f"{command[0]} is needed, and is not on this machine")
    done = subprocess.run(command, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SettingsError(f"`{' '.join(command)}` failed with exit code {done.returncode}")
