"""Sweeps whose jobs run elsewhere: on Ray, and in fresh processes of submitit's local executor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesmith.training.run.record import read_record

from .tiny_sweeps import TINY, outcomes, points

TASK = Path(__file__).with_name("stepping_task.py")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("launcher", ["ray", "processes"])
def test_sweep_launcher_runs_every_job_elsewhere_and_survives_a_failing_one(tmp_path: Path, launcher: str) -> None:
    given = [f"hydra/launcher={launcher}", "x=range(3)", "steps=2", "seconds=0.01"]
    if launcher == "ray":
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
        if address := os.environ.get("FACESMITH_TEST_RAY"):  # a cluster that runs here already
            given += [f"+hydra.launcher.init.address={address}"]
    else:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `sweeps` is not installed")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tiny.yaml").write_text(TINY)
    command = [sys.executable, str(TASK), "-m", *given, "dies_at=1"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (sweep,) = (tmp_path / "runs").iterdir()
    assert points(sweep) == [{"x": 0}, {"x": 1}, {"x": 2}]
    assert outcomes(sweep) == ["completed", "failed", "completed"]
    for number in (0, 2):
        record = read_record(sweep / str(number))
        assert (record.status, record.swept, record.objective) == ("completed", {"x": number}, number + 1 / 2)
    assert read_record(sweep / "1").status == "killed"
