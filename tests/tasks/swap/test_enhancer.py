import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.tasks.swap.enhancer import Enhancer

SHAPE = [1, 3, 512, 512]


def test_enhancer_is_fed_rgb_in_minus_one_to_one(graph_file):
    halved = [("Mul", ["input", "half"], ["scaled"], {}), ("Sub", ["scaled", "shift"], ["output"], {})]
    path = graph_file(
        "half.onnx", halved, {"input": SHAPE}, {"output": SHAPE}, {"half": np.float32(0.5), "shift": np.float32(0.5)}
    )
    crop = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), np.uint8)
    out = Enhancer(path)(crop)
    # -1..1 by half, minus a half, is 0..255 by half
    assert np.abs(out.astype(float) - crop / 2).max() <= 0.51


def test_enhancer_weight_is_fed(graph_file):
    nodes = [("Mul", ["input", "weight"], ["output"], {})]
    path = graph_file("former.onnx", nodes, {"input": SHAPE, "weight": [1]}, {"output": SHAPE})
    crop = np.full((1, 512, 512, 3), 80, np.uint8)
    np.testing.assert_array_equal(Enhancer(path)(crop), crop)


def test_enhancer_wrong_contract_raises(graph_file):
    small = [1, 3, 64, 64]
    for name, shape in (("input", small), ("x", SHAPE)):
        path = graph_file(f"{name}.onnx", [("Identity", [name], ["output"], {})], {name: shape}, {"output": shape})
        with pytest.raises(UserError, match=r"task\.enhancer=.*wrong contract") as caught:
            Enhancer(path)
        assert "\n" not in str(caught.value)
