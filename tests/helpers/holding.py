"""Statements that wait in PostgreSQL for as long as a test wants: locks are waited for two seconds only, which a busy
machine may take between two lines of a test."""

import contextlib

import psycopg
from support import wait_for

KEY = 4711, 4711  # of an advisory lock


@contextlib.contextmanager
def holding(conninfo, table, row=None):
    """Statements that insert or update in the table (the row with that id) wait until the block ends, or for their
    timeout, 15 s. Gives a Holding. The database must be the test's alone: the trigger stays."""
    with psycopg.connect(conninfo, autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(%s, %s)", KEY)
        session.execute(
            f"""
            CREATE OR REPLACE FUNCTION public.wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM set_config('lock_timeout', '0', true);
                PERFORM pg_advisory_xact_lock_shared{KEY};
                RETURN NEW;
            END $$;
            CREATE TRIGGER wait_for_test BEFORE INSERT OR UPDATE ON torc.{table}
            FOR EACH ROW {"" if row is None else f"WHEN (NEW.id = {row})"} EXECUTE FUNCTION public.wait_for_test()
            """
        )
        yield Holding(session)


class Holding:
    def __init__(self, session):
        self._session = session

    def waiting(self):
        """How many statements wait."""
        found = self._session.execute(
            """
            SELECT count(*) FROM pg_locks
            WHERE NOT granted AND locktype = 'advisory' AND (classid, objid) = (%s::oid, %s::oid)
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """,
            KEY,
        )
        return found.fetchone()[0]

    def wait(self):
        """Return when a statement waits."""
        wait_for(self.waiting, 30, "a statement that waits")

    def release(self):
        """Let all go on."""
        self._session.execute("SELECT pg_advisory_unlock_all()")
