from pathlib import Path

import numpy as np
import onnx
import pytest

from facesmith import assets
from facesmith.errors import UserError
from facesmith.models.onnx.occlusion import Occluder

SIDE = 64


@pytest.fixture
def red_hides(graph_file):
    """Write an xseg-shaped file: visible is 1 - red, so that it tells channel order and range."""

    def write(name="xseg.onnx", given="input", batch=1, channels=1):
        return graph_file(
            name,
            [
                ("Slice", [given, "start", "end", "axis"], ["red"], {}),
                ("Sub", ["one", "red"], ["output"], {}),
            ],
            {given: [batch, SIDE, SIDE, 3]},
            {"output": [batch, SIDE, SIDE, channels]},
            {"start": np.array([3 - channels]), "end": np.array([3]), "axis": np.array([3]), "one": np.float32(1)},
        )

    return write


def identity_file(graph_file, name, *shape):
    return graph_file(name, [("Identity", ["input"], ["output"], {})], {"input": shape}, {"output": shape})


def as_float16(path):
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, path)
    return path


def test_occluder_other_input_name_is_accepted(red_hides):
    occluder = Occluder(red_hides("dfl.onnx", given="in_face:0"))
    assert not occluder.takes_landmarks
    assert occluder(np.zeros((1, SIDE, SIDE, 3), np.uint8), SIDE, np.full((1, 478, 3), 9.0))[0].min() == 1


@pytest.mark.parametrize("batch", [1, "N"])
def test_occluder_is_fed_bgr_and_thresholded(red_hides, batch):
    occluder = Occluder(red_hides(batch=batch))
    assert occluder.size == SIDE
    crops = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    crops[0, :, :32] = (255, 0, 0)
    crops[1] = (64, 255, 255)
    masks = occluder(crops, 128)
    assert masks.shape == (2, 128, 128)
    assert masks[0, :, :50].max() == 0
    assert masks[0, :, 80:].min() == 1
    assert masks[1].mean() == pytest.approx((1 - 64 / 255 - 0.5) * 2, abs=0.01)


def test_occluder_wrong_contract_names_file_and_mend(red_hides, graph_file, tmp_path):
    two = graph_file(
        "two.onnx",
        [("Add", ["a", "b"], ["output"], {})],
        {"a": [1, SIDE, SIDE, 3], "b": [1, SIDE, SIDE, 3]},
        {"output": [1, SIDE, SIDE, 3]},
    )
    for path, words in (
        (two, "its inputs are a, b, not one picture"),
        (red_hides("three.onnx", channels=3), "output 0 is tensor(float) 1x64x64x3"),
        (identity_file(graph_file, "nchw.onnx", 1, 3, 64, 64), "input is tensor(float) 1x3x64x64"),
        (identity_file(graph_file, "wide.onnx", 1, 64, 80, 3), "input is tensor(float) 1x64x80x3"),
        (identity_file(graph_file, "free.onnx", "N", "H", "W", 3), "input is tensor(float) NxHxWx3"),
        (
            as_float16(identity_file(graph_file, "half.onnx", 1, 64, 64, 3)),
            "input is tensor(float16) 1x64x64x3, not tensor(float)",
        ),
    ):
        with pytest.raises(UserError) as caught:
            Occluder(path)
        assert words in str(caught.value)
        assert str(caught.value).startswith(f"task.occluder={path}: wrong contract: ")
        assert str(caught.value).endswith("or omit the key for the occluder that comes along")
        assert "\n" not in str(caught.value)


def test_occluder_that_is_no_model_is_told(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    cut = Path(assets.fetch("occluder_general.onnx")).read_bytes()[:100_000]
    (tmp_path / "cut.onnx").write_bytes(cut)
    (tmp_path / "folder.onnx").mkdir()
    for name, words in (
        ("text", "onnxruntime cannot read it"),
        ("empty", "onnxruntime cannot read it"),
        ("cut", "onnxruntime cannot read it"),
        ("folder", "is a folder; give an ONNX file"),
        ("none", "no such file; give an ONNX file"),
    ):
        with pytest.raises(UserError, match=rf"^task\.occluder=\S+{name}\.onnx: {words}[^\n]*$"):
            Occluder(tmp_path / f"{name}.onnx")


def test_occluder_checkpoint_is_told_how_to_become_a_file(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"last\.ckpt: is a checkpoint; make a file of it: facesmith export ckpt_path="):
        Occluder(tmp_path / "last.ckpt")


def test_occluder_of_numbers_that_are_not_finite_is_refused(graph_file):
    path = graph_file(
        "nan.onnx",
        [("Mul", ["input", "nan"], ["all"], {}), ("ReduceSum", ["all", "axis"], ["output"], {})],
        {"input": [1, SIDE, SIDE, 3]},
        {"output": [1, SIDE, SIDE, 1]},
        {"nan": np.float32(np.nan), "axis": np.array([3])},
    )
    with pytest.raises(UserError, match=r"nan\.onnx: gives numbers that are not finite"):
        Occluder(path)(np.full((1, SIDE, SIDE, 3), 9, np.uint8), SIDE)
