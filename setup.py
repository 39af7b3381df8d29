"""Puts the folder sql/ into wheels as torc_server/sql; everything else is declared in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSql(build_py):
    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):  # an editable install finds sql/ beside the package
            target = Path(self.build_lib, "torc_server", "sql")
            shutil.rmtree(target, ignore_errors=True)  # a build/ folder of yesterday may hold deleted files
            shutil.copytree("sql", target)


setup(cmdclass={"build_py": BuildWithSql})
