"""A training that stopped within an epoch goes on as if it had not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.training.callbacks.exact_state import ExactState
from facesmith.training.callbacks.freeze import FreezeMapper

from ...quiet_trainer import quiet_trainer

Settings = Callable[..., TrainConfig]


class Losses(lightning.Callback):
    def __init__(self, save_to: Path | None) -> None:
        self.seen: list[float] = []
        self.save_to = save_to

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(float(outputs["loss"]))
        if len(self.seen) == 3 and self.save_to is not None:
            trainer.save_checkpoint(self.save_to)


@pytest.mark.parametrize("injection", ["tail", pytest.param("decoupled", marks=pytest.mark.slow)])
def test_video_lora_module_resume_equals_uninterrupted(demo: Settings, tmp_path: Path, injection: str) -> None:
    given = [
        f"model.injection={injection}",
        "data.repeats=4",
        "model.loss.token_dropout=0.3",
        "model.mapper.dropout=0.2",
        "data.single_face=0.5",
    ]
    config = demo(tmp_path, *given)

    def fit(save_to: Path | None, start: Path | None) -> tuple[list[float], dict[str, torch.Tensor]]:
        lightning.seed_everything(3, verbose=False)
        losses = Losses(save_to)
        trainer = quiet_trainer(
            max_epochs=2,
            callbacks=[FreezeMapper(1), ExactState({}), losses],
            limit_val_batches=0,
        )
        module: Any = config.model.build()
        trainer.fit(module, config.data.build(), ckpt_path=start, weights_only=True)
        return losses.seen, module.state_dict()

    whole, weights = fit(tmp_path / "stopped.ckpt", None)
    rest, again = fit(None, tmp_path / "stopped.ckpt")
    assert len(whole) == 8
    assert rest == whole[3:]
    assert all(torch.equal(weights[name], again[name]) for name in weights)
