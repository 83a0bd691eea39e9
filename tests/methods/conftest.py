"""A tiny training of the real thing: sixteen frames of the test sequence, the bundled portrait."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from facesmith.config.schema import TrainConfig, validate

CONF = Path(__file__).parents[2] / "conf"

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Compose the demo with few frames; face sets are shared by the session, the run's folder is `run`."""
    face_sets = tmp_path_factory.mktemp("face_sets")

    def settings(run: Path, *overrides: str) -> TrainConfig:
        given = [
            "experiment=identity_demo",
            "data.max_frames=16",
            "data.pseudo_truth.frames=10",
            "data.pseudo_truth.variants=6",
            "data.progress=false",
            f"paths.face_sets={face_sets}",
            f"paths.profiles={run / 'profiles'}",
            *overrides,
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", given, return_hydra_config=True)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(run)
        HydraConfig.instance().set_config(cfg)
        return validate(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]), TrainConfig)

    return settings
