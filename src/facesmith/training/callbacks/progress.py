"""A progress bar that says when the whole training will be over."""

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from facesmith.metrics.swap import SwapMetrics
from facesmith.training.callbacks.protocols import Judges, KnowsPerson

_SECONDS_BETWEEN_READS = 0.5


class TrainingProgress(RichProgressBar):
    """Lightning's rich bar, whose own times are the epoch's, with the time left until the last epoch.

    Metrics are read twice a second instead of at every step: reading one waits for the GPU. `refresh_rate` is in
    drawings a second.
    """

    def __init__(self, refresh_rate: int, leave: bool) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._started = self._read = 0.0
        self._first_batch = 0
        self._shown: dict[str, int | str | float | dict[str, float]] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started, self._read = time.monotonic(), 0.0
        self._first_batch = trainer.fit_loop.total_batch_idx + 1

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        now = time.monotonic()
        if now - self._read < _SECONDS_BETWEEN_READS:
            return self._shown
        self._read = now
        metrics = {k: v for k, v in super().get_metrics(trainer, pl_module).items() if k != "v_num"}
        left = self._seconds_left(trainer, now)
        if left is not None:
            metrics["left"] = str(timedelta(seconds=round(left)))
        self._shown = metrics
        return metrics

    def _seconds_left(self, trainer: Trainer, now: float) -> float | None:
        done = trainer.fit_loop.total_batch_idx + 1
        if not trainer.max_epochs or trainer.max_epochs < 0 or done <= self._first_batch:
            return None
        total = trainer.max_epochs * trainer.num_training_batches
        return max(0.0, (now - self._started) / (done - self._first_batch) * (total - done))


_SHOWN_AT_MOST = 12

_ROWS = (
    ("judge_distance", "judge: distance to the person", "< 0.6"),
    ("identity_similarity", "recogniser: similarity", "higher"),
    ("judge_accepted", "taken for the person", "1"),
    ("miss_rate", "no face in the result", "0"),
    ("nme", "landmarks moved / eye distance", "< 0.1"),
    ("eye_openness", "eyes unlike the target's", "0"),
    ("mouth_openness", "mouth unlike the target's", "0"),
    ("sharpness", "sharpness / pseudo truth's", "1"),
    ("sharpness_own", "sharpness / own frames'", "1"),
    ("mask_iou", "mask overlap", "1"),
    ("mask_iou_unseen", "mask overlap, things never seen", "1"),
    ("boundary_iou", "rims overlap", "1"),
    ("occluded_recall", "covered part found", "1"),
    ("occluded_recall_unseen", "covered part found, things never seen", "1"),
    ("occluded_precision", "taken for covered and covered", "1"),
    ("false_occlusion", "untouched face taken for covered", "0"),
    ("flicker", "mask moves unlike the face", "0"),
    ("unsteadiness", "changes from frame to frame", "before"),
    ("ssim", "held-out frames rebuilt", "1"),
)
_DRAWN = (  # of videos that are drawn, where a name may mean something else
    ("likeness", "drawn faces: likeness", "higher"),
    ("likeness_face_scale_0", "the same without face tokens", "before"),
    ("projection", "on the way from nobody to the person", "1"),
    ("faces_found", "frames with a face", "1"),
    ("pose_agreement", "body points in place", "1"),
    ("flicker", "flicker", "before"),
    ("loss", "loss, held-out clips", "lower"),
)
_COLUMNS = (
    ("before", "before"),
    ("base", "base"),
    ("val", "after"),
    ("before_holdout", "held out, before"),
    ("base_holdout", "held out, base"),
    ("val_holdout", "held out, after"),
)


class PrintSummary(Callback):
    """Print the quality gate before and after training, and the files made, when training ends.

    Args:
        folder: of the run; files below `exports/`, `renders/` and `checkpoints/` are named.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table and the paths."""
        if not trainer.is_global_zero:
            return
        console = Console()
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if isinstance(pl_module, KnowsPerson):  # what Lightning forgets of a validation before the first step
            before: dict[str, float] = pl_module.provenance.get("before", {})
            figures = {f"before/{name}": value for name, value in before.items()} | figures
        columns = [(p, title) for p, title in _COLUMNS if any(name.startswith(f"{p}/") for name in figures)]
        known = _DRAWN if any(name.endswith("/likeness") for name in figures) else _ROWS
        rows = [row for row in known if any(f"{prefix}/{row[0]}" in figures for prefix, _ in columns)]
        if rows:
            table = Table(title="Quality gate", title_justify="left")
            table.add_column("figure")
            for _, title in columns:
                table.add_column(title, justify="right")
            table.add_column("good", style="dim")
            for name, meaning, better in rows:
                cells = [figures.get(f"{prefix}/{name}") for prefix, _ in columns]
                table.add_row(meaning, *("" if c is None else f"{c:.3f}" for c in cells), better)
            console.print(table)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, Judges):
            console.print(_by_target(data.quality))
        for path in self._made():
            console.print(f"  {path}", highlight=False, soft_wrap=True)

    def _made(self) -> list[Path]:
        """Name the exports, the checkpoints to go on from, and the newest render."""
        exports = sorted(p for p in (self.folder / "exports").glob("*") if p.is_file())
        checkpoints = [p for p in (self.folder / "checkpoints").glob("*.ckpt") if p.stem in ("best", "last")]
        renders = sorted((self.folder / "renders").glob("*.png"))[-1:]
        return [*exports, *sorted(checkpoints), *renders]


def _by_target(quality: Mapping[str, SwapMetrics]) -> Table:
    """Lay out each target's verdict, those held out last."""
    table = Table(title="Each target", title_justify="left")
    for title in ("target", "judge before", "after", "recogniser before", "after", "verdict"):
        table.add_column(title, justify="left" if title in ("target", "verdict") else "right")
    before = {row.name: row for row in quality["before"].pictures} if "before" in quality else {}
    for prefix in ("val", "val_holdout"):
        for row in quality[prefix].pictures[:_SHOWN_AT_MOST] if prefix in quality else ():
            was = before.get(row.name)
            table.add_row(
                row.name if prefix == "val" else f"{row.name} (held out)",
                f"{was.distance:.2f}" if was else "",
                f"{row.distance:.2f}",
                f"{was.similarity:.2f}" if was else "",
                f"{row.similarity:.2f}",
                "accepted" if row.accepted else f"rejected: {row.reason}",
            )
    return table
