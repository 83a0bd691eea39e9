"""Profile the parts of a training step."""

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.utilities.types import STEP_OUTPUT
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from facesmith.errors import UserError
from facesmith.files import write_text

LOOP: Final = "Lightning's loop and the loggers"
VALIDATION: Final = "validation"
BETWEEN: Final = "between epochs: checkpoints, renders"
_PARTS: Final = (  # what Lightning calls a part of a step contains this
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
_TRACED: Final = 2  # steps that torch.profiler traces
_OUTSIDE: Final = (VALIDATION, BETWEEN)
_BATCH_HOOKS: Final = ("_train_batch_start", "_train_batch_end", "on_before_", "on_after_backward")


class ProfileSteps(Callback):
    """Print how long the parts of a training step take, on average and as shares; keep it as `step_profile.json`.

    At the end of training it raises `UserError` when there are no steps after the warm-up.

    Args:
        folder: Where the JSON goes.
        warm_up: First steps, which are not counted.
        operators: How many of the costliest operators to name, which torch.profiler sees in the last two steps of the
            warm-up; 0 leaves them out.
    """

    def __init__(self, folder: Path, warm_up: int, operators: int) -> None:
        self.folder, self.warm_up, self.operators = folder, warm_up, operators
        self._profiler: StepProfiler | None = None
        self._tracer: torch.profiler.profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's profiler."""
        self._profiler = StepProfiler(trainer)
        trainer.profiler = self._profiler  # type: ignore[attr-defined]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start torch.profiler for the last two steps of the warm-up."""
        first = max(0, self.warm_up - _TRACED)
        if self.operators and self._tracer is None and trainer.fit_loop.total_batch_idx == first:
            self._tracer = torch.profiler.profile()
            self._tracer.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Count from the end of the warm-up on."""
        if trainer.fit_loop.total_batch_idx + 1 == self.warm_up:
            if self._tracer is not None:
                self._tracer.stop()
            assert self._profiler is not None
            self._profiler.reset()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the result."""
        profiler = self._profiler
        if profiler is None or not trainer.is_global_zero:
            return
        done = trainer.fit_loop.total_batch_idx + 1
        if done <= self.warm_up:
            raise UserError(
                f"callbacks.step_profile.warm_up={self.warm_up}: the run had {done} steps; train more of them"
            )
        parts = {name: spent for name, spent in profiler.seconds.items() if name not in _OUTSIDE}
        outside = {name: profiler.seconds[name] for name in _OUTSIDE if name in profiler.seconds}
        record = {"steps": profiler.steps, "seconds": parts, "seconds_outside_steps": outside}
        write_text(self.folder / "step_profile.json", json.dumps(record, indent=2))
        console = Console()
        console.print(_make_parts_table(parts, profiler.steps))
        for name, spent in outside.items():
            console.print(f"{name}: {spent:.2f} s in total", highlight=False)
        if self._tracer is not None:
            console.print(_make_operators_table(self._tracer, self.operators, profiler.device))


class StepProfiler(Profiler):
    """Charge all time to the innermost action that Lightning reports, so that the shares add up to 1.

    Lightning's `SimpleProfiler` charges a moment to every action it is in: its shares add up to several hundred per
    cent, warm-up and validation included, and of a GPU it measures how long work takes to be queued. Here each boundary
    waits for the GPU, so that work is charged to what started it; steps are slower for it.

    Attributes:
        seconds: By part, since the last `reset`.
        steps: Since the last `reset`.
        device: Type of the device that is trained on.

    Args:
        trainer: Whose steps are measured.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self._trainer = trainer
        self.device = trainer.strategy.root_device.type
        self._stack: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Start anew, in the middle of whatever is running."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.steps = 0
        self._last = time.perf_counter()

    @override
    def start(self, action_name: str) -> None:
        self._charge()
        self._stack.append(action_name)

    @override
    def stop(self, action_name: str) -> None:
        self._charge()
        if action_name in self._stack:  # what began before this profiler did is not on it
            self._stack.remove(action_name)
        self.steps += action_name == "run_training_batch"

    def _charge(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._current_part()] += now - self._last
        self._last = now

    def _current_part(self) -> str:
        if self._trainer.validating or self._trainer.sanity_checking:
            return VALIDATION
        for action in reversed(self._stack):
            for pattern, part in _PARTS:
                if pattern in action:
                    return part
            if action.startswith("[Callback]"):
                in_step = any(hook in action for hook in _BATCH_HOOKS)
                return f"callback {_callback_name(action)}" if in_step else BETWEEN
            if action == "save_checkpoint" or "_epoch_" in action:
                return BETWEEN
        return LOOP


def _callback_name(action: str) -> str:
    """Take `RenderValidation` from `[Callback]RenderValidation{'some': state}.on_train_batch_end`."""
    return action.removeprefix("[Callback]").split("{")[0].rsplit(".", 1)[0]


def _make_parts_table(parts: dict[str, float], steps: int) -> Table:
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


def _make_operators_table(profile: torch.profiler.profile, count: int, device: str) -> Table:
    def spent(event: Any) -> float:
        return float(event.self_device_time_total if device == "cuda" else event.self_cpu_time_total)

    operators = (event for event in profile.key_averages() if not event.is_user_annotation)  # spans hold Python's time
    events = sorted(operators, key=spent, reverse=True)
    total = sum(map(spent, events))
    table = Table(title=f"The costliest operators in {_TRACED} steps", title_justify="left")
    for title in ("operator", "calls", "ms", "share"):
        table.add_column(title, justify="left" if title == "operator" else "right")
    for event in events[:count]:
        table.add_row(event.key, str(event.count), f"{spent(event) / 1000:.2f}", f"{spent(event) / total:.1%}")
    return table
