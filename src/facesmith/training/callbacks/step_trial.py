"""Time a training step before the first one: a real batch, forward and backward, whose result is discarded."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from facesmith.training.callbacks.exact_state import get_random_state, set_random_state
from facesmith.training.callbacks.protocols import HasPhases
from facesmith.training.lightning_internals import get_train_loaders
from facesmith.training.loaders import ResumableLoader, load_batch

_PHASES: Final = (0.1, 0.5, 0.9)  # of the training, at which a loss with phases is computed
_LONG: Final = 20.0  # seconds of steps that are enough, however few


class StepCost(NamedTuple):
    """What a step costs.

    Attributes:
        seconds: Of the mean step, with the wait for its batch.
        moments: Bytes that the optimiser will keep, at most.
    """

    seconds: float
    moments: int


def time_step(trainer: Trainer, module: LightningModule) -> StepCost | None:
    """Time steps on the first batch of the epoch and leave everything as it was: weights, statistics, random states.

    Args:
        trainer: About to take its first step.
        module: What it trains.

    Returns:
        None where a step cannot be tried without taking it: on several devices, with an optimiser that the module
        drives itself, with batches that come as a stream, without a loss.
    """
    loader = _single_loader(trainer)
    if loader is None or not module.automatic_optimization or not isinstance(trainer.strategy, SingleDeviceStrategy):
        return None
    before = get_random_state()
    try:
        began = time.monotonic()
        batch = _load_batch(loader)
        loading = time.monotonic() - began
        computing = _time_compute(trainer, module, batch)
    finally:
        set_random_state(before)
    if computing is None:
        return None
    # workers load while the network computes
    waiting = max(0.0, loading / loader.num_workers - computing) if loader.num_workers else loading
    trained = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    return StepCost(computing + waiting, 2 * trained)


def _single_loader(trainer: Trainer) -> DataLoader[Any] | None:
    loaders = get_train_loaders(trainer)
    if len(loaders) != 1 or not isinstance(loaders[0], DataLoader):
        return None
    loader: DataLoader[Any] = loaders[0]
    return None if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None else loader


def _load_batch(loader: DataLoader[Any]) -> Any:
    if isinstance(loader, ResumableLoader):
        return loader.load_first_batch()
    generator = loader.generator
    state = None if generator is None else generator.get_state()
    sampler = loader.batch_sampler
    assert isinstance(sampler, BatchSampler)
    try:
        return load_batch(loader, next(iter(sampler)))
    finally:
        if generator is not None:
            generator.set_state(state)


def _time_compute(trainer: Trainer, module: LightningModule, batch: Any) -> float | None:
    """Return the seconds of a step without loading, after one that allocates and compiles; None without a loss."""
    device = trainer.strategy.root_device
    phases: list[AbstractContextManager[None]] = [nullcontext()]
    phases += [module.at_progress(phase) if isinstance(module, HasPhases) else nullcontext() for phase in _PHASES]
    times: list[float] = []
    with _unchanged(module):
        began = time.monotonic()
        for phase in phases:
            with phase:
                started = time.monotonic()
                on_device = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
                with trainer.precision_plugin.train_step_context():
                    made = module.training_step(on_device, 0)
                loss = made.get("loss") if isinstance(made, Mapping) else made
                if not isinstance(loss, Tensor):
                    return None
                loss.backward()
                if device.type != "cpu":
                    torch.accelerator.synchronize(device)
                times.append(time.monotonic() - started)
            if not isinstance(module, HasPhases) and time.monotonic() - began > _LONG:
                break
    steady = times[1:] or times
    return sum(steady) / len(steady) if isinstance(module, HasPhases) else min(steady)


@contextmanager
def _unchanged(module: LightningModule) -> Iterator[None]:
    """Restore a module's buffers and gradients, and log nothing meanwhile."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    gradients = [(one, one.grad) for one in module.parameters() if one.requires_grad]
    for one, _ in gradients:
        one.grad = None
    silenced = ("log", "log_dict")
    for name in silenced:
        object.__setattr__(module, name, _log_nothing)
    try:
        yield
    finally:
        for name in silenced:
            object.__delattr__(module, name)
        for one, gradient in gradients:
            one.grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _log_nothing(*args: Any, **kwargs: Any) -> None:
    """Stand in for `self.log`, which is not allowed between steps."""
