"""The figures of a swapped face by name, for every table: unit, which way is better, how they are reduced."""

from dataclasses import dataclass
from typing import Final, Literal

from facesmith.faces.geometry.topology import REGIONS
from facesmith.metrics.statistics import Reduction

Better = Literal["lower", "higher", "one", ""]
"""Which values are better; `one`: what is nearer to 1; "": neither by itself."""


@dataclass(frozen=True)
class Figure:
    """A figure of a swapped face.

    Attributes:
        name: In every table.
        title: In words.
        unit: "" for none.
        better: Which values are better.
        reduction: Of the values of many faces to one.
        field: In `FaceFigures.values`; "" where it is not of them.
    """

    name: str
    title: str
    unit: str
    better: Better
    reduction: Reduction = "mean"
    field: str = ""


FACE_FIGURES: Final = (
    Figure("nme", "distance of the landmarks", "eye distances", "lower", field="nme"),
    Figure("pose_error", "rotation of the head", "degrees", "lower", field="pose"),
    Figure("pose_pitch", "rotation, pitch", "degrees", "lower", "size", "pitch"),
    Figure("pose_yaw", "rotation, yaw", "degrees", "lower", "size", "yaw"),
    Figure("pose_roll", "rotation, roll", "degrees", "lower", "size", "roll"),
    Figure("expression_error", "expression, 52 blendshapes", "0..1", "lower", field="expression"),
    Figure(
        "expression_error_seven", "expression, 7 shapes of eyes and mouth", "0..1", "lower", field="expression_seven"
    ),
    Figure("eye_openness", "opening of the eyes", "0..1", "lower", field="eyes"),
    Figure("mouth_openness", "opening of the jaw", "0..1", "lower", field="mouth"),
    Figure("lip_gap", "gap between the lips", "eye distances", "lower", "size", "lips"),
    Figure("colour_error", "colour of the skin", "Delta E 2000", "lower", field="colour"),
    Figure("colour_patches", "patches of colour", "Delta E 2000", "lower", field="colour_patches"),
    Figure("colour_around", "colour against neck and forehead", "Delta E 2000", "lower", field="colour_around"),
    *(
        Figure(f"foreign_{region}", f"foreign things, {region}", "contrasts", "lower", field=f"foreign_{region}")
        for region in REGIONS
    ),
    Figure("stripes", "stripes on the skin", "contrasts a px", "lower", field="stripes"),
    Figure("sharpness_own", "sharpness by the person's own", "ratio", "one", "median", "sharpness_own"),
    Figure("sharpness_target", "sharpness by the target's", "ratio", "one", "median", "sharpness_target"),
)
"""Those of one face against its target and the person's pictures, see `comparison.FaceFigures`."""

PAIR_FIGURES: Final = (
    Figure("miss_rate", "no face found where one was", "share", "lower", "share"),
    Figure("accepted", "accepted by the quality gate", "share", "higher", "share"),
    *FACE_FIGURES,
    Figure("gaze_error", "direction of the gaze in the head", "degrees", "lower"),
    Figure("seam", "edges along the rim of what was changed", "levels a px", "lower"),
    Figure("jitter_ratio", "jitter of the landmarks by the target's", "ratio", "lower"),
    Figure("flicker", "change of the face between frames by the target's", "ratio", "one"),
    Figure("warping_error", "change left after the target's motion is undone", "1/1000", "lower"),
    Figure("warping_error_target", "the same of the target itself", "1/1000", ""),
)
"""Those of a swapped picture or video beside its target."""


def identity_figures(recogniser: str, measure: Literal["cosine", "distance"], gallery: int) -> tuple[Figure, ...]:
    """Return the figures of identity by one recogniser.

    Args:
        recogniser: Its name.
        measure: How it compares: cosine of embeddings, or their distance.
        gallery: Number of people in the gallery; below 2 nobody can be told apart.
    """
    better: Better = "higher" if measure == "cosine" else "lower"
    of = "similarity" if measure == "cosine" else "distance"
    found = [
        Figure(f"{of}_{recogniser}", f"{of} to the source, {recogniser}", measure, better),
        Figure(f"{of}_target_{recogniser}", f"{of} to the target's own face, {recogniser}", measure, ""),
    ]
    if gallery > 1:
        ranks = (1, 5) if gallery > 5 else (1,)
        found += [
            Figure(
                f"top{k}_{recogniser}",
                f"source {'the most similar' if k == 1 else f'of the {k} most similar'} of {gallery}, {recogniser}",
                "share",
                "higher",
                "share",
            )
            for k in ranks
        ]
    return tuple(found)
