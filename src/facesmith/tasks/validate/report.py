"""The validation report: one self-contained HTML file with plots and pictures."""

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
from facesmith.tasks.validate.results import FrameResult, LimitResult

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 170, 52, 14, 10, 24
_SWAP_COLOUR, _TARGET_COLOUR, _LIMIT_LINE = "#1f6f8b", "#b0b0b0", "#c0392b"
_PLOTS: Final = (
    ("similarity", "Similarity to the profile (higher is better)", "min_similarity", ("similarity",)),
    ("judge", "Distance by the held-out recogniser (lower is better)", "max_judge_distance", ("judge_distance",)),
    ("shift", "Distance of the landmarks to the target's, in eye distances", "max_shift", ("shift",)),
    ("jitter", "Jitter of the landmarks, in eye distances (grey: target)", None, ("jitter_target", "jitter")),
    ("sharpness", "Sharpness, relative to the target's", "min_sharpness", ("sharpness_ratio",)),
    ("pose", "Rotation of the head against the target's, degrees", None, ("pose_error",)),
    ("expression", "Difference of expression, 52 blendshapes", None, ("expression_error",)),
    ("colour", "Colour of the skin against the target's, Delta E 2000", None, ("colour_error",)),
    ("foreign", "Foreign things on the cheeks, in the face's contrasts", None, ("foreign_cheeks",)),
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
class ReportedFrame:
    """A frame whose face the report shows."""

    file: str
    index: int
    crop: NDArray[np.uint8]
    """The face, (S,S,3) RGB uint8."""
    target_crop: NDArray[np.uint8] | None
    """The same place in the target, (S,S,3) RGB uint8."""
    metrics: FrameMetrics
    mark: Mark
    """Provenance that the picture carries."""


def render_report(
    about: Mapping[str, Any],
    frames: Sequence[FrameResult],
    checked: Sequence[LimitResult],
    examples: Sequence[ReportedFrame],
) -> str:
    """Render the page as HTML.

    Args:
        about: Content of the JSON file besides the frames.
        frames: All frames.
        checked: All limits.
        examples: Frames whose faces are shown.
    """
    passed = bool(about["passed"])
    limits = {limit.metric: limit for limit in checked}
    rows = "".join(_row(name, value, limits.get(name)) for name, value in about["summary"].items())
    plots = "".join(_plot(title, columns, frames, _limit(checked, name)) for _, title, name, columns in _PLOTS)
    faces = "".join(_figure(one) for one in examples)
    sources = escape(", ".join(about["source"]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Validation of {escape(about["identity"])}</title>
<style>{_STYLE}</style></head><body>
<h1>Validation: <span class="{"ok" if passed else "missed"}">{"passed" if passed else "limits missed"}</span></h1>
<p class="note">{sources}<br>identity <b>{escape(about["identity"])}</b>, embedder {escape(about["embedder"])}.
The pictures below show synthetic faces.</p>
<table><tr><th>figure</th><th>value</th><th>limit</th><th></th></tr>{rows}</table>
{plots}
<h2>Rejected frames, and those least like the person</h2>
<p class="note">Result, and the target beside it where it is known.</p>
<div class="faces">{faces}</div>
</body></html>
"""


def _row(name: str, value: float, limit: LimitResult | None) -> str:
    words = "" if limit is None else limit.condition
    kept = "" if limit is None else "ok" if limit.passed else "missed"
    cells = f'<td>{escape(name)}</td><td class="n">{value:.3f}</td><td>{words}</td><td class="{kept}">{kept}</td>'
    return f"<tr>{cells}</tr>"


def _limit(checked: Sequence[LimitResult], name: str | None) -> float | None:
    return next((limit.limit for limit in checked if limit.name == name), None)


def _plot(title: str, columns: Sequence[str], frames: Sequence[FrameResult], limit: float | None) -> str:
    """Draw one plot over all frames in their order; return nothing when nothing was measured."""
    rows = [frame.to_dict() for frame in frames]
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
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" stroke="{_LIMIT_LINE}" '
            'stroke-dasharray="5 4"/>'
        )
    colours = [_SWAP_COLOUR] if len(series) == 1 else [_TARGET_COLOUR, _SWAP_COLOUR]
    for one, colour in zip(series, colours, strict=True):
        drawn += _line([(x(i), y(value)) if value is not None else None for i, value in enumerate(one)], colour)
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img">{"".join(drawn)}</svg>'
    return f"<h2>{escape(title)}</h2>{picture}"


def _line(points: Sequence[tuple[float, float] | None], colour: str) -> list[str]:
    """Draw lines between neighbours; a point without a neighbour is a dot."""
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


def _figure(one: ReportedFrame) -> str:
    pictures = [one.crop] if one.target_crop is None else [one.crop, one.target_crop]
    images = "".join(f'<img alt="" src="data:image/jpeg;base64,{_to_base64_jpeg(p, one.mark)}">' for p in pictures)
    facts = [f"similarity {one.metrics.similarity:.3f}"]
    facts += [f"judge {one.metrics.distance:.2f}"] if one.metrics.distance is not None else []
    facts += [f"shift {one.metrics.shift:.3f}"] if one.metrics.shift is not None else []
    facts += [f"rejected: {escape(one.metrics.reason)}"] if one.metrics.reason else []
    caption = f"{escape(one.file)}, frame {one.index}<br>{', '.join(facts)}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _to_base64_jpeg(picture: NDArray[np.uint8], mark: Mark) -> str:
    return base64.b64encode(encode_image(picture, ".jpg", mark=mark, quality=88)).decode("ascii")
