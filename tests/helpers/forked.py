"""Processes of `torc-server`, and of scripts that use torc's client, that are forked from one that has imported the
program. Each is a process with its own arguments, environment, folder, files, session and exit code, and saves the CPU
that the imports take: 0.3 to 0.7 s, 1 s with torc's client.

One such parent for each program belongs to a test process; whatever it has forked is told to stop when the test process
dies.
"""

import array
import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "torc-server"
# all that its commands import
MODULES = (
    "torc_server.gunicorn_conf",
    "torc_server.master",
    *(
        f"torc_server.commands.{file.stem}"
        for file in sorted((Path(__file__).parents[2] / "torc_server/commands").glob("[a-z]*.py"))
    ),
)
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None)


def die_with_parent(number=signal.SIGTERM):
    """Let the kernel send this process a signal when the thread that started it ends."""
    _libc.prctl(_SET_PARENT_DEATH_SIGNAL, number, 0, 0, 0)


class Process:
    """A `torc-server …`, with what the tests use of subprocess.Popen."""

    program, modules = PROGRAM, MODULES

    def __init__(self, arguments, cwd, env, stdin, stdout, stderr):
        self.args = [str(self.program), *map(str, arguments)]
        self.returncode = None
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.connect(_parent(self.program.name, self.modules, env.get("PYTHONPATH"))[1])
        request = {"argv": self.args, "cwd": str(cwd), "env": env}
        with tempfile.TemporaryFile("w+") as file:  # may be longer than a packet
            json.dump(request, file)
            file.flush()
            files = [file.fileno(), *(each.fileno() for each in (stdin, stdout, stderr))]
            self._channel.sendmsg([b"start"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
            self.pid = int(self._channel.recv(100))

    def poll(self):
        return self._read(0)

    def wait(self, timeout=None):
        if self._read(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _read(self, timeout):
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._channel.recv(100)))
            except (BlockingIOError, TimeoutError):
                return None
            self._channel.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def script(path, *modules):
    """The class of the processes of a Python script, as Process is that of `torc-server`; forked after these modules
    are imported, with the PYTHONPATH of its environment."""
    return type("Script", (Process,), {"program": Path(path), "modules": modules})


def run(arguments, cwd, env, input="", timeout=120, kind=Process):
    """Run `torc-server …`, or a script, to its end; return a subprocess.CompletedProcess with texts."""
    stdin, out, err = (tempfile.TemporaryFile("w+") for _ in range(3))
    with stdin, out, err:
        stdin.write(input)
        stdin.seek(0)
        process = kind(arguments, cwd, env, stdin, out, err)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, out.read(), err.read())


@functools.cache
def _parent(name, modules, path):
    """Start the parent of a program's processes; return it and the address where it listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")  # an abstract address that the kernel chooses
    listener.listen(64)
    with listener:
        process = subprocess.Popen(
            [sys.executable, __file__, name, str(listener.fileno()), *modules],
            env=os.environ | ({"PYTHONPATH": path} if path else {}),
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        atexit.register(_end, process)
        return process, listener.getsockname()


def _end(process):
    process.terminate()
    process.wait()


def _fork_when_asked(number):
    """In the parent: fork for each connection. Returns in the forked process only, which is to run the program."""
    listener = socket.socket(fileno=number)
    watchers = set()
    while True:
        channel, _ = listener.accept()
        watchers -= {each for each in watchers if os.waitpid(each, os.WNOHANG)[0]}
        watcher = os.fork()
        if watcher == 0:  # it waits for one process
            listener.close()
            die_with_parent(signal.SIGKILL)
            _, files, _, _ = socket.recv_fds(channel, 100, 4)
            pid = os.fork()
            if pid == 0:
                channel.close()
                return _become(*files)
            channel.send(str(pid).encode())
            channel.send(str(os.waitpid(pid, 0)[1]).encode())
            os._exit(0)
        watchers.add(watcher)
        channel.close()


def _become(request, *standard):
    os.setsid()
    die_with_parent()
    with open(request) as file:
        file.seek(0)
        request = json.load(file)
    for number, given in enumerate(standard):
        os.dup2(given, number)
        os.close(given)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = request["argv"]
    sys.orig_argv = [sys.executable, *sys.argv]


def _leave(main):
    """Run a program and end as Python would, but for freeing every object: that takes longer than many commands."""
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)


def _program():
    if sys.argv[0] == str(PROGRAM):
        from torc_server import cli

        cli.main()
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    for module in sys.argv[3:]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a collection in a forked process does not copy the pages of the modules
    _fork_when_asked(int(sys.argv[2]))
    _leave(_program)
