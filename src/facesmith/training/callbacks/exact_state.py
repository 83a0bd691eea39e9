"""The figures of an epoch under way: means not finished yet, and values logged now and then."""

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from facesmith.training.loaders import ResumableLoader

_REDUCTIONS: Final = {"mean": torch.mean, "sum": torch.sum, "max": torch.max, "min": torch.min}
_PLAIN: Final = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def running_figures(trainer: Trainer) -> list[dict[str, Any]]:
    """Return what `self.log` of this epoch's training has gathered so far, as plain values and tensors.

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
            reduce_fx=_REDUCTIONS[one["reduce"]],
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


log = logging.getLogger(__name__)


@runtime_checkable
class Resumes(Protocol):
    """A loader or logger that can go on."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        ...


class ExactState(Callback):
    """Make a resumed training equal the uninterrupted one, bit by bit where the device computes alike each time.

    A checkpoint gets the settings it was trained with, the random states of python, numpy and torch of every process,
    the figures callbacks watch, and how far loggers had come. They come back just before the next batch is fetched:
    what building the model and the loaders drew does not count. Validation leaves the random states as they were.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self._trainer: Trainer | None = None
        self._restored: dict[str, Any] = {}
        self._before_validation: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember the trainer, whose loggers are asked when a checkpoint is made."""
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        trainer = self._trainer
        assert trainer is not None
        states: list[Any] = [random_state()]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, random_state())
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logs = [one.state_dict() if isinstance(one, Resumes) else {} for one in trainer.loggers]
        return {
            "settings": self.settings,
            "random": states,
            "figures": figures,
            "logs": dict(zip(_names(trainer), logs, strict=True)),
            "unlogged": unlogged(trainer),
            "running": running_figures(trainer),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until everything else is built."""
        self._restored = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Return figures and logs back."""
        if not self._restored:
            return
        trainer.callback_metrics.update({name: torch.tensor(v) for name, v in self._restored["figures"].items()})
        for name, one in zip(_names(trainer), trainer.loggers, strict=True):
            state = self._restored["logs"].get(name)
            if isinstance(one, Resumes) and state:
                one.load_state_dict(state)
                if self._restored["unlogged"] is not None:
                    metrics, step = self._restored["unlogged"]
                    one.log_metrics(metrics, step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Return the place in the data and the random states back, last of all."""
        loop = trainer.fit_loop
        assert loop._combined_loader is not None
        for loader in loop._combined_loader.flattened:
            if not isinstance(loader, Resumes):
                log.warning(
                    "%s cannot save its place: resume begins its epoch anew; use training.loading.ResumableLoader",
                    type(loader).__name__,
                )
        if not self._restored:
            return
        if loop._combined_loader_states_to_load:  # saved between two epochs, where Lightning starts the data anew
            loop._combined_loader._load_state_dicts(loop._combined_loader_states_to_load)
            loop._combined_loader_states_to_load = []
            for loader in loop._combined_loader.flattened:
                if isinstance(loader, ResumableLoader):
                    loader.end_epoch()
            assert loop._data_fetcher is not None
            iter(loop._data_fetcher)
        restore_running_figures(trainer, self._restored["running"])
        states = self._restored["random"]
        if len(states) == trainer.world_size:
            restore_random_state(states[trainer.global_rank])
        self._restored = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the random states."""
        self._before_validation = random_state()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on as if nothing had been drawn."""
        restore_random_state(self._before_validation)


def random_state() -> dict[str, Any]:
    """Return the random states of python, numpy and torch on all devices, as plain values and tensors."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, torch.tensor(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put the random states back; those of devices that are not here are left out."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    if torch.backends.mps.is_available() and state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"].cpu())


def unlogged(trainer: Trainer) -> tuple[dict[str, float], int] | None:
    """Return what Lightning is going to log right after the hook a checkpoint is made in: figures, and the step."""
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    within = connector._first_loop_iter is not None
    if not trainer.training or (within and (not connector.should_update_logs or trainer.fit_loop._should_accumulate())):
        return None
    figures: dict[str, float] = {name: _number(value) for name, value in connector.metrics["log"].items()}
    if not figures:
        return None
    step = loop._batches_that_stepped - (not within)
    if "step" in figures:
        return figures, int(figures.pop("step"))
    return {"epoch": trainer.current_epoch, **figures}, step


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else value


def _names(trainer: Trainer) -> list[str]:
    """Name each logger by its kind, numbered where there are several."""
    kinds = [type(one).__name__ for one in trainer.loggers]
    return [f"{kind}_{kinds[:i].count(kind)}" for i, kind in enumerate(kinds)]
