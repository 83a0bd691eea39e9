"""Where a run starts: what is gone on with, what is refused, what is finished."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from facesmith.cli.composition import load_config
from facesmith.config.renamed import ASSETS, KEYS, TARGETS
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.run.record import read_record, record_run
from facesmith.training.run.resume import expand_resume
from facesmith.training.run.start import Start, find_start

from .test_resume import a_run


def start(run: Path, *overrides: str, in_sweep: bool = False) -> Start:
    """Decide where a run of these overrides starts in a folder."""
    config, settings = composed(run, *overrides)
    return find_start(config, settings, run, in_sweep=in_sweep)


NEEDED = ["experiment=identity", "data.source=photos", "data.name=ada", "data.consent=self"]


def composed(run: Path, *overrides: str) -> tuple[TrainConfig, dict[str, Any]]:
    needed = [] if any(one.startswith("experiment=") for one in overrides) else NEEDED
    config = load_config("train", TrainConfig, [*needed, *overrides], run=run)
    return config, config.model_dump(mode="json", by_alias=True)


def under_earlier_names(settings: Any) -> Any:
    """Return settings as an earlier version saved them: `config.renamed` backwards."""
    if isinstance(settings, list):
        return [under_earlier_names(one) for one in settings]
    if isinstance(settings, str):
        return next((f"asset:{old}" for old, new in ASSETS.items() if settings == f"asset:{new}"), settings)
    if not isinstance(settings, dict):
        return settings
    found = {key: under_earlier_names(value) for key, value in settings.items()}
    target = settings.get("_target_")
    for old, new in reversed(KEYS.get(str(target), {}).items()):
        *path, key = new.split(".")
        inner = found
        for one in path:
            inner = inner.get(one) or {}
        if key in inner:
            value, place = inner.pop(key), found
            *path, key = old.split(".")
            for one in path:
                place = place[one]
            place[key] = value
    if target in TARGETS.values():
        found["_target_"] = next(old for old, new in TARGETS.items() if new == target)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Lay out a run of 30 epochs with two checkpoints, of 10 and 20 epochs."""
    _, settings = composed(tmp_path, "trainer.max_epochs=30")
    for epochs in (10, 20):
        _save(tmp_path, epochs, settings)
    return tmp_path


def _save(run: Path, epochs: int, settings: dict[str, Any]) -> Path:
    path = run / "checkpoints/last.ckpt"
    state = {
        "callbacks": {"ExactState": {"settings": settings}},
        "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": epochs}}}},
        "global_step": 7 * epochs,
        "optimizer_states": [],
    }
    VerifiedCheckpointIO().save_checkpoint(state, path)
    return path


def test_find_start_new_run_from_nothing(run: Path, tmp_path_factory: Any) -> None:
    assert start(tmp_path_factory.mktemp("new")) == Start()
    assert start(tmp_path_factory.mktemp("new"), "resume=auto") == Start()
    with pytest.raises(UserError, match="contains a run already; resume it with resume="):
        start(run)
    assert start(run, in_sweep=True) == Start()


