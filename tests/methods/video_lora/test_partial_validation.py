"""A validation may be cut short: by a limit, a sanity check, a trial run, or a person who stops it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import Interrupted
from facesmith.methods.video_lora.module import VideoLoraModule

pytestmark = pytest.mark.slow

Settings = Callable[..., TrainConfig]
TWO = ["data.holdout=[dance_003,dance_004]"]


@pytest.mark.parametrize(
    "given",
    ["++trainer.limit_val_batches=1", "trainer.num_sanity_val_steps=1", "++trainer.fast_dev_run=true",
     "++trainer.overfit_batches=1"],
)  # fmt: skip
def test_video_lora_partial_validation_ends_well(demo: Settings, tmp_path: Path, given: str) -> None:
    run = tmp_path / "run"
    assert isinstance(train(demo(run, *TWO, "trainer.max_epochs=1", given)), float)
    assert json.loads((run / "run.json").read_text())["status"] == "completed"


def test_video_lora_interrupted_validation_resumes(
    demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, validate = tmp_path / "run", VideoLoraModule.validation_step

    def stopped(self: VideoLoraModule, batch: Any, batch_idx: int) -> None:
        validate(self, batch, batch_idx)
        if batch_idx == 1 and not self.trainer.sanity_checking:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VideoLoraModule, "validation_step", stopped)
        with pytest.raises((Interrupted, KeyboardInterrupt, SystemExit)):
            train(demo(run, *TWO, "callbacks.last.every_steps=1"))
    assert isinstance(train(demo(run, *TWO, f"resume={run}")), float)
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
