"""Runs as the page shows them: read from their folders, whoever started them."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from facesmith.errors import UserError
from facesmith.progress import format_duration
from facesmith.studio.drawing import Html, badge, draw_bar, draw_curves, draw_table
from facesmith.studio.files import file_url
from facesmith.studio.project import PICTURES, VIDEOS, Project
from facesmith.sweep.runs import Run, find_runs, read_curves
from facesmith.training.run.record import RECORD_FILE, read_record

_GATE: Final = (
    ("judge_distance", "likeness: distance to the person, other recogniser"),
    ("identity_similarity", "likeness: cosine to the person"),
    ("accepted", "share of pictures that pass"),
    ("miss_rate", "share without a face"),
    ("ssim", "held-out frames: SSIM"),
    ("mask_iou", "mask: overlap"),
    ("likeness", "likeness"),
)
_NEWEST: Final = 3  # renders
_MOST_METRICS: Final = 24


def list_runs(project: Project, folder: str = "") -> list[Run]:
    """Return the runs below a folder of the project, the newest first; none where there are none.

    Args:
        project: It.
        folder: Below the project; "": that of the project's runs.

    Raises:
        UserError: The folder lies elsewhere.
    """
    root = project.resolve(folder, "folder") if folder else project.root / project.paths.runs
    try:
        found = find_runs(root)
    except UserError:
        return []
    return sorted(found, key=lambda run: _modified(run.folder), reverse=True)


def open_run(project: Project, folder: str) -> Run:
    """Return a run by its folder.

    Args:
        project: The project.
        folder: Below the project folder.

    Raises:
        UserError: It lies elsewhere, or is gone.
    """
    path = project.resolve(folder, "run")
    if not path.is_dir():
        raise UserError(f"{project.short(path)}: the folder of this run is gone; choose another run")
    try:
        return Run(path, path.name, read_record(path))
    except UserError as error:
        return Run(path, path.name, None, str(error))


def active_runs(project: Project) -> list[Path]:
    """Return the folders of runs that go on.

    Args:
        project: The project.
    """
    return [run.folder for run in list_runs(project) if run.status == "running"]


@dataclass(frozen=True)
class LiveRun:
    """A run as it is drawn: state, curves, figures, pictures."""

    project: Project
    run: Run

    def draw(self) -> tuple[str, str, str, str]:
        """Draw its state, curves, pictures and figures."""
        return self._head(), self._curves(), self._pictures(), self._figures()

    def _head(self) -> str:
        run, record = self.run, self.run.record
        title = f"<h2>{escape(self.project.short(run.folder))} {badge(run.status)}</h2>"
        if record is None:
            return f'{title}<p class="quiet">{escape(run.error or "nothing was written yet")}</p>'
        planned = run.planned_epochs
        text = f"epoch {run.epochs}{f' of {planned}' if planned else ''}, step {record.steps}"
        text += f", {format_duration(run.seconds)}"
        left = estimate_left(run)
        if left is not None and run.status == "running":
            text += f", about {format_duration(left)} left"
        memory = record.peak_gpu_memory_mb or record.peak_memory_mb or 0
        facts = [f"{memory / 1024:.1f} GB {'of the GPU' if record.peak_gpu_memory_mb else 'of memory'}"]
        facts += [f"resumed {len(record.resumed)} times"] if record.resumed else []
        bar = draw_bar(run.epochs / planned, text) if planned else f'<div class="bar-label">{escape(text)}</div>'
        error = f'<p class="failed" role="alert">{escape(run.error)}</p>' if run.error else ""
        links = " ".join(self._link(name, word) for name, word in (("report.html", "report"), ("train.log", "log")))
        return f'{title}{bar}<p class="quiet">{escape(", ".join(facts))} {links}</p>{error}'

    def _link(self, name: str, word: str) -> str:
        path = self.run.folder / name
        if not path.is_file():
            return ""
        return f'<a href="{file_url(self.project, path)}" target="_blank" rel="noopener">{word}</a>'

    def _curves(self) -> str:
        curves = read_curves(self.run.folder)
        loss = {name: points for name, points in curves.items() if name.startswith("train/loss")}
        record = self.run.record
        watched = record.monitor.name if record is not None and record.monitor is not None else None
        gate = {name: points for name, points in curves.items() if name == watched}
        drawn = [draw_curves(dict(list(loss.items())[:5]), "training loss, by step")]
        if gate:
            drawn.append(draw_curves(gate, "what the run is judged by"))
        return "".join(drawn)

    def _pictures(self) -> str:
        folder = self.run.folder / "renders"
        files = sorted((p for p in folder.glob("*") if p.suffix.lower() in (*PICTURES, *VIDEOS)), key=_modified)
        shown = [draw_medium(self.project, path) for path in reversed(files[-_NEWEST:])]
        return f'<div class="renders">{"".join(shown)}</div>' if shown else '<div class="empty">no render yet</div>'

    def _figures(self) -> str:
        record = self.run.record
        if record is None or not record.metrics.last:
            return ""
        last = record.metrics.last
        keys = {f"{stage}/{name}": text for stage in ("val", "val_holdout") for name, text in _GATE}
        known = [
            (name, keys[name], value, _best(record.metrics.best.get(name)))
            for name, value in last.items()
            if name in keys
        ]
        rest = [(name, value) for name, value in sorted(last.items()) if name not in keys][:_MOST_METRICS]
        table = draw_table(
            ("figure", "meaning", "last", "of the best epoch"), known, "Gate figures of the last validation"
        )
        more = draw_table(("figure", "last"), rest)
        return table + (f"<details><summary>all {len(last)} figures</summary>{more}</details>" if rest else "")


def draw_medium(project: Project, path: Path, caption: str = "") -> str:
    """Draw a picture or a film of the project.

    Args:
        project: It.
        path: Of the file.
        caption: Below it; "": its name.
    """
    url, name = file_url(project, path), escape(caption or path.name)
    if path.suffix.lower() in VIDEOS:
        shown = f'<video controls loop muted preload="metadata" src="{url}" aria-label="{name}"></video>'
    else:
        picture = f'<img loading="lazy" src="{url}" alt="{name}">'
        shown = f'<a href="{url}" target="_blank" rel="noopener">{picture}</a>'
    return f"<figure>{shown}<figcaption>{name}</figcaption></figure>"


def estimate_left(run: Run) -> float | None:
    """Return the seconds that a run will go on for, by the epochs it has done; None where that is not known.

    Args:
        run: It.
    """
    planned, done = run.planned_epochs, run.epochs
    return None if not planned or not done or done >= planned else run.seconds / done * (planned - done)


def describe_runs(project: Project, runs: list[Run]) -> list[tuple[str, str]]:
    """Return a label and the folder of each run, for a list to choose from.

    Args:
        project: The project.
        runs: The runs.
    """
    return [(f"{project.short(run.folder)}  ({run.status})", project.short(run.folder)) for run in runs]


def table_rows(project: Project, runs: list[Run]) -> list[list[object]]:
    """Return the cells of a table of runs.

    Args:
        project: The project.
        runs: The runs.
    """
    rows: list[list[object]] = []
    for run in runs:
        record = run.record
        monitor = record.monitor if record is not None else None
        best = record.metrics.best.get(monitor.name) if record is not None and monitor is not None else None
        rows.append(
            [
                project.short(run.folder),
                Html(badge(run.status)),
                f"{run.epochs}{f' of {run.planned_epochs}' if run.planned_epochs else ''}",
                format_duration(run.seconds),
                monitor.name if monitor is not None else "",
                best.value if best is not None else None,
                run.error,
            ]
        )
    return rows


def _best(best: object) -> float | None:
    return getattr(best, "value", None)


def _modified(path: Path) -> float:
    record = path / RECORD_FILE if path.is_dir() else path
    try:
        return (record if record.exists() else path).stat().st_mtime
    except OSError:
        return 0.0
