"""The training job: build the components of the config, fit, and record the result."""

import logging
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from facesmith import assets
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError, explain_errors
from facesmith.faces.analyzers.native_log import ignore_profiling_ticks
from facesmith.files import make_private_folder
from facesmith.media.provenance import check_signing, set_signing_key
from facesmith.progress import waiting
from facesmith.training.callbacks.checkpoints import GracefulShutdown
from facesmith.training.callbacks.exact_state import ExactState
from facesmith.training.callbacks.record import RecordRun
from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.distributed import WholeBatchLayers
from facesmith.training.hardware import check_devices, choose_precision, log_device_hint
from facesmith.training.run import trial
from facesmith.training.run.checkpoint_files import CHECKPOINT_FOLDER, LAST_CHECKPOINT
from facesmith.training.run.latest import link_latest
from facesmith.training.run.lock import lock_run
from facesmith.training.run.log import get_rank, log_run, silence_libraries
from facesmith.training.run.preemption import PreemptionHandler, handle_preemption
from facesmith.training.run.record import Monitor, Recorder, record_run
from facesmith.training.run.start import find_start
from facesmith.training.run.wandb_logger import finish_wandb_run

log = logging.getLogger(__name__)

_UNTRAINED: Final = {"limit_train_batches": 0, "num_sanity_val_steps": -1}
"""Arguments of a trainer that is to take no step."""
_RESUMED: Final = {"num_sanity_val_steps": 0}
"""Of one that goes on: what was validated before the first step is in the log, and not to be measured again."""


def train(config: TrainConfig) -> float | list[float] | None:
    """Run a training and return the monitored metric, each of `objectives`, or None.

    Raises:
        UserError: The media, a checkpoint or the device do not fit the config.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    set_signing_key(config.provenance.certificate, config.provenance.key)
    check_signing()
    run, in_sweep = config.paths.run or Path(), _in_sweep()
    settings = config.model_dump(mode="json", by_alias=True)
    with (
        handle_preemption(run) as preemption,
        lock_run(run, name=None if in_sweep else _name_folder(config, run), busy=config.busy),
    ):
        if config.paths.run is not None:
            make_private_folder(config.paths.run)  # its checkpoints, renders and exports hold a face
            if not in_sweep and get_rank() == 0:
                link_latest(config.paths.run)
        start = find_start(config, settings, run, in_sweep=in_sweep)
        if start.finished:
            return start.objective
        with log_run(config), finish_wandb_run(_record_run(config, settings)) as recorder, explain_errors(config, run):
            return _fit(config, recorder, start.checkpoint, preemption)


def _name_folder(config: TrainConfig, run: Path) -> Path | None:
    """Return the folder of all runs of this name; None when the user chose another folder for this run."""
    folder = config.paths.runs / (config.experiment_name or "unnamed") / config.name
    return folder if run.resolve().parent == folder.resolve() else None


def _in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _record_run(config: TrainConfig, settings: dict[str, Any]) -> AbstractContextManager[Recorder]:
    objectives = config.objectives or ({config.monitor: config.monitor_mode} if config.monitor else {})
    return record_run(
        config.paths.run or Path(),
        experiment=config.experiment_name,
        name=config.name,
        settings=settings,
        objectives=[Monitor(name=name, mode=mode) for name, mode in objectives.items()],
        swept_values=trial.get_swept_values(),
        writes=rank_zero_only.rank in (None, 0),  # type: ignore[attr-defined]
    )


def _fit(
    config: TrainConfig, recorder: Recorder, checkpoint: Path | None, preemption: PreemptionHandler
) -> float | list[float] | None:
    if config.trainer.max_epochs:
        log_device_hint(config.trainer.accelerator)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    with waiting("reading the models", shown=get_rank() == 0):
        datamodule: lightning.LightningDataModule = config.data.build()
        module: lightning.LightningModule = config.model.build()
    callbacks = [component.build() for component in config.callbacks.values() if component]
    exact = ExactState(recorder.record.settings)
    callbacks = [
        RecordRun(recorder),
        *callbacks,
        exact,
        GracefulShutdown(preemption, recorder.folder / CHECKPOINT_FOLDER),
    ]
    loggers: list[Logger] = [component.build() for component in config.logger.values() if component]
    trainer: lightning.Trainer = config.trainer.build(
        precision=choose_precision(config.trainer.precision, config.trainer.accelerator),
        callbacks=callbacks,
        logger=loggers or False,
        plugins=[*(config.trainer.arguments().get("plugins") or []), VerifiedCheckpointIO(), WholeBatchLayers()],
        default_root_dir=config.paths.run,
        **(_UNTRAINED if not config.trainer.max_epochs else _RESUMED if checkpoint else {}),
    )
    # as Lightning does for several processes: they then use the same random numbers as a single one
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    check_devices(trainer, module, datamodule, _in_sweep())
    ignore_profiling_ticks()
    trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
    objective = _objective(recorder.record.objectives, trainer)
    recorder.set_result(objective, _checkpoint(trainer))
    return objective


def _objective(monitors: list[Monitor], trainer: lightning.Trainer) -> float | list[float] | None:
    values = []
    for monitor in monitors:
        value = trainer.callback_metrics.get(monitor.name)
        if value is None and not _in_sweep() and not trainer.limit_val_batches:
            log.warning("nothing was validated (trainer.limit_val_batches=0), so there is no %s", monitor.name)
            return None
        if value is None:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"monitor={monitor.name}: no such metric was logged; choose one of {known}")
        values.append(float(value))
    return values if len(values) > 1 else values[0] if values else None


def _checkpoint(trainer: lightning.Trainer) -> Path | None:
    """Return the best checkpoint by the monitored metric, or else the last."""
    savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    best = [Path(saver.best_model_path) for saver in savers if saver.monitor and saver.best_model_path]
    last = Path(trainer.default_root_dir, CHECKPOINT_FOLDER, LAST_CHECKPOINT)
    return next((path for path in [*best, last] if path.is_file()), None)


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["train", *sys.argv[1:]]))
