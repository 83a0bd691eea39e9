"""A tiny training of the real thing: sixteen frames of the test sequence at 64 px, a small encoder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.methods.occluder.data import OccluderDataModule

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def tiny_occluder(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Compose the demo, made small; face sets are shared by the session, the run's folder is `run`."""
    face_sets = tmp_path_factory.mktemp("face_sets")

    def settings(run: Path, *overrides: str) -> TrainConfig:
        given = [
            "experiment=occluder_demo",
            "data.max_frames=16",
            "data.size=64",
            "data.workers=0",
            "data.batch_size=4",
            "data.repeats=1",
            "data.validation_faces=2",
            "data.progress=false",
            "model.encoder=timm-mobilenetv3_small_minimal_100",
            "model.encoder_weights=null",
            "model.init_from=null",
            "model.decoder_channels=[32,16,16,8]",
            "callbacks.progress.refresh_rate=0",
            f"paths.face_sets={face_sets}",
            f"paths.runs={run.parent}",
            *overrides,
        ]
        return load_config("train", TrainConfig, given, run=run)

    return settings


@pytest.fixture(scope="session")
def data(tiny_occluder: Settings, tmp_path_factory: pytest.TempPathFactory) -> OccluderDataModule:
    """Return the demo's data, extracted and set up."""
    module: OccluderDataModule = tiny_occluder(tmp_path_factory.mktemp("data") / "run").data.build()
    module.prepare_data()
    module.setup("fit")
    return module
