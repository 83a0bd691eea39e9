"""The quality gate's limits: beyond which figures the swap of one face is rejected, and a whole run.

Each lies where `benchmarks/spoilt_swaps.py` tells good swaps from those spoilt on purpose; docs/gate.md has the table.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from facesmith.metrics.recogniser import SAME_PERSON as SAME_PERSON

FARTHEST_NME: Final = 0.04
MOST_MISSES: Final = 0.1
"""Share of pictures without a face."""
LEAST_ACCEPTED: Final = 0.9
"""Share of accepted pictures from which a run passes."""


@dataclass(frozen=True)
class Limit:
    """A limit of one figure.

    Attributes:
        figure: Name in `PictureMetrics.values`.
        kind: What is wrong beyond it, of KINDS.
        value: The limit itself is still accepted.
        reason: Why a face beyond it is rejected; the value is put in.
        least: Whether lower values are rejected; of the others, magnitudes that are higher.
    """

    figure: str
    kind: str
    value: float
    reason: str
    least: bool = False

    def violated(self, value: float) -> bool:
        """Whether a value lies beyond."""
        return value < self.value if self.least else abs(value) > self.value


LIMITS: Final = (
    Limit("distance", "identity", SAME_PERSON, "not the person (dlib {:.2f})"),
    Limit("identity_moved", "identity", -0.45, "still the target's own face (dlib {:.2f})", least=True),
    Limit("nme", "geometry", FARTHEST_NME, "features misplaced (NME {:.2f})"),
    Limit("pose", "geometry", 8.0, "head turned otherwise ({:.0f} degrees)"),
    Limit("foreign_eyes", "foreign", 0.25, "something foreign on the eyes ({:.2f})"),
    Limit("foreign_nose", "foreign", 0.165, "something foreign on the nose ({:.2f})"),
    Limit("foreign_mouth", "foreign", 0.13, "something foreign around the mouth ({:.2f})"),
    Limit("foreign_cheeks", "foreign", 0.095, "something foreign on the cheeks ({:.3f})"),
    Limit("foreign_forehead", "foreign", 0.11, "something foreign on the forehead ({:.3f})"),
    Limit("stripes", "foreign", 0.0075, "stripes on the skin ({:.4f})"),
    Limit("colour", "colour", 5.5, "another colour than the target's skin (Delta E {:.1f})"),
    Limit("colour_patches", "colour", 10.0, "patches of another colour (Delta E {:.1f})"),
    Limit("colour_around", "colour", 3.0, "another colour than neck and forehead (Delta E {:.1f})"),
    Limit("blur", "blur", 0.4, "blurred ({:.2f} of what person or target have)", least=True),
    Limit("lips", "expression", 0.04, "mouth open or shut that was not ({:+.2f} eye distances)"),
    Limit("shut", "expression", 0.5, "eyes shut that were open"),
    Limit("eyes", "expression", 0.25, "eyes open or shut that were not ({:.2f})"),
    Limit("expression_seven", "expression", 0.11, "another expression ({:.2f} of 7 shapes)"),
    Limit("expression", "expression", 0.075, "another expression ({:.2f} of 52 shapes)"),
    Limit("seam", "seam", 4.5, "a seam along the mask ({:.1f} levels a px)"),
)
"""Of one face, the gravest first."""
KINDS: Final = tuple(dict.fromkeys(limit.kind for limit in LIMITS))
LIMIT_OF: Final = {limit.figure: limit.value for limit in LIMITS}
"""Limits by figure."""


def find_reason(figures: Mapping[str, float]) -> str:
    """Return why a face is rejected, the gravest first, else "".

    Args:
        figures: By name, as `FaceFigures.values` and `PictureMetrics.values`; one that is nan or missing is within
            every limit, but a picture without `nme` has no face.
    """
    if math.isnan(figures["nme"]):
        return "no face found"
    texts = (limit.reason.format(figures[limit.figure]) for limit in find_broken(figures))
    return ", ".join(dict.fromkeys(texts))


def find_broken(figures: Mapping[str, float]) -> list[Limit]:
    """Return the limits that figures, as of `find_reason`, are beyond, the gravest first."""
    return [limit for limit in LIMITS if limit.violated(figures.get(limit.figure, math.nan))]
