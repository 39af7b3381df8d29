"""The settings of a server, each declared once: its key, default, option and text.

Flags win over the environment (TORC_<KEY>), then come TOML files, then defaults. From these declarations come the
options of `torc-server run` (commands/options.py), what `torc-server config` prints, deploy/torc.toml and the table of
docs/settings.md.
"""

import contextlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from torc_server import data_folder
from torc_server.lanes import LANES
from torc_server.names import host_name, parse_origin
from torc_server.problems import CommandError

# The first file that has a key wins; section [server]. The same files may hold the sections of other programs.
CONFIG_FILES = ("torc.toml", "~/.config/torc/config.toml", "/etc/torc/config.toml")
CHECKOUT = Path(__file__).resolve().parent.parent  # of an editable install, as `make` makes it
ACCESS_LOGS = ("off", "errors", "all")
METRICS = ("off", "local", "all")
LOG_FORMATS = ("plain", "json")
LOG_LEVELS = ("error", "warn", "warning", "info", "debug", "trace")
NO_TCP = "none"  # as host: listen on the unix socket only
MAX_SOCKET_PATH = 107  # bytes


class SettingsError(CommandError):
    """A setting that cannot be used."""


def default_workers() -> int:
    """One process per core, at least two: a killed one never leaves the port without an answer.

    On two busy cores, two instead of three complete 1 to 28 % more jobs/s of 8 runners (six runs); no more of 32.
    """
    return max(2, cores())


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL lives unless told otherwise; inside a checkout, where `make serve` has put it."""
    served = CHECKOUT / ".torc"
    with contextlib.suppress(FileNotFoundError):  # the current folder was removed
        if Path.cwd().is_relative_to(CHECKOUT) and data_folder.has_database(served):
            return served
    return Path("/var/lib/torc") if os.geteuid() == 0 else Path("~/.local/share/torc").expanduser()


def sqlite_file(text: str) -> str | None:
    """What launchers of torc's server give as its database: the path of a SQLite file; None for a URL of another kind.

    For a database in memory it is FILE, which means any file.
    """
    path = re.sub(r"^sqlite:(//)?", "", text)
    if ":memory:" in path or "mode=memory" in path:
        return "FILE"
    is_path = "://" not in text and ("=" not in text or "/" in text.partition("=")[0])
    return path.partition("?")[0] if text.startswith("sqlite:") or is_path else None


def check_database_url(text: str) -> None:
    """Raises SettingsError unless `text` is a PostgreSQL URL or conninfo."""
    import psycopg  # most commands have no use for it, and it takes half of their time
    from psycopg.conninfo import conninfo_to_dict

    if file := sqlite_file(text):
        raise SettingsError(
            f"the database must be a PostgreSQL URL, not {text}: this server keeps nothing in SQLite. Without a URL "
            f"it brings its own PostgreSQL; to take over a database of torc's server, type: torc-server import {file}"
        )
    try:
        if text.startswith(("postgresql://", "postgres://")) or ("=" in text and "://" not in text):
            conninfo_to_dict(text)
            return
    except psycopg.ProgrammingError as error:
        raise SettingsError(f"not a PostgreSQL URL: {str(error).strip()}") from error
    raise SettingsError(
        "the database must be a PostgreSQL URL such as postgresql://user@host/name; without one the server brings its "
        "own PostgreSQL"
    )


def without_password(url: str) -> str:
    """A PostgreSQL URL or conninfo with *** in place of its password."""
    url = re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)
    return re.sub(r"(password\s*=\s*)('([^'\\]|\\.)*'|[^\s&]+)", r"\1***", url)


@dataclass(frozen=True)
class Option:
    """How a setting is given and explained; its name, type and default are those of the field."""

    help: str
    flags: str = ""  # beside --name-with-dashes; instead of it if there is a long one among them
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    metavar: str | None = None
    shown_default: str | None = None  # where the default depends on the machine
    check: Callable[[str], None] | None = None  # raises SettingsError
    other_key: str | None = None  # in a file, means the same
    opposite_key: str | None = None  # in a file, of torc's server: true means off; false is no reason to turn this on
    logging_section: bool = False  # may be in the section [logging] of a file, as torc's server has it
    restart: bool = False  # a reload keeps it: it belongs to what stays open


def setting(default: Any, help: str = "", **option: Any) -> Any:
    """A field of Settings with its Option. A callable default is called for each Settings."""
    made = {"default_factory": default} if callable(default) else {"default": default}
    return field(**made, metadata={"option": Option(help, **option)})


def option_of(declared: Field) -> Option:
    """The Option of a field of Settings."""
    return declared.metadata["option"]


def flags_of(declared: Field) -> list[str]:
    """The flags of a field of Settings, as click takes them: those of a switch with `/`."""
    given = option_of(declared).flags.split()
    if any(flag.startswith("--") for flag in given):
        return given
    name = declared.name.replace("_", "-")
    return [*given, f"--{name}/--no-{name}" if declared.type is bool else f"--{name}"]


def default_of(declared: Field) -> Any:
    """The default of a field of Settings on this machine."""
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


@dataclass(frozen=True)
class Settings:
    """All that a server can be told, in the order of the help. Sizes are in MiB, intervals in seconds, where the name
    says nothing else."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for all; none for the unix socket only.",
        flags="-H --host -u --url",
        other_key="url",
        restart=True,
    )
    port: int = setting(8080, "0 picks a free one.", flags="-p", least=0, most=65535, restart=True)
    socket: Path | None = setting(
        None,
        "A unix socket to listen on as well, for a proxy on this machine, whose X-Forwarded-… are believed there. "
        "It never speaks TLS.",
        metavar="PATH",
        restart=True,
    )
    socket_mode: str = setting("0660", "Who may connect to the unix socket.", metavar="MODE", restart=True)
    socket_group: str | None = setting(
        None,
        "Group of the unix socket, such as that of nginx.",
        metavar="GROUP",
        shown_default="that of the process",
        restart=True,
    )
    workers: int = setting(default_workers, "Processes.", least=1, shown_default="cores, at least 2")
    threads: int = setting(
        4,
        "Small requests that each process serves at once. Lists and calls that walk a whole workflow have their own "
        "threads, half as many each.",
        flags="-t",
        least=1,
    )
    direct: bool = setting(
        True, "Answer the calls that runners make all day before Flask; the answers are the same without."
    )
    max_connections: int = setting(
        4000,
        "Clients' connections of each process; beyond it the oldest idle ones are closed, then new ones refused.",
        least=1,
    )
    handshake_timeout_secs: int = setting(10, "How long a client may take for the TLS handshake.", least=1)
    head_timeout_secs: int = setting(10, "How long a client may take to send the head of a request.", least=1)
    body_timeout_secs: int = setting(30, "How long nothing may arrive of a body.", least=1)
    answer_timeout_secs: int = setting(
        30, "How long a client may read nothing of its answer, or of its event stream.", least=1
    )
    keepalive_secs: int = setting(75, "How long a connection without a request is kept.", least=1)
    database_url: str | None = setting(
        None,
        "PostgreSQL URL (14 or newer). Without it, the embedded PostgreSQL in the data folder.",
        flags="-d --database --database-url",
        metavar="URL",
        check=check_database_url,
        other_key="database",
        restart=True,
    )
    listen_database_url: str | None = setting(
        None,
        "PostgreSQL's own address, where the database URL leads to a pooler that gives each transaction another "
        "session: for event streams and migrations, which need a session.",
        metavar="URL",
        shown_default="the database URL",
        check=check_database_url,
    )
    data_dir: Path = setting(
        default_data_dir,
        "Where the embedded PostgreSQL keeps its data.",
        shown_default="~/.local/share/torc, for root /var/lib/torc; inside a checkout the one of `make serve`",
        restart=True,
    )
    log_level: str = setting("info", flags="-l", choices=LOG_LEVELS)
    max_request_body_mb: int = setting(200, "Size in MiB of the body of a bulk operation.", least=1)
    max_small_body_mb: int = setting(
        16, "Size in MiB of the body of every other operation, and of one row within a bulk.", least=1
    )
    log_format: str = setting("plain", "Of all lines: plain text, or a JSON object each.", choices=LOG_FORMATS)
    log_dir: Path | None = setting(
        None,
        "Write torc-server.log there too. It is rotated to .1, .2, … .5.",
        metavar="FOLDER",
        logging_section=True,
    )
    log_max_mb: int = setting(10, "MiB at which the file is rotated; 0: never, as for logrotate.", least=0)
    json_logs: bool = setting(False, "Write the file as JSON, stderr as it is.", logging_section=True)
    access_log: str = setting(
        "errors", "Which answers are a line in the log: none, those of status 400 and more, all.", choices=ACCESS_LOGS
    )
    slow_statement_ms: int = setting(
        1000, "Log the names of statements that take so many milliseconds; 0: of none.", least=0
    )
    metrics: str = setting(
        "local",
        "Who may read GET /metrics: nobody; programs on this machine, without a password, that come through no "
        "proxy; or everybody who may call the server.",
        choices=METRICS,
    )
    daemon: bool = setting(
        False, "Go on in the background once the server listens. Needs --log-dir for its log.", restart=True
    )
    pid_file: Path | None = setting(
        None,
        "Holds the process id while the server runs; a second server with the same file is refused.",
        metavar="FILE",
        shown_default="with --daemon /var/run/torc-server.pid",
        restart=True,
    )
    node_timeout: int = setting(
        0,
        "Give up a compute node that no request has named for so long: its running jobs fail, its claimed ones "
        "are ready again; 0: never. docs/monitoring.md tells what is safe for which client.",
        least=0,
        metavar="SECONDS",
    )
    max_streams: int = setting(200, "Open event streams per process.", least=0)
    api_event_body_max_bytes: int = setting(
        8192,
        "So much of each body is shown to administrators who follow the requests with their bodies.",
        least=0,
        most=65536,
    )
    auth_file: Path | None = setting(
        None,
        "Users and passwords, made by `torc-server htpasswd add` or Apache's `htpasswd -B`. It is read again when "
        "it changes. Without it everybody is anonymous.",
        metavar="FILE",
    )
    require_auth: bool = setting(False, "Refuse requests without a password.")
    enforce_access_control: bool = setting(
        False, "Let users see and change only what is theirs, or shared with a group of theirs."
    )
    admin_users: tuple[str, ...] = setting(
        (), "A system administrator. Repeatable.", flags="--admin-user", metavar="NAME"
    )
    enable_admin_sql: bool = setting(
        False,
        "Let system administrators run SQL statements that read, through POST /admin/sql.",
        flags="--enable-admin-sql/--disable-admin-sql",
        opposite_key="disable_admin_sql",
    )
    enable_admin_sql_writes: bool = setting(
        False,
        "Let them also run INSERT, UPDATE and DELETE there, which bypass the rules of all other operations.",
        flags="--enable-admin-sql-writes/--disable-admin-sql-writes",
        opposite_key="disable_admin_sql_writes",
    )
    admin_sql_without_access_control: bool = setting(
        False, "Let everybody who may call the server use admin SQL while access control is off."
    )
    credential_cache_ttl_secs: int = setting(
        60,
        "How long a right password is remembered; 0: not at all, which costs a quarter of a second a request.",
        least=0,
    )
    max_login_failures: int = setting(
        10, "So many different wrong passwords for a user from an address, and then 429; 0: no limit.", least=0
    )
    login_failure_window_secs: int = setting(60, "How long a wrong password counts.", least=1)
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "An address or network, such as 10.0.0.0/8, whose X-Forwarded-For, -Proto, -Host and -Prefix are "
        "believed; it must set them itself. Repeatable.",
        flags="--trusted-proxy",
        metavar="ADDRESS",
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        "An origin, such as https://dashboard.example, whose pages may send requests from browsers and read the "
        "answers. Others only show what they are given. Repeatable.",
        flags="--allowed-origin",
        metavar="ORIGIN",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "A name by which browsers may call this server, beside localhost and this machine's addresses and name; "
        "* for any. Repeatable.",
        flags="--allowed-host",
        metavar="NAME",
    )
    limit_request_field_size: int = setting(
        65536, "Bytes of one header; cookies of single sign-on are long.", least=1024, most=1 << 20
    )
    https: bool = setting(False, "Speak TLS; needs the two files that follow.")
    tls_cert: Path | None = setting(None, "Certificate chain, PEM.", metavar="FILE")
    tls_key: Path | None = setting(None, "Private key, PEM.", metavar="FILE")
    completion_check_interval_secs: float = setting(
        30.0,
        "Accepted for compatibility; has no effect: jobs are released at once when what they wait for completes.",
        flags="-c",
    )

    @property
    def connections(self) -> int:
        """How many database connections a server may open: of each process one a thread, one that hears the events, and
        one that shows that the server is connected; the last one also of the master."""
        return self.workers * (self.all_threads + 2) + 1

    @property
    def all_threads(self) -> int:
        """How many threads of a process run requests."""
        return self.threads + len(LANES) * self.lane_threads

    @property
    def lane_threads(self) -> int:
        """The threads of each lane: half as many as small requests have."""
        return max(2, self.threads // 2)

    def check(self) -> None:
        """Raises SettingsError for what click's types cannot see: bad files, settings that need another."""
        if self.require_auth and not self.auth_file:
            raise SettingsError("--require-auth needs a password file: --auth-file, made by `torc-server htpasswd add`")
        if self.auth_file:
            from torc_server import htpasswd  # bcrypt

            try:
                htpasswd.parse("".join(htpasswd.read_lines(self.auth_file)))
            except htpasswd.HtpasswdError as error:
                raise SettingsError(f"cannot use the password file {self.auth_file}: {error}") from error
        self._check_admin_sql()
        self._check_names()
        self._check_socket()
        if "anonymous" in self.admin_users:
            raise SettingsError("the name 'anonymous' is reserved and cannot be that of an administrator")
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
        import ssl  # takes a tenth of a small command's time

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
    """What the [server] sections say: {setting: value}, {setting: path}, and "key in path" of unknown keys."""

    values: dict
    origins: dict
    unknown: list


def read_config_files() -> ConfigFiles:
    """Return the ConfigFiles. Raises SettingsError: a file that is not TOML, a value of another type."""
    options = {declared.name: option_of(declared) for declared in fields(Settings)}
    other_keys = {option.other_key: name for name, option in options.items() if option.other_key}
    opposites = {option.opposite_key: name for name, option in options.items() if option.opposite_key}
    types = {declared.name: declared.type for declared in fields(Settings)}
    found = ConfigFiles({}, {}, [])
    for file in reversed(CONFIG_FILES):
        path = Path(file).expanduser()
        if not path.exists():
            continue
        section = _read_section(path)
        for key, name in opposites.items():
            if key in section:
                _check_type(path, key, section[key], bool)
            if section.pop(key, False):
                section[name] = False
        for key, value in section.items():
            name = other_keys.get(key, key)
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
    allowed = {declared.name for declared in fields(Settings) if option_of(declared).logging_section}
    logging = {key: value for key, value in found.get("logging", {}).items() if key in allowed}
    return {**logging, **found.get("server", {})}


RESTART_ONLY = tuple(declared.name for declared in fields(Settings) if option_of(declared).restart)
