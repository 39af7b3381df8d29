"""The base of what commands cannot do."""


class CommandError(Exception):
    """What was asked for cannot be done; the message is one line for a person. `torc-server` prints it and ends with
    exit code 1."""
