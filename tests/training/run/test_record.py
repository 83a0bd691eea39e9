"""A run's record is true at every moment, however the run ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facesmith.errors import PrunedError, UserError
from facesmith.training.run.record import RECORD_FILE, Monitor, Recorder, mark_killed, read_record, record_run

DISTANCE = Monitor(name="val/judge_distance", mode="min")


def record(folder: Path, **changes: object):
    given = {"experiment": "identity", "name": "ada", "settings": {"seed": 0}, "objectives": [DISTANCE], **changes}
    return record_run(folder, **given)


def validate(recorder: Recorder, epoch: int, distance: float, ssim: float) -> None:
    figures = {"val/judge_distance": distance, "val/ssim": ssim}
    recorder.update_metrics(epoch + 1, 10 * (epoch + 1), figures, validated=epoch)


def test_record_run_is_on_disk_while_running(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        begun = read_record(tmp_path)
        assert (begun.status, begun.pid, begun.experiment, begun.name) == ("running", os.getpid(), "identity", "ada")
        validate(recorder, 0, 0.8, 0.5)
        validate(recorder, 1, 0.6, 0.4)
        validate(recorder, 2, 0.7, 0.9)
        assert read_record(tmp_path).metrics.last == {"val/judge_distance": 0.7, "val/ssim": 0.9}
        recorder.set_result(0.7, tmp_path / "checkpoints" / "best.ckpt")
    done = read_record(tmp_path)
    assert (done.status, done.objective, done.epochs, done.steps, done.error) == ("completed", 0.7, 3, 30, None)
    assert {name: (best.value, best.epoch) for name, best in done.metrics.best.items()} == {
        "val/judge_distance": (0.6, 1),
        "val/ssim": (0.4, 1),
    }
    assert done.checkpoint == str(tmp_path / "checkpoints" / "best.ckpt")
    assert json.loads((tmp_path / "run.json").read_text())["checkpoint"] == "checkpoints/best.ckpt"
    assert done.started <= done.finished
    assert done.peak_memory_mb > 1
    assert done.packages["torch"]


def test_record_run_best_follows_mode(tmp_path: Path) -> None:
    with record(tmp_path, objectives=[Monitor(name="val/ssim", mode="max")]) as recorder:
        for epoch, ssim in enumerate([0.5, 0.9, 0.4]):
            validate(recorder, epoch, 1.0, ssim)
    assert read_record(tmp_path).metrics.best["val/ssim"].epoch == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("lr: bad"), "failed"), (KeyboardInterrupt(), "interrupted"), (PrunedError("epoch 3"), "pruned")],
)
def test_record_run_failed_holds_traceback(tmp_path: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), record(tmp_path):
        raise error
    ended = read_record(tmp_path)
    assert (ended.status, ended.error.kind, ended.error.message) == (status, type(error).__name__, str(error))
    assert "raise error" in ended.error.traceback


def interrupt(folder: Path) -> None:
    with record(folder) as recorder:
        validate(recorder, 0, 0.8, 0.5)
        validate(recorder, 1, 0.5, 0.5)
        raise KeyboardInterrupt


def test_record_run_resumed_keeps_best(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path)
    first = read_record(tmp_path)
    with record(tmp_path) as recorder:
        validate(recorder, 2, 0.9, 0.5)
    second = read_record(tmp_path)
    assert (second.status, second.error, len(second.resumed)) == ("completed", None, 1)
    assert (second.started, second.metrics.best["val/judge_distance"].epoch) == (first.started, 1)
    assert second.seconds >= first.seconds


def test_record_run_reset_forgets_metrics(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path)
    with record(tmp_path) as recorder:
        recorder.reset_metrics()
        validate(recorder, 0, 0.9, 0.5)
    assert read_record(tmp_path).metrics.best["val/judge_distance"].value == 0.9


def test_read_record_process_gone_is_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\nfrom facesmith.training.run.record import record_run\n"
        f"with record_run(pathlib.Path({str(tmp_path)!r}), experiment=None, name='ada', settings={{}}):\n"
        "    print('running', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"running\n"
    assert read_record(tmp_path).status == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_record(tmp_path).status == "killed"
    mark_killed(tmp_path, "signal 9", None)
    assert (read_record(tmp_path).status, read_record(tmp_path).error.message) == ("killed", "signal 9")


def test_read_record_reused_pid_is_killed(tmp_path: Path) -> None:
    with record(tmp_path):
        text = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**text, "started": "2020-01-01T00:00:00+00:00"}))
    assert read_record(tmp_path).status == "killed"


@pytest.mark.parametrize(
    "change",
    [{"started": "x"}, {"resumed": ["x"]}, {"pid": -1}, {"pid": 10**30}],
    ids=str,
)
def test_read_record_of_no_process_is_killed(change: dict[str, object], tmp_path: Path) -> None:
    with record_run(tmp_path, experiment=None, name="ada", settings={}, overrides=[]):
        said = json.loads((tmp_path / RECORD_FILE).read_text())
    (tmp_path / RECORD_FILE).write_text(json.dumps({**said, "status": "running", **change}))
    assert read_record(tmp_path).status == "killed"


def test_read_record_no_record_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run.json: no such file"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text('{"status": "sleeping"}')
    with pytest.raises(UserError, match="not a record") as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)


def test_record_run_nan_metrics_stay_readable(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        recorder.update_metrics(1, 10, {"val/judge_distance": float("nan"), "val/ssim": float("inf")}, validated=0)
    last = read_record(tmp_path).metrics.last
    assert last["val/judge_distance"] != last["val/judge_distance"]
    assert last["val/ssim"] == float("inf")
