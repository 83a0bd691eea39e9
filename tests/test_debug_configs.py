"""Every debug config goes with every experiment, also when it is told to W&B."""

from pathlib import Path

import pytest

from facesmith.config import TrainConfig, validate
from test_configs import NEEDED, composed

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*_demo.yaml"))


@pytest.mark.parametrize("debug", [path.stem for path in sorted((CONF / "debug").glob("*.yaml"))])
@pytest.mark.parametrize("experiment", [*EXPERIMENTS, "identity_pretrain"])
def test_every_experiment_can_be_debugged(experiment: str, debug: str) -> None:
    needed = [] if experiment in EXPERIMENTS else NEEDED
    config = validate(
        composed("train", f"experiment={experiment}", f"debug={debug}", "logger=wandb", *needed), TrainConfig
    )
    assert config.experiment_name == "debug"
    if debug != "overfit":
        assert config.paths.profiles == Path("runs/test/profiles")
