"""A tiny base, trained for real, and a scene: a camera that moves over the bundled portrait."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from lightning import Callback, Trainer, seed_everything

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.media.video_writer import VideoWriter
from facesmith.training.callbacks.exact_state import ExactState
from facesmith.training.hardware import choose_precision

from ..conftest import SMALL_GENERATOR

QUIET = ["callbacks.progress.refresh_rate=0", "data.progress=false"]
MAN = ["data.source=asset:carphone_pristine.mp4", "data.name=carphone"]
SMALL = [*QUIET, "data.pseudo_truth.frames=8", "data.pseudo_truth.variants=4", "data.validation_faces=6"]

Settings = Callable[..., TrainConfig]


def _composed(run: Path, *overrides: str) -> TrainConfig:
    return load_config("train", TrainConfig, list(overrides), run=run)


class _Killed(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def _fit(config: TrainConfig, run: Path, checkpoint: Path | None = None, killed_at: int = -1) -> Trainer:
    seed_everything(0, verbose=False)
    data, module = config.data.build(), config.model.build()
    callbacks = [one.build() for one in config.callbacks.values() if one]
    trainer: Trainer = config.trainer.build(
        precision=choose_precision(config.trainer.precision, config.trainer.accelerator),
        callbacks=[*callbacks, ExactState(config.model_dump(mode="json", by_alias=True)), _Killed(killed_at)],
        logger=[one.build() for one in config.logger.values() if one],
        default_root_dir=run,
    )
    seed_everything(0, verbose=False)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.fixture(scope="session")
def fit() -> Callable[..., Trainer]:
    """Train what settings say in a folder, maybe from a checkpoint."""
    return _fit


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="session")
def scene(places: Path) -> Path:
    """Twelve frames of 192 px; the face drifts and turns by a few degrees."""
    path = places / "scene.mp4"
    picture = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    with VideoWriter(path, mark=None, fps=12.0) as writer:
        for step in range(12):
            turn = cv2.getRotationMatrix2D((224, 110), 4 * np.sin(step / 3), 1.0)
            turn[:, 2] += (96 - 224 + step, 96 - 110)
            writer.write(cv2.warpAffine(picture, turn, (192, 192), borderMode=cv2.BORDER_REPLICATE))
    return path


@pytest.fixture(scope="session")
def identity(places: Path) -> Settings:
    """Compose a short training of the test sequence's man."""

    def settings(run: Path, *overrides: str) -> TrainConfig:
        generator = [] if any(one.startswith("model/generator=") for one in overrides) else SMALL_GENERATOR
        given = ["experiment=identity_demo", *MAN, *generator, "data.max_frames=16", *SMALL, "callbacks.export=null"]
        paths = [f"paths.face_sets={places / 'face_sets'}", f"paths.profiles={places / 'profiles'}"]
        return _composed(run, *given, *paths, *overrides)

    return settings


@pytest.fixture(scope="session")
def base(places: Path, identity: Settings) -> Path:
    """The run of an identity, one epoch of a few frames."""
    run = places / "base"
    _fit(identity(run, "trainer.max_epochs=1", "trainer.num_sanity_val_steps=0"), run)
    return run


@pytest.fixture(scope="session")
def lora(places: Path, base: Path, scene: Path) -> Settings:
    """Compose a training of the scene on the base; face sets are those of the base."""

    def settings(run: Path, *overrides: str) -> TrainConfig:
        given = [
            "experiment=swap_lora",
            *SMALL,
            f"model.base={base}",
            f"data.target={scene}",
            "data.consent=public_domain",
            "model.rank=4",
            f"paths.face_sets={places / 'face_sets'}",
            *overrides,
        ]
        return _composed(run, *given)

    return settings
