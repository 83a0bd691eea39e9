import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from facesmith.models.onnx.fp16 import to_fp16

LOAD = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"


def load_in_child(path) -> int:
    """Return the exit status of a process that loads a graph: the runtime may take its process down with it."""
    return subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, check=False).returncode


def computed_in_half(model: onnx.ModelProto, name: str) -> bool:
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    return next(each for each in values if each.name == name).type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize("axes", [[1, 0, 2], [1, 2, 0]])
def test_to_fp16_product_of_a_transposed_batch_loads(graph_file, axes):
    """A graph that kills onnxruntime 1.32 where the two nodes are float16, or a cast stands between them."""
    values = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(np.transpose(values, axes).shape[-1], 6)).astype(np.float32)
    nodes = [
        ("Add", ["x", "x"], ["twice"], {}),
        ("Gather", ["twice", "order"], ["chosen"], {}),
        ("Transpose", ["chosen"], ["moved"], {"perm": axes}),
        ("MatMul", ["moved", "weights"], ["product"], {}),
        ("Add", ["product", "product"], ["y"], {}),
    ]
    shape = [*np.transpose(values, axes).shape[:2], 6]
    given = {"weights": weights, "order": np.arange(4)}
    path = graph_file("product.onnx", nodes, {"x": [4, 3, 5]}, {"y": shape}, given)
    model = to_fp16(onnx.load(path))
    onnx.save(model, path)
    assert load_in_child(path) == 0
    made = onnxruntime.InferenceSession(path).run(["y"], {"x": values})[0]
    expected = 4 * np.transpose(values, axes) @ weights
    np.testing.assert_allclose(made, expected, atol=0.02)
    assert computed_in_half(model, "twice")


@pytest.mark.parametrize("by_default", [False, True])
def test_to_fp16_what_follows_from_coordinates_stays_float32(graph_file, by_default):
    """A place that is sampled and a mask around it; coordinates with a default are an input like any other."""
    nodes = [
        ("Mul", ["places", "scale"], ["moved"], {}),
        ("Reshape", ["moved", "shape"], ["grid"], {}),
        ("GridSample", ["picture", "grid"], ["face"], {}),
        ("Slice", ["moved", "first", "second", "last"], ["across"], {}),
        ("Div", ["across", "rim"], ["mask"], {}),
        ("Add", ["face", "face"], ["doubled"], {}),
    ]
    weights = {"first": np.array([0]), "second": np.array([1]), "last": np.array([2])}
    weights |= {"scale": np.float32(0.9), "rim": np.float32(0.05), "shape": np.array([1, 4, 4, 2])}
    places = np.random.default_rng(0).uniform(-1, 1, (1, 16, 2)).astype(np.float32)
    inputs = {"picture": [1, 1, 8, 8], "places": [1, 16, 2]}
    outputs = {"mask": [1, 16, 1], "doubled": [1, 1, 4, 4]}
    if by_default:
        weights["places"] = np.zeros_like(places)
    path = graph_file("places.onnx", nodes, inputs, outputs, weights)
    model = to_fp16(onnx.load(path))
    feed = {"picture": np.random.default_rng(1).random((1, 1, 8, 8), np.float32), "places": places}
    ours, theirs = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(["mask", "doubled"], feed)
        for each in (model, onnx.load(path))
    )
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=2e-3)
    assert computed_in_half(model, "doubled/inner")
