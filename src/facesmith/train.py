"""The training job: build what the config names, fit, and tell what was made."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from facesmith import assets
from facesmith.callbacks.record import RecordRun
from facesmith.config import TrainConfig
from facesmith.errors import UserError
from facesmith.failures import explained
from facesmith.hardware import choose_precision, notice_device
from facesmith.media.provenance import use_key
from facesmith.quiet import quiet_libraries
from facesmith.run_log import logged
from facesmith.run_record import Monitor, Recorder, recording


def train(config: TrainConfig) -> float | list[float] | None:
    """Train what the config says and return the monitored metric, or each of `objectives`, or None.

    Raises:
        UserError: the media, a checkpoint or the device cannot do what the config asks.
    """
    quiet_libraries()
    assets.use_directory(config.assets.dir)
    use_key(config.provenance.certificate, config.provenance.key)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    notice_device(config.trainer.accelerator)
    try:
        with logged(config), _recording(config) as recorder, explained(config, config.paths.run):
            return _fit(config, recorder)
    finally:
        if any(type(logger).__name__ == "WandbRunLoggerConfig" for logger in config.logger.values()):
            import wandb

            wandb.finish()


def _recording(config: TrainConfig) -> AbstractContextManager[Recorder]:
    wanted = config.objectives or ({config.monitor: config.monitor_mode} if config.monitor else {})
    return recording(
        config.paths.run or Path(),
        experiment=config.experiment_name,
        name=config.name,
        settings=config.model_dump(mode="json", by_alias=True),
        objectives=[Monitor(name=name, mode=mode) for name, mode in wanted.items()],
        writes=rank_zero_only.rank in (None, 0),  # type: ignore[attr-defined]
    )


def _fit(config: TrainConfig, recorder: Recorder) -> float | list[float] | None:
    datamodule: lightning.LightningDataModule = config.data.build()
    module: lightning.LightningModule = config.model.build()
    callbacks = [chosen.build() for chosen in config.callbacks.values() if chosen]
    callbacks.insert(0, RecordRun(recorder))
    loggers: list[Logger] = [chosen.build() for chosen in config.logger.values() if chosen]
    trainer: lightning.Trainer = config.trainer.build(
        precision=choose_precision(config.trainer.precision, config.trainer.accelerator),
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=config.paths.run,
    )
    trainer.fit(module, datamodule)
    objective = _objective(recorder.record.objectives, trainer)
    recorder.completed(objective, _checkpoint(trainer))
    return objective


def _objective(wanted: list[Monitor], trainer: lightning.Trainer) -> float | list[float] | None:
    values = []
    for one in wanted:
        value: Any = trainer.callback_metrics.get(one.name)
        if value is None:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"monitor={one.name}: no such metric was logged; choose one of {known}")
        values.append(float(value))
    return values if len(values) > 1 else values[0] if values else None


def _checkpoint(trainer: lightning.Trainer) -> Path | None:
    """Give the best checkpoint by the monitored metric, or else the last."""
    made = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint) and one.best_model_path]
    chosen = sorted(made, key=lambda one: (one.monitor is None, one.filename != "last"))
    return Path(chosen[0].best_model_path) if chosen else None
