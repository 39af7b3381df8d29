"""Claims that wait: a claim with `wait` that finds nothing is run again when something is ready for it, or is answered
with the empty list when its time is over.

A waiting claim is a Waiter; it keeps its connection, and takes no thread and no database connection. The one connection
of the process that listens for the event streams hears of jobs that become ready anywhere (see streams.Streams and
sql/functions/claims/waiting_claims.sql).

Claims of one workflow that ask for the same are a group, oldest first. A notification runs one claim of each group: if
that finds nothing, nothing is there for the others either; if it finds jobs, two more are run, and so on, MOST_RUNNING
of a group at most. So 1,000 idle workers cost what one does, and jobs go to those that have waited longest, but for the
few that run at the same time.

Some changes notify nobody, such as new resource requirements or labels: claims are also run again, one of each group,
every REPEAT_EVERY seconds. Workflows that were completed are found within WATCH_EVERY seconds.

Without our worker class nothing waits: a claim is answered at once.
"""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from torc_server import current
from torc_server.auth import caller
from torc_server.connections import Connection
from torc_server.errors import Later, LaterWithJobs
from torc_server.node_watch import NodeWatch
from torc_server.repository import sql, value

log = logging.getLogger("torc_server")

WATCH_EVERY = 0.5  # seconds
REPEAT_FIRST = 0.25  # seconds after a registration: transitions that began before it have notified nobody
REPEAT_EVERY = 5.0  # seconds
RENEW_EVERY = 10.0  # seconds; a registration expires 30 s after its last renewal
KEEP_SECONDS = 5.0  # for which a workflow stays registered without claims: workers mostly come back at once
FAILED_GAP = 0.005  # seconds between two claims of a group that find nothing, while notifications come fast
MOST_RUNNING = 4  # claims of a group that run at the same time because of notifications
WOKEN_BY_SUCCESS = 2


class Waiter:
    """A claim that waits: group is what it asks for, until (monotonic) when, answer the empty answer that it gets then.

    resume is called, once for each add(), when it shall be run again.
    """

    __slots__ = ("group", "until", "answer", "nodes", "seen", "resume", "is_woken", "has_left")

    def __init__(self, group: tuple, until: float, nodes: Iterable[int]):
        self.group = group
        self.until = until
        self.nodes = nodes
        self.is_woken = False  # it runs, or will, because of a notification
        self.has_left = False


class _Workflow:
    """A workflow in which claims wait, or have done so a moment ago."""

    def __init__(self):
        self.registration = None  # id; None while the connection does not listen to it
        self.wake_ups = 0  # so far
        self.groups = {}  # what is asked for: _Group
        self.repeat_at = 0.0
        self.used = time.monotonic()


class _Group:
    """Claims that ask for the same: those that wait, in order, and how many run because of a notification."""

    def __init__(self):
        self.waiting = OrderedDict()
        self.woken = 0

    def take(self, count: int) -> list[Waiter]:
        """Take up to so many of the oldest out; they are to be resumed."""
        taken = []
        while self.waiting and len(taken) < count and self.woken < MOST_RUNNING:
            waiter, _ = self.waiting.popitem(last=False)
            waiter.is_woken = True
            self.woken += 1
            taken.append(waiter)
        return taken


