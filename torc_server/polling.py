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


def wait_for(descriptor: int, events: int = select.POLLIN) -> None:
    """Wait for one of the events of a descriptor, as poll() has them; by default for something to read."""
    poll = select.poll()
    poll.register(descriptor, events)
    poll.poll()
