"""Runs side by side: curves, pictures, what their configs differ in; rankings of sweeps; reports of evaluations."""

from collections.abc import Sequence
from html import escape
from typing import Final

from facesmith.errors import UserError
from facesmith.studio.drawing import Html, badge, draw_curves, draw_table
from facesmith.studio.files import file_url
from facesmith.studio.project import PICTURES, VIDEOS, Project
from facesmith.studio.runs import draw_medium, list_runs, open_run, table_rows
from facesmith.sweep.leaderboard import format_value
from facesmith.sweep.ranking import rank
from facesmith.sweep.runs import Run, read_curves

MOST: Final = 5
"""Runs that are drawn together."""
_SILENT: Final = ("paths.", "logging.", "logger.", "resume", "busy", "assets.", "provenance.")
_COLUMNS: Final = ("run", "state", "epochs", "time", "judged by", "best", "error")


def draw_runs(project: Project, folder: str) -> str:
    """Draw a table of the runs below a folder.

    Args:
        project: It.
        folder: Below the project; "": its runs.

    Raises:
        UserError: The folder lies elsewhere.
    """
    runs = list_runs(project, folder)
    if not runs:
        return f'<div class="empty">{escape(folder or str(project.paths.runs))} holds no run</div>'
    return draw_table(_COLUMNS, table_rows(project, runs), f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}")


def draw_comparison(project: Project, folders: Sequence[str]) -> tuple[str, str, str]:
    """Draw curves, newest pictures and differences of runs.

    Args:
        project: It.
        folders: Of the runs.

    Raises:
        UserError: A run is gone or lies elsewhere.
    """
    runs = [open_run(project, folder) for folder in folders[:MOST]]
    names = [project.short(run.folder) for run in runs]
    return _curves(runs, names), _pictures(project, runs, names), _differences(runs, names)


def draw_ranking(project: Project, folder: str) -> str:
    """Draw the leaderboard of the runs below a folder, as `facesmith sweep leaderboard` has it.

    Args:
        project: It.
        folder: Of a sweep.

    Raises:
        UserError: The folder lies elsewhere.
    """
    runs = list_runs(project, folder)
    if len(runs) < 2:
        return ""
    try:
        ranking = rank(runs)
    except UserError as error:
        return f'<p class="quiet">{escape(str(error))}</p>'
    head = ["rank", "run", "state", *(one.name for one in ranking.objectives), *ranking.short_parameters]
    rows: list[list[object]] = []
    for row in ranking.rows:
        values = ["" if value is None else f"{value:.4g}" for value in row.values]
        parameters = [format_value(row.parameters.get(key)) for key in ranking.parameters]
        rows.append([row.rank or "", row.run.name, Html(badge(row.run.status)), *values, *parameters])
    return draw_table(head, rows, "Leaderboard")


def draw_reports(project: Project) -> str:
    """Draw links to the pages of evaluations and validations that lie in the project.

    Args:
        project: The project.
    """
    pages = [path for path in sorted(project.root.glob("*/*.html")) if path.name in ("report.html", "index.html")]
    pages += sorted(project.root.glob("*/*/report.html"))
    rows = [
        [Html(f'<a href="{file_url(project, path)}" target="_blank" rel="noopener">{escape(project.short(path))}</a>')]
        for path in dict.fromkeys(pages)
    ]
    hint = "facesmith infer task=evaluate swaps=... targets=... sources=... output=report"
    empty = f'<p class="quiet">No evaluation lies here yet: <code>{hint}</code></p>'
    return draw_table(("page",), rows, "Evaluation reports") if rows else empty


def describe_wandb(runs: Sequence[Run]) -> str:
    """Tell where the runs are in W&B, or how to send them there.

    Args:
        runs: Those that were chosen; of the ones in W&B the first are named.

    Returns:
        Markup of one line.
    """
    ids = [run.record.wandb_id for run in runs if run.record is not None and run.record.wandb_id]
    if ids:
        return f'<p class="quiet">In W&amp;B: {escape(", ".join(ids[:MOST]))}</p>'
    return '<p class="quiet">Runs go to W&amp;B too with <code>logger=wandb</code> among the other keys.</p>'


def _curves(runs: Sequence[Run], names: Sequence[str]) -> str:
    curves = [read_curves(run.folder) for run in runs]
    loss = {name: one["train/loss"] for name, one in zip(names, curves, strict=True) if "train/loss" in one}
    judged = {}
    for run, name, one in zip(runs, names, curves, strict=True):
        monitor = run.record.monitor if run.record is not None else None
        if monitor is not None and monitor.name in one:
            judged[f"{monitor.name} of {name}"] = one[monitor.name]
    return draw_curves(loss, "training loss, by step") + draw_curves(judged, "what the runs are judged by")


def _pictures(project: Project, runs: Sequence[Run], names: Sequence[str]) -> str:
    shown = []
    for run, name in zip(runs, names, strict=True):
        files = [path for path in (run.folder / "renders").glob("*") if path.suffix.lower() in (*PICTURES, *VIDEOS)]
        pictures = [path for path in files if path.suffix.lower() in PICTURES] or files
        if pictures:
            newest = max(pictures, key=lambda path: (path.stat().st_mtime, path.name))
            shown.append(draw_medium(project, newest, f"{name}: {newest.name}"))
    return f'<div class="renders">{"".join(shown)}</div>' if shown else ""


def _value_of(run: Run, key: str) -> str:
    """Return a setting as text, the run's own folder as `<run>`: it is another for every run."""
    text = format_value(run.settings[key]) if key in run.settings else ""
    own = str(run.settings.get("paths.run") or "")
    return text.replace(own, "<run>") if own else text


def _differences(runs: Sequence[Run], names: Sequence[str]) -> str:
    if len(runs) < 2:
        return '<p class="quiet">Choose a second run to see what their configs differ in.</p>'
    keys = sorted({key for run in runs for key in run.settings if not key.startswith(_SILENT)})
    rows: list[list[object]] = []
    for key in keys:
        values = [_value_of(run, key) for run in runs]
        if len(set(values)) > 1:
            rows.append([key, *values])
    return (
        draw_table(("key", *names), rows, "What their configs differ in")
        if rows
        else ('<p class="quiet">Their configs are the same.</p>')
    )
