"""W&B without a key: real offline runs under the shared folder."""

import os
from pathlib import Path

import pytest

from facesmith.errors import UserError
from facesmith.training.run.record import Monitor, record_run
from facesmith.training.run.wandb_logger import finish_wandb_run

from ...offline_wandb import logger, record, summaries

pytestmark = pytest.mark.usefixtures("keyless")


def test_wandb_logger_without_key_is_offline(tmp_path: Path) -> None:
    one = logger(tmp_path, "identity/ada/2026-11-22_05-01-04", overrides=["model.optimizer.lr=2e-3", "data.source=me"])
    one.log_metrics({"train/loss": 1.0}, step=0)
    assert one.experiment.settings.mode == "offline"
    assert (one.experiment.group, one.experiment.tags, one.experiment.job_type) == ("identity", ("test",), "train")
    assert one.experiment.name == "ada lr=2e-3"
    assert one.version == "identity-ada-2026-11-22_05-01-04"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb")


def test_finish_wandb_run_each_job_is_one_run(tmp_path: Path) -> None:
    def job(number: int) -> None:
        folder = f"identity/ada/2026-11-22_05-01-04_sweep/{number}"
        monitor = Monitor(name="val/judge_distance", mode="min")
        recorded = record_run(tmp_path / folder, experiment="identity", name="ada", settings={}, objectives=[monitor])
        with finish_wandb_run(recorded) as recorder:
            one = logger(tmp_path, folder)
            for epoch, value in enumerate((0.5, 0.4, 0.6)):
                one.log_metrics({"val/judge_distance": value}, step=epoch)
                recorder.update_metrics(epoch + 1, epoch + 1, {"val/judge_distance": value, "train/loss": 1.0}, epoch)
                best = recorder.record.metrics.best
                one.log_best({name: figure.value for name, figure in best.items()}, best["val/judge_distance"].epoch)
            if number == 1:
                raise RuntimeError("out of luck")

    job(0)
    with pytest.raises(RuntimeError):
        job(1)
    job(1 - 1)  # tried again
    good, bad, again = summaries(tmp_path)
    assert good["run_id"] == again["run_id"] == "identity-ada-2026-11-22_05-01-04_sweep-0"
    assert bad["run_id"].endswith("sweep-1")
    assert (good["exit_code"], bad["exit_code"]) == (0, 1)
    assert (good["summary"]["status"], bad["summary"]["status"]) == ("completed", "failed")
    assert bad["summary"]["error"] == "RuntimeError: out of luck"
    assert good["summary"]["val/judge_distance"] == 0.6
    assert (good["summary"]["best/val/judge_distance"], good["summary"]["best/epoch"]) == (0.4, 1)
    assert "best/train/loss" not in good["summary"]
    run = record(Path(good["file"]), "run")[0]
    assert (run["run_group"], run["job_type"]) == ("identity/ada/2026-11-22_05-01-04_sweep", "sweep")


def test_wandb_logger_media_false_refuses_pictures(tmp_path: Path) -> None:
    one = logger(tmp_path, "identity/ada/now")
    with pytest.raises(UserError, match="media=false keeps pictures"):
        one.log_media("renders/validation", tmp_path / "a.png", 0)
    assert one._experiment is None
