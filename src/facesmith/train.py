"""The training job: build what the config names, fit, and tell what was made."""

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger

from facesmith import assets
from facesmith.callbacks.record import RecordRun
from facesmith.config import TrainConfig
from facesmith.errors import UserError
from facesmith.hardware import choose_precision, notice_device
from facesmith.media.provenance import use_key
from facesmith.quiet import quiet_libraries


def train(config: TrainConfig) -> float | None:
    """Train what the config says and return the monitored metric, or None when none is monitored.

    Raises:
        UserError: the media, a checkpoint or the device cannot do what the config asks.
    """
    quiet_libraries()
    assets.use_directory(config.assets.dir)
    use_key(config.provenance.certificate, config.provenance.key)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    notice_device(config.trainer.accelerator)
    try:
        return _fit(config)
    finally:
        if any(type(logger).__name__ == "WandbRunLoggerConfig" for logger in config.logger.values()):
            import wandb

            wandb.finish()


def _fit(config: TrainConfig) -> float | None:
    datamodule: lightning.LightningDataModule = config.data.build()
    module: lightning.LightningModule = config.model.build()
    settings = config.model_dump(mode="json", by_alias=True)
    callbacks = [chosen.build() for chosen in config.callbacks.values() if chosen]
    callbacks.insert(0, RecordRun(settings, config.paths.run or Path()))
    loggers: list[Logger] = [chosen.build() for chosen in config.logger.values() if chosen]
    trainer: lightning.Trainer = config.trainer.build(
        precision=choose_precision(config.trainer.precision, config.trainer.accelerator),
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=config.paths.run,
    )
    trainer.fit(module, datamodule)
    return _monitored(config, trainer)


def _monitored(config: TrainConfig, trainer: lightning.Trainer) -> float | None:
    if config.monitor is None:
        return None
    value: Any = trainer.callback_metrics.get(config.monitor)
    if value is None:
        known = ", ".join(sorted(trainer.callback_metrics))
        raise UserError(f"monitor={config.monitor}: no such metric was logged; choose one of {known}")
    return float(value)
