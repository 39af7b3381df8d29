"""Statements that wait in PostgreSQL for as long as a test wants: locks are waited for two seconds only, which a busy
machine may take between two lines of a test."""

import contextlib

import psycopg
from support import wait_for

KEY = 4711  # of advisory locks, the first of two


@contextlib.contextmanager
def holding(conninfo, table, row=None, number=0):
    """Statements that insert or update in the table (the row with that id) wait until the block ends, or for their
    timeout, 15 s. Gives a Holding. The database must be the test's alone: the trigger stays.
    Each Holding that a test has there at the same time, or in one table, needs another number."""
    with psycopg.connect(conninfo, autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(%s, %s)", [KEY, number])
        session.execute(
            f"""
            CREATE OR REPLACE FUNCTION public.wait_for_test_{number}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM set_config('lock_timeout', '0', true);
                PERFORM pg_advisory_xact_lock_shared({KEY}, {number});
                RETURN NEW;
            END $$;
            CREATE TRIGGER wait_for_test_{number} BEFORE INSERT OR UPDATE ON torc.{table}
            FOR EACH ROW {"" if row is None else f"WHEN (NEW.id = {row})"}
            EXECUTE FUNCTION public.wait_for_test_{number}()
            """
        )
        yield Holding(session, number)


class Holding:
    def __init__(self, session, number):
        self._session = session
        self._number = number

    def waiting(self):
        """How many statements wait."""
        found = self._session.execute(
            """
            SELECT count(*) FROM pg_locks
            WHERE NOT granted AND locktype = 'advisory' AND (classid, objid) = (%s::oid, %s::oid)
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """,
            [KEY, self._number],
        )
        return found.fetchone()[0]

    def wait(self):
        """Return when a statement waits."""
        wait_for(self.waiting, 30, "a statement that waits")

    def release(self):
        """Let all go on."""
        self._session.execute("SELECT pg_advisory_unlock_all()")
