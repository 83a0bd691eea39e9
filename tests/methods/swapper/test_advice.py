"""The gate's figures said in words, with the key to change."""

import pytest

from facesmith.methods.swapper.advice import advice

GOOD = {
    "val/judge_distance": 0.35,
    "val/identity_similarity": 0.6,
    "val/miss_rate": 0.0,
    "val/nme": 0.02,
    "val/eye_openness": 0.01,
    "val/sharpness": 0.66,
    "val/sharpness_own": 0.7,
    "val/mask_iou": 0.97,
    "val/seam": 1.4,
    "val/pose_error": 1.9,
    "val/expression_error": 0.03,
    "val/lip_gap": 0.01,
    "val/colour_error": 1.0,
    "val/colour_patches": 3.0,
    "val/foreign_mouth": 0.1,
    "val/foreign_cheeks": 0.06,
    "val/stripes": 0.002,
    "val/rejected_foreign": 0.05,
}
LOSSES = ("cells", "trust")


def suggest(
    steps: int = 3000, faces: int = 200, size: float = 200.0, losses: tuple[str, ...] = LOSSES, **changed: float
):
    figures = {**GOOD, **{name.replace("__", "/"): value for name, value in changed.items()}}
    return advice(figures, steps=steps, epochs=60, faces=faces, size=size, losses=losses)


def test_advice_good_result_is_empty() -> None:
    assert suggest() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"val__judge_distance": 0.72}, ["identity not preserved: val/judge_distance 0.72", "data.source"]),
        ({"val__judge_distance": 0.72, "steps": 900, "losses": ("l1",)}, ["900 steps are few: trainer.max_epochs=120"]),
        ({"val__judge_distance": 0.72, "faces": 20}, ["20 faces", "data.source", "data.max_frames"]),
        ({"val__judge_distance": 0.72, "size": 50.0}, ["50 px wide", "data.source"]),
        ({"val_holdout__judge_distance": 0.7}, ["held out", "data.targets"]),
        ({"val__sharpness": 0.3}, ["blurry: val/sharpness 0.30", "limit 0.45", "data.source"]),
        ({"val__sharpness": 0.3, "val__sharpness_own": 0.9}, ["as sharp as the person's own", "data.source"]),
        (
            {"val__mask_iou": 0.7, "losses": ("l1", "mask")},
            ["artefacts at the boundary", "val/mask_iou 0.70", "model.loss.mask"],
        ),
        ({"val__seam": 30.0}, ["artefacts at the boundary", "val/seam 30.0", "task.blend=multiband", "loss.trust"]),
        ({"val__seam": 30.0, "losses": ("l1",)}, ["model.loss.l1"]),
        ({"val__nme": 0.2}, ["features out of place", "data.selection.max_yaw", "in such poses"]),
        ({"val__eye_openness": 0.4}, ["eyes unlike", "open and shut eyes"]),
        ({"val__miss_rate": 0.5}, ["no face in the result", "model.optimizer.lr"]),
        (
            {"val__rejected_foreign": 0.3, "val__foreign_mouth": 0.3},
            ["something foreign on 30% of the faces: val/foreign_mouth 0.300", "contact_sheet.png", "data.source"],
        ),
        (
            {"val__rejected_foreign": 0.3, "val__stripes": 0.02, "losses": (*LOSSES, "identity")},
            ["stripes on the skin: val/stripes 0.0200", "lower model.loss.identity"],
        ),
        (
            {"val__rejected_colour": 0.5, "val__colour_error": 9.0},
            ["another colour: val/colour_error 9.0", "loss.trust"],
        ),
        ({"val__rejected_expression": 0.5, "val__lip_gap": 0.1}, ["val/lip_gap 0.100", "teeth", "data.source"]),
        ({"val__rejected_geometry": 0.5, "val__pose_error": 12.0}, ["val/pose_error 12.0 degrees", "data.source"]),
    ],
)
def test_advice_bad_figure_names_limit_and_key(changed: dict, words: list[str]) -> None:
    (line,) = suggest(**changed)
    assert all(word in line for word in words), line
    assert "\n" not in line


def test_advice_gravest_comes_first() -> None:
    lines = suggest(val__sharpness=0.1, val__judge_distance=0.9, val__miss_rate=0.2)
    assert [line.split(":")[0] for line in lines] == ["no face in the result", "identity not preserved", "blurry"]
