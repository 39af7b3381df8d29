"""Signs of life of compute nodes: what requests tell of them is stored now and then, and silent nodes are given up.

The rules are in sql/functions/nodes/node_timeout.sql. One thread of each process does both; the servers on a database
take turns in looking for silent nodes.
"""

import json
import logging
import threading
from collections import deque

from torc_server import current
from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.queues import drained
from torc_server.repository import server_long_value, server_rows, server_value, sql

log = logging.getLogger("torc_server")
STORE_EVERY = 10.0  # seconds; half as often as the shortest timeout that makes sense


class NodeWatch:
    """The compute nodes that this process has heard of. `timeout`: seconds of silence after which a node is given up;
    0: never.

    Where open() is not called, nothing is stored.
    """

    def __init__(self, database: Database, timeout: float):
        self._database = database
        self._timeout = timeout
        self._every = min(STORE_EVERY, timeout / 4) if timeout else STORE_EVERY
        self._heard = deque()  # (node ids, whether they have started a job)
        self._ended = threading.Event()
        self._is_open = False

    def open(self) -> None:
        """Begin in this process. Forgets the process that we were forked from."""
        self.__init__(self._database, self._timeout)
        self._is_open = True
        threading.Thread(target=self._work, name="node-watch", daemon=True).start()

    def close(self) -> None:
        """Store what was heard, and end."""
        self._ended.set()
        self._try(self._store)

    def heard_of(self, *node_ids: int, works: bool = False) -> None:
        """A request that succeeded has named these nodes; `works`: it has started a job there."""
        if self._is_open:
            self._heard.append((node_ids, works))

    def _work(self):
        while not self._ended.wait(self._every):
            self._try(self._store)
            if self._timeout:
                self._try(self._give_up_silent_nodes)

    def _try(self, step):
        try:
            step()
        except ApiError as error:  # the database is away, say; it is tried again
            log.debug("signs of life of compute nodes: %s", error.message)
        except Exception:
            log.exception("signs of life of compute nodes: failed by our own fault; it is tried again")

    def _store(self):
        heard, working = set(), set()
        for node_ids, works in drained(self._heard):
            heard.update(node_ids)
            if works:
                working.update(node_ids)
        heard.discard(None)
        working.discard(None)
        if not heard:
            return
        try:
            server_value(self._database, sql.compute_nodes.note_nodes, ids=list(heard), working=list(working))
        except ApiError:
            self.heard_of(*heard)
            self.heard_of(*working, works=True)
            raise

    def _give_up_silent_nodes(self):
        for node_id, workflow_id in server_rows(
            self._database, sql.compute_nodes.find_silent_nodes, timeout=float(self._timeout), every=self._every
        ):
            try:
                event = self._give_up(node_id, workflow_id)
            except ApiError as error:  # its workflow was deleted, or its lock is held for long
                log.warning("compute node %s is silent, and was not given up: %s", node_id, error.message)
                continue
            if event:
                log.warning("workflow %s: %s", workflow_id, json.loads(event)["message"])

    def _give_up(self, node_id, workflow_id):
        return server_long_value(
            self._database, sql.compute_nodes.give_up_node,
            id=node_id, workflow_id=workflow_id, timeout=float(self._timeout),
        )  # fmt: skip


def heard_of(*node_ids: int, works: bool = False) -> None:
    """In a request that has succeeded: it has named these nodes (None is none)."""
    current.extension("node_watch").heard_of(*node_ids, works=works)
