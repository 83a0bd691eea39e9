"""The last lines of a training: its final metrics as tables, and the files it made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from facesmith.metrics.limits import LEAST_ACCEPTED, LIMIT_OF
from facesmith.metrics.swap_metrics import SwapMetrics
from facesmith.training.callbacks.protocols import HasGateResults, HasProvenance, get_datamodule

_MAX_TARGETS: Final = 12

# name, what it means, what is good
_METRICS: Final = (
    ("judge_distance", "judge: distance to the person", "< 0.6"),
    ("identity_similarity", "recogniser: similarity", "higher"),
    ("judge_accepted", "accepted as the person", "1"),
    ("miss_rate", "no face in the result", "0"),
    ("nme", "landmark error / eye distance", f"< {LIMIT_OF['nme']:g}"),
    ("pose_error", "pose error, degrees", f"< {LIMIT_OF['pose']:g}"),
    ("expression_error", "expression error, 52 shapes", f"< {LIMIT_OF['expression']:g}"),
    ("expression_error_seven", "expression error, 7 shapes", f"< {LIMIT_OF['expression_seven']:g}"),
    ("eye_openness", "eye openness, difference", f"< {LIMIT_OF['eyes']:g}"),
    ("mouth_openness", "mouth openness, difference", "0"),
    ("lip_gap", "gap of the lips, difference", f"< {LIMIT_OF['lips']:g}"),
    ("colour_error", "skin colour, Delta E to the target's", f"< {LIMIT_OF['colour']:g}"),
    ("colour_patches", "patches of colour, Delta E", f"< {LIMIT_OF['colour_patches']:g}"),
    ("colour_around", "skin colour, Delta E to the neck", f"< {LIMIT_OF['colour_around']:g}"),
    ("foreign_eyes", "foreign: eyes", f"< {LIMIT_OF['foreign_eyes']:g}"),
    ("foreign_nose", "foreign: nose", f"< {LIMIT_OF['foreign_nose']:g}"),
    ("foreign_mouth", "foreign: around the mouth, chin", f"< {LIMIT_OF['foreign_mouth']:g}"),
    ("foreign_cheeks", "foreign: cheeks", f"< {LIMIT_OF['foreign_cheeks']:g}"),
    ("foreign_forehead", "foreign: forehead", f"< {LIMIT_OF['foreign_forehead']:g}"),
    ("stripes", "stripes on the skin", f"< {LIMIT_OF['stripes']:g}"),
    ("sharpness", "sharpness / pseudo truth's", "1"),
    ("sharpness_own", "sharpness / own frames'", "1"),
    ("sharpness_target", "sharpness / target's", "1"),
    ("accepted", "accepted in every figure", "1"),
    ("mask_iou", "mask IoU", "1"),
    ("mask_iou_unseen", "mask IoU, unseen objects", "1"),
    ("boundary_iou", "boundary IoU", "1"),
    ("occluded_recall", "occlusion recall", "1"),
    ("occluded_recall_unseen", "occlusion recall, unseen objects", "1"),
    ("occluded_precision", "occlusion precision", "1"),
    ("false_occlusion", "false occlusion", "0"),
    ("flicker", "mask flicker", "0"),
    ("unsteadiness", "change between frames", "before"),
    ("ssim", "SSIM, held-out frames", "1"),
)
_VIDEO_METRICS: Final = (  # of generated videos, where a name may mean something else
    ("likeness", "generated faces: likeness", "higher"),
    ("likeness_face_scale_0", "the same without face tokens", "before"),
    ("projection", "projection: mean person 0, the person 1", "1"),
    ("faces_found", "frames with a face", "1"),
    ("pose_agreement", "body keypoints in place", "1"),
    ("flicker", "flicker", "before"),
    ("loss", "loss, held-out clips", "lower"),
)
_STAGES: Final = (  # prefix of the metrics, title of the column
    ("before", "before"),
    ("base", "base"),
    ("untrained", "untrained"),
    ("val", "after"),
    ("before_holdout", "held out, before"),
    ("base_holdout", "held out, base"),
    ("val_holdout", "held out, after"),
)


class PrintSummary(Callback):
    """Print the quality gate before and after training, and the files made, when training ends.

    Args:
        folder: Of the run; files below `exports/`, `renders/` and `checkpoints/` are listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table and the paths."""
        if not trainer.is_global_zero:
            return
        console = Console()
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if isinstance(pl_module, HasProvenance):  # what Lightning forgets of a validation before the first step
            before: dict[str, float] = pl_module.provenance.get("before", {})
            metrics = {f"before/{name}": value for name, value in before.items()} | metrics
        columns = [(p, title) for p, title in _STAGES if any(name.startswith(f"{p}/") for name in metrics)]
        known = _VIDEO_METRICS if any(name.endswith("/likeness") for name in metrics) else _METRICS
        rows = [row for row in known if any(f"{prefix}/{row[0]}" in metrics for prefix, _ in columns)]
        if rows:
            table = Table(title="Quality gate", title_justify="left")
            table.add_column("figure")
            for _, title in columns:
                table.add_column(title, justify="right")
            table.add_column("good", style="dim")
            for name, meaning, better in rows:
                cells = [metrics.get(f"{prefix}/{name}") for prefix, _ in columns]
                table.add_row(meaning, *("" if c is None else f"{c:.3f}" for c in cells), better)
            console.print(table)
        data = get_datamodule(trainer)
        if isinstance(data, HasGateResults):
            console.print(_make_target_table(data.quality))
            for line in _verdicts(data.quality):
                console.print(line, highlight=False, soft_wrap=True, markup=False)
        for path in self._find_files():
            console.print(f"  {path}", highlight=False, soft_wrap=True)

    def _find_files(self) -> list[Path]:
        """Return the exports, the checkpoints to resume from, and the newest render."""
        exports = sorted(p for p in (self.folder / "exports").glob("*") if p.is_file())
        checkpoints = [p for p in (self.folder / "checkpoints").glob("*.ckpt") if p.stem in ("best", "last")]
        renders = sorted((self.folder / "renders").glob("*.png"))[-1:]
        return [*exports, *sorted(checkpoints), *renders]


def _verdicts(quality: Mapping[str, SwapMetrics]) -> list[str]:
    """Describe, for targets seen and held out, how many faces the gate accepts, and whether that is enough."""
    lines = []
    for prefix, title in (("val", "Accepted"), ("val_holdout", "Accepted, held out")):
        if prefix in quality and quality[prefix].pictures:
            rows = quality[prefix].pictures
            passed = quality[prefix].figures(prefix)[f"{prefix}/passed"]
            verdict = "the gate is passed" if passed else f"the gate is not passed, {LEAST_ACCEPTED:.0%} are needed"
            lines.append(f"{title}: {sum(row.accepted for row in rows)} of {len(rows)}; {verdict}")
    return lines


def _make_target_table(quality: Mapping[str, SwapMetrics]) -> Table:
    """Tabulate each target's result, those held out last."""
    table = Table(title="Each target", title_justify="left")
    for title in ("target", "judge before", "after", "recogniser before", "after", "verdict"):
        table.add_column(title, justify="left" if title in ("target", "verdict") else "right")
    before = {row.name: row for row in quality["before"].pictures} if "before" in quality else {}
    for prefix in ("val", "val_holdout"):
        for row in quality[prefix].pictures[:_MAX_TARGETS] if prefix in quality else ():
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
