"""How gunicorn runs the application: the options, and what a process does when it is forked and when it ends."""

import logging
import os
import resource
import signal
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from torc_server import balance, metrics
from torc_server.logs import GunicornLogger
from torc_server.master import Master
from torc_server.memory import return_large_blocks
from torc_server.proxies import networks
from torc_server.settings import Settings
from torc_server.worker import SPARE_FILES, Worker

log = logging.getLogger("torc_server")

# gunicorn writes a line for each worker and signal at "info"; people want to see those only when they look for them.
_LOG_LEVELS = {"error": "error", "warn": "warning", "warning": "warning", "info": "warning", "debug": "info"}


class Server(BaseApplication):
    """The application under gunicorn. `load` makes the Flask app, in the master; `former` are the workers and `state`
    what else a reload tells the next program (see master)."""

    def __init__(self, options: dict[str, Any], load: Callable, former: dict[str, int], state: dict[str, Any]):
        os.environ.pop("SCRIPT_NAME", None)  # gunicorn would answer 500 to every path that does not begin with it
        self.options = options
        self.load = load
        self._former = former
        self._state = state
        super().__init__()

    def load_config(self) -> None:
        config: Any = self.cfg  # gunicorn makes it before it calls this
        for name, value in self.options.items():
            if name in config.settings:  # some are newer than the oldest gunicorn that we run with
                config.set(name, value)

    def run(self) -> None:
        Master(self, self._former, self._state).run()


def options(settings: Settings, listeners: list[int], when_ready: Callable) -> dict[str, Any]:
    """The gunicorn options for Settings; `listeners` are descriptors of listening sockets."""
    tls = {"certfile": settings.tls_cert, "keyfile": settings.tls_key} if settings.https else {}
    return {
        **{name: str(path) for name, path in tls.items()},
        "bind": [f"fd://{number}" for number in listeners],
        "worker_class": Worker,
        "workers": settings.workers,
        "threads": settings.threads,
        "preload_app": True,
        "keepalive": settings.keepalive_secs,
        "graceful_timeout": 30,
        "limit_request_line": 8190,
        "limit_request_field_size": settings.limit_request_field_size,
        # proxies.Forwarded alone decides what is believed of headers, and whose.
        "forwarded_allow_ips": ",".join(map(str, networks(settings.trusted_proxies))),
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "loglevel": _LOG_LEVELS.get(settings.log_level, "debug"),
        "control_socket_disable": True,  # gunicorn 25.1: a socket file in the home folder
        "logger_class": GunicornLogger,
        "when_ready": when_ready,
        "on_exit": on_exit,
        "pre_fork": pre_fork,
        "post_fork": post_fork,
        "child_exit": child_exit,
        "worker_exit": worker_exit,
    }


def allow_open_files(connections: int) -> None:
    """Raise the soft limit of open files: each client's connection is one, and so is an answer that is read slowly."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + SPARE_FILES
    wanted = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def on_exit(_server: Any) -> None:
    """Hook of gunicorn: the master ends."""
    log.info("stopped serving")


def pre_fork(server: Any, worker: Any) -> None:
    """Hook of gunicorn, in the master: give the worker its place in what processes share."""
    worker.slot = metrics.free_slot(each.slot for each in server.WORKERS.values())


def child_exit(_server: Any, worker: Any) -> None:
    """Hook of gunicorn, in the master: the worker has ended."""
    metrics.leave_slot(worker.slot)
    balance.leave(worker.slot)


def post_fork(server: Any, worker: Any) -> None:
    """Hook of gunicorn, in the worker: open its connections and start its threads."""
    return_large_blocks()
    metrics.enter_slot(worker.slot)

    def stop(_number, _frame):
        worker.alive = False

    # Temporary handlers: a SIGTERM that arrives before gunicorn installs its own would be lost, and the master would
    # wait for 30 s (graceful_timeout). Gunicorn's cannot be installed here, they need what init_process() makes.
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, stop)
    extensions = server.app.wsgi().extensions
    extensions["database"].open()
    extensions["presence"].open()
    extensions["tasks"].open()
    extensions["node_watch"].open()
    extensions["api_traffic"].open()
    if extensions["accounts"]:
        extensions["accounts"].open()


def worker_exit(server: Any, _worker: Any) -> None:
    """Hook of gunicorn, in the worker: close what post_fork() has opened."""
    extensions = server.app.wsgi().extensions
    extensions["tasks"].close()
    extensions["node_watch"].close()
    extensions["api_traffic"].close()
    extensions["presence"].close()
    extensions["database"].close()
