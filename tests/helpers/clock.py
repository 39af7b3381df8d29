"""The time that the stored functions of a database go by."""

from torc_server.migrations import sql_folder

FUNCTION = (sql_folder() / "functions" / "common" / "time.sql").read_text()


class Clock:
    """Moves torc.now() of a database, for all sessions: a test need not wait, nor change the times that are stored.

    What PostgreSQL itself says about times, and the clocks of servers, stay. The fixture `clock` makes one.
    """

    def __init__(self, connection):
        self._connection = connection
        self._ahead = 0

    def advance(self, seconds):
        """Let so many seconds pass; a negative number goes back."""
        self._ahead += seconds
        moved = f"clock_timestamp() + make_interval(secs => {self._ahead})"
        self._connection.execute(FUNCTION.replace("SELECT clock_timestamp()", f"SELECT {moved}"))

    def reset(self):
        """Back to the present."""
        if self._ahead:
            self.advance(-self._ahead)
            self._connection.execute(FUNCTION)
