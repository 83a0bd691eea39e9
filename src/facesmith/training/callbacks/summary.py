"""The last screen of a training: how good it is, what was left out, what was made, and the next command."""

import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Final, NamedTuple

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from rich import get_console
from rich.console import Console
from rich.table import Table
from rich.text import Text

from facesmith.files import short_path
from facesmith.metrics.limits import LEAST_ACCEPTED, LIMIT_OF
from facesmith.metrics.swap_metrics import SwapMetrics
from facesmith.terminal import print_line
from facesmith.training.callbacks.protocols import (
    HasFaceSets,
    HasGateResults,
    HasProvenance,
    SuggestsCommands,
    get_datamodule,
)
from facesmith.training.run.latest import show_path
from facesmith.training.run.trial import get_current_trial

log = logging.getLogger(__name__)

_MAX_TARGETS: Final = 6
_ANY_WIDTH: Final = 1000  # columns
_HEADLINES: Final = (  # shown; the others are in the log, the report and the loggers
    *("judge_distance", "identity_similarity", "nme", "expression_error", "colour_error", "accepted"),
    *("mask_iou", "mask_iou_unseen", "boundary_iou", "occluded_recall", "false_occlusion", "flicker"),
    *("likeness", "likeness_face_scale_0", "projection", "faces_found", "pose_agreement", "loss"),
)

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
    """Print how good the result is, what was left out, the files made and the next command, when training ends.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print it once every callback has ended its work, whatever their order; an error ends a fit without it."""
        if not trainer.is_global_zero or stage != "fit":
            return
        console = get_console()
        metrics = collect_metrics(trainer, pl_module)
        every = make_figure_table(metrics)
        if every.row_count:
            log.info("%s", _as_text(every), extra={"file_only": True})
            console.print()
            for table in fit_figure_tables(metrics, console):
                console.print(table)
        data = get_datamodule(trainer)
        if isinstance(data, HasGateResults):
            if any(data.quality[prefix].pictures for prefix in ("val", "val_holdout") if prefix in data.quality):
                console.print(make_target_table(data.quality))
            for line in describe_verdicts(data.quality):
                print_line(line, console)
        for line in self._describe_files(trainer, pl_module):
            print_line(line, console)

    def _describe_files(self, trainer: Trainer, module: LightningModule) -> Iterator[str]:
        for line in describe_left_out(get_datamodule(trainer)):
            yield f"Left out: {line}"
        renders = sorted((self.folder / "renders").glob("*.png"), key=lambda path: path.stat().st_mtime)[-1:]
        reports = [path for path in [self.folder / "report.html"] if path.exists()]
        for title, paths in (("Look at", [*renders, *reports]), ("Made", self._made())):
            for number, path in enumerate(paths):
                yield f"  {'' if number else title:<8} {show_path(path, self.folder)}"
        yield from describe_wandb(trainer)
        if isinstance(module, SuggestsCommands) and get_current_trial() is None:  # a sweep has one end of its own
            run = show_path(self.folder, self.folder)
            commands = module.next_commands(run)
            if trainer.max_epochs == 0:
                commands = [*commands, f"facesmith train {quote(f'resume={run}')} trainer.max_epochs=30"]
            yield from ("Next:", *(f"  {line}" for line in commands)) if commands else ()

    def _made(self) -> list[Path]:
        """Return the exports and adapters, and the checkpoints to resume from or export."""
        exports = [p for p in sorted((self.folder / "exports").glob("*")) if p.suffix in (".onnx", ".safetensors")]
        adapters = [p for p in [self.folder / "adapter"] if p.is_dir()]
        checkpoints = [p for p in (self.folder / "checkpoints").glob("*.ckpt") if p.stem in ("best", "last")]
        return [*exports, *adapters, *sorted(checkpoints)]


def collect_metrics(trainer: Trainer, module: LightningModule) -> dict[str, float]:
    """Return the final metrics by name, with what Lightning forgets of a validation before the first step.

    Args:
        trainer: At the end of a training.
        module: What was trained.
    """
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if isinstance(module, HasProvenance):
        before: dict[str, float] = module.provenance.get("before", {})
        metrics = {f"before/{name}": value for name, value in before.items()} | metrics
    return metrics


class FigureRow(NamedTuple):
    """A figure in a table: what it means, its value at each stage, and what is good."""

    name: str
    meaning: str
    cells: list[str]
    good: str


def figure_rows(metrics: Mapping[str, float]) -> tuple[list[str], list[FigureRow]]:
    """Return the stages of the training that were measured, and a row a figure.

    Args:
        metrics: By name, with the stage as prefix.
    """
    columns = [(p, title) for p, title in _STAGES if any(name.startswith(f"{p}/") for name in metrics)]
    known = _VIDEO_METRICS if any(name.endswith("/likeness") for name in metrics) else _METRICS
    rows = []
    for name, meaning, better in known:
        cells = [metrics.get(f"{prefix}/{name}") for prefix, _ in columns]
        if any(cell is not None for cell in cells):
            rows.append(FigureRow(name, meaning, ["" if one is None else f"{one:.3f}" for one in cells], better))
    return [title for _, title in columns], rows


