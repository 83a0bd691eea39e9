"""In words: what a person's pictures do not show, and which further pictures would help."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.face_set.region_flaws import BLURRED, COVERED, CUT_OFF, FEWEST_COMPARED, Flaws, is_visible
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.topology import REGIONS
from facesmith.faces.measures import eye_distance

_LITTLE: Final = 3  # pictures of a region
_OPEN: Final = 0.12  # gap of the inner lips, in eye distances
_CLOSED: Final = 0.02
_SHUT: Final = 0.5  # blendshape of a blink
_TURNED: Final = 20.0  # degrees of yaw
_UPPER_LIP, _LOWER_LIP = 13, 14
# of one picture, and of several
_HOW: Final = {
    COVERED: ("has something before", "have something before"),
    BLURRED: ("is blurred at", "are blurred at"),
    CUT_OFF: ("does not hold", "do not hold"),
}


def describe_flaws(flaws: Flaws) -> list[str]:
    """Count what hides a person's face, one line for each region that is hidden somewhere.

    Args:
        flaws: (N,5), see `find_flaws`.
    """
    total, lines = len(flaws), []
    visible = is_visible(flaws)
    lost = ~visible.any(1)
    if lost.any():
        show, they = ("shows", "it is") if lost.sum() == 1 else ("show", "they are")
        lines.append(f"{lost.sum()} of {total} pictures {show} no region of the face clearly: {they} not used")
    for number, region in enumerate(REGIONS):
        hidden = ~visible[:, number] & ~lost
        if not hidden.any():
            continue
        if hidden.sum() > total / 2:
            lines.append(
                f"the {region} {_is(region)} hidden in {hidden.sum()} of {total} pictures; give pictures that show it"
            )
            continue
        causes = flaws[hidden, number].tolist()
        several = len(causes) > 1
        how, they = _HOW[max(sorted(set(causes)), key=causes.count)][several], "they are" if several else "it is"
        used = [name for name, share in zip(REGIONS, visible[hidden].mean(0), strict=True) if share > 0.5]
        use = f"for {_join(used)} only" if used else "where the face is visible"
        lines.append(f"{len(causes)} of {total} pictures {how} the {region}: {they} used {use}")
    return lines


def advise_pictures(faces: FaceSet) -> list[str]:
    """List which further pictures of a person would help a swap: what no picture shows, or too few do.

    Args:
        faces: Of one person.
    """
    visible, total = faces.visible, len(faces)
    shown = visible.sum(0)
    lines = []
    if total == 1:
        lines.append("there is one picture: every pose and expression is made of it; give pictures of others")
    elif total < FEWEST_COMPARED:
        lines.append(
            f"{total} pictures are too few to tell glasses and hair from what covers a face for a moment; give "
            f"{FEWEST_COMPARED} or more"
        )
    for region, count in zip(REGIONS, shown.tolist(), strict=True):
        if count == 0:
            lines.append(f"no picture shows the {region} uncovered and sharp; give one")
        elif count < min(_LITTLE, total):
            lines.append(f"the {region} {_is(region)} visible in only {count} of {total} pictures; give more")
    missing = _missing(faces, visible)
    if missing:
        lines.append(f"no picture {_join(missing, 'or')}; such pictures would help")
    return lines


def _missing(faces: FaceSet, visible: NDArray[np.bool_]) -> list[str]:
    """Name the poses and expressions that no picture shows."""
    eyes, mouth = (visible[:, REGIONS.index(region)] for region in ("eyes", "mouth"))
    lips = faces.landmarks[:, [_UPPER_LIP, _LOWER_LIP]]
    gap = np.linalg.norm(lips[:, 0] - lips[:, 1], axis=-1) / np.maximum(eye_distance(faces.landmarks), 1e-6)
    blink = faces.blendshapes[:, topology.EYE_BLINK].min(1)
    yaw = faces.pose[:, 1]
    shown = {
        "with an open mouth": mouth & (gap > _OPEN),
        "with closed lips": mouth & (gap < _CLOSED),
        "with shut eyes": eyes & (blink > _SHUT),
        "with open eyes": eyes & (blink < _SHUT),
        "turned to the left": yaw < -_TURNED,
        "turned to the right": yaw > _TURNED,
    }
    return [what for what, where in shown.items() if not where.any()]


def _is(region: str) -> str:
    return "are" if region.endswith("s") else "is"


def _join(words: Sequence[str], conjunction: str = "and") -> str:
    return f" {conjunction} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
