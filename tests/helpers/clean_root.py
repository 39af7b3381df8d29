"""Runs a script as root in a copy of this machine's root folder that is thrown away: what it writes reaches nobody."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2]
FOLDERS = ("torc_server", "sql", "deploy")
FILES = ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")

# The root folder under a layer in memory; the interpreter, wherever it is, can be reached by every account.
MOUNTS = """
mount -t tmpfs -o mode=0755 tmpfs {folder}
cd {folder}
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=0755 tmpfs run
rm -rf opt/torc var/lib/torc etc/torc; mkdir -p opt/torc
python={python}
while [ "$python" != / ]; do chmod a+rx ".$python"; python=$(dirname "$python"); done
cp -r {source} opt/torc/src
exec chroot . /bin/sh -eu /dev/stdin
"""


def can_be_made():
    """Whether this process is root and may mount."""
    tried = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(tried, capture_output=True, timeout=20).returncode == 0


def run_in_clean_root(folder, script, timeout=500):
    """Run a shell script, in which /opt/torc/src is this source and `python3` our interpreter, and return the finished
    process. All processes of the script end with it."""
    source, mounts = folder / "source", folder / "mounts"
    (folder / "root").mkdir()
    source.mkdir()
    for name in FOLDERS:
        shutil.copytree(SOURCE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(SOURCE / name, source / name)
    mounts.write_text(MOUNTS.format(folder=folder / "root", python=sys.base_prefix, source=source))
    kept = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k.startswith(("PIP_", "SSL_"))}
    path = f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-eu", mounts], input=script,
        capture_output=True, text=True, timeout=timeout, env={**kept, "PATH": path, "HOME": "/root"},
    )  # fmt: skip
