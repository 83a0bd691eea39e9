"""W&B without a key: a real offline run under the shared folder."""

from pathlib import Path

import pytest

from facesmith.loggers import WandbRunLogger


def test_without_a_key_a_run_is_kept_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    logger = WandbRunLogger(
        save_dir=tmp_path / "runs",
        offline=None,
        media=False,
        project="facesmith",
        entity=None,
        name="ada",
        group="identity",
        tags=["test"],
        notes=None,
    )
    try:
        logger.log_metrics({"train/loss": 1.0}, step=0)
        assert logger.experiment.settings.mode == "offline"
        assert (logger.experiment.group, logger.experiment.tags) == ("identity", ("test",))
        assert not logger.media
    finally:
        wandb.finish()
    assert len(list((tmp_path / "runs" / "wandb").glob("offline-run-*/run-*.wandb"))) == 1
