"""A training type of another package: its configs, its classes, its checkpoints, one real training."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from facesmith.cli.main import main
from facesmith.config import targets
from facesmith.config.settings import ModuleConfig, settings_class
from facesmith.config.targets import TargetError, locate
from facesmith.errors import UserError
from facesmith.models.checkpoint import load_module

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "training_type"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example into a folder of its own."""
    source = tmp_path_factory.mktemp("plugin") / "source"  # pip leaves build/ behind
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    folder = source.parent / "site"
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, str(source)], check=True, capture_output=True)
    return folder


def facesmith(site: Path | None, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, [ROOT / "src", *([site] if site else [])]))
    command = [sys.executable, "-m", "facesmith", *arguments]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@contextmanager
def installed_here(site: Path) -> Iterator[None]:
    """Let this process find the example as an installed package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        targets.plugin_packages.cache_clear()
        yield
    targets.plugin_packages.cache_clear()


@pytest.fixture
def installed(site: Path) -> Iterator[None]:
    with installed_here(site):
        yield


def test_training_type_of_a_plugin_trains_and_loads(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["data.max_frames=24", "data.batch_size=8", "callbacks.progress.refresh_rate=0", "trainer.max_epochs=2"]
    monkeypatch.chdir(tmp_path)
    with installed_here(site):
        code = main(["train", "experiment=head_pose_demo", *few, f"paths.run={tmp_path / 'run'}"])
    assert code == 0, capsys.readouterr().err
    assert "val/error" in (tmp_path / "run/metrics.csv").read_text().splitlines()[0]
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    with pytest.raises(UserError, match=r"HeadPoseModule may not be named by a file.* install the plug-in"):
        load_module(checkpoint)
    with installed_here(site):
        module = load_module(checkpoint)
    assert type(module).__module__ == "facesmith_head_pose.module"
    assert module.network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


def test_misspelt_key_of_a_plugin_is_told_without_torch(site: Path, tmp_path: Path) -> None:
    done = facesmith(site, tmp_path, "train", "experiment=head_pose_demo", "+model.chanels=[8]", "data.size=60")
    assert done.returncode == 1
    assert "error: model.chanels: no such key; did you mean model.channels?" in done.stderr
    assert "error: data.size=60" in done.stderr
    assert "Traceback" not in done.stderr


def test_plugin_options_are_offered_only_where_it_is_installed(site: Path, tmp_path: Path) -> None:
    done = facesmith(None, tmp_path, "train", "experiment=head_pose_demo")
    assert done.returncode == 1
    assert "experiment=head_pose_demo: no such option" in done.stderr


@pytest.mark.usefixtures("installed")
def test_classes_of_a_plugin_are_targets_and_nothing_else_of_it() -> None:
    assert targets.plugin_packages() == ("facesmith_head_pose",)
    assert [folder.parent.name for folder in targets.plugin_conf_folders()] == ["facesmith_head_pose"]
    module = "facesmith_head_pose.module"
    found = settings_class(f"{module}.HeadPoseModule", ModuleConfig, from_file=True)
    assert found.__name__ == "HeadPoseModuleConfig"
    assert locate(f"{module}.HeadPoseModule").__name__ == "HeadPoseModule"
    for target in (f"{module}.PoseNetwork", f"{module}.AdamW", f"{module}._draw", f"{module}.cv2.imread"):
        with pytest.raises(TargetError):
            locate(target)
    with pytest.raises(TargetError):
        settings_class("facesmith_head_pose_too.module.HeadPoseModule", ModuleConfig)
