"""The settings of a server: flags win over the environment (TORC_<OPTION>), then come TOML files, then defaults."""

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

import psycopg

# The first file that has a key wins; section [server]. The same files may hold the sections of other programs.
CONFIG_FILES = ("torc.toml", "~/.config/torc/config.toml", "/etc/torc/config.toml")
LOG_LEVELS = ("error", "warn", "warning", "info", "debug", "trace")
_ALIASES = {"url": "host", "database": "database_url"}


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line for a person."""


def default_workers():
    """One process per core and one more, at least two: a killed one never leaves the port without an answer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores + 1)


def default_data_dir():
    """Where the embedded PostgreSQL lives unless told otherwise."""
    return Path("/var/lib/torc") if os.geteuid() == 0 else Path("~/.local/share/torc").expanduser()


@dataclass(frozen=True)
class Settings:
    """All that a server can be told. Sizes are in MiB, intervals in seconds, port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = field(default_factory=default_workers)
    threads: int = 8
    database_url: str | None = None  # None: the embedded PostgreSQL in data_dir
    data_dir: Path = field(default_factory=default_data_dir)
    log_level: str = "info"
    completion_check_interval_secs: float = 30.0  # accepted and unused: dependents are released at once
    max_request_body_mb: int = 200
    max_streams: int = 4  # open event streams of one process, with threads of their own
    enforce_access_control: bool = False
    require_auth: bool = False
    auth_file: Path | None = None

    @property
    def connections(self):
        """How many database connections all workers together may open: one a thread, one more for a stream."""
        return self.workers * (self.threads + 2 * self.max_streams)


def read_config_files():
    """Return {setting: value} of the [server] sections; unknown keys are left out. Raises SettingsError."""
    names = {f.name for f in fields(Settings)}
    values = {}
    for file in reversed(CONFIG_FILES):
        path = Path(file).expanduser()
        if not path.exists():
            continue
        section = _read_section(path)
        values |= {_ALIASES.get(k, k): v for k, v in section.items() if _ALIASES.get(k, k) in names}
    return values


def _read_section(path):
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("server", {})
    except (OSError, ValueError) as error:  # ValueError: not TOML, not UTF-8
        raise SettingsError(f"cannot read the configuration file {path}: {error}") from error
    if not isinstance(section, dict):
        raise SettingsError(f"cannot read the configuration file {path}: [server] is not a section")
    return section


def check_database_url(text):
    """Return `text` if it is a PostgreSQL URL or conninfo, else raise SettingsError (a sqlite path, say)."""
    try:
        if text.startswith(("postgresql://", "postgres://")) or ("=" in text and "://" not in text):
            psycopg.conninfo.conninfo_to_dict(text)
            return text
    except psycopg.ProgrammingError as error:
        raise SettingsError(f"not a PostgreSQL URL: {str(error).strip()}") from error
    raise SettingsError(
        "the database must be a PostgreSQL URL such as postgresql://user@host/name (this server keeps nothing in "
        "SQLite); without one it brings its own PostgreSQL"
    )
