"""The leaderboard as one HTML file that opens anywhere, offline."""

import base64
import html
import json
import math
import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2

from facesmith.errors import UserError
from facesmith.files import write_private_text
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.sweep.importance import Importance
from facesmith.sweep.leaderboard import format_best, format_duration, format_memory, format_progress, format_value
from facesmith.sweep.ranking import RankedRun, Ranking
from facesmith.sweep.runs import Run, read_curves

_HERE: Final = Path(__file__).parent
_WIDTH: Final = 560  # px of a preview
_QUALITY: Final = 80
_SKIPPED: Final = ("paths.", "logging.", "csv.")


def write_report(ranking: Ranking, measured: Importance, path: Path, title: str, pictures: int) -> bool:
    """Write the page, readable by its owner alone: it may show faces.

    It holds its script, its data and its pictures; nothing is loaded from anywhere.

    Args:
        ranking: Of the runs.
        measured: Which parameters decided.
        path: Of the page.
        title: Of the page.
        pictures: Renders shown at most, the best runs' first, small and marked as synthetic.

    Returns:
        Whether it shows any.
    """
    shown_pictures = make_previews([row.run for row in ranking.rows], pictures)
    data = {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "objectives": [{"name": m.name, "mode": m.mode} for m in ranking.objectives],
        "parameters": [
            {"key": key, "name": name} for key, name in zip(ranking.parameters, ranking.short_parameters, strict=True)
        ],
        "runs": [_row(row, ranking, shown_pictures.get(row.run.name)) for row in ranking.rows],
        "importance": {"shares": measured.shares, "source": measured.source, "why": measured.why},
    }
    # "</script" ends the script that holds the data, "<!--<script" begins one in it
    text = json.dumps(_finite(data), separators=(",", ":"), default=str).replace("<", "\\u003c")
    page = (_HERE / "report.html").read_text(encoding="utf-8")
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    parts = {"TITLE": html.escape(title), "SCRIPT": script, "DATA": text}
    write_private_text(path, re.sub("@(TITLE|SCRIPT|DATA)@", lambda found: parts[found[1]], page))
    return bool(shown_pictures)


def make_previews(runs: Sequence[Run], at_most: int) -> dict[str, str]:
    """Return the newest renders as data URIs of small WebP images, marked as synthetic, by the run's name.

    Args:
        runs: In the order of preference.
        at_most: How many.
    """
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            renders = sorted((run.folder / "renders").glob("*.png"))
            if len(found) == at_most:
                break
            if renders and (data := _small(renders[-1], run, Path(folder) / "small.webp")):
                found[run.name] = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return found


def _small(picture: Path, run: Run, temporary: Path) -> bytes:
    """Shrink a render; return nothing of one that a kill cut off."""
    try:
        rgb = read_image(picture)
    except UserError:
        return b""
    if rgb.shape[1] > _WIDTH:
        height = round(rgb.shape[0] * _WIDTH / rgb.shape[1])
        rgb = cv2.resize(rgb, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    consent = str(run.settings.get("data.consent", "not stated"))
    name = run.record.name if run.record else "not stated"
    mark = Mark(identity=name, consent=consent, model_hash=None, title=f"preview of {picture.name}")
    write_image(temporary, rgb, mark=mark, quality=_QUALITY)
    return temporary.read_bytes()


def _row(row: RankedRun, ranking: Ranking, picture: str | None) -> dict[str, Any]:
    run, record = row.run, row.run.record
    return {
        "name": run.name,
        "rank": row.rank,
        "status": run.status,
        "pareto": row.pareto and len(ranking.objectives) > 1,
        "values": row.values,
        "parameters": [
            value if isinstance(value, int | float) else format_value(value) for value in row.parameters.values()
        ],
        "best": format_best(row, ranking),
        "epochs": format_progress(run),
        "time": format_duration(run),
        "seconds": run.seconds if record else None,
        "memory": format_memory(run),
        "error": run.error,
        "metrics": record.metrics.last if record else {},
        "settings": {k: v for k, v in run.settings.items() if not k.startswith(_SKIPPED) and not _own(v, run)},
        "curves": read_curves(run.folder),
        "picture": picture,
    }


def _own(value: object, run: Run) -> bool:
    """Return whether a value is a path in the run's own folder, which differs from run to run and means nothing."""
    return isinstance(value, str) and run.folder.name in Path(value).parts


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by None."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
