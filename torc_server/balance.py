"""Which process takes a new connection: the first one until it has its fill, then the next; when all have theirs, the
one that has the fewest.

Calls that arrive at one process at the same time are one batch, and the larger a batch, the less a call costs: 8
runners at one process take 0.78 ms of CPU a job, spread over two 1.08 (benchmarks/decisions/filled_processes); 32 are
as fast either way, on two cores. Nor does chance decide: a new connection wakes all processes, and the fastest of them
would get nearly all.
"""

import mmap
import time
from typing import Any

from torc_server.polling import readable

FILL = 96  # connections of all processes together from which on each has its fill
LEAST_FILL = 8  # of one process
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

    slot: the number of the process while it lives. workers: how many processes there are. most: connections that it
    may have.
    """

    def __init__(self, slot: int, workers: int, most: int):
        self._slot = slot
        self._fill = min(max(LEAST_FILL, FILL // workers), most)
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
        """If it is another process's turn, wait for a moment until one has accepted the connection that waits at the
        listening socket."""
        slot = self._slot
        if slot >= MOST or time.monotonic() < self._waits_from:
            return
        for _ in range(STEPS):
            if self._is_its_turn(slot) or not readable([listener], 0):
                return
            time.sleep(STEP_SECS)
        self._waits_from = time.monotonic() + HASTE_SECS

    def _is_its_turn(self, slot):
        """Whether no process before it has room, and, if it has none itself, none has fewer connections."""
        own = _counts[slot] - 1
        others = [(place, count - 1) for place, count in enumerate(_counts) if count and place != slot]
        if own < self._fill:
            return not any(place < slot and count < self._fill for place, count in others)
        return all(count >= own for _, count in others)
