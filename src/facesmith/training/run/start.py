"""Where a run starts from: from nothing, from a checkpoint of its folder, or not at all because it is finished."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from facesmith.config.saved import upgrade_settings
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.training.run import record as run_record
from facesmith.training.run.checkpoint_files import newest_good, sweep_stale
from facesmith.training.run.log import process_number
from facesmith.training.run.resume import AUTO, refuse_changes

log = logging.getLogger(__name__)

_STATE = "ExactState"


class Start(NamedTuple):
    """The checkpoint to go on from, if any; whether there is nothing left to do, and what a sweep then gets."""

    checkpoint: Path | None = None
    finished: bool = False
    objective: float | list[float] | None = None


def find_start(config: TrainConfig, settings: Mapping[str, Any], run: Path, *, swept: bool) -> Start:
    """Decide where a run starts, and say so.

    Args:
        settings: the validated ones as plain values, held against those in the checkpoint.
        run: the run's folder, whose lock the caller holds.
        swept: a job of a sweep.

    Raises:
        UserError: the folder holds no whole checkpoint, one of other settings, or a run nobody asked to go on with.
    """
    if process_number() == 0:
        sweep_stale(run)
    found = newest_good(run)
    if config.resume is None:
        if found.path is not None and not swept:
            raise UserError(f"{run}: holds a run already; go on with resume='{run}', or choose another folder")
        return Start()
    for line in found.rejected:
        log.warning("%s; it is not used", line)
    if found.path is None:
        if str(config.resume) != AUTO:
            raise UserError(f"resume={config.resume}: holds no whole checkpoint to go on from; start a new run")
        log.info("resume=auto: nothing to go on with yet, so the run begins: %s", run)
        return Start()
    checkpoint = torch.load(found.path, map_location="cpu", weights_only=True, mmap=True)
    state = checkpoint["callbacks"].get(_STATE)
    if state is None:
        raise UserError(f"{found.path}: does not say how it was trained; start a new run with model.init_from=<it>")
    before = upgrade_settings(state["settings"], found.path)
    refuse_changes(before, settings, run)
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done > config.trainer.max_epochs:
        raise UserError(f"trainer.max_epochs={config.trainer.max_epochs}: the run has done {done} already; give more")
    if config.trainer.max_epochs <= before["trainer"]["max_epochs"] and _completed(run):
        log.info("%s: finished after %d epochs; trainer.max_epochs=%d, say, goes on", run, done, 2 * done)
        return Start(found.path, True, run_record.read(run).objective)
    log.info("Going on from %s: epoch %d, step %d", found.path, done, checkpoint["global_step"])
    return Start(found.path)


def _completed(run: Path) -> bool:
    return (run / run_record.FILE).is_file() and run_record.read(run).status == "completed"