class WaitingClaims:
    """The claims of this process that wait. start_listening: has the process listen to the database (see Streams)."""

    def __init__(self, start_listening: Callable[[], None], node_watch: NodeWatch):
        self._start_listening = start_listening
        self._node_watch = node_watch
        self._lock = threading.Lock()
        self._workflows = {}  # id: _Workflow
        self._has_ended = False
        self._watched = self._renewed = 0.0

    # In a request

    def run(
        self, workflow_id: int, seconds: float | None, asks: Any, claim: Callable[[], str], nodes: Iterable[int] = ()
    ) -> str:
        """Return the text of claim(), which may wait for jobs for so many seconds. Raises LaterWithJobs, and what
        claim() raises.

        asks: what decides which jobs the claim gets; nodes: ids of the compute nodes that it names.
        """
        environ = current.environ()
        waiter = environ.get("torc.waiter")
        if waiter and (self._has_ended or time.monotonic() >= waiter.until):
            return waiter.answer
        if not seconds or self._has_ended or "torc.waiter" not in environ:
            return claim()
        seen = self._wake_ups(workflow_id)
        answer = claim()
        if not _is_empty(answer) or _is_over(workflow_id):
            return answer
        if waiter is None:
            asking = caller()
            group = workflow_id, asks, asking.name, asking.enforced, asking.dialect
            waiter = Waiter(group, environ["torc.received"] + seconds, nodes)
        elif waiter.is_woken and self._wake_ups(workflow_id) != seen:
            raise Later(FAILED_GAP)
        waiter.answer, waiter.seen = answer, seen
        raise LaterWithJobs(waiter)

    # For the worker class

    def add(self, waiter: Waiter, resume: Callable[[], None]) -> None:
        """Let a claim wait that has just found nothing."""
        waiter.resume = resume
        workflow_id = waiter.group[0]
        with self._lock:
            if waiter.has_left:
                return
            workflow = self._workflows.setdefault(workflow_id, _Workflow())
            group = workflow.groups.setdefault(waiter.group, _Group())
            group.waiting[waiter] = None
            if waiter.is_woken:
                waiter.is_woken = False
                group.woken -= 1
                group.waiting.move_to_end(waiter, last=False)
            is_heard = workflow.registration is not None
            resumed = []
            if self._has_ended:
                del group.waiting[waiter]
                resumed = [waiter]
            elif is_heard and waiter.seen != workflow.wake_ups and not group.woken:
                resumed = group.take(1)
        if not is_heard:
            self._start_listening()
        _resume(resumed)

    def leave(self, waiter: Waiter) -> None:
        """A claim is answered, or its client is gone. If it ran because of a notification, the next ones are run."""
        resumed = []
        with self._lock:
            if waiter.has_left:
                return
            waiter.has_left = True
            workflow = self._workflows.get(waiter.group[0])
            group = workflow and workflow.groups.get(waiter.group)
            if not group:
                return
            workflow.used = time.monotonic()
            group.waiting.pop(waiter, None)
            if waiter.is_woken:
                group.woken -= 1
                resumed = group.take(WOKEN_BY_SUCCESS)
            if not group.waiting and not group.woken:
                del workflow.groups[waiter.group]
        _resume(resumed)

    def resume_due(self) -> float:
        """Resume the claims whose time is over; return after how many seconds the next one's is."""
        now, next_one, resumed = time.monotonic(), float("inf"), []
        if not self._workflows:
            return next_one
        with self._lock:
            for group in self._groups():
                for waiter in list(group.waiting):
                    if waiter.until <= now:
                        del group.waiting[waiter]
                        resumed.append(waiter)
                    else:
                        next_one = min(next_one, waiter.until)
        _resume(resumed)
        return next_one - now

    def end_all(self) -> None:
        """Answer all waiting claims: the server stops."""
        with self._lock:
            self._has_ended = True
            resumed = [waiter for group in self._groups() for waiter in group.waiting]
            for group in self._groups():
                group.waiting.clear()
        _resume(resumed)

    def count(self) -> int:
        """How many claims wait."""
        with self._lock:
            return sum(len(group.waiting) for group in self._groups())

    # For the thread that listens

    def hear(self, payload: str) -> None:
        """A notification: jobs of that workflow may be ready."""
        self._wake(int(payload))

    def forget_registrations(self) -> None:
        """The listening connection is lost."""
        with self._lock:
            for workflow in self._workflows.values():
                workflow.registration = None

    def advance(self, connection: Connection) -> float:
        """Do what is due on the listening connection; return after how many seconds to call it again."""
        if not self._workflows:
            return float("inf")
        now = time.monotonic()
        self._register(connection)
        self._unregister(connection, now)
        if now - self._renewed > RENEW_EVERY:
            self._renewed = now
            with self._lock:
                registrations = [workflow.registration for workflow in self._workflows.values()]
            connection.execute(sql.event_stream.renew.sql, {"ids": registrations})
        if now - self._watched > WATCH_EVERY:
            self._watched = now
            self._watch(connection)
        for workflow_id, workflow in list(self._workflows.items()):
            if workflow.repeat_at <= now:
                workflow.repeat_at = now + REPEAT_EVERY
                self._wake(workflow_id)
        return REPEAT_FIRST

    def _register(self, connection):
        with self._lock:
            missing = [number for number, workflow in self._workflows.items() if workflow.registration is None]
        for number in missing:
            row = connection.execute(sql.event_stream.await_jobs.sql, {"workflow_id": number}).fetchone()
            with self._lock:
                self._workflows[number].registration = row[0]
                self._workflows[number].repeat_at = time.monotonic() + REPEAT_FIRST
            self._wake(number)

    def _unregister(self, connection, now):
        with self._lock:
            unused = [
                number for number, workflow in self._workflows.items()
                if not workflow.groups and now - workflow.used > KEEP_SECONDS
            ]  # fmt: skip
            registrations = [self._workflows.pop(number).registration for number in unused]
        if registrations:
            connection.execute(sql.event_stream.end_await.sql, {"ids": registrations})

    def _watch(self, connection):
        """Resume the claims of workflows that are over; a claim that waits is a sign of life of its compute node."""
        with self._lock:
            nodes = {node for group in self._groups() for waiter in group.waiting for node in waiter.nodes}
            awaited = [number for number, workflow in self._workflows.items() if workflow.groups]
        self._node_watch.heard_of(*nodes)
        row = connection.execute(sql.event_stream.finished_workflows.sql, {"workflow_ids": awaited}).fetchone()
        resumed = []
        with self._lock:
            for number in row[0]:
                for group in self._workflows[number].groups.values():
                    resumed += group.waiting
                    group.waiting.clear()
        _resume(resumed)

    def _wake(self, workflow_id):
        """Run one claim of each group, unless one runs already: that one will see that it has to be run again."""
        resumed = []
        with self._lock:
            workflow = self._workflows.get(workflow_id)
            if workflow is None:
                return
            workflow.wake_ups += 1
            for group in workflow.groups.values():
                if not group.woken:
                    resumed += group.take(1)
        _resume(resumed)

    def _groups(self):
        return [group for workflow in self._workflows.values() for group in workflow.groups.values()]

    def _wake_ups(self, workflow_id):
        """The number of wake-ups of a workflow so far; None: this process does not listen to it."""
        with self._lock:
            workflow = self._workflows.get(workflow_id)
            return workflow.wake_ups if workflow and workflow.registration is not None else None


def _resume(waiters):
    for waiter in waiters:
        waiter.resume()


def _is_empty(answer):
    """Whether a claim's answer has no jobs; see Metrics.count_claim for its form."""
    return answer.partition("[")[2].lstrip()[:1] == "]"


def _is_over(workflow_id):
    answer = json.loads(value(sql.workflows.is_workflow_complete, workflow_id=workflow_id))
    return answer["is_complete"] or answer["is_canceled"]
