"""Every private name of Lightning that facesmith uses; `tests/training/test_lightning_internals.py` names what broke.

Lightning saves a training between two epochs. To resume within one, bit by bit, state is needed that its public API
does not show: the running means of an epoch, what is about to be logged, the loaders' position. pyproject.toml bounds
the version for this file's sake.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from lightning import Trainer
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from typing_extensions import override

__all__ = [
    "AppendingExperimentWriter",
    "CheckpointPath",
    "get_average_model",
    "get_latest_update_step",
    "get_pending_log",
    "get_train_loaders",
    "is_between_epochs",
    "is_resumable_point",
    "load_loader_states",
    "restart_data_fetcher",
    "restore_running_metrics",
    "save_running_metrics",
    "set_latest_update_step",
]

CheckpointPath = _PATH

_REDUCTIONS: Final = {"mean": torch.mean, "sum": torch.sum, "max": torch.max, "min": torch.min}
_META: Final = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def is_resumable_point(trainer: Trainer) -> bool:
    """Return whether a training can resume exactly from here: no gradients pending, a batch of the same epoch next."""
    loop = trainer.fit_loop
    epoch = loop.epoch_loop
    assert loop._data_fetcher is not None
    return not (loop._should_accumulate() or epoch._is_training_done or epoch._should_check_val_fx(loop._data_fetcher))


def save_running_metrics(trainer: Trainer) -> list[dict[str, Any]]:
    """Return what `self.log` of this epoch's training has accumulated so far, as plain values and tensors.

    Metrics logged as torchmetrics objects are skipped: they are part of their module's state.
    """
    if trainer._logger_connector._first_loop_iter is None or not trainer.training:
        return []
    saved = []
    for metric in trainer.fit_loop.epoch_loop._results.values():
        meta = metric.meta
        if metric.is_tensor and not metric.has_reset and meta.dataloader_idx is None:
            saved.append(
                {
                    "told": {name: getattr(meta, name) for name in _META},
                    "reduce": meta.reduce_fx.__name__,
                    "shared": meta.sync.should,
                    "rank_zero_only": meta.sync.rank_zero_only,
                    "value": metric.value.clone(),
                    "size": metric.cumulated_batch_size.clone() if meta.is_mean_reduction else None,
                    "latest": metric._forward_cache,
                }
            )
    return saved


def restore_running_metrics(trainer: Trainer, saved: Sequence[dict[str, Any]]) -> None:
    """Continue to accumulate where a checkpoint within an epoch left off.

    Args:
        trainer: About to fetch its first batch.
        saved: From `save_running_metrics`.
    """
    results, device = trainer.fit_loop.epoch_loop._results, trainer.strategy.root_device
    for one in saved:
        meta = one["told"]
        latest: Tensor = one["value"] if one["latest"] is None else one["latest"]
        results.log(
            **meta,
            value=latest.to(device),
            reduce_fx=_REDUCTIONS[one["reduce"]],
            sync_dist=one["shared"],
            sync_dist_fn=trainer.strategy.reduce,
            rank_zero_only=one["rank_zero_only"],
            batch_size=1,
        )
        metric = results[f"{meta['fx']}.{meta['name']}"]
        metric.value, metric._forward_cache = one["value"].to(device), one["latest"]
        if one["size"] is not None:
            metric.cumulated_batch_size = one["size"].to(device)
    if saved:
        trainer._logger_connector._first_loop_iter = True  # or the first batch would begin to accumulate anew


def get_pending_log(trainer: Trainer) -> tuple[dict[str, float], int] | None:
    """Return what Lightning is going to log right after the hook a checkpoint is saved in.

    Returns:
        Metrics by name, and the step; None when it is going to log nothing.
    """
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    within = connector._first_loop_iter is not None
    if not trainer.training or (within and (not connector.should_update_logs or trainer.fit_loop._should_accumulate())):
        return None
    metrics: dict[str, float] = {name: _number(value) for name, value in connector.metrics["log"].items()}
    if not metrics:
        return None
    step = loop._batches_that_stepped - (not within)
    if "step" in metrics:
        return metrics, int(metrics.pop("step"))
    return {"epoch": trainer.current_epoch, **metrics}, step


def get_train_loaders(trainer: Trainer) -> list[object]:
    """Return the training's loaders."""
    loader = trainer.fit_loop._combined_loader
    assert loader is not None
    return list(loader.flattened)


def is_between_epochs(trainer: Trainer) -> bool:
    """Return whether the checkpoint was saved between two epochs, where Lightning starts the data anew."""
    return bool(trainer.fit_loop._combined_loader_states_to_load)


def load_loader_states(trainer: Trainer) -> None:
    """Load the loaders' states now, which Lightning would only do within an epoch."""
    loop = trainer.fit_loop
    assert loop._combined_loader is not None
    loop._combined_loader._load_state_dicts(loop._combined_loader_states_to_load)
    loop._combined_loader_states_to_load = []


def restart_data_fetcher(trainer: Trainer) -> None:
    """Iterate over the loaders anew, from the position they have now."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    iter(fetcher)


def get_average_model(callback: WeightAveraging) -> AveragedModel:
    """Return the averaged copy of the module, which exists once a fit has begun."""
    assert callback._average_model is not None
    return callback._average_model


def get_latest_update_step(callback: WeightAveraging) -> int:
    """Return the number of optimiser steps at the average's last update; a checkpoint holds it."""
    return callback._latest_update_step


def set_latest_update_step(callback: WeightAveraging, step: int) -> None:
    """Note that the average was updated after so many optimiser steps."""
    callback._latest_update_step = step


class AppendingExperimentWriter(ExperimentWriter):
    """A CSV writer that keeps the file of an earlier part of the run; Lightning's deletes it when it is made."""

    @override
    def _check_log_dir_exists(self) -> None:
        """Leave the folder as it is."""


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else value
