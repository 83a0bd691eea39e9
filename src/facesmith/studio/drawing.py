"""What the page draws by itself: curves, badges, tables; names and values are shown as text, whatever is in them."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 200, 52, 24, 10
_MOST: Final = 400  # points of a curve
_DIGITS: Final = 6  # behind the point, of an axis
_COLOURS: Final = ("var(--line-1)", "var(--line-2)", "var(--line-3)", "var(--line-4)", "var(--line-5)")


def draw_curves(curves: Mapping[str, Points], title: str) -> str:
    """Draw curves over the steps, in one frame, as SVG.

    Args:
        curves: Points (step, value) by name.
        title: What is shown, also for screen readers.
    """
    shown = {name: _thin([p for p in points if math.isfinite(p[1])]) for name, points in curves.items()}
    shown = {name: points for name, points in shown.items() if points}
    if not shown:
        return f'<div class="empty">{escape(title)}: nothing yet</div>'
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    right = right if right > left else left + 1
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 0.1
    low, high = low - pad, high + pad

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT - 10)
        return across, _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    exact = 1 + max(0, math.ceil(math.log10(max(abs(low), abs(high)) / (high - low))))
    for share in (0.1, 0.5, 0.9):
        value = low + share * (high - low)
        _, y = place(left, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        tick = f"{value:.{digits}f}" if digits <= _DIGITS else f"{value:.{exact}e}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for x, anchor in ((left, "start"), (right, "end")):
        parts.append(f'<text x="{place(x, low)[0]:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{x:.0f}</text>')
    for number, points in enumerate(shown.values()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" style="stroke:{colour}"/>')
        x, y = place(*points[-1])
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>')
    legend = "".join(
        f'<span><i style="background:{_COLOURS[number % len(_COLOURS)]}"></i>{escape(name)} '
        f"<b>{points[-1][1]:.4g}</b></span>"
        for number, (name, points) in enumerate(shown.items())
    )
    return (
        f'<figure class="curves"><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def draw_bar(share: float, label: str) -> str:
    """Draw how far something is.

    Args:
        share: 0..1.
        label: Stands beside it.
    """
    percent = round(100 * min(1.0, max(0.0, share)))
    return (
        f'<div class="bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="{escape(label)}"><i style="width:{percent}%"></i></div>'
        f'<div class="bar-label">{escape(label)}</div>'
    )


def badge(status: str) -> str:
    """Draw a status.

    Args:
        status: Of a job or a run.
    """
    return f'<span class="badge {escape(status)}">{escape(status)}</span>'


def draw_table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """Draw a table; cells that are `Html` stay as they are, all others are text.

    Args:
        head: Of the columns.
        rows: The cells.
        caption: Above it.
    """
    if not rows:
        return f'<div class="empty">{escape(caption)}: nothing yet</div>' if caption else ""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f'<table class="plain">{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


class Html(str):
    """Text that is markup already."""


def _cell(cell: object) -> str:
    if isinstance(cell, Html):
        return f"<td>{cell}</td>"
    if isinstance(cell, int | float):
        return f'<td class="number">{cell:.4g}</td>'
    return f"<td>{'' if cell is None else escape(str(cell))}</td>"


def _thin(points: Points) -> list[tuple[float, float]]:
    """Return at most so many points, each the mean of its neighbours."""
    if len(points) <= _MOST:
        return list(points)
    size = -(-len(points) // _MOST)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
