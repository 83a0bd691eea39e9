"""Where a training step's time goes."""

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from facesmith.errors import UserError
from facesmith.files import write_text

LOOP = "Lightning's loop and the loggers"
VALIDATION = "validation"
BETWEEN = "between epochs: checkpoints, renders"
_PARTS = (  # what Lightning calls a part of a step contains this
    (".train_dataloader_next", "waiting for data"),
    (".on_after_batch_transfer", "augmentation, after the transfer"),
    ("batch_to_device", "to the device"),
    ("batch_transfer", "to the device"),
    ("transfer_batch", "to the device"),
    (".training_step", "forward and loss"),
    (".backward", "backward"),
    ("optimizer_step", "optimiser"),
    ("optimizer_zero_grad", "optimiser"),
    ("gradient_clipping", "gradient clipping"),
)
_TRACED = 2  # steps that torch.profiler sees
_OUTSIDE = (VALIDATION, BETWEEN)
_BATCH_HOOKS = ("_train_batch_start", "_train_batch_end", "on_before_", "on_after_backward")


class StepClock(Profiler):
    """Charges every moment to the innermost part that Lightning says is running.

    On a GPU each boundary waits for the device, so that work is charged to what started it; steps are slower for it.
    `seconds` are by part; `steps` counts since the last `reset`.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self._trainer = trainer
        self.device = trainer.strategy.root_device.type
        self._stack: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Begin anew, in the middle of whatever is running."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.steps = 0
        self._mark = time.perf_counter()

    @override
    def start(self, action_name: str) -> None:
        self._charge()
        self._stack.append(action_name)

    @override
    def stop(self, action_name: str) -> None:
        self._charge()
        if action_name in self._stack:  # what began before this clock did has no place in it
            self._stack.remove(action_name)
        self.steps += action_name == "run_training_batch"

    def _charge(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._part()] += now - self._mark
        self._mark = now

    def _part(self) -> str:
        if self._trainer.validating or self._trainer.sanity_checking:
            return VALIDATION
        for action in reversed(self._stack):
            for pattern, part in _PARTS:
                if pattern in action:
                    return part
            if action.startswith("[Callback]"):
                in_step = any(hook in action for hook in _BATCH_HOOKS)
                return f"callback {_name(action)}" if in_step else BETWEEN
            if action == "save_checkpoint" or "_epoch_" in action:
                return BETWEEN
        return LOOP


class ProfileSteps(Callback):
    """Print how long the parts of a training step took, on average and as shares; keep it as `step_profile.json`.

    Args:
        folder: where the JSON goes.
        warm_up: first steps that are not counted.
        operators: how many of the costliest operators to name, which torch.profiler sees in the last two steps of the
            warm-up; 0 leaves it out.

    Raises UserError when there are no steps after the warm-up.
    """

    def __init__(self, folder: Path, warm_up: int, operators: int) -> None:
        self.folder, self.warm_up, self.operators = folder, warm_up, operators
        self._clock: StepClock | None = None
        self._torch: torch.profiler.profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the clock in the place of Lightning's profiler."""
        self._clock = StepClock(trainer)
        trainer.profiler = self._clock  # type: ignore[attr-defined]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Open torch.profiler for the last two steps of the warm-up."""
        if (
            self.operators
            and self._torch is None
            and trainer.fit_loop.total_batch_idx == max(0, self.warm_up - _TRACED)
        ):
            self._torch = torch.profiler.profile()
            self._torch.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count from the end of the warm-up on."""
        if trainer.fit_loop.total_batch_idx + 1 == self.warm_up:
            if self._torch is not None:
                self._torch.stop()
            assert self._clock is not None
            self._clock.reset()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print."""
        clock = self._clock
        if clock is None or not trainer.is_global_zero:
            return
        done = trainer.fit_loop.total_batch_idx + 1
        if done <= self.warm_up:
            raise UserError(
                f"callbacks.step_profile.warm_up={self.warm_up}: the run had {done} steps; give it more of them"
            )
        parts = {name: spent for name, spent in clock.seconds.items() if name not in _OUTSIDE}
        outside = {name: clock.seconds[name] for name in _OUTSIDE if name in clock.seconds}
        record = {"steps": clock.steps, "seconds": parts, "seconds_outside_steps": outside}
        write_text(self.folder / "step_profile.json", json.dumps(record, indent=2))
        console = Console()
        console.print(_table(parts, clock.steps))
        for name, spent in outside.items():
            console.print(f"{name}: {spent:.2f} s in all", highlight=False)
        if self._torch is not None:
            console.print(_operators(self._torch, self.operators, clock.device))


def _table(parts: dict[str, float], steps: int) -> Table:
    total = sum(parts.values())
    table = Table(title=f"A training step: {1000 * total / steps:.1f} ms, mean of {steps}", title_justify="left")
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for name, spent in sorted(parts.items(), key=lambda part: -part[1]):
        share = spent / total
        table.add_row(name, f"{1000 * spent / steps:.2f}", f"{share:.1%}", "█" * round(30 * share))
    return table


def _operators(profile: torch.profiler.profile, count: int, device: str) -> Table:
    def spent(event: Any) -> float:
        return float(event.self_device_time_total if device == "cuda" else event.self_cpu_time_total)

    events = sorted(profile.key_averages(), key=spent, reverse=True)
    total = sum(map(spent, events))
    table = Table(title=f"The costliest operators in {_TRACED} steps", title_justify="left")
    for title in ("operator", "calls", "ms", "share"):
        table.add_column(title, justify="left" if title == "operator" else "right")
    for event in events[:count]:
        table.add_row(event.key, str(event.count), f"{spent(event) / 1000:.2f}", f"{spent(event) / total:.1%}")
    return table


def _name(action: str) -> str:
    """Take `RenderValidation` from `[Callback]RenderValidation{'some': state}.on_train_batch_end`."""
    return action.removeprefix("[Callback]").split("{")[0].rsplit(".", 1)[0]
