"""`torc-server run`."""

import os
import signal
import threading

import click

from torc_server.commands.messages import say
from torc_server.commands.options import run_options
from torc_server.settings import Settings


def _stop_with_stdin():
    """Stop as by SIGTERM when stdin ends: `torc --standalone` closes it when it ends, however it ends."""

    def wait():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's, see master
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@click.command("run")
@run_options
@click.option(
    "--shutdown-on-stdin-eof",
    is_flag=True,
    expose_value=False,
    hidden=True,
    callback=lambda _context, _option, given: given and _stop_with_stdin(),
)
@click.option("--check", is_flag=True, help="Start nothing; find out whether a start or a reload would fail, and why.")
def command(check=False, **values):
    """Serve until stopped.

    SIGTERM lets running requests finish. SIGHUP takes up the settings files, certificates and code without losing a
    request, and says what changed and what needs a restart.
    """
    settings = Settings(**values)
    settings.check()
    from torc_server.commands import startup  # gunicorn, Flask and all statements: not for --help or wrong settings

    if check:
        startup.check_start(settings)
        say("The settings and the database are fine")
    else:
        startup.serve(settings)
