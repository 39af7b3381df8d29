"""How gunicorn runs the application: processes × threads, one connection pool per process, opened after the fork."""

import logging
import os
import resource
import select
import signal

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from torc_server.errors import OWN_FAULT, ApiError
from torc_server.proxies import networks

log = logging.getLogger("torc_server")

# gunicorn writes a line for each worker and signal at "info"; people want to see those only when they look for them.
_LOG_LEVELS = {"error": "error", "warn": "warning", "warning": "warning", "info": "warning", "debug": "info"}
CONNECTIONS_PER_WORKER = 4000
OPEN_FILES = 8192
LINGER_MS = 10  # how long a thread waits for the next request on a connection before it gives the connection back


class Server(BaseApplication):
    """The application under gunicorn. `load` makes the Flask app, in the master and again at a reload (SIGHUP)."""

    def __init__(self, options, load):
        os.environ.pop("SCRIPT_NAME", None)  # gunicorn would answer 500 to every path that does not begin with it
        self.options = options
        self.load = load
        super().__init__()

    def load_config(self):
        for name, value in self.options.items():
            if name in self.cfg.settings:  # some are newer than the oldest gunicorn that we run with
                self.cfg.set(name, value)

    def reload(self):
        try:
            self.callable = self.load()
        except Exception:
            log.exception("the application cannot be loaded again; the workers keep the one they have")
        super().reload()


class HeadersWithBody:
    """A socket that sends an answer's headers together with the first piece of its body. gunicorn writes them one by
    one, and each write wakes the client. It also asks for blocking reads before each request."""

    def __init__(self, sock):
        self._sock = sock
        self._held = b""

    def begin(self):
        """An answer begins: what is written first are its headers."""
        self._held = None

    def sendall(self, data):
        if self._held is None:
            self._held = data
        else:
            data, self._held = self._held + data, b""
            self._sock.sendall(data)

    def sendfile(self, *args, **kwargs):
        self.flush()
        return self._sock.sendfile(*args, **kwargs)

    def flush(self):
        data, self._held = self._held, b""
        if data:
            self._sock.sendall(data)

    def setblocking(self, flag):
        if self._sock.gettimeout() != (None if flag else 0):  # else a system call for nothing, without the GIL
            self._sock.setblocking(flag)

    def __getattr__(self, name):
        return getattr(self._sock, name)


class RefusalAsJson:
    """A socket that sends what gunicorn itself refuses, before the application sees it, in the one error shape instead
    of as HTML; the status stays."""

    def __init__(self, sock, reason):
        self._sock = sock
        self._reason = reason

    def sendall(self, html):
        status = int(html.split(maxsplit=2)[1])
        answer = ApiError(status, self._reason if status < 500 else OWN_FAULT).response()
        head = {**answer.headers, "Connection": "close"}
        lines = [f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in head.items())]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode() + answer.get_data())

    def __getattr__(self, name):
        return getattr(self._sock, name)


class Worker(ThreadWorker):
    """A threaded worker for clients that send one request after the other, as runners do that claim, start, complete.

    A thread stays with its connection while the next request comes at once and no other connection waits for a thread:
    gunicorn's own way, back through the main thread after each request, takes half of the process's time. This and
    HeadersWithBody together: 25 % less CPU a job, 20 % more jobs/s (the same drain, in turns, on a busy machine).

    It closes the port as soon as it is told to stop, not when its last request is done: who connects meanwhile is
    refused at once (and tries again), instead of waiting for an answer that never comes.
    """

    def init_process(self):
        # gunicorn looks up twenty settings a request by __getattr__: as plain attributes 5 % less CPU.
        vars(self.cfg).update((name, setting.get()) for name, setting in self.cfg.settings.items())
        super().init_process()

    def handle(self, conn):
        while (kept := super().handle(conn)) is True and self._has_next_request(conn.sock):
            pass
        return kept

    def handle_request(self, req, conn):
        if not isinstance(conn.sock, HeadersWithBody):
            conn.sock = HeadersWithBody(conn.sock)
        conn.sock.begin()
        try:
            kept = super().handle_request(req, conn)
        finally:
            conn.sock.flush()
        if kept and getattr(req.body.reader, "length", None) == 0:
            conn.parser.mesg = None  # its body is read: gunicorn would look for a rest, twice, setting timeouts (10 µs)
        return kept

    def _has_next_request(self, sock):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for _ in range(LINGER_MS):
            if not self.alive or self.tpool._work_queue.qsize():
                return False
            if poll.poll(1):
                return True
        return False

    def handle_error(self, req, client, addr, exc):
        super().handle_error(req, RefusalAsJson(client, f"The request cannot be read: {exc}"), addr, exc)

    def set_accept_enabled(self, enabled):
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def is_parent_alive(self):
        """A worker whose master was killed stops like one that is told to: a new server needs the port."""
        self.alive = self.alive and super().is_parent_alive()
        return self.alive


def options(settings, listener, when_ready):
    """The gunicorn options for Settings; `listener` is the descriptor of a listening socket."""
    tls = {"certfile": settings.tls_cert, "keyfile": settings.tls_key} if settings.https else {}
    return {
        **{name: str(path) for name, path in tls.items()},
        "bind": f"fd://{listener}",
        "worker_class": Worker,
        "workers": settings.workers,
        "threads": settings.threads + settings.max_streams,  # streams never take a request's thread
        "worker_connections": CONNECTIONS_PER_WORKER,
        "preload_app": True,
        "keepalive": 30,
        "graceful_timeout": 30,
        "limit_request_line": 8190,
        "limit_request_field_size": settings.limit_request_field_size,
        # proxies.Forwarded alone decides what is believed of headers, and whose.
        "forwarded_allow_ips": ",".join(map(str, networks(settings.trusted_proxies))),
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "loglevel": _LOG_LEVELS.get(settings.log_level, "debug"),
        "control_socket_disable": True,  # gunicorn 25.1: a socket file in the home folder
        "when_ready": when_ready,
        "post_fork": post_fork,
        "worker_exit": worker_exit,
    }


def allow_open_files():
    """Raise the soft limit of open files: many idle runners keep a connection each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def post_fork(server, worker):
    def stop(number, frame):
        worker.alive = False

    # Told to stop before gunicorn sets a worker's own handlers, it would not hear, and be waited for for 30 s. Theirs
    # cannot serve yet: they need what init_process() makes.
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, stop)
    extensions = server.app.wsgi().extensions
    extensions["database"].open()
    extensions["presence"].open()
    if extensions["accounts"]:
        extensions["accounts"].open()
    extensions["streams"].alive = lambda: worker.alive


def worker_exit(server, worker):
    extensions = server.app.wsgi().extensions
    extensions["presence"].close()
    extensions["database"].close()
