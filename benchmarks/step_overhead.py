"""What a training step costs through Lightning with all callbacks, against a bare loop on the same model and data.

    python benchmarks/step_overhead.py [--rounds 5] [--steps 150] [overrides, such as model/generator=aad_fast]

Claim: the ratio is at most 1.05. The two are timed in turns, and the median of the rounds' ratios is printed, so that
what else runs on the machine falls on both alike. The bare loop fetches, augments, steps, clips and averages as the
recipe says; what it leaves out is Lightning, logging, progress and callbacks.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.training.hardware import choose_precision
from facesmith.training.swapping.dataset import as_floats

_WARM_UP = 20


def settings(folder: Path, overrides: list[str]) -> TrainConfig:
    return load_config("train", TrainConfig, ["experiment=identity_demo", *overrides], run=folder)


class Bare:
    """The same training as a plain loop, a stretch of steps at a time."""

    def __init__(self, config: TrainConfig, data: Any) -> None:
        torch.manual_seed(0)
        self.data, self.module = data, config.model.build()
        self.module.trainer = FixedTrainer(data, config)
        self.module.setup("fit")
        chosen = self.module.configure_optimizers()
        self.optimizer, self.schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
        self.average = [p.detach().clone() for p in self.module.parameters()]
        self.weights, self.done = list(self.module.parameters()), 0
        self.module.train()

    def run(self, steps: int) -> float:
        """Return the seconds a step takes."""
        module, data = self.module, self.data
        batches = self._batches()
        started = time.perf_counter()
        for _ in range(steps):
            batch = data.augment(as_floats(next(batches)))
            output = module.generator(batch["target"], batch["source"])
            loss = module.loss(output, batch, min(1.0, self.done / 5000))["loss"]
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 5.0)
            self.optimizer.step()
            self.schedule.step()
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.weights, 0.01)
            self.done += 1
        return (time.perf_counter() - started) / steps

    def _batches(self) -> Any:
        loader = self.data.train_dataloader()
        while True:
            yield from loader


class FixedTrainer:
    """As much of a Trainer as the module asks for outside of one."""

    def __init__(self, data: Any, config: TrainConfig) -> None:
        self.datamodule, self.precision, self.max_epochs = data, "32-true", config.trainer.max_epochs
        self.limit_train_batches, self.accumulate_grad_batches, self.world_size = 1.0, 1, 1


class InTurns(Callback):
    """Time stretches of Lightning's own steps, and let the bare loop run between them."""

    def __init__(self, bare: Bare, rounds: int, steps: int) -> None:
        self.bare, self.rounds, self.steps = bare, rounds, steps
        self.ratios: list[float] = []
        self.times: list[tuple[float, float]] = []
        self.started, self.count = 0.0, -_WARM_UP

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count steps, and hand over at the end of a stretch."""
        if self.count == self.steps:
            ours = (time.perf_counter() - self.started) / self.steps
            bare = self.bare.run(self.steps)
            self.times.append((ours, bare))
            self.count = 0
            trainer.should_stop = len(self.times) == self.rounds
        if self.count == 0:
            self.started = time.perf_counter()
        self.count += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    arguments, overrides = parser.parse_known_args()
    logging.getLogger("facesmith").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        config = settings(run, [f"paths.face_sets={run}/face_sets", f"paths.profiles={run}/profiles", *overrides])
        data = config.data.build()
        data.prepare_data()
        data.setup("fit")
        bare = Bare(config, data)
        bare.run(_WARM_UP)
        turns = InTurns(bare, arguments.rounds, arguments.steps)
        callbacks = [one.build() for one in config.callbacks.values() if one]
        chosen = config.trainer.arguments()
        chosen["precision"] = choose_precision(config.trainer.precision, config.trainer.accelerator)
        trainer = Trainer(
            **chosen,
            callbacks=[*callbacks, turns],
            logger=[one.build() for one in config.logger.values() if one],
            default_root_dir=run,
            limit_val_batches=0,  # a step's cost is asked, not validation's
        )
        trainer.fit(config.model.build(), data)
    for ours, plain in turns.times:
        print(f"Lightning {1e3 * ours:6.1f} ms   bare loop {1e3 * plain:6.1f} ms   ratio {ours / plain:.3f}")
    print(f"median ratio {statistics.median(ours / plain for ours, plain in turns.times):.3f} (claim: <= 1.05)")


if __name__ == "__main__":
    main()
