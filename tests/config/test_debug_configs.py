"""Every debug config goes with every experiment, also when logged to W&B."""

from pathlib import Path

import pytest

from facesmith.config.schema import TrainConfig, validate

from .test_configs import composed, filled

CONF = Path(__file__).parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("debug", [path.stem for path in sorted((CONF / "debug").glob("*.yaml"))])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_be_debugged(experiment: str, debug: str) -> None:
    cfg = filled(composed("train", f"experiment={experiment}", f"debug={debug}", "logger=wandb"))
    config = validate(cfg, TrainConfig)
    assert config.experiment_name == "debug"
    if debug != "overfit":
        assert config.paths.profiles == Path("runs/test/profiles")


@pytest.mark.slow
@pytest.mark.usefixtures("keyless")
@pytest.mark.parametrize(
    ("debug", "said"), [("smoke", "Quality gate"), ("overfit", "overfit: memorised"), ("profile", "A training step:")]
)
def test_the_demo_is_debugged(debug: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from facesmith.cli.train import train
    from facesmith.training.run.record import read_record

    places = [f"paths.{name}={tmp_path / name}" for name in ("runs", "face_sets")]
    run = tmp_path / "runs/debug/carphone/now"
    few = ["data.max_frames=24", "data.pseudo_truth.variants=8", "callbacks.progress.refresh_rate=0"]
    man = ["data.source=asset:carphone_pristine.mp4", "data.name=carphone"]
    overrides = ["experiment=identity_demo", *man, f"debug={debug}", "logger=wandb"]
    overrides += [*places, *few, f"paths.run={run}"]
    train(validate(composed("train", *overrides), TrainConfig))
    assert read_record(run).status == "completed"
    assert said in capsys.readouterr().out
    assert list((tmp_path / "runs/wandb").glob("offline-run-*-debug-carphone-now"))
    assert (run / "step_profile.json").exists() == (debug == "profile")
    assert (run / "profiles/carphone.json").exists() == (debug != "overfit")