@pytest.mark.parametrize("change", ["trainer.max_epochs=50", "data.workers=2", "logger=none", "paths.profiles=p"])
def test_find_start_resumes(run: Path, change: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = start(run, "trainer.max_epochs=30", f"resume={run}", change)
    assert found == Start(run / "checkpoints/last.ckpt")
    assert "epoch 20, step 140" in caplog.text


def test_find_start_damaged_takes_previous(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(run / "checkpoints/last.ckpt", 700)
    with caplog.at_level(logging.INFO):
        assert start(run, "resume=auto").checkpoint == run / "checkpoints/previous.ckpt"
    assert "last.ckpt: is cut off or damaged; it is not used" in caplog.text
    os.truncate(run / "checkpoints/previous.ckpt", 0)
    with pytest.raises(UserError, match="contains no complete checkpoint"):
        start(run, f"resume={run}")


@pytest.mark.parametrize(
    "broken",
    [
        {"callbacks": 7},
        {"callbacks": {"ExactState": {"settings": [1]}}},
        {"callbacks": {"ExactState": {}}},
        {"loops": {}},
        {"global_step": "x"},
    ],
    ids=str,
)
def test_find_start_checkpoint_of_another_shape_is_refused(run: Path, broken: dict[str, Any]) -> None:
    _, settings = composed(run, "trainer.max_epochs=30")
    path = _save(run, 20, settings)
    state = {**torch.load(path, weights_only=True), **broken}
    VerifiedCheckpointIO().save_checkpoint(state, path)
    with pytest.raises(UserError, match="holds no state that a training can resume from"):
        start(run, "resume=auto", "trainer.max_epochs=30")


def test_find_start_other_settings_is_refused(run: Path) -> None:
    with pytest.raises(UserError) as caught:
        start(run, f"resume={run}", "model.optimizer.lr=0.5", "data.batch_size=4", "seed=4")
    (line,) = str(caught.value).splitlines()
    for words in ("model.optimizer.lr: 0.001 -> 0.5", "data.batch_size: 8 -> 4", "seed: 0 -> 4"):
        assert words in line


def test_find_start_run_of_a_removed_generator_is_refused(run: Path, tmp_path: Path) -> None:
    _, settings = composed(run, "trainer.max_epochs=30")
    settings["model"]["generator"] = {"_target_": "facesmith.models.swapper.texture_warp.TextureWarp", "size": 128}
    path = _save(run, 20, settings)
    with pytest.raises(UserError, match=rf"^{path}: is of the generator texture_warp, .*; train again with") as caught:
        start(run, "resume=auto", "trainer.max_epochs=30")
    assert "\n" not in str(caught.value)
    other = a_run(tmp_path / "other", *NEEDED)
    overrides = [*NEEDED, "model/generator=texture_warp"]
    with record_run(other, experiment="identity", name="ada", settings={}, overrides=overrides):
        pass
    with pytest.raises(UserError, match=rf"^resume={other}: is of the generator texture_warp"):
        expand_resume([f"resume={other}"])


def test_find_start_fewer_epochs_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match=r"^trainer\.max_epochs=15: the run has 20 already"):
        start(run, f"resume={run}", "trainer.max_epochs=15")


def test_find_start_finished_run_and_more_epochs(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, settings = composed(run, "trainer.max_epochs=30")
    with record_run(run, experiment="identity", name="ada", settings=settings) as recorder:
        _save(run, 30, settings)
        recorder.set_result(0.25, None)
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
    with caplog.at_level(logging.INFO):
        found = start(run, f"resume={run}", "trainer.max_epochs=30")
    assert found == Start(run / "checkpoints/last.ckpt", True, 0.25)
    assert [r.message for r in caplog.records] == [
        f"{run}: finished after 30 epochs; for more set trainer.max_epochs, such as 60"
    ]
    assert not start(run, f"resume={run}", "trainer.max_epochs=40").finished


@pytest.mark.parametrize(
    ("earlier", "saved"),
    [
        (["model/generator=aad_fast", "data.shares.P=7", "callbacks.guard.limit=3"], '"P": 7'),
        (["experiment=occluder", "data.occlusions.clear=0.2"], '"clear": 0.2'),
        (["experiment=swap_lora", "model.base=old.ckpt", "data.target=a.mp4", "data.elsewhere=1"], '"elsewhere": 1'),
        (["experiment=video_lora_demo", "data/judge=dancers", "model.base=asset:tiny_wan"], "asset:tiny_wan"),
    ],
    ids=["identity", "occluder", "swap_lora", "video_lora"],
)
def test_find_start_run_of_an_earlier_version_resumes(earlier: list[str], saved: str, tmp_path: Path) -> None:
    given = earlier if "video_lora" in earlier[0] else [*NEEDED, *earlier]
    run = a_run(tmp_path / "run", *given)
    with record_run(run, experiment=None, name="ada", settings={}, overrides=given) as recorder:
        pass
    _, today = composed(run, *expand_resume([f"resume={run}"]))
    settings = under_earlier_names(today)
    assert saved in json.dumps(settings)
    assert "facesmith.methods" not in json.dumps(settings)
    checkpoint = _save(run, 1, settings)
    recorder.update(settings=settings, status="interrupted")
    assert read_record(run).settings == today
    assert start(run, *expand_resume([f"resume={run}"])) == Start(checkpoint)
    with pytest.raises(UserError, match="seed: 0 -> 4"):
        start(run, *expand_resume([f"resume={run}", "seed=4"]))
