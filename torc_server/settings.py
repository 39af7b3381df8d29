"""The settings of a server: flags win over the environment (TORC_<OPTION>), then come TOML files, then defaults."""

import contextlib
import ipaddress
import os
import re
import ssl
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from torc_server import embedded, htpasswd
from torc_server.lanes import LANES
from torc_server.names import host_name, parse_origin

# The first file that has a key wins; section [server]. The same files may hold the sections of other programs.
CONFIG_FILES = ("torc.toml", "~/.config/torc/config.toml", "/etc/torc/config.toml")
CHECKOUT = Path(__file__).resolve().parent.parent  # of an editable install, as `make` makes it
ACCESS_LOGS = ("off", "errors", "all")
METRICS = ("off", "local", "all")
LOG_LEVELS = ("error", "warn", "warning", "info", "debug", "trace")
NO_TCP = "none"  # as host: listen on the unix socket only
MAX_SOCKET_PATH = 107  # bytes
_LOGGING = ("log_dir", "json_logs")  # may also be in a section [logging], as torc's server has them
_ALIASES = {"url": "host", "database": "database_url"}
_OPPOSITES = {"disable_admin_sql": "enable_admin_sql", "disable_admin_sql_writes": "enable_admin_sql_writes"}


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line for a person."""


def default_workers():
    """One process per core, at least two: a killed one never leaves the port without an answer.

    On two busy cores, two instead of three complete 1 to 28 % more jobs/s of 8 runners (six runs); no more of 32.
    """
    return max(2, cores())


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_data_dir():
    """Where the embedded PostgreSQL lives unless told otherwise; inside a checkout, where `make serve` has put it."""
    served = CHECKOUT / ".torc"
    with contextlib.suppress(FileNotFoundError):  # the current folder was removed
        if Path.cwd().is_relative_to(CHECKOUT) and embedded.has_database(served):
            return served
    return Path("/var/lib/torc") if os.geteuid() == 0 else Path("~/.local/share/torc").expanduser()


@dataclass(frozen=True)
class Settings:
    """All that a server can be told. Sizes are in MiB, intervals in seconds, port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    socket: Path | None = None  # a unix socket, beside the port
    socket_mode: str = "0660"
    socket_group: str | None = None  # None: the group of the process
    workers: int = field(default_factory=default_workers)
    threads: int = 4
    direct: bool = True  # whether runners' calls are answered before Flask (direct.py)
    max_connections: int = 4000  # of clients, of one process
    handshake_timeout_secs: int = 10
    head_timeout_secs: int = 10
    body_timeout_secs: int = 30  # without progress
    answer_timeout_secs: int = 30  # without progress
    keepalive_secs: int = 75
    database_url: str | None = None  # None: the embedded PostgreSQL in data_dir
    listen_database_url: str | None = None  # for connections that need a session of their own; None: database_url
    data_dir: Path = field(default_factory=default_data_dir)
    log_level: str = "info"
    log_format: str = "plain"
    log_dir: Path | None = None
    log_max_mb: int = 10  # of the file in log_dir, before it is rotated; 0: never
    json_logs: bool = False  # the file in log_dir; log_format is for stderr too
    access_log: str = "errors"
    slow_statement_ms: int = 1000  # 0: none is logged
    metrics: str = "local"
    daemon: bool = False
    pid_file: Path | None = None
    completion_check_interval_secs: float = 30.0  # accepted and unused: dependents are released at once
    max_request_body_mb: int = 200  # of a bulk operation; also of the others, if it is less than the next
    max_small_body_mb: int = 16  # of every other operation, and of one row within a bulk
    node_timeout: int = 0  # silent compute nodes are given up after so many seconds; 0: never
    max_streams: int = 200  # open event streams of one process
    api_event_body_max_bytes: int = 8192  # of each body in the stream of requests
    auth_file: Path | None = None  # htpasswd; without one everybody is anonymous
    require_auth: bool = False
    enforce_access_control: bool = False
    admin_users: tuple[str, ...] = ()
    enable_admin_sql: bool = False  # POST /admin/sql
    enable_admin_sql_writes: bool = False
    admin_sql_without_access_control: bool = False  # for everybody who may call the server
    credential_cache_ttl_secs: int = 60  # 0: each request verifies its password
    max_login_failures: int = 10  # different wrong passwords for a user from an address; 0: no limit
    login_failure_window_secs: int = 60
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose X-Forwarded-… are believed
    allowed_origins: tuple[str, ...] = ()  # of pages that may send requests from browsers, such as https://host
    allowed_hosts: tuple[str, ...] = ()  # names beside its own by which browsers may call the server; "*": any
    limit_request_field_size: int = 64 * 1024  # bytes of one header
    https: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def connections(self):
        """How many database connections a server may open: of each process one a thread, one that hears the events, and
        one that shows that the server is connected; the last one also of the master."""
        return self.workers * (self.all_threads + 2) + 1

    @property
    def all_threads(self):
        """How many threads of a process run requests."""
        return self.threads + len(LANES) * self.lane_threads

    @property
    def lane_threads(self):
        """The threads of each lane: half as many as small requests have."""
        return max(2, self.threads // 2)

    def check(self):
        """Raises SettingsError for what click's types cannot see: bad files, settings that need another."""
        if self.require_auth and not self.auth_file:
            raise SettingsError("--require-auth needs a password file: --auth-file, made by `torc-server htpasswd add`")
        if self.auth_file:
            try:
                htpasswd.parse("".join(htpasswd.read_lines(self.auth_file)))
            except htpasswd.HtpasswdError as error:
                raise SettingsError(f"cannot use the password file {self.auth_file}: {error}") from error
        self._check_admin_sql()
        self._check_names()
        self._check_socket()
        if "anonymous" in self.admin_users:
            raise SettingsError("anonymous is nobody and cannot be an administrator")
        if self.https:
            self._check_tls()

    def _check_admin_sql(self):
        if self.enable_admin_sql and not (self.enforce_access_control or self.admin_sql_without_access_control):
            raise SettingsError(
                "--enable-admin-sql needs --enforce-access-control, or else everybody may read all data; if that is "
                "meant, add --admin-sql-without-access-control"
            )

    def _check_names(self):
        for text in self.trusted_proxies:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise SettingsError(f"--trusted-proxy: {text!r} is not an address or a network") from error
        for text in self.allowed_origins:
            if not parse_origin(text):
                raise SettingsError(
                    f"--allowed-origin: {text!r} is not an origin such as https://host:8443; any page of an allowed "
                    "origin can act with the passwords that browsers have stored, so each must be named"
                )
        for text in self.allowed_hosts:
            if text != "*" and not host_name(text):
                raise SettingsError(f"--allowed-host: {text!r} is not a host name or address without a port, nor *")

    def _check_socket(self):
        if self.host == NO_TCP and not self.socket:
            raise SettingsError("--host none, which opens no port, needs a unix socket: --socket")
        if self.socket and len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            raise SettingsError(f"--socket: {self.socket} is longer than the {MAX_SOCKET_PATH} bytes that Linux allows")
        if not re.fullmatch(r"0?[0-7]{3}", self.socket_mode):
            raise SettingsError(f"--socket-mode: {self.socket_mode!r} is not a file mode such as 0660")

    def _check_tls(self):
        if not (self.tls_cert and self.tls_key):
            raise SettingsError("--https needs --tls-cert and --tls-key")
        for file in (self.tls_cert, self.tls_key):
            if file.exists() and not file.is_file():  # to read a FIFO would wait for ever
                raise SettingsError(f"cannot use {file} for TLS: it is not a regular file")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"cannot use {self.tls_cert} with {self.tls_key} for TLS: {error}") from error


