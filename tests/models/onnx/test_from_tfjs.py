import json

import numpy as np
import onnxruntime
import pytest

from facesmith.errors import UserError
from facesmith.models.onnx.from_tfjs import convert


def attribute(strides):
    return {
        "strides": {"list": {"i": ["1", str(strides), str(strides), "1"]}},
        "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
        "padding": {"s": "U0FNRQ=="},  # SAME
        "data_format": {"s": "TkhXQw=="},  # NHWC
    }


@pytest.fixture
def graph(tmp_path):
    """Write a graph of one convolution with stride 2 and a mean; `operator` takes the place of the convolution."""

    def write(operator="Conv2D", lost=0):
        shape = {"shape": {"dim": [{"size": "-1"}, {"size": "4"}, {"size": "4"}, {"size": "2"}]}}
        nodes = [
            {"name": "x", "op": "Placeholder", "attr": {"shape": shape}},
            {"name": "kernel", "op": "Const"},
            {"name": "bias", "op": "Const"},
            {"name": "axes", "op": "Const"},
            {"name": "conv", "op": operator, "input": ["x", "kernel"], "attr": attribute(2)},
            {"name": "sum", "op": "Add", "input": ["conv", "bias"]},
            {"name": "mean", "op": "Mean", "input": ["sum", "axes"], "attr": {"keep_dims": {"b": False}}},
        ]
        kernel = np.arange(3 * 3 * 2 * 3).reshape(3, 3, 2, 3) / 10
        halves = {"quantization": {"dtype": "float16", "original_dtype": "float32"}, "dtype": "float32"}
        weights = [
            {"name": "kernel", "shape": [3, 3, 2, 3], **halves},
            {"name": "bias", "shape": [3], **halves},
            {"name": "axes", "shape": [2], "dtype": "int32"},
        ]
        data = kernel.astype("<f2").tobytes() + np.array([1, 2, 3], "<f2").tobytes() + np.array([1, 2], "<i4").tobytes()
        content = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": weights}]}
        (tmp_path / "model.json").write_text(json.dumps(content))
        (tmp_path / "model.bin").write_bytes(data[: len(data) - lost])
        return tmp_path / "model.json", tmp_path / "model.bin", kernel.astype(np.float16).astype(np.float32)

    return write


def test_convert_convolution_pads_at_the_end_as_tensorflow_does(graph):
    topology, weights, kernel = graph()
    model = convert(topology, weights, "mean")
    picture = np.random.default_rng(0).random((1, 4, 4, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": picture.transpose(0, 3, 1, 2)})
    padded = np.pad(picture[0], ((0, 1), (0, 1), (0, 0)))
    rows = [[np.einsum("hwi,hwio", padded[y : y + 3, x : x + 3], kernel) for x in (0, 2)] for y in (0, 2)]
    assert found[0] == pytest.approx(np.mean(rows, (0, 1)) + np.arange(1, 4), abs=1e-4)


def test_convert_other_files_are_refused_in_one_line(graph, tmp_path):
    topology, weights, _ = graph("Einsum")
    with pytest.raises(UserError, match=r"the operator Einsum, which is not known here"):
        convert(topology, weights, "mean")
    topology, weights, _ = graph(lost=3)
    with pytest.raises(UserError, match=r"no TensorFlow\.js graph model"):
        convert(topology, weights, "mean")
    topology.write_text("[]")
    with pytest.raises(UserError, match=r"no TensorFlow\.js graph model"):
        convert(topology, weights, "mean")
