"""A validation that is cut short is evaluated as far as it went."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.training.swapping.data import SwapDataModule
from facesmith.training.swapping.dataset import as_floats
from facesmith.training.swapping.evaluation import ValidationBatch

from ...methods.conftest import tiny as tiny  # the fixture

Settings = Callable[..., TrainConfig]


@pytest.fixture
def data(tiny: Settings, tmp_path: Path) -> SwapDataModule:
    made: SwapDataModule = tiny(tmp_path, "trainer.max_epochs=0").data.build()
    made.prepare_data()
    made.setup("fit")
    return made


def validated(data: SwapDataModule, rows: list[int]) -> ValidationBatch:
    """Show each target's pseudo truth as what the network made."""
    batch = as_floats(data.validation[rows])
    return ValidationBatch.of(batch, batch["truth"], torch.ones_like(batch["hull"]), batch["truth"])


def test_evaluate_takes_a_validation_that_was_cut_short(data: SwapDataModule) -> None:
    first = data.evaluate(validated(data, [0]))
    assert [row.name for row in data.quality["before"].pictures] == ["astronaut.png"]
    whole = data.evaluate(validated(data, list(range(len(data.validation)))))
    assert [row.name for row in data.quality["before"].pictures] == ["astronaut.png", "grace_hopper.jpg"]
    assert {"before/judge_distance", "val/judge_distance"} <= first.keys()
    assert first["before/judge_distance"] != whole["before/judge_distance"]
    data.teardown("fit")
