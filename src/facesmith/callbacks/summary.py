"""What training changed, and where everything lies: the last lines of a run."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

_ROWS = (
    ("judge_distance", "independent judge: distance to the person", "lower; < 0.6 is the same person"),
    ("identity_similarity", "recogniser: similarity to the person", "higher"),
    ("judge_accepted", "targets the judge takes for the person", "higher"),
    ("miss_rate", "no face found in the result", "0"),
    ("nme", "landmarks moved, in eye distances", "lower; > 0.1 is rejected"),
    ("eye_openness", "eyes open unlike the target's", "lower"),
    ("mouth_openness", "mouth open unlike the target's", "lower"),
    ("sharpness", "sharpness against the pseudo truth", "near 1"),
    ("sharpness_own", "sharpness against the person's frames", "near 1"),
    ("mask_iou", "mask overlap with the face", "near 1"),
    ("ssim", "held-out frames of the person rebuilt", "near 1"),
)
_COLUMNS = (
    ("before", "before"),
    ("val", "after"),
    ("before_holdout", "held out, before"),
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
        columns = [(p, title) for p, title in _COLUMNS if any(name.startswith(f"{p}/") for name in figures)]
        rows = [row for row in _ROWS if any(f"{prefix}/{row[0]}" in figures for prefix, _ in columns)]
        if rows:
            table = Table(title="Quality gate: targets untouched, and swapped", title_justify="left")
            table.add_column("figure")
            for _, title in columns:
                table.add_column(title, justify="right")
            table.add_column("better", style="dim")
            for name, meaning, better in rows:
                cells = [figures.get(f"{prefix}/{name}") for prefix, _ in columns]
                table.add_row(meaning, *("" if c is None else f"{c:.3f}" for c in cells), better)
            console.print(table)
        for path in self._made():
            console.print(f"  {path}", highlight=False, soft_wrap=True)

    def _made(self) -> list[Path]:
        """Name the exports, the checkpoints to go on from, and the newest render."""
        exports = sorted(p for p in (self.folder / "exports").glob("*") if p.is_file())
        checkpoints = [p for p in (self.folder / "checkpoints").glob("*.ckpt") if p.stem in ("best", "last")]
        renders = sorted((self.folder / "renders").glob("*.png"))[-1:]
        return [*exports, *sorted(checkpoints), *renders]
