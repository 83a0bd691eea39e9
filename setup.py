"""Put conf/ and sweeps/ into the wheel, where the commands find them without a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Build the package with conf/ and sweeps/ in it; an editable install reads the checkout's."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            return
        for name in ("conf", "sweeps"):
            target = Path(self.build_lib) / "facesmith" / name
            shutil.rmtree(target, ignore_errors=True)  # what an earlier build left
            shutil.copytree(name, target, ignore=shutil.ignore_patterns("local"))


setup(cmdclass={"build_py": BuildWithConf})
