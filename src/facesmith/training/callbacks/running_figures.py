"""The figures of an epoch under way: means not finished yet, and values logged now and then."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from lightning import Trainer
from torch import Tensor

_PLAIN: Final = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def running_figures(trainer: Trainer) -> list[dict[str, Any]]:
    """Give what `self.log` of this epoch's training has gathered so far, as plain values and tensors.

    Figures logged as torchmetrics objects are left out: they are part of their module's state.
    """
    if trainer._logger_connector._first_loop_iter is None or not trainer.training:
        return []
    found = []
    for metric in trainer.fit_loop.epoch_loop._results.values():
        meta = metric.meta
        if metric.is_tensor and not metric.has_reset and meta.dataloader_idx is None:
            found.append(
                {
                    "told": {name: getattr(meta, name) for name in _PLAIN},
                    "reduce": meta.reduce_fx.__name__,
                    "shared": meta.sync.should,
                    "rank_zero_only": meta.sync.rank_zero_only,
                    "value": metric.value.clone(),
                    "size": metric.cumulated_batch_size.clone() if meta.is_mean_reduction else None,
                    "latest": metric._forward_cache,
                }
            )
    return found


def restore_running_figures(trainer: Trainer, figures: Sequence[dict[str, Any]]) -> None:
    """Go on gathering where a checkpoint within an epoch left off."""
    results, device = trainer.fit_loop.epoch_loop._results, trainer.strategy.root_device
    for one in figures:
        told = one["told"]
        latest: Tensor = one["value"] if one["latest"] is None else one["latest"]
        results.log(
            **told,
            value=latest.to(device),
            reduce_fx=getattr(torch, one["reduce"]),
            sync_dist=one["shared"],
            sync_dist_fn=trainer.strategy.reduce,
            rank_zero_only=one["rank_zero_only"],
            batch_size=1,
        )
        metric = results[f"{told['fx']}.{told['name']}"]
        metric.value, metric._forward_cache = one["value"].to(device), one["latest"]
        if one["size"] is not None:
            metric.cumulated_batch_size = one["size"].to(device)
    if figures:
        trainer._logger_connector._first_loop_iter = True  # or the first batch would begin to gather anew
