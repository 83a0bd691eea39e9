"""Whole sweeps and single workers are killed: no point is lost, none runs twice, the leaderboard is complete."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facesmith.cli.sweep import main as sweep_command
from facesmith.training.run.record import read_record

from .tiny_sweeps import TINY, outcomes, study

TASK = Path(__file__).with_name("stepping_task.py")

pytestmark = pytest.mark.slow


def begin(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a sweep in a process group of its own."""
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "tiny.yaml").write_text(TINY)
    command = [sys.executable, str(TASK), "-m", *overrides]
    return subprocess.Popen(command, cwd=folder, start_new_session=True, stderr=subprocess.PIPE)


def finished(folder: Path) -> int:
    """Count the jobs that are done."""
    records = [path.parent for path in folder.glob("runs/*/*/run.json")]
    return sum(read_record(job).status == "completed" for job in records)


@pytest.mark.parametrize("launcher", ["basic", "parallel"])
def test_sweep_killed_three_times_loses_nothing(tmp_path: Path, launcher: str) -> None:
    command = ["x=range(9)", f"hydra/launcher={launcher}", "steps=8"]
    rng = random.Random(launcher)
    for kill in range(3):
        process = begin(tmp_path, *command)
        while finished(tmp_path) < 2 * kill + 1:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.8))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = begin(tmp_path, *command)
    assert last.wait() == 0, last.stderr.read().decode()

    (sweep,) = (tmp_path / "runs").iterdir()
    jobs = [sweep / str(number) for number in range(9)]
    assert sorted(p.name for p in sweep.iterdir() if p.is_dir()) == [job.name for job in jobs]
    assert outcomes(sweep) == ["completed"] * 9
    interruptions = 0
    for number, job in enumerate(jobs):
        record = read_record(job)
        assert (record.status, record.swept, record.steps) == ("completed", {"x": number}, 8)
        assert record.objective == number + 1 / 8
        assert (job / "steps.txt").read_text() == "." * 8  # no step was taken twice
        assert study(sweep).trials[number].user_attrs["begun"] >= 1 + len(record.resumed)
        interruptions += len(record.resumed)
    assert interruptions <= 3 * (1 if launcher == "basic" else 2)

    assert sweep_command(["leaderboard", str(sweep), "pictures=false"]) == 0
    assert len((sweep / "leaderboard.csv").read_text().splitlines()) == 1 + 9


@pytest.mark.parametrize("launcher", ["parallel", "processes"])
def test_sweep_worker_killed_costs_its_job_only(tmp_path: Path, launcher: str) -> None:
    process = begin(tmp_path, "x=range(4)", f"hydra/launcher={launcher}", "dies_at=1")
    assert process.wait() == 0, process.stderr.read().decode()
    (sweep,) = (tmp_path / "runs").iterdir()
    assert outcomes(sweep) == ["completed", "failed", "completed", "completed"]
    record = read_record(sweep / "1")
    assert record.status == "killed"
    assert record.error.kind == "Killed"
    assert "Traceback" in record.error.traceback
    assert record.overrides == ["x=1", "dies_at=1"]
