"""Exact resume: a resumed training equals the uninterrupted one, bit by bit."""

import logging
import random
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from facesmith.training.lightning_internals import (
    get_pending_log,
    get_train_loaders,
    is_between_epochs,
    load_loader_states,
    restart_data_fetcher,
    restore_running_metrics,
    save_running_metrics,
)
from facesmith.training.loaders import ResumableLoader

log = logging.getLogger(__name__)


class ExactState(Callback):
    """Make a resumed training equal the uninterrupted one, bit by bit where the device computes alike each time.

    A checkpoint gets the settings it was trained with, the random states of python, numpy and torch of every process,
    the metrics that callbacks monitor, and how far the loggers had come. They are restored just before the next batch
    is fetched: what building the model and the loaders drew does not count. Validation leaves the random states as
    they were.

    Args:
        settings: The validated settings as plain values; on resume they are compared with those then given.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)
        self._trainer: Trainer | None = None
        self._loaded: dict[str, Any] = {}
        self._before_validation: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the trainer, whose loggers are asked when a checkpoint is made."""
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values and tensors."""
        trainer = self._trainer
        assert trainer is not None
        states: list[Any] = [get_random_state()]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, get_random_state())
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logs = [one.state_dict() if isinstance(one, Stateful) else {} for one in trainer.loggers]
        return {
            "settings": self.settings,
            "random": states,
            "figures": metrics,
            "logs": dict(zip(_logger_names(trainer), logs, strict=True)),
            "unlogged": get_pending_log(trainer),
            "running": save_running_metrics(trainer),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until everything else is built."""
        self._loaded = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore metrics and loggers."""
        if not self._loaded:
            return
        trainer.callback_metrics.update({name: torch.tensor(v) for name, v in self._loaded["figures"].items()})
        for name, one in zip(_logger_names(trainer), trainer.loggers, strict=True):
            state = self._loaded["logs"].get(name)
            if isinstance(one, Stateful) and state:
                one.load_state_dict(state)
                if self._loaded["unlogged"] is not None:
                    metrics, step = self._loaded["unlogged"]
                    one.log_metrics(metrics, step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the position in the data, and last of all the random states."""
        loaders = get_train_loaders(trainer)
        for loader in loaders:
            if not isinstance(loader, Stateful):
                log.warning(
                    "%s cannot save its position: resume starts its epoch again; use training.loaders.ResumableLoader",
                    type(loader).__name__,
                )
        if not self._loaded:
            return
        if is_between_epochs(trainer):
            load_loader_states(trainer)
            for loader in loaders:
                if isinstance(loader, ResumableLoader):
                    loader.skip_to_next_epoch()
            restart_data_fetcher(trainer)
        states = self._loaded["random"]
        if len(states) == trainer.world_size:  # else their means were not taken over the same processes
            restore_running_metrics(trainer, self._loaded["running"])
        set_random_state(states[trainer.global_rank % len(states)])
        self._loaded = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the random states."""
        self._before_validation = get_random_state()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore them, as if validation had drawn nothing."""
        set_random_state(self._before_validation)


@runtime_checkable
class Stateful(Protocol):
    """A loader or logger that can save where it is."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from that state."""
        ...


def get_random_state() -> dict[str, Any]:
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


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the random states, but those of devices that are not here.

    Args:
        state: From `get_random_state`.
    """
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    if torch.backends.mps.is_available() and state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"].cpu())


def _logger_names(trainer: Trainer) -> list[str]:
    """Name each logger by its class, numbered where there are several of one class."""
    kinds = [type(one).__name__ for one in trainer.loggers]
    return [f"{kind}_{kinds[:i].count(kind)}" for i, kind in enumerate(kinds)]
