"""A tiny training of the real thing: sixteen frames of the test sequence, the bundled portrait."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig

Settings = Callable[..., TrainConfig]
SMALL_GENERATOR = ["model.generator.size=128", "model.generator.pictures=4", "model.train_size=64"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Compose the demo with few frames; face sets are shared by the session, the run's folder is `run`."""
    face_sets = tmp_path_factory.mktemp("face_sets")

    def settings(run: Path, *overrides: str) -> TrainConfig:
        generator = [] if any(one.startswith("model/generator=") for one in overrides) else SMALL_GENERATOR
        given = [
            "experiment=identity_demo",
            "data.source=asset:carphone_pristine.mp4",
            "data.name=carphone",
            *generator,
            "data.max_frames=16",
            "data.batch_size=4",
            "data.pseudo_truth.frames=10",
            "data.pseudo_truth.variants=6",
            "data.validation_faces=6",
            "data.progress=false",
            f"paths.face_sets={face_sets}",
            f"paths.profiles={run / 'profiles'}",
            *overrides,
        ]
        return load_config("train", TrainConfig, given, run=run)

    return settings
