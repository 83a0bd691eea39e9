"""Installed from a wheel, `facesmith` works in any folder, without the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ["data.source=photos/", "data.name=ada", "data.consent=self"]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None or importlib.util.find_spec("setuptools") is None,
    reason="needs pip and setuptools to build a wheel",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources and install it into a folder; packages are this environment's."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    for name in ("src", "conf", "sweeps"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "conf/local/default.yaml").write_text("seed: 77\n")  # this machine's own: stays here
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    quick = ["--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *quick, "--wheel-dir", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def facesmith(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder of the user's."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, str(installed / "bin" / "facesmith"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_installed_command_shows_help(installed: Path, tmp_path: Path) -> None:
    done = facesmith(installed, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "facesmith <command> key=value" in done.stdout


def test_installed_doctor_finds_this_machine_ready(installed: Path, tmp_path: Path) -> None:
    done = facesmith(installed, tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing would stop a run." in done.stdout


@pytest.mark.parametrize("chosen", ["experiment=identity", "sweep=identity_grid"])
def test_installed_train_composes_experiments_and_sweeps(installed: Path, tmp_path: Path, chosen: str) -> None:
    done = facesmith(installed, tmp_path, "train", chosen, *DATA, "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "experiment_name: identity" in done.stdout
    assert "seed: 0" in done.stdout
    assert not list(tmp_path.iterdir())


def test_installed_train_explains_a_mistake(installed: Path, tmp_path: Path) -> None:
    done = facesmith(installed, tmp_path, "train", "experiment=identiti")
    assert done.returncode == 1
    assert "did you mean identity?" in done.stderr
    assert "Traceback" not in done.stderr


def test_installed_module_is_the_same_command(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "facesmith", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == facesmith(installed, tmp_path, "--version").stdout
