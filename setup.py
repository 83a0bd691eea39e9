"""Lay conf/ into the wheel, where the package's own entry points find it without a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Builds the package with conf/ in it; an editable install reads the checkout's."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            shutil.copytree(
                "conf",
                Path(self.build_lib) / "facesmith" / "conf",
                ignore=shutil.ignore_patterns("local"),
                dirs_exist_ok=True,
            )


setup(cmdclass={"build_py": BuildWithConf})
