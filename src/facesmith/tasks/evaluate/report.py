"""The page of an evaluation: one self-contained HTML file with tables and pairs side by side."""

import base64
import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.media.images import encode_image
from facesmith.media.provenance import Mark
from facesmith.metrics.figures import PAIR_FIGURES, Figure
from facesmith.metrics.statistics import Estimate
from facesmith.tasks.evaluate.measuring import PairResult
from facesmith.tasks.evaluate.summary import Comparison

Pixels = NDArray[np.uint8]

_BETTER: Final = {"lower": "lower", "higher": "higher", "one": "near 1", "": ""}
_CERTAIN: Final = 0.05
_LEAST_SHOWN: Final = 5e-5
_FACTS: Final = ("pose_error", "expression_error", "nme")


@dataclass(frozen=True)
class ShownPair:
    """A pair on the page.

    Attributes:
        result: Its figures.
        swap: The swapped face, (S,S,3) RGB.
        target: The same place in the target.
        source: A picture of the source; None where there is none.
        mark: Provenance of the swap.
    """

    result: PairResult
    swap: Pixels
    target: Pixels
    source: Pixels | None
    mark: Mark


@dataclass(frozen=True)
class Frechet:
    """A distance of two sets of pictures.

    Attributes:
        name: FID, or that of the stand-in.
        value: nan where there are too few pictures.
        pictures: In each set.
        features: Length of the network's features.
        weights: Of the network: name or file, with its sha256.
    """

    name: str
    value: float
    pictures: int
    features: int
    weights: str


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        name: Of the swaps.
        about: Facts in words.
        notes: What a reader should know.
        identity: Figures of identity by recogniser.
        trained_against: Recognisers that the swapper was trained against; None: not known.
        estimates: By name of figure.
        frechet: The distance of the sets; None where it was not asked for.
        against: Name of the other swaps, and the comparison; None without.
        worst: Pairs.
        best: Pairs.
    """

    name: str
    about: str
    notes: Sequence[str]
    identity: Mapping[str, Sequence[Figure]]
    trained_against: Sequence[str] | None
    estimates: Mapping[str, Estimate]
    frechet: Frechet | None
    against: tuple[str, Sequence[Comparison]] | None
    worst: Sequence[ShownPair]
    best: Sequence[ShownPair]


def render_report(report: Report) -> str:
    """Render the page as HTML."""
    page = Template(importlib.resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return page.substitute(
        name=escape(report.name),
        about=escape(report.about),
        notes=f"<ul>{notes}</ul>" if notes else "",
        identity=_identity(report),
        figures=_figures(report),
        comparison=_comparison(report),
        worst="".join(map(_pair, report.worst)),
        best="".join(map(_pair, report.best)),
    )


def describe_training(recogniser: str, trained_against: Sequence[str] | None) -> str:
    """Return what the tables say of a recogniser: whether the swapper was trained against it."""
    if trained_against is None:
        return "not stated"
    return "trained against" if recogniser in trained_against else "no"


def format_number(value: float) -> str:
    """Return a figure with three significant places."""
    if math.isnan(value):
        return ""
    places = 2 - math.floor(math.log10(abs(value))) if abs(value) > _LEAST_SHOWN else 3
    return f"{value:.{min(max(places, 0), 4)}f}"


def _identity(report: Report) -> str:
    rows = []
    for recogniser, figures in report.identity.items():
        training = describe_training(recogniser, report.trained_against)
        mark = f' <span class="mark">{training}</span>' if training == "trained against" else ""
        rows += [_row(one, report.estimates[one.name], mark) for one in figures if one.name in report.estimates]
    told = ""
    if report.trained_against is None:
        told = (
            "It is not stated which recognisers the swapper was trained against (task.trained_against). "
            "A figure by one of these proves nothing."
        )
    elif report.trained_against:
        told = (
            f"Trained against {', '.join(report.trained_against)}: figures by it flatter the swapper; go by the others."
        )
    else:
        told = "As stated, the swapper was trained against none of these recognisers."
    return f'<p class="note">{escape(told)}</p>{_HEAD}{"".join(rows)}</table>'


def _figures(report: Report) -> str:
    rows = [_row(figure, report.estimates[figure.name]) for figure in PAIR_FIGURES if figure.name in report.estimates]
    if report.frechet is not None:
        one = report.frechet
        about = f"{one.features} features; {one.weights}"
        rows.append(
            "<tr><td>Frechet distance of the swapped faces to the targets'<br>"
            f'<code>{one.name}</code> <span class="note">{escape(about)}</span></td>'
            f'<td class="n">{format_number(one.value)}</td><td class="n"></td>'
            f'<td></td><td>lower</td><td class="n">{one.pictures}</td></tr>'
        )
    return f"{_HEAD}{''.join(rows)}</table>"


_HEAD: Final = (
    '<table class="figures"><tr><th>figure</th><th class="n">value</th><th class="n">95 % interval</th><th>unit</th>'
    '<th>better</th><th class="n">pairs</th></tr>'
)


def _row(figure: Figure, one: Estimate, mark: str = "") -> str:
    interval = "" if math.isnan(one.low) else f"{format_number(one.low)} to {format_number(one.high)}"
    return (
        f"<tr><td>{escape(figure.title)}{mark}<br><code>{figure.name}</code></td>"
        f'<td class="n">{format_number(one.value)}</td>'
        f'<td class="n">{interval}</td>'
        f'<td class="u">{escape(figure.unit)}</td><td>{_BETTER[figure.better]}</td><td class="n">{one.count}</td></tr>'
    )


def _comparison(report: Report) -> str:
    if report.against is None:
        return ""
    name, rows = report.against
    body = "".join(
        f'<tr><td>{escape(one.figure.title)}</td><td class="n">{format_number(one.ours)}</td>'
        f'<td class="n">{format_number(one.theirs)}</td><td>{_BETTER[one.figure.better]}</td>'
        f'<td class="n">{one.p_value:.4f}</td><td class="n">{one.adjusted:.4f}</td>'
        f'<td>{_verdict(one)}</td><td class="n">{one.count}</td></tr>'
        for one in rows
    )
    return (
        f"<h2>Against {escape(name)}</h2>"
        '<p class="note">The same pairs by both, tested by permutation of the paired differences; p adjusted for the '
        "number of figures (Holm).</p>"
        f'<table><tr><th>figure</th><th class="n">{escape(report.name)}</th><th class="n">{escape(name)}</th>'
        "<th>better</th>"
        f'<th class="n">p</th><th class="n">adjusted</th><th></th><th class="n">pairs</th></tr>{body}</table>'
    )


def _verdict(one: Comparison) -> str:
    if not one.adjusted < _CERTAIN or one.figure.better == "":
        return ""
    ours, theirs = (abs(value - 1) if one.figure.better == "one" else value for value in (one.ours, one.theirs))
    ahead = ours > theirs if one.figure.better == "higher" else ours < theirs
    return '<span class="ok">better</span>' if ahead else '<span class="bad">worse</span>'


def _pair(one: ShownPair) -> str:
    pictures = (("source", one.source), ("target", one.target), ("swap", one.swap))
    cells = "".join(f"<div>{_picture(picture, one.mark)}{name}</div>" for name, picture in pictures)
    figures = one.result.figures
    identity = [name for name in figures if name.split("_")[0] in ("similarity", "distance") and "_target_" not in name]
    facts = [
        f"{name.replace('_', ' ')} {format_number(figures[name])}" for name in (*identity, *_FACTS) if name in figures
    ]
    verdict = (
        f'<span class="bad">{escape(one.result.reason)}</span>'
        if one.result.reason
        else '<span class="ok">accepted</span>'
    )
    return (
        f'<figure><div class="row">{cells}</div><figcaption><b>{escape(one.result.name)}</b>, '
        f"source {escape(one.result.person)}<br>{escape(', '.join(facts))}<br>{verdict}</figcaption></figure>"
    )


def _picture(picture: Pixels | None, mark: Mark) -> str:
    if picture is None:
        return "<span></span>"
    data = base64.b64encode(encode_image(picture, ".jpg", mark=mark, quality=88)).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
