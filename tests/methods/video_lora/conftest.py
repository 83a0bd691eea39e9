"""A base of the right shapes, untrained, and a person of the toy world: the real code path, in seconds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a pipeline folder with random weights."""
    import torch

    from facesmith.methods.video_lora.toy_wan.pipeline import build_pipeline, fit_codec
    from facesmith.methods.video_lora.toy_wan.train_base import CODEC_CLASS

    folder = tmp_path_factory.mktemp("base")
    codec = fit_codec(0.5, 0, clips_fitted=24)
    torch.manual_seed(0)
    build_pipeline(codec).save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = CODEC_CLASS
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def demo(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Compose the demo on that base with few clips; media and cache are shared by the session."""
    shared = tmp_path_factory.mktemp("shared")

    def settings(run: Path, *overrides: str) -> TrainConfig:
        given = [
            "experiment=video_lora_demo",
            f"model.base={base}",
            f"paths.face_sets={shared}",
            "data.clips=5",
            "data.photos=3",
            "data.holdout=[dance_004]",
            "data.prior.clips=4",
            "data.prior.steps=2",
            "data.repeats=2",
            "data.progress=false",
            "model.lora.rank=4",
            "model.validation.quantiles=2",
            "model.validation.steps=2",
            "model.validation.videos=1",
            "trainer.max_epochs=2",
            "trainer.check_val_every_n_epoch=1",
            *overrides,
        ]
        return load_config("train", TrainConfig, given, run=run)

    return settings
