from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from facesmith.config import InferConfig, validate
from facesmith.errors import UserError
from facesmith.tasks.config import SwapTaskConfig

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> InferConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return validate(compose("infer", list(overrides)), InferConfig)


def test_the_flat_keys_reach_the_task():
    config = composed("task=swap", "task.model=ada.onnx", "source=[a.png,b.mp4]", "output=out", "media.backend=decord")
    assert isinstance(config.task, SwapTaskConfig)
    assert config.task.model == Path("ada.onnx")
    assert config.task.source == ["a.png", "b.mp4"]
    assert config.task.backend == "decord"


def test_what_is_missing_is_told_at_once():
    with pytest.raises(UserError, match=r"swap needs model=<.onnx or .ckpt> output=<file or folder>"):
        composed("task=swap", "source=a.png")


def test_a_wrong_choice_is_told():
    with pytest.raises(UserError, match=r"task\.select=smallest: choose one of largest, all, reference, or a number"):
        composed("task=swap", "task.model=m.onnx", "source=a.png", "output=o.png", "task.select=smallest")
