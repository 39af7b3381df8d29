"""Where the data folder of an embedded PostgreSQL is; needs no database driver, so that every command may ask."""

import hashlib
import os
from pathlib import Path

ROOTS_FOLDER = Path("/var/lib/torc")


def has_database(state: Path | str) -> bool:
    """Whether a database was made in `state`, or for root in the folder in its place; nothing is made or started."""
    state = Path(state).expanduser().resolve()
    folders = [state, replacement(state)] if os.geteuid() == 0 else [state]
    return any((folder / "data").exists() for folder in folders)


def replacement(state: Path) -> Path:
    """The folder that root uses in place of `state` where PostgreSQL's account cannot get there."""
    return ROOTS_FOLDER / f"{state.parent.name}-{hashlib.sha256(os.fsencode(state)).hexdigest()[:8]}"
