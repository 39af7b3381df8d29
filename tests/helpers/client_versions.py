"""Versions of torc-client side by side. 0.22.2 is installed with the tests; the others go below build/, once."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

OLD = "0.22.2"
NEW = "0.35.0"
OPERATIONS = {OLD: 122, "0.27.0": 124, "0.30.1": 126, "0.33.0": 127, NEW: 130}  # as many methods have the versions
# Where clients of one generation have text and those of another an object, the document says that it may be anything.
TEXT_OR_OBJECT = {
    "WorkflowModel": {"metadata", "slurm_defaults", "execution_config", "resource_monitor_config"},
    "RoCrateEntityModel": {"metadata"},
}
BUILD = Path(__file__).parents[2] / "build"


def environment_with(version):
    """The environment of a process that imports this version; what each version needs is installed with 0.22.2."""
    if version == OLD:
        return dict(os.environ)
    folder = BUILD / f"torc-client-{version}"
    if not (folder / "torc").exists():
        new = f"{folder}-{uuid.uuid4().hex}"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", new]
        subprocess.run([*pip, f"torc-client=={version}"], check=True, timeout=300)
        with contextlib.suppress(OSError):  # another process of the tests was faster
            os.rename(new, folder)
    return os.environ | {"PYTHONPATH": str(folder)}


def description_of(version):
    """See client_description.describe()."""
    command = [sys.executable, Path(__file__).with_name("client_description.py")]
    done = subprocess.run(command, env=environment_with(version), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
