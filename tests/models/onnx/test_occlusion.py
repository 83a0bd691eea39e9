import numpy as np
import pytest

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


def test_occluder_wrong_contract_raises(red_hides, graph_file, tmp_path):
    for path, words in (
        (
            graph_file(
                "two.onnx",
                [("Add", ["a", "b"], ["output"], {})],
                {"a": [1, SIDE, SIDE, 3], "b": [1, SIDE, SIDE, 3]},
                {"output": [1, SIDE, SIDE, 3]},
            ),
            "its inputs are a, b, not one picture",
        ),
        (red_hides("three.onnx", channels=3), "output 0 is tensor(float) 1x64x64x3"),
        (tmp_path / "none.onnx", "no such file"),
    ):
        with pytest.raises(UserError) as caught:
            Occluder(path)
        assert words in str(caught.value)
        assert str(caught.value).startswith(f"task.occluder={path}: ")
        assert "\n" not in str(caught.value)


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


def test_occluder_channels_first_raises(graph_file):
    path = graph_file(
        "nchw.onnx", [("Identity", ["input"], ["output"], {})], {"input": [1, 3, 64, 64]}, {"output": [1, 3, 64, 64]}
    )
    with pytest.raises(UserError, match=r"input is tensor\(float\) 1x3x64x64"):
        Occluder(path)
