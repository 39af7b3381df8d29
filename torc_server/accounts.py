"""The users of an htpasswd file, as the file is now, and the verdicts on passwords that were verified a moment ago."""

import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Generator
from pathlib import Path

from torc_server import htpasswd
from torc_server.errors import ApiError
from torc_server.htpasswd import HtpasswdError
from torc_server.throttle import Turns

log = logging.getLogger("torc_server")

SETTLED_AFTER = 2.0  # seconds; a file changed more recently may change again without changing its time stamp
REFUSED_SECS = 10.0  # how long a wrong password is remembered: runners with an old one ask again and again
MAX_VERDICTS = 10_000  # remembered at most


class Accounts:
    """The users of one file, in one process.

    A changed file takes effect at once in every process of the host, because each request reads the file's status
    (2 µs): once the file is replaced, no worker accepts an old password, not even one that was busy when another
    answered the reload call. (A generation in the database would cost a statement for each request, or come late.)
    On another host, whose network file system may show an old status for a while, a remembered password ends with its
    time to live: before any other is verified, the file itself is opened.
    """

    def __init__(self, path: str | Path, ttl_secs: float, threads: int = 8):
        """ttl_secs: how long a right password is remembered; 0: not at all. threads: of this process, half of which may
        be busy with passwords (see Turns). Raises HtpasswdError."""
        self._path = path
        self._ttl_secs = ttl_secs
        self._key = secrets.token_bytes(32)  # the same in all workers, which are forked from here
        self._lock = threading.Lock()
        self.turns = Turns(threads)
        self._stamp = self._content = self._table = self._error = None
        self.reload()

    def open(self) -> None:
        """In a process just forked: the file may have changed since this copy of it was read. If it has, and is
        invalid, the other workers may hold a newer version than this copy: refuse all logins until it is valid."""
        self._lock = threading.Lock()
        self.turns.open()
        try:
            self.reload()
        except HtpasswdError as error:
            log.error("the password file cannot be used: %s", error)
            self._table = None

    def reload(self) -> int:
        """Read the file; return how many users it has. Raises HtpasswdError, and then they stay as they were."""
        with self._lock:
            self._read()
            if self._error:
                raise self._error
            return len(self._table.users)  # ty: ignore[missing-union-attribute]  # no error: there is one

    def table(self, thorough: bool = False) -> "Table":
        """The Table that is in force now. thorough: do not trust the file's status. Raises ApiError 503 without any."""
        if thorough or self._stamp is None or _stamp(self._path) != self._stamp:
            with self._lock:
                before = self._error
                self._read()
                if self._error is not None and self._error is not before:
                    log.error("the password file cannot be used, its users stay as they were: %s", self._error)
        if self._table is None:
            raise ApiError(503, "The password file of this server cannot be used; its log says why")
        return self._table

    def digest(self, name: str, password: str) -> bytes:
        """The digest of these credentials, in memory and in the database; without our key it is useless."""
        secret = password.encode()[: htpasswd.MAX_PASSWORD_BYTES]
        return hashlib.blake2b(name.encode() + b":" + secret, key=self._key, digest_size=32).digest()

    def _read(self):
        """Bring _table up to date if the content has changed; else set _error."""
        moment = time.time() - SETTLED_AFTER
        status, content = self._load()
        if content != self._content:
            self._content, self._error = content, None
            try:
                self._table = self._parse(content)
            except HtpasswdError as error:
                self._error = error
        settled = status is None or max(status.st_mtime, status.st_ctime) < moment
        # Last, because others read it without the lock. None: read again at the next request.
        self._stamp = _stamp_of(status) if settled else None

    def _parse(self, content):
        if isinstance(content, str):
            raise HtpasswdError(content)
        text = htpasswd.decode(content)
        table = Table(htpasswd.parse(text), self._ttl_secs)
        for line in htpasswd.broken_lines(text):
            log.warning("password file %s: %s", self._path, line)
        return table

    def _load(self):
        """(status, bytes) of the file, or (status or None, why it cannot be read)."""
        try:
            return htpasswd.read_file(self._path)
        except HtpasswdError as error:
            return _status(self._path), f"cannot read it: {error}"


class Table:
    """{name: hash}, and what was found out about passwords under it. A new table knows nothing of the old one's."""

    def __init__(self, users: dict[str, str], ttl_secs: float):
        self.users = users
        self._ttl_secs = ttl_secs
        self._dummy = htpasswd.dummy_hash(users)
        self._verdicts = {}  # digest: (right, until)
        self._locks = {}  # digest: lock

    def knows(self, name: str) -> bool:
        """Whether that is a user with a usable hash."""
        return htpasswd.is_hash(self.users.get(name, ""))

    def verify(self, name: str, password: str) -> bool:
        """Whether that is the user's password; for an unknown user it takes as long to say so."""
        known = self.knows(name)
        return htpasswd.verify_password(password, self.users[name] if known else self._dummy) and known

    def remembered(self, digest: bytes) -> bool | None:
        """True or False if the credentials were verified a moment ago, else None."""
        right, until = self._verdicts.get(digest, (None, 0))
        return right if until > time.monotonic() else None

    def was_right(self, digest: bytes) -> bool:
        """Whether the credentials were once verified as right under this content of the file, even if they are no
        longer remembered as such."""
        return self._verdicts.get(digest, (False, 0))[0]

    def remember(self, digest: bytes, right: bool) -> None:
        if len(self._verdicts) >= MAX_VERDICTS:
            self._make_room()
        self._verdicts[digest] = right, time.monotonic() + (self._ttl_secs if right else REFUSED_SECS)

    @contextlib.contextmanager
    def one_at_a_time(self, digest: bytes) -> Generator[None]:
        """When hundreds of runners of one user come back at once, one password is verified once, not in each thread."""
        try:
            with self._locks.setdefault(digest, threading.Lock()):
                yield
        finally:
            self._locks.pop(digest, None)

    def _make_room(self):
        now = time.monotonic()
        self._verdicts = {k: v for k, v in list(self._verdicts.items()) if v[1] > now}
        if len(self._verdicts) >= MAX_VERDICTS:
            self._verdicts = {}


def _status(path):
    try:
        return Path(path).stat()
    except OSError:
        return None


def _stamp(path):
    return _stamp_of(_status(path))


def _stamp_of(status):
    """What changes with a file's content; () for a file that is not there."""
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) or ()
