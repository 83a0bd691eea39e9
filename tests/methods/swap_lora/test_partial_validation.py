"""A validation may be cut short: by a limit, a sanity check, a trial run, or a person who stops it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import Interrupted
from facesmith.methods.swap_lora.module import SwapLoraModule

pytestmark = pytest.mark.slow

Settings = Callable[..., TrainConfig]
SHORT = ["trainer.max_epochs=1", "callbacks.export=null", "monitor=val/judge_distance"]


@pytest.mark.parametrize(
    "given",
    ["++trainer.limit_val_batches=1", "trainer.num_sanity_val_steps=1", "++trainer.fast_dev_run=true",
     "++trainer.overfit_batches=1"],
)  # fmt: skip
def test_swap_lora_partial_validation_ends_well(lora: Settings, tmp_path: Path, given: str) -> None:
    run = tmp_path / "run"
    objective = train(lora(run, *SHORT, "data.batch_size=2", given))
    assert isinstance(objective, float)
    assert 0 < objective < 2
    assert json.loads((run / "run.json").read_text())["status"] == "completed"


def test_swap_lora_interrupted_validation_resumes(
    lora: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, validate = tmp_path / "run", SwapLoraModule.validation_step

    def stopped(self: SwapLoraModule, batch: Any, batch_idx: int) -> None:
        validate(self, batch, batch_idx)
        if batch_idx == 1:
            raise KeyboardInterrupt

    given = [*SHORT, "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "data.batch_size=2"]
    with monkeypatch.context() as patch:
        patch.setattr(SwapLoraModule, "validation_step", stopped)
        with pytest.raises((Interrupted, KeyboardInterrupt, SystemExit)):
            train(lora(run, *given, "callbacks.last.every_steps=2"))
    assert isinstance(train(lora(run, *given, f"resume={run}")), float)
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
