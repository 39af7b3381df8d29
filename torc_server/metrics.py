"""What a server counts, for Prometheus: in each process, and added up at GET /metrics.

The processes of a server share a folder with one file for each of them and kind of metric (prometheus_client's
multiprocess mode). The files are named by slots, not by process ids: a slot is taken by a worker when it is forked and
given back when it has ended, and its successor goes on from its numbers. So counters never fall, and the folder does
not grow however often workers are replaced.
"""

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values

from torc_server.queues import drained

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own variable
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)  # 15: the timeout of small calls
READY_SECONDS = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800, 7200, 28800, 86400)
MOST_ANSWERS = 10_000  # that wait to be added up, where no worker of ours does it every second

_slot = 0  # of this process; 0 is the master's


def share(folder: Path) -> None:
    """Share the metrics of this process and its children in a folder. Call it before the first Metrics is made."""
    os.environ[FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: _slot)


def free_slot(taken: Iterable[int]) -> int:
    """The lowest slot that no worker has."""
    taken = set(taken)
    return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)


def enter_slot(slot: int) -> None:
    """In the process of a worker: use its slot from now on."""
    global _slot
    _slot = slot


def leave_slot(slot: int) -> None:
    """The worker has ended: forget what it had at that moment; what it has counted stays."""
    if FOLDER in os.environ:
        multiprocess.mark_process_dead(slot)


class Metrics:
    """The metrics of this process. Labels have few values: a route is a template, never a path."""

    def __init__(self):
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "torc_http_request_duration_seconds",
            "Answers by route, method and status, and how long they took from the whole request on.",
            ["route", "method", "status"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._answers = deque()  # (labels, seconds) that are not in _requests yet
        self._claims = Counter(
            "torc_claims_total", "Calls that claim jobs, by whether they got any.", ["result"], registry=registry
        )
        self._with_jobs, self._empty = self._claims.labels("jobs"), self._claims.labels("empty")
        self._jobs_claimed = Counter("torc_jobs_claimed_total", "Jobs that were claimed.", registry=registry)
        self._ready_seconds = Histogram(
            "torc_job_ready_seconds", "How long claimed jobs were ready before.",
            buckets=READY_SECONDS, registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "torc_connections_refused_total", "Connections for which the server had no room.", registry=registry
        )
        self._gauges = {
            name: Gauge(f"torc_{name}", text, multiprocess_mode="livesum", registry=registry)
            for name, text in {
                "workers": "Processes that serve requests.",
                "connections": "Open connections of clients.",
                "streams": "Open event streams.",
                "threads": "Threads that run requests.",
                "threads_busy": "Threads that run a request now.",
                "requests_queued": "Requests for which no thread is free.",
                "requests_parked": "Requests that wait for a lock without a thread.",
                "claims_waiting": "Claims that wait for jobs, without a thread.",
            }.items()
        }

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer. It is in the histogram after add_up(): one at a time would cost each request 30 µs."""
        self._answers.append(((route, method, status), seconds))
        if len(self._answers) >= MOST_ANSWERS:
            self.add_up()

    def add_up(self) -> None:
        """Put what observe() was told into the histogram. Workers do so every second."""
        by_labels = defaultdict(list)
        for labels, seconds in drained(self._answers):
            by_labels[labels].append(seconds)
        for labels, answers in by_labels.items():
            histogram = self._requests.labels(*labels)
            histogram._sum.inc(sum(answers))
            for place, count in Counts(bisect_left(histogram._upper_bounds, seconds) for seconds in answers).items():
                histogram._buckets[place].inc(count)

    def count_claim(self, answer: str) -> str:
        """Count a claim by the text of its answer and, on a line below, for how many ms each job was ready, if that is
        known. Return the answer alone.

        Each job in it has this key once. In a text of a user its quotation marks would be escaped, or no colon follow.
        """
        answer, _, waited = answer.rpartition("\n")
        for ms in filter(None, waited.split(",")):
            self._ready_seconds.observe(int(ms) / 1000)
        count = answer.count('"supports_termination":') + answer.count('"supports_termination" :')
        if count:
            self._with_jobs.inc()
            self._jobs_claimed.inc(count)
        else:
            self._empty.inc()
        return answer

    def count_refused_connection(self) -> None:
        """Count a connection that was closed because there are too many."""
        self._refused.inc()

    def set_state(self, **numbers: float) -> None:
        """Set what this process has at the moment: connections, streams, threads and so on; add its answers up."""
        self.add_up()
        for name, number in numbers.items():
            self._gauges[name].set(number)

    def registry(self, *collectors: Any) -> CollectorRegistry:
        """A registry with what all processes have counted, and with further collectors."""
        self.add_up()
        registry = CollectorRegistry()
        if folder := os.environ.get(FOLDER):
            multiprocess.MultiProcessCollector(registry, folder)
        else:
            registry.register(self._registry)
        for collector in collectors:
            registry.register(collector)
        return registry
