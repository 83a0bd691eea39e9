from pathlib import Path
from typing import get_args

import pytest

from facesmith.cli.composition import load_config
from facesmith.cli.jobs import infer_arguments
from facesmith.config.schema import InferConfig
from facesmith.errors import UserError
from facesmith.faces.geometry.masks import REGION_NAMES
from facesmith.models.onnx.info import FOREIGN
from facesmith.models.onnx.occlusion import GENERAL
from facesmith.tasks.swap.config import FrameSwapSettings, SwapTaskConfig

NEEDED = ["task=swap", "task.model=m.onnx", "source=a.png", "output=o.png"]


def composed(*overrides: str) -> InferConfig:
    return load_config("infer", InferConfig, list(overrides))


def test_swap_config_top_level_keys_reach_task():
    config = composed("task=swap", "task.model=ada.onnx", "source=[a.png,b.mp4]", "output=out", "media.backend=decord")
    assert isinstance(config.task, SwapTaskConfig)
    assert config.task.model == Path("ada.onnx")
    assert config.task.source == ["a.png", "b.mp4"]
    assert config.task.backend == "decord"


def test_swap_config_missing_keys_raise():
    with pytest.raises(UserError, match=r"swap needs model=<.onnx or .ckpt> output=<file or folder>"):
        composed("task=swap", "source=a.png")


def test_swap_config_wrong_select_raises():
    with pytest.raises(UserError, match=r"task\.select=smallest: choose one of largest, all, reference, or a number"):
        composed("task=swap", "task.model=m.onnx", "source=a.png", "output=o.png", "task.select=smallest")


def test_swap_config_frame_settings_are_frame_keys():
    task = composed(*NEEDED, "task.masks=[box,region]", "task.regions=[mouth,eyes]", "task.pixel_boost=512").task
    frame = task.entries()[0].frame_settings()
    assert (frame["masks"], frame["regions"], frame["pixel_boost"]) == (["box", "region"], ["mouth", "eyes"], 512)
    assert set(frame) == set(FrameSwapSettings.model_fields)


def test_swap_and_mask_config_use_the_packaged_occluder_by_default():
    task = composed(*NEEDED).task
    assert (task.masks, task.occluder) == (["box", "occlusion"], Path(GENERAL))
    assert composed(*NEEDED, "task.occluder=null").task.occluder is None
    assert composed(*NEEDED, "task.occluder=own.onnx").task.occluder == Path("own.onnx")
    assert composed("task=mask", "source=a.png", "output=o.png").task.occluder == Path(GENERAL)


def test_swap_config_choices_exist():
    kinds = get_args(FrameSwapSettings.model_fields["model_type"].annotation)
    assert set(kinds) == {"auto", "facesmith", "dfm", *FOREIGN}
    (regions,) = get_args(FrameSwapSettings.model_fields["regions"].annotation)
    assert get_args(regions) == REGION_NAMES


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("task={masks:[region],regions:[]}", "region needs regions=[mouth,...]"),
        ("task.mask_padding=[60,0,40,0]", "mask_padding: leaves nothing of the crop"),
        ("task.mask_padding=[60,0,40]", "task.mask_padding"),
        ("task.masks=[box,ears]", "choose one of box, occlusion, hull, region"),
        ("task.pixel_boost=300", "choose one of 256, 512, 1024"),
        ("task.enhancer_blend=80", "must be less than or equal to 1"),
        ("task.model_type=inswaper", "did you mean inswapper?"),
    ],
)
def test_swap_config_frame_mistake_is_one_line(override, words):
    overrides = ["task.masks=[region]", "task.regions=[]"] if override.startswith("task={") else [override]
    with pytest.raises(UserError) as caught:
        composed(*NEEDED, *overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_infer_arguments_encoder_is_that_of_the_task():
    assert infer_arguments(["task=swap", "encoder=nvenc"]) == ["task=swap", "task.encoder=nvenc"]
    assert infer_arguments(["task=embed", "encoder=clip"]) == ["task=embed", "encoder=clip"]
