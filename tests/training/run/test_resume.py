"""Going on: which folder, with which command, and which changes are refused."""

import json
import os
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from facesmith.cli.composition import compose_config
from facesmith.errors import UserError
from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.run.resume import (
    check_unchanged,
    choose_hydra_subdir,
    choose_run_folder,
    expand_resume,
    find_changes,
    resume_command,
)

CONF = Path(__file__).parents[3] / "conf"


def a_run(folder: Path, *overrides: str, config: str = "train", directory: str | None = None) -> Path:
    """Lay out what Hydra records of a run."""
    record = folder / ".hydra"
    record.mkdir(parents=True)
    _record(record, overrides, config, directory)
    return folder


def _record(record: Path, overrides: tuple[str, ...], config: str = "train", directory: str | None = None) -> None:
    sources = [{"path": "hydra.conf", "provider": "hydra"}, {"path": str(CONF), "provider": "main"}]
    if directory:
        sources.append({"path": directory, "provider": "command-line"})
    OmegaConf.save(OmegaConf.create(list(overrides)), record / "overrides.yaml")
    hydra = {"hydra": {"job": {"config_name": config}, "runtime": {"config_sources": sources}}}
    OmegaConf.save(OmegaConf.create(hydra), record / "hydra.yaml")


def checkpoint(folder: Path) -> Path:
    path = folder / "checkpoints/last.ckpt"
    VerifiedCheckpointIO().save_checkpoint({"optimizer_states": [], "w": torch.ones(3)}, path)
    return path


def test_expand_resume_folder_brings_its_command(tmp_path: Path) -> None:
    run = a_run(tmp_path / "2026", "experiment=identity", "data.name=ada", "+trainer.limit_train_batches=3", "seed=2")
    given = [f"resume={run}", "trainer.max_epochs=50", "trainer.limit_train_batches=4", "seed=3"]
    assert expand_resume(given) == [
        "experiment=identity",
        "data.name=ada",
        "+trainer.limit_train_batches=4",
        "seed=3",
        "trainer.max_epochs=50",
        f"resume='{run}'",
        f"hydra.run.dir='{run}'",
    ]


def test_expand_resume_whole_command_may_be_repeated(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a b", "experiment=identity", "data.name=ada")
    whole = expand_resume(["experiment=identity", "data.name=ada", f"resume='{run}'"])
    assert whole == ["experiment=identity", "data.name=ada", f"resume='{run}'", f"hydra.run.dir='{run}'"]
    assert expand_resume(whole) == whole
    assert compose_config("train", whole).resume == str(run)
    assert HydraConfig.get().run.dir == str(run)


def test_expand_resume_uses_last_start_and_config(tmp_path: Path) -> None:
    run = a_run(tmp_path / "3", "model.optimizer.lr=0.1", config="identity_lr", directory="sweeps")
    refused = run / ".hydra/resumed_2026-02-02_10-00-00"
    refused.mkdir()
    _record(refused, ("model.optimizer.lr=7", "trainer.max_epochs=50"), "identity_lr", "sweeps")
    begun = {"overrides": ["model.optimizer.lr=0.1", "trainer.max_epochs=50"]}
    (run / "run.json").write_text(json.dumps(begun))
    flags = ["-cd", "sweeps", "-cn", "identity_lr"]
    assert expand_resume([f"resume={run}"])[:6] == [*flags, "model.optimizer.lr=0.1", "trainer.max_epochs=50"]


def test_expand_resume_other_commands_stay(tmp_path: Path) -> None:
    for given in (["experiment=identity"], ["resume=auto", "-m"], ["resume=null"], []):
        assert expand_resume(given) == given
    with pytest.raises(UserError, match="is not the folder of a run"):
        expand_resume([f"resume={tmp_path}"])
    run = a_run(tmp_path / "run")
    with pytest.raises(UserError, match="in a sweep resume=auto"):
        expand_resume([f"resume={run}", "--multirun"])


def test_choose_run_folder_auto_takes_newest_whole(tmp_path: Path) -> None:
    base = tmp_path / "identity/ada"
    assert choose_run_folder(str(base), "2026-03", "auto") == str(base / "2026-03")
    checkpoint(base / "2026-01")
    newer = checkpoint(base / "2026-02")
    (base / "2026-02b").mkdir()
    (base / ".lock").touch()
    assert choose_run_folder(str(base), "2026-03", "auto") == str(base / "2026-02")
    os.truncate(newer, 100)
    assert choose_run_folder(str(base), "2026-03", "auto") == str(base / "2026-01")
    assert choose_run_folder(str(base), "2026-03", None) == str(base / "2026-03")


def test_choose_run_folder_new_never_exists(tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    (tmp_path / "now-2").mkdir()
    assert choose_run_folder(str(tmp_path), "now", None) == str(tmp_path / "now-3")


def test_choose_hydra_subdir_one_per_start(tmp_path: Path) -> None:
    assert choose_hydra_subdir(None, "t") == ".hydra"
    assert choose_hydra_subdir(str(tmp_path), "t") == ".hydra"
    a_run(tmp_path / "run")
    assert choose_hydra_subdir(str(tmp_path / "run"), "t") == ".hydra/resumed_t"


def test_check_unchanged_refuses_what_is_learnt() -> None:
    old = {
        "seed": 0,
        "model": {"optimizer": {"lr": 1e-3}, "rank": 4},
        "data": {"source": "photos", "workers": 0, "targets": ["a"]},
        "trainer": {"max_epochs": 30, "devices": 1, "precision": "32-true"},
        "callbacks": {"last": {"every_seconds": 30.0}, "average": {"decay": 0.99}},
    }
    free = {
        "seed": 0,
        "model": {"optimizer": {"lr": 1e-3}, "rank": 4},
        "data": {"source": "photos", "workers": 4, "targets": ["a"]},
        "trainer": {"max_epochs": 50, "devices": 2, "precision": "32-true", "limit_val_batches": 3},
        "callbacks": {"average": {"decay": 0.99}, "render": {"every_n_epochs": 2}},
        "logger": {"csv": {}},
    }
    assert find_changes(old, free) == []
    other = {
        "seed": 1,
        "model": {"optimizer": {"lr": 2e-3}},
        "data": {"source": "photos", "workers": 0, "targets": ["a", "b"]},
        "trainer": {"max_epochs": 30, "devices": 1, "precision": "16-mixed"},
        "callbacks": {"last": {"every_seconds": 30.0}, "average": {"decay": 0.9}},
    }
    assert sorted(find_changes(old, other)) == [
        "callbacks.average.decay: 0.99 -> 0.9",
        "data.targets: ['a'] -> ['a', 'b']",
        "model.optimizer.lr: 0.001 -> 0.002",
        "model.rank: 4 -> nothing",
        "seed: 0 -> 1",
        "trainer.precision: 32-true -> 16-mixed",
    ]
    with pytest.raises(UserError, match=r"model\.optimizer\.lr: 0\.001 -> 0\.002; .*start a new run") as caught:
        check_unchanged(old, other, Path("runs/x"))
    assert len(str(caught.value).splitlines()) == 1


def test_resume_command_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resume_command(tmp_path / "runs/identity/ada/2026") == "facesmith train resume=runs/identity/ada/2026"
    assert resume_command(tmp_path / "my runs/1") == "facesmith train 'resume=my runs/1'"
