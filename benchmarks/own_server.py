"""A server to measure, when no URL is given."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVE = "from torc_server.cli import main; main()"


@contextlib.contextmanager
def own_server(prepare=""):
    """The URL of a server with the default settings on a new data folder, which is removed afterwards.

    prepare: Python that its process runs first.
    """
    with tempfile.TemporaryDirectory(prefix="torc-bench-") as folder, server_on(folder, prepare) as url:
        yield url


@contextlib.contextmanager
def server_on(folder, prepare=""):
    """The same on `folder`/data; the folder is left as it is."""
    Path(folder).chmod(0o755)  # PostgreSQL's account passes through
    with open(Path(folder, "log"), "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", f"{prepare}\n{SERVE}", "run", "--port=0", f"--data-dir={folder}/data"],
            env={k: v for k, v in os.environ.items() if not k.startswith("TORC_")}, stdout=subprocess.PIPE,
            stderr=log, text=True,
        )  # fmt: skip
    try:
        line = server.stdout.readline()
        if not line:
            sys.exit(Path(folder, "log").read_text())
        yield f"http://127.0.0.1:{line.strip().removeprefix('TORC_SERVER_PORT=')}"
    finally:
        server.terminate()
        server.wait()
