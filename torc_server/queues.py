"""What threads of requests leave in memory, for a thread that adds it up."""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any


def drained(waiting: deque) -> Iterator[Any]:
    """Take out what is in a deque, one after the other. Other threads may add to it, and take from it, meanwhile."""
    with contextlib.suppress(IndexError):  # it is empty
        while True:
            yield waiting.popleft()
