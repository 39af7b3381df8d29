"""htpasswd files with bcrypt hashes, as Apache's `htpasswd -B` writes them: read, verify, edit.

A line is name:hash, split at the first colon, both sides trimmed; blank lines and those that begin with # are kept and
mean nothing. Of several lines of one name the last one counts.
"""

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import bcrypt

from torc_server.problems import CommandError

DEFAULT_COST = 12
MIN_PASSWORD_BYTES = 8
MAX_PASSWORD_BYTES = 72  # bcrypt reads no further, and the package refuses more
MAX_FILE_BYTES = 16 << 20  # a hundred thousand users; read whole at each change
_HASH = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_NOBODY = "anonymous"  # who gives no credentials is called so


class HtpasswdError(CommandError):
    """A file, name or password that cannot be used; the message has no hash."""


# Reading


def parse(text: str) -> dict[str, str]:
    """Return {name: hash} of a file's text. Raises HtpasswdError: a line that is none, or not one user."""
    users = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not _names_user(line):
            continue
        name, colon, hashed = _split(line)
        if not colon:
            raise HtpasswdError(f"line {number} has no colon")
        if not name:
            raise HtpasswdError(f"line {number} has no name")
        if not hashed.startswith("$2"):
            raise HtpasswdError(f"line {number}: the hash is not of bcrypt (htpasswd -B); it must begin with $2")
        users[name] = hashed
    if not users:
        raise HtpasswdError("it names no user")
    return users


def broken_lines(text: str) -> list[str]:
    """Return a sentence for each line of a parsable text whose hash no password fits."""
    lines = [(number, *_split(line)) for number, line in enumerate(text.splitlines(), 1) if _names_user(line)]
    return [
        f"line {number}: the hash of {name!r} is broken, no password fits it; set a new one"
        for number, name, _, hashed in lines
        if not is_hash(hashed)
    ]


def read_file(path: Path | str) -> tuple[os.stat_result, bytes]:
    """Return (status, bytes) of a regular file. Raises HtpasswdError with the reason alone, and does not wait for
    somebody to write into a FIFO."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise HtpasswdError("it is not a regular file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise HtpasswdError(error.strerror) from error
    if len(content) > MAX_FILE_BYTES:
        raise HtpasswdError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return status, content


def decode(raw: bytes) -> str:
    """Return the text of a file's bytes. Raises HtpasswdError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HtpasswdError("it is not UTF-8") from error


def _names_user(line):
    return bool(line.strip()) and not line.strip().startswith("#")


def _split(line):
    name, colon, hashed = line.partition(":")
    return name.strip(), colon, hashed.strip()


# Passwords


def hash_password(password: str, cost: int = DEFAULT_COST) -> str:
    """Return the hash of a password (text). It begins with $2y$, which every htpasswd reads; $2b$ is the same."""
    return bcrypt.hashpw(_cut(password), bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$", 1)


def verify_password(password: str, hashed: str) -> bool:
    """Whether the password (text) belongs to the hash; a hash that is none belongs to no password."""
    return is_hash(hashed) and bcrypt.checkpw(_cut(password), hashed.encode())


def is_hash(hashed: str) -> bool:
    """Whether the text is a whole bcrypt hash: prefix 2a, 2b, 2x or 2y, cost 4 to 31, 60 characters."""
    return _HASH.fullmatch(hashed) is not None


def dummy_hash(users: dict[str, str]) -> str:
    """A hash that no password belongs to, and that takes as long to verify as most of {name: hash} do."""
    costs = Counter(int(hashed[4:6]) for hashed in users.values() if is_hash(hashed))
    cost = costs.most_common(1)[0][0] if costs else DEFAULT_COST
    return bcrypt.gensalt(cost).decode() + "." * 31


def _cut(password):
    return password.encode()[:MAX_PASSWORD_BYTES]


# Editing


def check_name(name: str) -> None:
    """Raises HtpasswdError for a name that the file or the server could not take."""
    if not name or name != name.strip() or name.startswith("#") or ":" in name or not name.isprintable():
        raise HtpasswdError(f"{name!r} cannot be a user's name: no colon, no # in front, no space around it")
    if name == _NOBODY:
        raise HtpasswdError(f"the name {_NOBODY} means nobody; choose another")


def check_password(password: str) -> None:
    """Raises HtpasswdError for a password that is too short."""
    if len(password.encode()) < MIN_PASSWORD_BYTES:
        raise HtpasswdError(f"the password is too short: at least {MIN_PASSWORD_BYTES} bytes")


def read_lines(path: Path | str) -> list[str]:
    """Return the lines of a file, with their ends. Raises HtpasswdError."""
    try:
        content = read_file(path)[1]
    except HtpasswdError as error:
        raise HtpasswdError(f"cannot read {path}: {error}") from error
    return decode(content).splitlines(keepends=True)


def names(lines: list[str]) -> list[str]:
    """The names in the order of the file, each once."""
    return list(dict.fromkeys(_split(line)[0] for line in lines if _names_user(line)))


def with_user(lines: list[str], name: str, hashed: str) -> list[str]:
    """The lines with that user's hash: where the last one was that counted, else at the end."""
    new = f"{name}:{hashed}\n"
    places = _places(lines, name)
    if not places:
        ended = [line if line.endswith(("\n", "\r")) else line + "\n" for line in lines]
        return [*ended, new]
    kept = [new if i == places[-1] else line for i, line in enumerate(lines)]
    return [line for i, line in enumerate(kept) if i not in places[:-1]]


def without_user(lines: list[str], name: str) -> list[str]:
    """The lines without that user. Raises HtpasswdError if there is none of that name."""
    places = _places(lines, name)
    if not places:
        raise HtpasswdError(f"there is no user {name!r}")
    return [line for i, line in enumerate(lines) if i not in places]


def _places(lines, name):
    return [i for i, line in enumerate(lines) if _names_user(line) and _split(line)[0] == name]


def edit(path: Path | str, change: Callable[[list[str]], list[str]], create: bool = False) -> None:
    """Replace the lines of a file by change(lines); a reader sees the old file or the new one, never a part.

    The owner stays, the mode becomes 600. Edits by several at once follow each other. Raises HtpasswdError.
    """
    place = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    try:
        with _alone_in(place.parent):
            lines = [] if create and not place.exists() else read_lines(place)
            _replace(place, "".join(change(lines)).encode())
    except OSError as error:
        raise HtpasswdError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _alone_in(folder):
    """Hold a lock on the folder: the file itself is another one after each edit."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)  # the new name in the folder survives a crash
    finally:
        os.close(handle)


def _replace(place, content):
    handle, new = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mode 600
    try:
        with open(handle, "wb") as file:
            if place.exists():
                before = place.stat()
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(place)
    except BaseException:
        Path(new).unlink()
        raise
