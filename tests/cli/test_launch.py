"""The commands that Hydra starts: quick, one line a mistake, exit code 1, nothing left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, *arguments: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `facesmith ...`, or a script of the root; exit code 99 says that it imported torch or lightning."""
    path = str(ROOT / script) if script else str(ROOT / "src/facesmith/__main__.py")
    program = (
        f"import sys, runpy; sys.argv = {[path, *arguments]!r}\n"
        "try:\n"
        f"    runpy.run_path({path!r}, run_name='__main__')\n"
        "finally:\n"
        "    if {'torch', 'lightning'} & set(sys.modules): sys.exit(99)"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["train", "infer", "export"])
def test_help_needs_no_torch_and_lists_the_commands_own_groups(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, "--help", script=f"{command}.py")
    assert done.returncode == 0, done.stderr
    assert f"facesmith {command}" in done.stdout
    groups = {"train": ["experiment", "trainer", "model/generator"], "infer": ["task", "encoder"], "export": []}
    for name, words in groups.items():
        for group in words:
            assert (f"      {group} " in done.stdout or f"  {group} " in done.stdout) == (name == command), group


def test_train_cfg_job_needs_no_torch(tmp_path: Path) -> None:
    done = run(tmp_path, "train", "experiment=identity", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "max_frames: 1000" in done.stdout


def test_train_wrong_values_need_no_torch_and_leave_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "experiment=identity", "data.consent=slef", "+trainer.max_epoch=3", script="train.py")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), done.stderr
    assert any("did you mean self?" in line for line in lines)
    assert any("did you mean trainer.max_epochs?" in line for line in lines)
    assert not list((tmp_path / "runs").rglob("*.yaml"))
    assert tmp_path.is_dir()  # the folder one stands in is nobody's to tidy


def test_train_misspelt_overrides_are_listed_together(tmp_path: Path) -> None:
    given = ["experiment=identity", "traner.max_epochs=3", "logger=wandbb", "data.consent=self"]
    done = run(tmp_path, "train", *given)
    assert done.returncode == 1
    assert "error: traner.max_epochs: no such key; did you mean trainer.max_epochs?" in done.stderr
    assert "error: logger=wandbb: no such option; choose one of csv, none, tensorboard, wandb" in done.stderr
    assert "error: data.source: required" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("given", [["-cd", str(ROOT / "sweeps"), "-cn", "identity_grid"], ["sweep=identity_grid"]])
def test_train_sweep_names_its_missing_keys(tmp_path: Path, given: list[str]) -> None:
    done = run(tmp_path, *given, script="train.py")
    assert done.returncode == 1
    assert "error: data.consent: required" in done.stderr
    assert "Traceback" not in done.stderr
