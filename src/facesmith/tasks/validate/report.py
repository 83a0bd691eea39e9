"""The validation report: one HTML file with its plots and pictures inside, nothing fetched from anywhere."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facesmith.media.images import encode_image
from facesmith.media.provenance import Mark
from facesmith.metrics.person import FrameMetrics
from facesmith.tasks.validate.figures import Frame, Limit

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 170, 52, 14, 10, 24
_NOW, _BEFORE, _LIMIT = "#1f6f8b", "#b0b0b0", "#c0392b"
_PLOTS: Final = (
    ("similarity", "Similarity to the profile (higher is better)", "min_similarity", ("similarity",)),
    ("judge", "Distance of the independent judge (lower is better)", "max_judge_distance", ("judge_distance",)),
    ("shift", "Landmarks away from the target, by its eye distance", "max_shift", ("shift",)),
    ("jitter", "Trembling of the landmarks, by the eye distance (grey: target)", None, ("jitter_target", "jitter")),
    ("sharpness", "Sharpness, by the target's", "min_sharpness", ("sharpness_ratio",)),
)
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:900px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.1em;margin:1.6em 0 .3em}
table{border-collapse:collapse}td,th{padding:.15em 1.2em .15em 0;text-align:left;border-bottom:1px solid #eee}
td.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#2e7d32}.missed{color:#c0392b;font-weight:600}
.faces{display:flex;flex-wrap:wrap;gap:14px}figure{margin:0}figure img{height:150px;display:inline-block}
figcaption{font-size:13px;color:#555}.note{color:#555}svg text{font-size:11px;fill:#555}
"""


@dataclass(frozen=True)
class Shown:
    """A frame to look at: crops (S,S,3) RGB uint8 of it and of the target, and how the picture is marked."""

    file: str
    index: int
    crop: NDArray[np.uint8]
    before: NDArray[np.uint8] | None
    figures: FrameMetrics
    mark: Mark


def report(about: Mapping[str, Any], frames: Sequence[Frame], verdict: Sequence[Limit], shown: Sequence[Shown]) -> str:
    """Return the page."""
    passed = bool(about["passed"])
    judged = {limit.figure: limit for limit in verdict}
    rows = "".join(_row(name, value, judged.get(name)) for name, value in about["summary"].items())
    plots = "".join(_plot(title, columns, frames, _limit(verdict, name)) for _, title, name, columns in _PLOTS)
    faces = "".join(_figure(one) for one in shown)
    sources = escape(", ".join(about["source"]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Validation of {escape(about["identity"])}</title>
<style>{_STYLE}</style></head><body>
<h1>Validation: <span class="{"ok" if passed else "missed"}">{"passed" if passed else "limits missed"}</span></h1>
<p class="note">{sources}<br>identity <b>{escape(about["identity"])}</b>, embedder {escape(about["embedder"])}.
The pictures below show synthetic faces.</p>
<table><tr><th>figure</th><th>value</th><th>limit</th><th></th></tr>{rows}</table>
{plots}
<h2>The frames least like the person</h2><p class="note">Result, and the target beside it where it is known.</p>
<div class="faces">{faces}</div>
</body></html>
"""


def _row(name: str, value: float, limit: Limit | None) -> str:
    words = "" if limit is None else limit.words
    kept = "" if limit is None else "ok" if limit.kept else "missed"
    cells = f'<td>{escape(name)}</td><td class="n">{value:.3f}</td><td>{words}</td><td class="{kept}">{kept}</td>'
    return f"<tr>{cells}</tr>"


def _limit(verdict: Sequence[Limit], name: str | None) -> float | None:
    return next((limit.limit for limit in verdict if limit.name == name), None)


def _plot(title: str, columns: Sequence[str], frames: Sequence[Frame], limit: float | None) -> str:
    """One plot over all frames in their order; a lone picture is a dot. Nothing when nothing was measured."""
    rows = [frame.plain() for frame in frames]
    series = [[row[name] for row in rows] for name in columns]
    values = [value for one in series for value in one if value is not None] + ([limit] if limit is not None else [])
    if not any(value is not None for one in series for value in one):
        return ""
    low, high = min(0.0, *values), max(values) * 1.08 or 1.0

    def x(i: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (i / max(len(rows) - 1, 1) if len(rows) > 1 else 0.5)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))

    drawn = []
    for tick in np.linspace(low, high, 4):
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#eee"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    for i in sorted({0, len(rows) // 2, len(rows) - 1}):
        drawn.append(f'<text x="{x(i):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{rows[i]["frame"]}</text>')
    if limit is not None:
        drawn.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" stroke="{_LIMIT}" '
            'stroke-dasharray="5 4"/>'
        )
    colours = [_NOW] if len(series) == 1 else [_BEFORE, _NOW]
    for one, colour in zip(series, colours, strict=True):
        drawn += _line([(x(i), y(value)) if value is not None else None for i, value in enumerate(one)], colour)
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img">{"".join(drawn)}</svg>'
    return f"<h2>{escape(title)}</h2>{picture}"


def _line(points: Sequence[tuple[float, float] | None], colour: str) -> list[str]:
    """The lines between neighbours; what has no neighbour is a dot."""
    drawn, run = [], list[tuple[float, float]]()
    for point in [*points, None]:
        if point is not None:
            run.append(point)
            continue
        if len(run) == 1:
            drawn.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="3.5" fill="{colour}"/>')
        elif run:
            path = " ".join(f"{px:.1f},{py:.1f}" for px, py in run)
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        run = []
    return drawn


def _figure(one: Shown) -> str:
    pictures = [one.crop] if one.before is None else [one.crop, one.before]
    images = "".join(f'<img alt="" src="data:image/jpeg;base64,{_encoded(p, one.mark)}">' for p in pictures)
    facts = [f"similarity {one.figures.similarity:.3f}"]
    facts += [f"judge {one.figures.distance:.2f}"] if one.figures.distance is not None else []
    facts += [f"shift {one.figures.shift:.3f}"] if one.figures.shift is not None else []
    caption = f"{escape(one.file)}, frame {one.index}<br>{', '.join(facts)}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _encoded(picture: NDArray[np.uint8], mark: Mark) -> str:
    return base64.b64encode(encode_image(picture, ".jpg", mark=mark, quality=88)).decode("ascii")
