"""From which commit this code is: written into the package when it is built; in a checkout git says it."""

import functools
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent
FILE = "git_hash"  # in the package; made by setup.py


@functools.cache
def git_hash() -> str | None:
    """The short hash of the commit, or None where it is not known. Asks git once in each process."""
    written = PACKAGE / FILE
    if written.exists():
        return written.read_text().strip()
    return ask_git(PACKAGE.parent)


def ask_git(folder: Path) -> str | None:
    """The short hash of what is checked out in a folder, the root of a checkout; None if that or git is missing."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", folder, "rev-parse", "--short", "HEAD"]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
