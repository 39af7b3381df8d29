"""Puts the folder sql/ into wheels as torc_server/sql, and the hash of the commit into wheels and source archives as
torc_server/git_hash; everything else is declared in setup.cfg."""

import importlib.util
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # what revision.py is compiled to would be packed


def write_git_hash(package):
    """Write the hash into the folder of the package, if it is known."""
    spec = importlib.util.spec_from_file_location("revision", ROOT / "torc_server" / "revision.py")
    revision = importlib.util.module_from_spec(spec)  # without the package: what it needs may not be installed
    spec.loader.exec_module(revision)
    if found := revision.git_hash():
        Path(package, revision.FILE).write_text(f"{found}\n")


class BuildWithSql(build_py):
    """Puts sql/ and the commit into the package."""

    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):  # an editable install finds sql/ beside the package
            target = Path(self.build_lib, "torc_server", "sql")
            shutil.rmtree(target, ignore_errors=True)  # a build/ folder of yesterday may hold deleted files
            shutil.copytree("sql", target)
            write_git_hash(Path(self.build_lib, "torc_server"))


class ArchiveWithHash(sdist):
    """Puts the commit into the source archive."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        write_git_hash(Path(base_dir, "torc_server"))


setup(cmdclass={"build_py": BuildWithSql, "sdist": ArchiveWithHash})
