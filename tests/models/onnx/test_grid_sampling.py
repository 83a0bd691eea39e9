import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.grid_sampling import StagedGraph, can_stage, load_staged

RNG = np.random.default_rng(0)


def a_model(*, padding="border", align=0, mode="bilinear", opset=18):
    """Return a graph that samples pictures, and then what that gave, beside an If and constants."""
    value, node = helper.make_tensor_value_info, helper.make_node
    how = {"mode": mode, "padding_mode": padding, "align_corners": align}
    branches = {
        name: helper.make_graph([node(kind, ["grid", "two"], [name])], name, [], [value(name, TensorProto.FLOAT, None)])
        for name, kind in (("then_branch", "Mul"), ("else_branch", "Div"))
    }
    nodes = [
        node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        node("Shape", ["shift"], ["given"]),
        node("ReduceProd", ["given"], ["count"], keepdims=0),
        node("Cast", ["count"], ["shifted"], to=TensorProto.BOOL),
        node("If", ["shifted"], ["wide"], **branches),
        node("GridSample", ["picture", "wide"], ["once"], **how),
        node("Mul", ["once", "two"], ["bright"]),
        node("GridSample", ["bright", "grid"], ["twice"], **how),
        node("Add", ["twice", "once"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "samplings",
        [
            value("picture", TensorProto.FLOAT, ["n", 5, 24, 32]),
            value("grid", TensorProto.FLOAT, ["n", 24, 32, 2]),
            value("shift", TensorProto.FLOAT, ["m"]),
        ],
        [value("sum", TensorProto.FLOAT, ["n", 5, 24, 32]), value("wide", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(0, np.float32), "shift")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    return model


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("align", [0, 1])
def test_staged_graph_gives_what_onnxruntime_gives(padding, align):
    model = a_model(padding=padding, align=align)
    assert can_stage(model)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    staged = StagedGraph(model, onnxruntime.SessionOptions())
    for feed in (
        {"picture": RNG.random((2, 5, 24, 32)), "grid": RNG.uniform(-1.3, 1.3, (2, 24, 32, 2))},
        {"picture": RNG.random((1, 5, 24, 32)), "grid": RNG.uniform(-9e4, 9e4, (1, 24, 32, 2)), "shift": np.ones(3)},
    ):
        feed = {name: array.astype(np.float32) for name, array in feed.items()}
        for a, b in zip(plain.run(["wide", "sum"], feed), staged.run(["wide", "sum"], feed), strict=True):
            np.testing.assert_allclose(b, a, atol=2e-5)


def test_staged_graph_sampled_nowhere_is_not_finite():
    staged = StagedGraph(a_model(), onnxruntime.SessionOptions())
    grid = np.zeros((1, 24, 32, 2), np.float32)
    grid[0, 3, 4] = np.nan
    (total,) = staged.run(["sum"], {"picture": np.ones((1, 5, 24, 32), np.float32), "grid": grid})
    assert np.isnan(total[0, :, 3, 4]).all()
    assert np.isfinite(total).sum() == total.size - 5


@pytest.mark.parametrize("other", [{"mode": "bicubic"}, {"padding": "reflection"}])
def test_load_staged_leaves_other_samplings_to_onnxruntime(tmp_path, other):
    path = tmp_path / "model.onnx"
    onnx.save(a_model(**other), path)
    assert load_staged(path) is None
    assert load_staged(path.read_bytes()) is None


def test_onnx_graph_stages_a_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(a_model(), path)
    graph = OnnxGraph(path, "model")
    assert list(graph.inputs) == ["picture", "grid"]
    assert list(graph.optional) == ["shift"]
    feed = {"picture": np.ones((1, 5, 24, 32), np.float32), "grid": np.zeros((1, 24, 32, 2), np.float32)}
    wide, total = graph.run(feed, ["wide", "sum"])
    assert wide.shape == (1, 24, 32, 2)
    np.testing.assert_allclose(total, 3, atol=1e-6)
