"""What the guard against NaN and the measurement of speed cost a training step.

    python benchmarks/guard_cost.py [--steps 200]

Claim: together at most 2 % of a step of the smallest network on a CPU. CPU seconds spent in their hooks, held against
the CPU seconds of the whole step, in one run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from facesmith.training.callbacks.detect_nonfinite import DetectNonFinite
from facesmith.training.callbacks.suggest_fixes import SuggestFixes
from step_overhead import settings

_HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")


class Steps(Callback):
    """CPU seconds of steps, the first twenty left out."""

    def __init__(self) -> None:
        self.started, self.count = 0.0, 0

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin to count after the warm-up."""
        self.count += 1
        if self.count == 20:
            self.started = time.process_time()
            spent.clear()


spent: dict[str, float] = {}


def timed(name: str, hook: Callable[..., None]) -> Callable[..., None]:
    def run(*arguments: Any, **more: Any) -> None:
        began = time.process_time()
        hook(*arguments, **more)
        spent[name] = spent.get(name, 0.0) + time.process_time() - began

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        given = ["data.max_frames=24", "data.pseudo_truth.variants=20", f"paths.profiles={run}", *overrides]
        config = settings(run, [f"paths.face_sets={run}/face_sets", *given])
        guards = {"guard": DetectNonFinite("stop", 0, run), "advise": SuggestFixes(0.3, 2.0)}
        for name, callback in guards.items():
            for hook in _HOOKS:
                if hook in vars(type(callback)):
                    setattr(callback, hook, timed(f"{name}.{hook}", getattr(callback, hook)))
        steps = Steps()
        trainer = Trainer(
            accelerator="cpu",
            max_steps=arguments.steps + 20,
            gradient_clip_val=5.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
            callbacks=[steps, *guards.values()],
        )
        trainer.fit(config.model.build(), config.data.build())
        whole = time.process_time() - steps.started
    done = steps.count - 20
    for name, seconds in spent.items():
        print(f"{name:40s} {1e6 * seconds / done:7.0f} us a step")
    print(
        f"a step {1e3 * whole / done:.1f} ms; guard and advice {sum(spent.values()) / whole:.2%} of it (claim: <= 1 %)"
    )


if __name__ == "__main__":
    main()
