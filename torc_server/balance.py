"""New connections go to the process that has the fewest.

A new connection wakes all processes, and the fastest of them gets it: of 32 runners, whose connections stay, one of two
processes had 30, and they drained 1,600 jobs/s instead of 2,200.
"""

import mmap
import time
from typing import Any

from torc_server.polling import readable

MOST = 128  # processes; further ones accept at once
STEP_SECS = 0.001  # between two readings of what the others have
STEPS = 20  # that a process waits at most
HASTE_SECS = 0.1  # after a wait in vain, during which the process accepts at once: the others are busy

_counts = memoryview(mmap.mmap(-1, 4 * MOST)).cast("i")  # by slot, for all forks: connections and one more; 0: none


def leave(slot: int) -> None:
    """The process of that slot accepts no connections any more, or has ended."""
    if slot < MOST:
        _counts[slot] = 0


class Balance:
    """The number of connections of this process beside those of the others.

    slot: the number of the process while it lives.
    """

    def __init__(self, slot: int):
        self._slot = slot
        self._waits_from = 0.0
        self.set(0)

    def set(self, connections: int) -> None:
        """Tell the others how many connections this process has."""
        slot = self._slot  # another thread may leave meanwhile
        if slot < MOST:
            _counts[slot] = connections + 1

    def leave(self) -> None:
        """This process accepts no connections any more; whatever it tells later is ignored."""
        slot, self._slot = self._slot, MOST
        leave(slot)

    def let_others_accept(self, listener: Any) -> None:
        """While another process has fewer connections, wait for a moment until one has accepted that which waits at the
        listening socket."""
        slot = self._slot
        if slot >= MOST or time.monotonic() < self._waits_from:
            return
        for _ in range(STEPS):
            if not (_others_have_fewer(slot) and readable([listener], 0)):
                return
            time.sleep(STEP_SECS)
        self._waits_from = time.monotonic() + HASTE_SECS


def _others_have_fewer(slot):
    own = _counts[slot]
    return any(0 < count < own for count in _counts)
