"""Advice from the quality gate's metrics of a trained swapper: what is wrong, and which key to change."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from facesmith.metrics.limits import FARTHEST_NME, LEAST_ACCEPTED, LIMIT_OF, MOST_MISSES, SAME_PERSON

# Good swaps have .51-.80 of the pseudo truth's sharpness and a mask overlap of .96-.98; those soft to the eye .22-.40,
# and .69-.75 where the mask was wrong.
_BLURRED: Final = 0.45
_AS_SHARP_AS_OWN: Final = 0.8
_MASKED: Final = 0.9
_UNLIKE_EYES: Final = 0.2
_SEAM: Final = 2.5  # the demo 1.4; 30 levels too light 2.3, 50 3.0; not feathered 3.7, and 30 levels too light 6.0
_MOST_REJECTED: Final = 1 - LEAST_ACCEPTED  # of the faces, by one kind of limit
_FOREIGN: Final = ("eyes", "nose", "mouth", "cheeks", "forehead")
_ENOUGH_STEPS: Final = 1800  # from here on the benchmark's dlib distance falls by less than .01 in 400 steps
_FEW_FACES: Final = 40
_SMALL_FACE: Final = 80.0  # px; below, enlarged pictures of the person are what is learnt


def advice(
    figures: Mapping[str, float], *, steps: int, epochs: int, faces: int, size: float, losses: Collection[str]
) -> list[str]:
    """Return a line for each thing that is wrong, the gravest first.

    Args:
        figures: Of the gate, by metric name.
        steps: Trained so far.
        epochs: Trained so far.
        faces: Of the person, that are learnt from.
        size: Their mean size in the media, px.
        losses: Keys of model.loss, which differ from generator to generator.
    """
    return list(_lines(figures, steps, epochs, faces, size, losses))


def _lines(
    figures: Mapping[str, float], steps: int, epochs: int, faces: int, size: float, losses: Collection[str]
) -> Iterator[str]:
    def above(name: str, limit: float) -> bool:
        return figures.get(name, float("-inf")) >= limit

    def below(name: str, limit: float) -> bool:
        return figures.get(name, float("inf")) < limit

    learns_faces = "l1" in losses  # mesh_warp learns light alone: more steps, or a loss on the mask, change little
    short = learns_faces and steps < _ENOUGH_STEPS
    more = f"{steps} steps are few: trainer.max_epochs={_rounded_up(epochs * _ENOUGH_STEPS / max(1, steps))}"
    light = "trust" if "trust" in losses else "l1"
    if above("val/miss_rate", MOST_MISSES):
        yield (
            f"no face in the result: val/miss_rate {figures['val/miss_rate']:.2f} (limit {MOST_MISSES}); "
            + (more if short else "check renders/, then lower model.optimizer.lr")
        )
    if above("val/judge_distance", SAME_PERSON):
        likeness = f", val/identity_similarity {figures.get('val/identity_similarity', float('nan')):.2f}"
        yield (
            f"identity not preserved: val/judge_distance {figures['val/judge_distance']:.2f} (the same person is below "
            f"{SAME_PERSON}){likeness}; {_why_not_the_person(short, more, faces, size)}"
        )
    elif above("val_holdout/judge_distance", SAME_PERSON):
        yield (
            "identity not preserved in scenes that were held out: val_holdout/judge_distance "
            f"{figures['val_holdout/judge_distance']:.2f} (the same person is below {SAME_PERSON}); give more scenes "
            "in data.targets, or raise data.pseudo_truth.variants"
        )
    if above("val/nme", FARTHEST_NME):
        yield (
            f"features out of place: val/nme {figures['val/nme']:.2f} (limit {FARTHEST_NME}); "
            + (
                more
                if short
                else "profiles are the hardest: lower data.selection.max_yaw, or give media of the person in such poses"
            )
        )
    elif above("val/rejected_geometry", _MOST_REJECTED):
        yield (
            f"heads turned otherwise: val/pose_error {figures['val/pose_error']:.1f} degrees (limit "
            f"{LIMIT_OF['pose']:g}); give pictures of the person whose head is turned like the targets' in data.source"
        )
    if above("val/rejected_foreign", _MOST_REJECTED):
        yield _what_is_foreign(figures, losses)
    if above("val/rejected_colour", _MOST_REJECTED):
        yield (
            f"faces of another colour: val/colour_error {figures['val/colour_error']:.1f}, val/colour_patches "
            f"{figures['val/colour_patches']:.1f} (limits {LIMIT_OF['colour']:g}, {LIMIT_OF['colour_patches']:g}); "
            f"raise model.loss.{light}, lower model.optimizer.lr, or swap with task.colour_match=true"
        )
    if above("val/eye_openness", _UNLIKE_EYES):
        yield (
            f"eyes unlike the target's: val/eye_openness {figures['val/eye_openness']:.2f} (limit {_UNLIKE_EYES}); "
            "give media of the person with open and shut eyes in data.source"
        )
    elif above("val/rejected_expression", _MOST_REJECTED):
        yield (
            f"expressions unlike the target's: val/expression_error {figures['val/expression_error']:.3f}, val/lip_gap "
            f"{figures['val/lip_gap']:.3f} (limits {LIMIT_OF['expression']:g}, {LIMIT_OF['lips']:g}); give pictures of "
            "the person with an open and a shut mouth, with teeth and with shut eyes in data.source"
        )
    if below("val/sharpness", _BLURRED):
        yield (
            f"blurry: val/sharpness {figures['val/sharpness']:.2f} of the pseudo truth's (limit {_BLURRED}); "
            + _why_blurred(figures, short, more, size)
        )
    if learns_faces and below("val/mask_iou", _MASKED):
        yield (
            f"artefacts at the boundary: the mask fits the face by val/mask_iou {figures['val/mask_iou']:.2f} (limit "
            f"{_MASKED}); " + (more if short else "raise model.loss.mask")
        )
    elif above("val/seam", _SEAM):
        yield (
            f"artefacts at the boundary: edges of val/seam {figures['val/seam']:.1f} levels a px that the target has "
            f"not, along the mask's rim (limit {_SEAM:g}); swap with task.colour_match=true or task.blend=multiband, "
            f"or raise model.loss.{light}"
        )


def _what_is_foreign(figures: Mapping[str, float], losses: Collection[str]) -> str:
    share = f"{figures['val/rejected_foreign']:.0%} of the faces"
    if figures.get("val/stripes", 0.0) > LIMIT_OF["stripes"]:
        cure = "lower model.loss.identity" if "identity" in losses else "lower model.optimizer.lr"
        return f"stripes on the skin: val/stripes {figures['val/stripes']:.4f} (limit {LIMIT_OF['stripes']:g}); {cure}"
    names = [f"foreign_{name}" for name in _FOREIGN if f"val/foreign_{name}" in figures]
    worst = max(names, key=lambda name: figures[f"val/{name}"] / LIMIT_OF[name])
    return (
        f"something foreign on {share}: val/{worst} {figures[f'val/{worst}']:.3f} (limit {LIMIT_OF[worst]:g}); look in "
        "contact_sheet.png of the face set for hands, hair or glasses before the person's face, take those pictures "
        "out of data.source, or give more without"
    )


def _why_not_the_person(short: bool, more: str, faces: int, size: float) -> str:
    if short:
        return more
    if faces < _FEW_FACES:
        return f"{faces} faces of the person are few: give more in data.source, or raise data.max_frames"
    if size < _SMALL_FACE:
        return f"the person's faces are {size:.0f} px wide on average: give closer or larger media in data.source"
    return "give media of the person turned and lit more like the targets in data.source"


def _why_blurred(figures: Mapping[str, float], short: bool, more: str, size: float) -> str:
    if short:
        return more
    own = figures.get("val/sharpness_own", 0.0)
    if own >= _AS_SHARP_AS_OWN:
        return (
            f"it is as sharp as the person's own frames (val/sharpness_own {own:.2f}, faces {size:.0f} px wide): give "
            "sharper or larger media in data.source, or raise data.selection.min_sharpness"
        )
    return "give sharper or larger media in data.source; when swapping, task.enhancer sharpens"


def _rounded_up(epochs: float) -> int:
    return max(2, -(-int(epochs) // 10) * 10)
