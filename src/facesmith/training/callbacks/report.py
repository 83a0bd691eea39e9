"""The page of a run: `report.html`, one file that is drawn anew while the training goes on."""

import base64
import csv
import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from PIL import Image

from facesmith.files import short_path, write_text
from facesmith.media.images import encode_image
from facesmith.media.verification import verify_provenance
from facesmith.progress import format_duration
from facesmith.training.callbacks.protocols import (
    HasFaceSets,
    HasGateResults,
    SuggestsCommands,
    get_datamodule,
)
from facesmith.training.callbacks.summary import (
    collect_metrics,
    describe_left_out,
    describe_verdicts,
    figure_rows,
    target_rows,
)
from facesmith.training.run.latest import show_path

_REFRESH: Final = 20  # seconds between two looks of the browser, while the training goes on
_MOST_POINTS: Final = 400
_PICTURES: Final = 2  # newest ones
_WIDTH, _HEIGHT, _MARGIN = 720, 180, 44

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}td.n,th.n{text-align:right}
th{border-bottom:1px solid #999}tr:nth-child(even) td{background:#f6f6f6}.dim{color:#777}.bad{color:#b00020}
img{max-width:100%;display:block;margin:.5rem 0}pre{background:#f3f3f3;padding:.6rem;overflow-x:auto}
progress{width:100%;height:.8rem}svg text{font:12px system-ui,sans-serif;fill:#555}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}tr:nth-child(even) td,pre{background:#242424}
svg text{fill:#aaa}.dim{color:#999}.bad{color:#ff6b7a}}
"""


class WriteReport(Callback):
    """Write the run's page: progress, loss, the gate, the newest pictures, what was left out, and the next commands.

    The page holds everything it shows and nothing that is fetched; while the training goes on it asks the browser to
    read it again. It shows the person's face, and lies in the run's folder, which only its owner may enter.

    Args:
        folder: Of the run.
        every_seconds: Seconds between two writes while steps are taken.
    """

    def __init__(self, folder: Path, every_seconds: float) -> None:
        self.folder, self.every_seconds = folder, every_seconds
        self._began = self._written = self._noted = time.monotonic()
        self._losses: list[tuple[int, float]] = []
        self._embedded: dict[tuple[Path, int], str] = {}

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the page for the first time."""
        self._began = time.monotonic()
        self._write(trainer, pl_module, "training")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Write the page when due, and note the loss once a second: reading one waits for a GPU."""
        if time.monotonic() - self._noted >= 1:
            self._note_loss(trainer)
        if time.monotonic() - self._written >= self.every_seconds:
            self._write(trainer, pl_module, "training")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured."""
        self._write(trainer, pl_module, "training")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the page for the last time, when every callback has made its files."""
        if stage == "fit":
            self._write(trainer, pl_module, "done")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write how the training ended, where it began."""
        if self.path.is_file():
            self._write(trainer, pl_module, f"ended by {type(exception).__name__}: {exception}")

    def _write(self, trainer: Trainer, module: LightningModule, status: str) -> None:
        self._written = time.monotonic()
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._note_loss(trainer)
        write_text(self.path, "\n".join(self._page(trainer, module, status)))

    def _note_loss(self, trainer: Trainer) -> None:
        self._noted = time.monotonic()
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and (not self._losses or self._losses[-1][0] != trainer.global_step):
            self._losses.append((trainer.global_step, float(loss)))

    def _page(self, trainer: Trainer, module: LightningModule, status: str) -> Iterator[str]:
        goes_on, data = status == "training", get_datamodule(trainer)
        name = self.folder.parent.name or self.folder.name
        yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}: {escape(status)}</title>'
        yield f'<meta http-equiv="refresh" content="{_REFRESH}">' if goes_on else ""
        yield f"<style>{_STYLE}</style><h1>{escape(name)}</h1>"
        yield f'<p class="dim">{escape(short_path(self.folder))}, {escape(status)}</p>'
        yield self._progress(trainer, goes_on)
        if isinstance(data, HasGateResults):
            yield from (f"<p><b>{escape(line)}</b></p>" for line in describe_verdicts(data.quality))
        losses = max(
            list(_logged_losses(self.folder / "metrics.csv")), self._losses, key=len
        )  # of every step, if logged
        yield f"<h2>Loss</h2>{draw_curve(losses)}" if len(losses) > 1 else ""
        renders = sorted((self.folder / "renders").glob("*.png"), key=lambda path: path.stat().st_mtime)[-_PICTURES:]
        for path in reversed(renders):
            key = path, path.stat().st_mtime_ns
            if key not in self._embedded:
                self._embedded[key] = _embed(path)
            yield f'<h2>{escape(path.stem)}</h2><img alt="{escape(path.stem)}" src="{self._embedded[key]}">'
        yield '<p class="dim">Pictures made by a model.</p>' if renders else ""
        titles, rows = figure_rows(collect_metrics(trainer, module))
        yield _table("Figures", ["figure", *titles, "good"], [[row.meaning, *row.cells, row.good] for row in rows])
        if isinstance(data, HasGateResults):
            found = target_rows(data.quality)
            yield _table("Each target", ["target", "judge's distance", "verdict"], [list(row) for row in found])
        left_out = describe_left_out(data) if isinstance(data, HasFaceSets) else []
        yield _list("Left out", left_out)
        if not goes_on and isinstance(module, SuggestsCommands):
            commands = module.next_commands(show_path(self.folder, self.folder))
            yield f"<h2>Next</h2><pre>{escape(chr(10).join(commands))}</pre>" if commands else ""

    def _progress(self, trainer: Trainer, goes_on: bool) -> str:
        total = (trainer.max_epochs or 0) * int(min(trainer.num_training_batches, 2**31))
        if not total:
            return ""
        done, took = trainer.fit_loop.total_batch_idx + 1, time.monotonic() - self._began
        epochs = trainer.max_epochs or 0
        text = f"epoch {min(trainer.current_epoch + 1, epochs)} of {epochs}, step {done} of {total}"
        so_far = f"{format_duration(took)} so far" if goes_on else f"in {format_duration(took)}"
        return f'<progress value="{done}" max="{total}"></progress><p>{text}, {so_far}</p>'


def draw_curve(points: Sequence[tuple[int, float]]) -> str:
    """Draw a curve as SVG, with the first and last step and the range of values beside it.

    Args:
        points: Step and value, in order.
    """
    chosen = points[:: -(-len(points) // _MOST_POINTS)]
    steps, values = [step for step, _ in chosen], [value for _, value in chosen]
    low, high = min(values), max(values)
    across = max(1, steps[-1] - steps[0])

    def place(step: int, value: float) -> str:
        x = _MARGIN + (step - steps[0]) / across * (_WIDTH - _MARGIN - 8)
        y = 8 + (high - value) / ((high - low) or 1) * (_HEIGHT - 32)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, value) for step, value in chosen)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" aria-label="loss by step">'
        f'<polyline points="{line}" fill="none" stroke="#3b78c9" stroke-width="1.5"/>'
        f'<text x="0" y="14">{high:.3g}</text><text x="0" y="{_HEIGHT - 22}">{low:.3g}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 4}">step {steps[0]}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 4}" text-anchor="end">step {steps[-1]}</text></svg>'
    )


def _logged_losses(path: Path) -> Iterator[tuple[int, float]]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("train/loss") and row.get("step"):
                    yield int(row["step"]), float(row["train/loss"])


def _embed(path: Path) -> str:
    """Return a picture as a data URI, as JPEG with the picture's own mark: PNGs would be many times as large."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((1600, 3200))
    packed = encode_image(np.asarray(small), ".jpg", mark=verify_provenance(path).mark, quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(packed).decode('ascii')}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    last = len(columns) - 1
    head = "".join(f"<th{' class=n' if 0 < i < last else ''}>{escape(name)}</th>" for i, name in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(cell, 0 < i < last)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _kind(cell: str, number: bool) -> str:
    return " class=n" if number else " class=bad" if cell.startswith("rejected") else ""


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if lines else ""
