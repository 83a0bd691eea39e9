"""Find the start of a run: a new run, a checkpoint of its folder, or none because it is finished."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from facesmith.config.saved import upgrade_settings
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError, is_out_of_memory
from facesmith.training.run import record as run_record
from facesmith.training.run.checkpoint_files import find_newest_checkpoint, remove_stale_files
from facesmith.training.run.log import get_rank
from facesmith.training.run.resume import AUTO, check_unchanged
from facesmith.training.run.saved_command import refuse_links

log = logging.getLogger(__name__)

_STATE = "ExactState"  # the callback whose state holds the settings


class Start(NamedTuple):
    """The start of a run."""

    checkpoint: Path | None = None
    """To resume from; None: from nothing."""
    finished: bool = False
    """Whether there is nothing left to do."""
    objective: float | list[float] | None = None
    """What a finished run returns to a sweep."""


def find_start(config: TrainConfig, settings: Mapping[str, Any], run: Path, *, in_sweep: bool) -> Start:
    """Decide where a run starts, and log it.

    Args:
        config: The validated settings.
        settings: The same as plain values, compared with those in the checkpoint.
        run: The run's folder, whose lock the caller must hold.
        in_sweep: Whether this is a job of a sweep.

    Raises:
        UserError: The folder contains no complete checkpoint, one of other settings, or a run without `resume=`.
    """
    if get_rank() == 0:
        remove_stale_files(run)
    found = find_newest_checkpoint(run)
    if config.resume is None:
        if found.path is not None and not in_sweep:
            raise UserError(f"{run}: contains a run already; resume it with resume='{run}', or choose another folder")
        return Start()
    refuse_links(run)
    for line in found.rejected:
        log.warning("%s; it is not used", line)
    if found.path is None:
        if str(config.resume) != AUTO:
            raise UserError(f"resume={config.resume}: contains no complete checkpoint to resume from; start a new run")
        log.info("resume=auto: there is nothing to resume yet, so a new run starts: %s", run)
        return Start()
    before, done, step = _read_state(found.path)
    check_unchanged(before, settings, run)
    if done > config.trainer.max_epochs:
        raise UserError(f"trainer.max_epochs={config.trainer.max_epochs}: the run has {done} already; set more")
    if config.trainer.max_epochs <= before["trainer"]["max_epochs"] and _completed(run):
        more = 2 * done or 10
        log.info("%s: finished after %d epochs; for more set trainer.max_epochs, such as %d", run, done, more)
        return Start(found.path, True, run_record.read_record(run).objective)
    log.info("Resuming from %s: epoch %d, step %d", found.path, done, step)
    return Start(found.path)


def _read_state(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the settings a checkpoint was trained with, its whole epochs and its optimiser steps.

    Raises:
        UserError: It does not hold them.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = checkpoint["callbacks"].get(_STATE)
        if state is None:
            raise UserError(
                f"{path}: holds no settings, so it cannot be resumed; start a new run with model.init_from=<it>"
            )
        before = upgrade_settings(state["settings"], path)
        counts = (
            before["trainer"]["max_epochs"],
            checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"],
            checkpoint["global_step"],
        )
        if not all(isinstance(count, int) for count in counts):
            raise TypeError("counts are no whole numbers")
    except UserError:
        raise
    except Exception as error:  # the unpickler lets pass whatever a strange file makes it run into
        if is_out_of_memory(error):
            raise
        raise UserError(f"{path}: holds no state that a training can resume from; start a new run") from None
    return before, counts[1], counts[2]


def _completed(run: Path) -> bool:
    return (run / run_record.RECORD_FILE).is_file() and run_record.read_record(run).status == "completed"
