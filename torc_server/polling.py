"""Waits for something to read. select.select() cannot: a process has more than 1,023 descriptors open."""

import select
from typing import Any


def readable(files: Any, seconds: float | None) -> list:
    """Those of the files (descriptors, or what has a fileno()) that have something to read, or an end, within so many
    seconds; None: wait for one."""
    poll = select.poll()
    found = {each if isinstance(each, int) else each.fileno(): each for each in files}
    for number in found:
        poll.register(number, select.POLLIN)
    return [found[number] for number, _ in poll.poll(None if seconds is None else seconds * 1000)]


def usable(descriptor: int) -> None:
    """Wait until something can be written to a descriptor, or read from it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLOUT)
    poll.poll()
