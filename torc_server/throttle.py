"""Slows down callers who guess passwords: wrong ones are counted for each address and user, in the database, for all
workers together; and the processes of a server verify few at once."""

import contextlib
import fcntl
import logging
import math
import os
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Generator

from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.repository import server_rows, sql
from torc_server.settings import cores

log = logging.getLogger("torc_server")

MAX_BLOCKED = 10_000  # pairs of address and user that a process remembers
MAX_NAME = 200  # characters of a name that are counted and logged; no account has a longer name


TURN_POLL = 0.01  # seconds; a verification takes a quarter of a second
TURN_POLL_OF_STRANGERS = 0.1


class Turns:
    """Keeps the verification of passwords, a quarter of a second of CPU each, from slowing down everybody else.

    At most half the cores verify at once, all processes of the server together. In each process at most half the
    threads verify or wait for their turn, each with another password. Who brings a password that is being verified
    waits for that, since the runners of a user come back all at once; the rest get 503 at once and may try again.

    Names that are not in the password file get half of those places at most, and of two callers who wait for a turn a
    user of the file comes first. Otherwise a caller who makes up names could keep users from logging in. (Under such
    load one can tell whether a name is in the file. Without it unknown names take as long as known ones.)

    A turn is a lock on a byte of a file without a name that all processes share. It ends with its process, also by
    kill -9, as that of a semaphore in shared memory would not.
    """

    def __init__(self, threads: int):
        self._places = max(2, threads // 2)
        self._at_once = max(1, cores() // 2)
        self._file = _nameless_file()
        weakref.finalize(self, self._file.close).atexit = False  # threads may still use it then
        self.open()

    def open(self) -> None:
        """In a process just forked: nobody waits here."""
        self._lock = threading.Lock()
        self._waiting = Counter()  # (name, digest) of users: threads
        self._strangers = 0
        self._taken = set()  # bytes locked by this process; the system does not tell its threads apart

    @contextlib.contextmanager
    def place(self, known: bool, name: str, digest: bytes) -> Generator[None]:
        """Hold one of the places for a verification; known: whether the name is in the password file. Raises ApiError
        if there is none: 429 if others try passwords for that user at the same time, else 503."""
        with self._lock:
            if known:
                self._check_users(name, digest)
                self._waiting[name, digest] += 1
            else:
                self._check_strangers()
                self._strangers += 1
        try:
            yield
        finally:
            with self._lock:
                if known:
                    self._waiting[name, digest] -= 1
                    self._waiting += Counter()  # without those that are 0
                else:
                    self._strangers -= 1

    def _check_users(self, name, digest):
        if (name, digest) not in self._waiting and len(self._waiting) + self._strangers >= self._places:
            raise _no_place(any(name == user for user, _ in self._waiting))

    def _check_strangers(self):
        if self._strangers >= self._places // 2 or len(self._waiting) + self._strangers >= self._places:
            raise _no_place()

    @contextlib.contextmanager
    def turn(self, known: bool) -> Generator[None]:
        """Hold one of the turns, when one is free."""
        while (byte := self._take()) is None:
            time.sleep(TURN_POLL if known else TURN_POLL_OF_STRANGERS)
        try:
            yield
        finally:
            self._give_back(byte)

    def all_taken(self) -> bool:
        """Whether a caller must wait for a turn."""
        if (byte := self._take()) is None:
            return True
        self._give_back(byte)
        return False

    def _take(self):
        with self._lock:
            for byte in set(range(self._at_once)) - self._taken:
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
                except (BlockingIOError, PermissionError):  # another process has it
                    continue
                self._taken.add(byte)
                return byte
        return None

    def _give_back(self, byte):
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
            self._taken.discard(byte)


def _nameless_file():
    """A file for locks; in memory where the system can, so that no folder for temporary files is needed."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("torc-turns"), "r+b", buffering=0)
    return tempfile.TemporaryFile()


class Throttle:
    """`most` different wrong passwords in window_secs; the next answer is 429 until the first is that old. 0: no limit.

    The process also remembers who is blocked, and checks that before it uses remembered passwords, because guessing
    those must not be free. A right password that is remembered costs no statement.
    """

    def __init__(self, database: Database, most: int, window_secs: int):
        self._database = database
        self._most = most
        self._window_secs = window_secs
        self._blocked = {}  # (address, name): until when

    def check(self, address: str, name: str) -> None:
        """Raises ApiError 429 if that user is known to be blocked at that address."""
        until = self._blocked.get((address, name[:MAX_NAME]))
        if until is None:
            return
        if until <= time.monotonic():
            self._blocked.pop((address, name[:MAX_NAME]), None)
        else:
            raise _too_many(until - time.monotonic())

    def begin(self, address: str, name: str, digest: bytes) -> None:
        """Count a password that is about to be verified. Raises ApiError 429; 503 without a database."""
        if not self._most:
            return
        wait = self._run(sql.authentication.begin_login, address, name, digest)
        if wait is not None:
            log.warning("login blocked for %.0f s: user %r from %s", wait, name[:MAX_NAME], address)
            if len(self._blocked) >= MAX_BLOCKED:
                self._blocked = {}
            self._blocked[address, name[:MAX_NAME]] = time.monotonic() + wait
            raise _too_many(wait)

    def forget(self, address: str, name: str, digest: bytes) -> None:
        """Do not count that password: it was right."""
        if self._most:
            self._run(sql.authentication.forget_login, address, name, digest)

    def _run(self, statement, address, name, digest):
        params = {
            "address": address, "user_name": name[:MAX_NAME], "digest": digest, "most": self._most,
            "window_secs": self._window_secs,
        }  # fmt: skip
        return server_rows(self._database, statement, **params)[0][0]


def _no_place(guessing=False):
    retry = {"Retry-After": "1"}
    if guessing:
        return ApiError(429, "Too many passwords for this user at once; try again in 1 s", retry)
    return ApiError(503, "Too many passwords are being verified; try the connection again in 1 s", retry)


def _too_many(seconds):
    wait = max(1, math.ceil(seconds))
    return ApiError(429, f"Too many wrong passwords for this user; try again in {wait} s", {"Retry-After": str(wait)})
