"""Tasks: one thread of each process does what calls have left in torc.task, and what a process that ended left there.

The rules are in sql/functions/tasks/task.sql. The calls of this process wake the thread; it finds the tasks of other
processes when it starts, and every LOOK_EVERY seconds.
"""

import json
import logging
import threading

from psycopg import errors as pg

from torc_server.database import Database
from torc_server.errors import ApiError
from torc_server.repository import server_long_value, server_rows, server_value, sql

log = logging.getLogger("torc_server")
LOOK_EVERY = 15.0  # seconds
LOOK_AGAIN_AFTER = 3.0  # seconds, while another process works on a task; it may die
RETRY_AFTER = 1.0  # seconds after which a task is tried again that the database did not let us finish


class Tasks:
    """The tasks that this process does, one after the other.

    Where open() is not called, as under WSGI servers other than ours, the thread ends when no task is left, and tasks
    of processes that ended are done when the next call wakes it.
    """

    def __init__(self, database: Database):
        self._database = database
        self._lock = threading.Lock()
        self._thread = None
        self._woken = threading.Event()
        self._stopped = False
        self._stays = False

    def open(self) -> None:
        """Do tasks from now on, beginning with those that other processes left. Forgets the process that we were forked
        from."""
        self.__init__(self._database)
        self._stays = True
        self.wake()

    def wake(self) -> None:
        """There is a new task."""
        with self._lock:
            self._woken.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tasks", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Begin no more tasks. The one under way ends with its connection, and is done by another process."""
        self._stopped = True
        self._woken.set()

    def _work(self):
        pause = LOOK_EVERY
        while not self._stopped:
            if pause == LOOK_EVERY and self._is_over():
                return
            self._woken.wait(pause)
            self._woken.clear()
            pause = LOOK_EVERY
            try:
                for task_id in self._active():
                    if not self._stopped and not self._do(task_id):
                        pause = LOOK_AGAIN_AFTER
            except ApiError as error:
                log.debug("tasks are tried again: %s", error.message)
                pause = RETRY_AFTER
            except Exception:
                log.exception("a task failed by our own fault; it is tried again")

    def _is_over(self):
        with self._lock:
            if self._stays or self._woken.is_set():
                return False
            self._thread = None
            return True

    def _active(self):
        return [task_id for (task_id,) in server_rows(self._database, sql.tasks.list_active)]

    def _do(self, task_id):
        """Do a task, unless another process does; return whether it is done. Raises ApiError if that has to be tried
        again."""
        server_value(self._database, sql.tasks.begin_task, task_id=task_id)
        try:
            task = server_long_value(self._database, sql.tasks.run_task, task_id=task_id)
        except ApiError as error:
            if not isinstance(error.__cause__, pg.QueryCanceled):
                raise
            server_value(self._database, sql.tasks.fail_task, task_id=task_id, error=error.message)
            return True
        return task is None or json.loads(task)["status"] in ("succeeded", "failed")
