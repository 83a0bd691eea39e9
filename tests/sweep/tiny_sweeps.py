"""A tiny task under the real sweeper, samplers, pruners and launchers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import TaskFunction
from optuna import Study

from facesmith.sweep.study import open_study

ROOT = Path(__file__).parents[2]
TINY = f"""
defaults:
  - override hydra/sweeper: grid
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
  - _self_
x: 1
y: 2
word: plain
steps: 5
seconds: 0.05
dies_at: null
resume: null
monitor_mode: min
objectives: null
trainer: {{max_epochs: 9}}
hydra:
  searchpath: ["file://{ROOT / "conf"}"]
  output_subdir: null
  sweep:
    dir: runs/${{now:%Y-%m-%d_%H-%M-%S-%f}}_sweep
    subdir: ${{hydra.job.num}}
"""

Sweeps = Callable[..., Path]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    """Give a function that runs a sweep of a task in process, as a command would, and gives its folder."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)

    def run(task: TaskFunction, *overrides: str) -> Path:
        with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
            GlobalHydra.instance().hydra.multirun("tiny", task, list(overrides), with_log_configuration=False)
        folders = list((tmp_path / "runs").iterdir())
        return max(folders, key=lambda folder: (folder / "multirun.yaml").stat().st_mtime_ns)

    return run


def outcomes(folder: Path) -> list[str | None]:
    """Return each trial's end, in order."""
    return [trial.user_attrs.get("outcome") for trial in study(folder).trials]


def points(folder: Path) -> list[dict[str, Any]]:
    """Return each trial's values, in order."""
    return [trial.user_attrs["point"] for trial in study(folder).trials]


def study(folder: Path) -> Study:
    """Open the sweep's study."""
    return open_study(folder)
