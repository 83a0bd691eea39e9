"""What exact resume costs a training step: the same training with and without its machinery, in turns.

    python benchmarks/resume_overhead.py [--rounds 5] [--steps 200] [overrides, such as model/generator=aad_fast]

Claim: the ratio is at most 1.03. With: the loader that knows its place, random states, a verified checkpoint flushed to
the disk at the default cadence, signals, metrics that can be cut. Without: torch's own loader, no checkpoint at all,
Lightning's CSV logger. Two trainings in one process hand each other the turn after a stretch of steps, so that what
else runs on the machine falls on both alike; the median of the rounds' ratios is printed, of the times passed and of
the processor times, which leave out the waiting for the disk.
"""

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from facesmith.config.schema import TrainConfig
from facesmith.training.callbacks.checkpoints import GracefulShutdown
from facesmith.training.callbacks.exact_state import ExactState
from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.hardware import choose_precision
from facesmith.training.run.preemption import handle_preemption
from step_overhead import settings

_WARM_UP = 20


class Turns:
    """Two trainings of which one runs at a time."""

    def __init__(self) -> None:
        self._turn = [threading.Semaphore(1), threading.Semaphore(0)]

    def wait(self, who: int) -> None:
        """Sleep until it is one's turn."""
        self._turn[who].acquire()

    def give(self, who: int) -> None:
        """Let the other one run."""
        self._turn[1 - who].release()


class InTurns(Callback):
    """Time a stretch of steps, then let the other training have one."""

    def __init__(self, turns: Turns, who: int, rounds: int, steps: int) -> None:
        self.turns, self.who, self.rounds, self.steps = turns, who, rounds, steps
        self.times: list[float] = []
        self.busy: list[float] = []
        self.count, self.started, self.worked = -_WARM_UP, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count steps, and hand over at the end of a stretch."""
        if self.count in (0, self.steps):
            if self.count:
                self.times.append((time.perf_counter() - self.started) / self.steps)
                self.busy.append((time.thread_time() - self.worked) / self.steps)
            trainer.should_stop = len(self.times) == self.rounds
            self.turns.give(self.who)
            self.turns.wait(self.who)
            self.count, self.started, self.worked = 0, time.perf_counter(), time.thread_time()
        self.count += 1


def training(config: TrainConfig, run: Path, exact: bool, turns: InTurns, more: list[Any]) -> Callable[[], None]:
    """Set up a training; `exact` with the machinery."""
    data, module = config.data.build(), config.model.build()
    data.prepare_data()
    data.setup("fit")
    parts = {name: one for name, one in config.callbacks.items() if one}
    saving = ("last", "best", "checkpoint")
    callbacks = [one.build() for name, one in parts.items() if exact or name not in saving]
    logs = [one.build() for one in config.logger.values() if one] if exact else [CSVLogger(run / "plain", "", "")]
    if not exact:
        ours = data.train_dataloader()
        plain = DataLoader(ours.dataset, batch_sampler=ours.batch_sampler, collate_fn=ours.collate_fn)
        data.train_dataloader = lambda: plain
    trainer = Trainer(
        **{
            **config.trainer.arguments(),
            "precision": choose_precision(config.trainer.precision, config.trainer.accelerator),
            "callbacks": [*callbacks, *more, turns],
            "logger": logs,
            "default_root_dir": run,
            "limit_val_batches": 0,  # a step's cost is asked, not validation's
            "plugins": [VerifiedCheckpointIO()] if exact else None,
            "max_epochs": 100_000,
            "enable_progress_bar": False,
        }
    )
    return lambda: trainer.fit(module, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    arguments, overrides = parser.parse_known_args()
    logging.getLogger("facesmith").setLevel(logging.WARNING)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, handle_preemption(Path(folder)) as preemption:
        run = Path(folder)
        config = settings(
            run,
            [f"paths.profiles={run}/profiles", f"paths.face_sets={run}/face_sets", "monitor=null", *overrides]
            + [f"callbacks.{name}=null" for name in ("best", "export", "profile", "summary", "progress")],
        )
        turns = Turns()
        ours, plain = (InTurns(turns, who, arguments.rounds, arguments.steps) for who in (0, 1))
        state = ExactState(config.model_dump(mode="json", by_alias=True))
        exact = training(config, run, True, ours, [state, GracefulShutdown(preemption, run / "checkpoints")])
        other = training(config, run, False, plain, [])

        def alongside() -> None:
            turns.wait(1)
            other()
            turns.give(1)

        thread = threading.Thread(target=alongside, daemon=True)
        thread.start()
        turns.wait(0)
        exact()
        turns.give(0)
        thread.join()
    ratios = [a / b for a, b in zip(ours.times, plain.times, strict=True)]
    worked = [a / b for a, b in zip(ours.busy, plain.busy, strict=True)]
    for a, b in zip(ours.times, plain.times, strict=True):
        print(f"exact resume {1e3 * a:6.1f} ms   without {1e3 * b:6.1f} ms   ratio {a / b:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f} (claim: <= 1.03)")
    print(f"median ratio of processor times {statistics.median(worked):.3f}")


if __name__ == "__main__":
    main()
