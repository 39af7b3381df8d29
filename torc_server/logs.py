"""What the server logs: one format for our lines, gunicorn's and those of other packages, always with time and level.

A line that is logged during a request carries the request's span id (header X-Span-ID), so that all lines of a request
can be found by it.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from torc_server import current
from torc_server.settings import Settings

log = logging.getLogger("torc_server")

FILE_NAME = "torc-server.log"
BACKUPS = 5  # torc-server.log.1 to .5
SAY_EVERY = 60.0  # seconds between two complaints about a log file that cannot be written

_DETAIL = re.compile(r"\n(DETAIL|HINT|QUERY|CONTEXT|WHERE):  .*?(?=\n\n|\Z)", re.DOTALL)  # of PostgreSQL's errors
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # all but the tab


def set_up(settings: Settings) -> None:
    """Send all lines to stderr, and with settings.log_dir to a file there too. Raises OSError."""
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(_formatter(settings.log_format))
    handlers = [console]
    if settings.log_dir:
        folder = Path(settings.log_dir).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        file = LogFile(folder / FILE_NAME, settings.log_max_mb << 20)
        file.setFormatter(_formatter("json" if settings.json_logs else settings.log_format))
        handlers.append(file)
    for handler in handlers:
        handler.addFilter(_add_span_id)
    level = {"warn": "WARNING", "trace": "DEBUG"}.get(settings.log_level, settings.log_level.upper())
    logging.basicConfig(level=level, handlers=handlers, force=True)


def fail(message: object) -> None:
    """Say why the server ends: a line in the log; on a plain stderr without time and level, as every command does."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, message, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, Plain) and not isinstance(handler, LogFile):
            print(f"torc-server: {message}", file=sys.stderr)
        else:
            handler.handle(record)


class GunicornLogger(Logger):
    """gunicorn's lines go where ours go, in our format."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


def _add_span_id(record):
    record.span_id = current.span_id()
    return True


def _formatter(name):
    return Json() if name == "json" else Plain()


class Plain(logging.Formatter):
    """2026-11-27 09:12:45,123 INFO torc_server[4711] 1764234765123456789: message

    A message is one line: control characters in it, which a client may have sent, are escaped. What follows an
    exception is indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        span = f" {span_id}" if (span_id := _span_id(record)) else ""
        head = f"{self.formatTime(record)} {record.levelname} {record.name}[{record.process}]{span}: "
        lines = [head + _escaped(record.getMessage())]
        if trace := _trace(self, record):
            lines += ["    " + _escaped(line) for line in trace.splitlines()]
        return "\n".join(lines)


class Json(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, process, message; span_id and exception where there
    is one; and what a line has for programs, such as the fields of an access line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if span_id := _span_id(record):
            line["span_id"] = span_id
        if trace := _trace(self, record):
            line["exception"] = trace
        return json.dumps(line, ensure_ascii=False, default=str)


def _span_id(record):
    return getattr(record, "span_id", None)  # _add_span_id() has put it there


def _trace(formatter, record):
    parts = [formatter.formatException(record.exc_info) if record.exc_info else record.exc_text]
    parts.append(record.stack_info)
    return _DETAIL.sub(_places_in_sql, "\n".join(filter(None, parts)))


def _places_in_sql(detail):
    """What may be kept of PostgreSQL's details, which hold rows and bodies: where in our functions it happened."""
    return "".join(f"\n{line}" for line in detail[0].splitlines() if "PL/pgSQL function " in line)


def _escaped(text):
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text) if _CONTROL.search(text) else text


class LogFile(logging.Handler):
    """A file to which all processes of a server append, rotated at max_bytes (0: never) to .1, .2, … .5.

    Each line is one write() with O_APPEND, so lines of several processes never mix. The process that finds the file too
    large renames it, under a lock; the others notice before their next line that the name is another file's, and open
    that. So no process must live for the file to be rotated, and logrotate may do it as well (without copytruncate).
    A line that cannot be written is lost: a full disk must not make requests fail.
    """

    def __init__(self, path: str | Path, max_bytes: int = 0):
        super().__init__()
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._file = None
        self._identity = None
        self._said = float("-inf")
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode(errors="backslashreplace")
            os.write(self._follow(), data)
        except Exception:  # noqa: BLE001 (it is told on stderr; a request must not fail because of its log line)
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Say on stderr that lines are lost, once a minute."""
        now = time.monotonic()
        if now - self._said > SAY_EVERY:
            self._said = now
            with contextlib.suppress(OSError):
                print(f"{self._path}: log lines are lost: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        self.acquire()
        try:
            if self._file is not None:
                os.close(self._file)
                self._file = None
        finally:
            self.release()
        super().close()

    def _open(self):
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._identity = _identity(os.fstat(self._file))

    def _follow(self):
        """Rotate the file if it is too large, and open the one that has the name now; return its descriptor."""
        found = self._found()
        if found and self._max_bytes and found.st_size >= self._max_bytes:
            self._rotate()
            found = self._found()
        if self._file is None or found is None or _identity(found) != self._identity:
            self._open()
        return self._file

    def _found(self):
        try:
            return Path(self._path).stat()
        except FileNotFoundError:
            return None

    def _rotate(self):
        with open(self._path.with_name(f".{self._path.name}.lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._found()
            if found is None or found.st_size < self._max_bytes:  # another process has done it
                return
            for number in range(BACKUPS - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._backup(number).replace(self._backup(number + 1))
            self._path.replace(self._backup(1))

    def _backup(self, number):
        return self._path.with_name(f"{self._path.name}.{number}")


def _identity(found):
    return found.st_dev, found.st_ino