class ConfigFiles(NamedTuple):
    """What the [server] sections say: {setting: value}, {setting: path}, and "key in path" of what nobody knows."""

    values: dict
    origins: dict
    unknown: list


def read_config_files():
    """Return the ConfigFiles. Raises SettingsError: a file that is not TOML, a value of another type."""
    types = {f.name: f.type for f in fields(Settings)}
    found = ConfigFiles({}, {}, [])
    for file in reversed(CONFIG_FILES):
        path = Path(file).expanduser()
        if not path.exists():
            continue
        section = _read_section(path)
        for key, name in _OPPOSITES.items():  # keys of torc's server; false there is no reason to enable it here
            if key in section:
                _check_type(path, key, section[key], bool)
            if section.pop(key, False):
                section[name] = False
        for key, value in section.items():
            name = _ALIASES.get(key, key)
            if name not in types:
                found.unknown.append(f"{key} in {path}")
                continue
            _check_type(path, key, value, types[name])
            found.values[name] = value
            found.origins[name] = path
    return found


def _check_type(path, key, value, wanted):
    if wanted is bool:
        fits, what = type(value) is bool, "boolean"
    elif wanted is int:
        fits, what = type(value) is int, "integer"
    elif wanted is float:
        fits, what = type(value) in (int, float), "number"
    elif wanted == tuple[str, ...]:
        fits, what = isinstance(value, list) and all(isinstance(v, str) for v in value), "list of texts"
    else:
        fits, what = isinstance(value, str), "text"
    if not fits:
        raise SettingsError(f"cannot use the configuration file {path}: {key}: {value!r} is not a valid {what}")


def _read_section(path):
    if not path.is_file():  # to read a FIFO would wait for ever
        raise SettingsError(f"cannot read the configuration file {path}: it is not a regular file")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not TOML, not UTF-8
        raise SettingsError(f"cannot read the configuration file {path}: {error}") from error
    for name in ("server", "logging"):
        if not isinstance(found.get(name, {}), dict):
            raise SettingsError(f"cannot read the configuration file {path}: [{name}] is not a section")
    logging = {key: value for key, value in found.get("logging", {}).items() if key in _LOGGING}
    return {**logging, **found.get("server", {})}


def sqlite_file(text):
    """What launchers of torc's server give as its database: the path of a SQLite file; None for a URL of another kind.

    For a database in memory it is FILE, which stands for any.
    """
    path = re.sub(r"^sqlite:(//)?", "", text)
    if ":memory:" in path or "mode=memory" in path:
        return "FILE"
    is_path = "://" not in text and ("=" not in text or "/" in text.partition("=")[0])
    return path.partition("?")[0] if text.startswith("sqlite:") or is_path else None


def check_database_url(text):
    """Return `text` if it is a PostgreSQL URL or conninfo, else raise SettingsError."""
    try:
        if text.startswith(("postgresql://", "postgres://")) or ("=" in text and "://" not in text):
            conninfo_to_dict(text)
            return text
    except psycopg.ProgrammingError as error:
        raise SettingsError(f"not a PostgreSQL URL: {str(error).strip()}") from error
    raise SettingsError(
        "the database must be a PostgreSQL URL such as postgresql://user@host/name; without one the server brings its "
        "own PostgreSQL"
    )
