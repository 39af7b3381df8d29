"""Slows down who guesses passwords: counted for each address and user, in the database, for all workers together."""

import logging
import math
import time

from torc_server.errors import ApiError
from torc_server.repository import sql

log = logging.getLogger("torc_server")

MAX_BLOCKED = 10_000  # pairs of address and user that a process remembers
MAX_NAME = 200  # characters of a name that are counted and logged; whoever sends longer ones does not exist


class Throttle:
    """`most` different wrong passwords in window_secs; the next answer is 429 until the first is that old. 0: no limit.

    Who is blocked is also known in the process, and looked up before remembered passwords are: guessing those must not
    be free. A right password that is remembered costs no statement.
    """

    def __init__(self, database, most, window_secs):
        self._database = database
        self._most = most
        self._window_secs = window_secs
        self._blocked = {}  # (address, name): until when

    def check(self, address, name):
        """Raises ApiError 429 if that user is known to be blocked at that address."""
        until = self._blocked.get((address, name[:MAX_NAME]))
        if until is None:
            return
        if until <= time.monotonic():
            self._blocked.pop((address, name[:MAX_NAME]), None)
        else:
            raise _too_many(until - time.monotonic())

    def begin(self, address, name, digest):
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

    def forget(self, address, name, digest):
        """Do not count that password: it was right."""
        if self._most:
            self._run(sql.authentication.forget_login, address, name, digest)

    def _run(self, statement, address, name, digest):
        params = {
            "address": address, "user_name": name[:MAX_NAME], "digest": digest, "most": self._most,
            "window_secs": self._window_secs,
        }  # fmt: skip
        return self._database.run(lambda connection: connection.execute(statement.sql, params).fetchone()[0])


def _too_many(seconds):
    wait = max(1, math.ceil(seconds))
    return ApiError(429, f"Too many wrong passwords for this user; try again in {wait} s", {"Retry-After": str(wait)})