def make_figure_table(
    metrics: Mapping[str, float], names: tuple[str, ...] | None = None, title: str = "All figures"
) -> Table:
    """Tabulate metrics, a row a figure, a column a stage of the training in which one of them was measured.

    Args:
        metrics: By name, with the stage as prefix.
        names: Of the figures to show; None: all.
        title: Above the table.
    """
    titles, rows = figure_rows(metrics)
    rows = [row for row in rows if (names is None or row.name in names) and any(row.cells)]
    measured = [column for column in range(len(titles)) if any(row.cells[column] for row in rows)]
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("figure", overflow="fold")
    for column in measured:
        table.add_column(titles[column], justify="right")
    table.add_column("good", style="dim")
    for row in rows:
        table.add_row(row.meaning, *(row.cells[column] for column in measured), row.good)
    return table


def fit_figure_tables(metrics: Mapping[str, float], console: Console) -> list[Table]:
    """Tabulate the figures that matter most; what was held out has a table of its own where one is too wide.

    Args:
        metrics: By name, with the stage as prefix.
        console: Where they are printed.
    """
    whole = make_figure_table(metrics, _HEADLINES, "How good it is")
    wanted = console.measure(whole, options=console.options.update(max_width=_ANY_WIDTH)).maximum
    if wanted <= console.width or not any(_is_held_out(name) for name in metrics):
        return [whole]
    parts = [{name: value for name, value in metrics.items() if _is_held_out(name) is held} for held in (False, True)]
    titles = ("How good it is", "How good it is, held out")
    return [make_figure_table(part, _HEADLINES, title) for part, title in zip(parts, titles, strict=True) if part]


def _is_held_out(metric: str) -> bool:
    return metric.partition("/")[0].endswith("_holdout")


def describe_verdicts(quality: Mapping[str, SwapMetrics]) -> list[str]:
    """Describe, for targets seen and held out, how many faces the gate accepts, and whether that is enough.

    Args:
        quality: Metrics by prefix.
    """
    lines = []
    for prefix, title in (("val", "Accepted"), ("val_holdout", "Accepted, held out")):
        if prefix in quality and quality[prefix].pictures:
            rows = quality[prefix].pictures
            passed = quality[prefix].figures(prefix)[f"{prefix}/passed"]
            verdict = "the gate is passed" if passed else f"the gate is not passed, {LEAST_ACCEPTED:.0%} are needed"
            lines.append(f"{title}: {sum(row.accepted for row in rows)} of {len(rows)}; {verdict}")
    return lines


def describe_left_out(data: object) -> list[str]:
    """Describe how many faces and files of each face set are not used, why, and where to see them.

    Args:
        data: The data module.
    """
    lines = []
    for faces in data.face_sets if isinstance(data, HasFaceSets) else ():
        rejected, skipped = faces.meta.get("rejected", {}), faces.meta.get("skipped", {})
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
        parts = [f"{sum(rejected.values())} of {faces.meta['faces']} faces ({reasons})"] if rejected else []
        parts += [f"{len(skipped)} files"] if skipped else []
        parts += [f"{len(faces.left_out)} faces by you"] if faces.left_out else []
        if parts:
            lines.append(f"{' and '.join(parts)}, see {short_path(faces.path / 'contact_sheet.png')}")
    return lines


def describe_wandb(trainer: Trainer) -> list[str]:
    """Describe where W&B keeps this run, and how to upload one that was logged offline.

    Args:
        trainer: With its loggers.
    """
    lines = []
    for logger in getattr(trainer, "loggers", ()):
        if isinstance(logger, WandbLogger):
            run = logger.experiment
            folder = short_path(Path(run.dir).parent)
            lines.append(f"  W&B      {run.url or f'offline; upload it with: wandb sync {folder}'}")
    return lines


class TargetRow(NamedTuple):
    """A target in a table."""

    name: str
    distance: str
    verdict: str


def target_rows(quality: Mapping[str, SwapMetrics]) -> list[TargetRow]:
    """Return each target's result, those rejected first.

    Args:
        quality: Metrics by prefix.
    """
    before = {row.name: row for row in quality["before"].pictures} if "before" in quality else {}
    found = []
    for prefix, note in (("val", ""), ("val_holdout", " (held out)")):
        for row in quality[prefix].pictures if prefix in quality else ():
            was = before.get(row.name)
            distance = f"{was.distance:.2f} -> {row.distance:.2f}" if was else f"{row.distance:.2f}"
            verdict = "accepted" if row.accepted else f"rejected: {row.reason}"
            found.append(TargetRow(f"{row.name}{note}", distance, verdict))
    return sorted(found, key=lambda row: row.verdict == "accepted")


def make_target_table(quality: Mapping[str, SwapMetrics]) -> Table:
    """Tabulate some targets' results, rejected ones first.

    Args:
        quality: Metrics by prefix.
    """
    rows = target_rows(quality)
    more = f" ({_MAX_TARGETS} of {len(rows)})" if len(rows) > _MAX_TARGETS else ""
    table = Table(title=f"Each target{more}", title_justify="left", title_style="bold")
    table.add_column("target", overflow="fold", min_width=16)
    table.add_column("judge's distance", justify="right", min_width=12)
    table.add_column("verdict", overflow="fold")
    for row in rows[:_MAX_TARGETS]:
        table.add_row(Text(row.name), row.distance, Text(row.verdict))
    return table


def _as_text(table: Table) -> str:
    console = Console(width=120, file=io.StringIO())  # no terminal: without escape codes
    with console.capture() as capture:
        console.print(table)
    return capture.get()
