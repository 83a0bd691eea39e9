"""Runs as tables: their states, and from best to worst; in the terminal and as CSV."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from facesmith.files import write_private_text
from facesmith.sweep.ranking import RankedRun, Ranking
from facesmith.sweep.runs import Run, count_by_status

_EXTRAS = ("best, epoch", "epochs", "time")
_COLOURS = {
    "completed": "green",
    "running": "cyan",
    "pruned": "yellow",
    "interrupted": "yellow",
    "not begun": "dim",
}


def make_status_table(runs: Sequence[Run]) -> Table:
    """Tabulate each run's state, progress and error."""
    counts = ", ".join(f"{number} {status}" for status, number in count_by_status(list(runs)).items())
    table = Table(title=f"{len(runs)} runs: {counts}", title_justify="left")
    for title in ("run", "status", "epochs", "time", "memory", "error"):
        table.add_column(title, justify="right" if title in ("epochs", "time", "memory") else "left", overflow="fold")
    for run in runs:
        table.add_row(
            run.name, _status(run.status), format_progress(run), format_duration(run), format_memory(run), run.error
        )
    return table


def make_ranking_table(ranking: Ranking, at_most: int, console: Console) -> Table:
    """Tabulate the runs from best to worst; a narrow terminal gets fewer columns.

    Args:
        ranking: Of the runs.
        at_most: Rows.
        console: Where the table is going to be printed.
    """
    unbounded = console.options.update(width=10_000)
    for count in range(len(_EXTRAS), -1, -1):
        table = _ranking_table(ranking, at_most, _EXTRAS[:count])
        if console.measure(table, options=unbounded).minimum <= console.width:
            break
    return table


def _ranking_table(ranking: Ranking, at_most: int, extras: Sequence[str]) -> Table:
    objectives = ", ".join(
        f"{m.name} ({'lower' if m.mode == 'min' else 'higher'} is better)" for m in ranking.objectives
    )
    table = Table(title=f"By {objectives}", title_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("run", overflow="fold", min_width=10)
    table.add_column("status", no_wrap=True)
    for title in [*(m.name for m in ranking.objectives), *ranking.short_parameters, *extras]:
        table.add_column(
            re.sub("([/_,])", r"\1\n", title), justify="right", no_wrap=True
        )  # names break, figures do not
    for row in ranking.rows[:at_most]:
        front = len(ranking.objectives) > 1 and row.pareto
        place = f"{row.rank or ''}{' ◆' if front else ''}"
        figures = ["" if value is None else f"{value:.4f}" for value in row.values]
        more = {
            "best, epoch": format_best(row, ranking),
            "epochs": format_progress(row.run),
            "time": format_duration(row.run),
        }
        figures += [format_value(value) for value in row.parameters.values()] + [more[title] for title in extras]
        table.add_row(place, row.run.name, _status(row.run.status), *figures)
    if len(ranking.objectives) > 1:
        table.caption = "◆ on the Pareto front: no run is better in one and as good in all"
    if len(ranking.rows) > at_most:
        table.caption = f"{table.caption or ''} {len(ranking.rows) - at_most} more; top= shows them".strip()
    return table


def write_csv(ranking: Ranking, path: Path) -> None:
    """Write the leaderboard with every last metric, readable by its owner alone.

    Args:
        ranking: Of the runs.
        path: Of the file.
    """
    metrics = sorted({key for row in ranking.rows if row.run.record for key in row.run.record.metrics.last})
    objectives = [f"objective {one.name}" for one in ranking.objectives]
    columns = ["rank", "run", "status", "pareto", *objectives, *ranking.parameters]
    columns += ["epochs", "steps", "seconds", "peak_memory_mb", "host", "git_commit", "wandb_id", "error", *metrics]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in ranking.rows:
        writer.writerow(["" if cell is None else cell for cell in _cells(row, metrics)])
    write_private_text(path, text.getvalue())


def format_progress(run: Run) -> str:
    """Return the epochs done, and planned where that is known: `3/30`."""
    if run.record is None:
        return ""
    return f"{run.epochs}/{run.planned_epochs}" if run.planned_epochs else str(run.epochs)


def format_duration(run: Run) -> str:
    """Return the time a run took, as h:mm:ss."""
    if run.record is None:
        return ""
    seconds = round(run.seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def format_memory(run: Run) -> str:
    """Return the peak memory in GB, of the GPU where there was one."""
    if run.record is None:
        return ""
    peak = run.record.peak_gpu_memory_mb or run.record.peak_memory_mb
    return f"{peak / 1024:.1f} GB" if peak else ""


def format_best(row: RankedRun, ranking: Ranking) -> str:
    """Format the best value of the first objective during a run, with its epoch (from 1).

    Args:
        row: The run.
        ranking: The ranking, which has the objectives.
    """
    found = row.run.record.metrics.best.get(ranking.objectives[0].name) if row.run.record else None
    return "" if found is None else f"{found.value:.4f}, {found.epoch + 1}"


def format_value(value: object) -> str:
    """Return a parameter's value as text; None is empty."""
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def _cells(row: RankedRun, metrics: Sequence[str]) -> list[Any]:
    record = row.run.record
    cells: list[Any] = [row.rank, row.run.name, row.run.status, int(row.pareto), *row.values, *row.parameters.values()]
    if record is None:
        return [*cells, *[None] * 7, row.run.error, *[None] * len(metrics)]
    cells += [
        row.run.epochs,
        record.steps,
        round(row.run.seconds, 2),
        record.peak_memory_mb,
        record.host,
        record.git_commit,
    ]
    return [*cells, record.wandb_id, row.run.error, *(record.metrics.last.get(name) for name in metrics)]


def _status(status: str) -> Text:
    return Text(status, style=_COLOURS.get(status, "red"))
