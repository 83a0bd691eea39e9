"""Odd values in other programs' files are one line, at once."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from facesmith.annotate.import_export import read_masks
from facesmith.annotate.shapes import decode_coco
from facesmith.errors import UserError

SIZE = 64
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def labelme(**shape: object) -> str:
    shapes = [{"label": "face", "points": SQUARE, **shape}]
    return json.dumps({"imageWidth": SIZE, "imageHeight": SIZE, "shapes": shapes})


@pytest.mark.parametrize(
    "text",
    [
        labelme(points=[[1e18, 2], [3, 4], [5, 6]]),
        labelme(points=[[float("nan"), 2], [3, 4], [5, 6]]),
        labelme(points=[[float("inf"), 2], [3, 4], [5, 6]]),
        labelme(points=[]),
        labelme(points=[[1, 2, 3]] * 4),
        labelme(points=[["a", "b"]] * 4),
        labelme(points=[[0, 0], [1e12, 1e12]], shape_type="circle"),
        labelme(points=[[0, 0]], shape_type="rectangle"),
        labelme(shape_type=["polygon"]),
        labelme(shape_type="mask", mask="no base64"),
        json.dumps({"imageWidth": SIZE, "imageHeight": SIZE, "shapes": None}),
        json.dumps({"imageWidth": SIZE, "imageHeight": SIZE, "shapes": ["x"]}),
        "[]",
        "[" * 100_000,
        "",
    ],
)
def test_read_masks_odd_labelme_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "0001.json").write_text(text)
    with pytest.raises(UserError, match=r"0001\.json: ") as caught:
        list(read_masks(tmp_path, "labelme", SIZE))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1e18, 2, 3, 4, 5, 6]],
        [[float("nan"), 2, 3, 4, 5, 6]],
        [[1, 2, 3]],
        {"size": [SIZE, SIZE], "counts": [10**12]},
        {"size": [SIZE, SIZE], "counts": [-5, SIZE * SIZE + 5]},
        {"size": [10**9, 10**9], "counts": [1]},
        {"size": [SIZE, SIZE], "counts": "~~~~"},
        {"size": [SIZE, SIZE], "counts": "o" * 100},
        {"counts": [1]},
        7,
    ],
)
def test_read_masks_odd_coco_file_is_one_line(tmp_path: Path, segmentation: object) -> None:
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    picture = {"id": 1, "file_name": "a.jpg", "width": SIZE, "height": SIZE}
    file = tmp_path / "masks.json"
    file.write_text(
        json.dumps({"images": [picture], "annotations": [shape], "categories": [{"id": 1, "name": "face"}]})
    )
    with pytest.raises(UserError, match=r"masks\.json: cannot be read as coco") as caught:
        list(read_masks(file, "coco", SIZE))
    assert "\n" not in str(caught.value)


def test_decode_coco_equals_pycocotools() -> None:
    mask = np.random.default_rng(0).random((SIZE, SIZE)) > 0.7
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": packed["size"], "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(decode_coco(text, SIZE), mask * 255)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int)]))).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    np.testing.assert_array_equal(decode_coco({"size": [SIZE, SIZE], "counts": counts}, SIZE), mask * 255)
    polygon = [10.0, 10, 30, 10, 30, 30, 10, 30]
    theirs = coco.decode(coco.merge(coco.frPyObjects([polygon], SIZE, SIZE)))
    np.testing.assert_array_equal(decode_coco([polygon], SIZE), theirs * 255)
