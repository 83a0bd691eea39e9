"""ONNX graphs made faster to run: constants folded, operators replaced, sessions on one thread."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator


def fold_constants(path: Path, *, free_axes: Mapping[str, Mapping[int, str]] | None = None) -> onnx.ModelProto:
    """Read a model and replace every node whose inputs are all constants by its value.

    Inputs that merely list weights are dropped, so that what is left are the pictures. Some runtimes refuse the
    block-wise DequantizeLinear of the OpenCV zoo, and all of them run faster on fp32 weights.

    Args:
        path: The ONNX file.
        free_axes: Names for the axes of inputs and outputs that are to take any size, by tensor name.
    """
    model = onnx.load(str(path))
    graph = model.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    known = set(constants)
    computed, kept = [], []
    for node in graph.node:
        if node.input and all(name in known or not name for name in node.input):
            computed.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    wanted = [name for node in computed for name in node.output if name in used]
    if wanted:
        constants.update(evaluate_nodes(computed, constants, wanted, model.opset_import))
    inputs = [each for each in graph.input if each.name in used and each.name not in constants]
    for field, items in (
        (graph.node, kept),
        (graph.input, inputs),
        (
            graph.initializer,
            [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items() if k in used],
        ),
        (graph.value_info, []),
    ):
        del field[:]
        field.extend(items)
    for value in (*graph.input, *graph.output):
        for axis, name in (free_axes or {}).get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return model


def evaluate_nodes(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, npt.NDArray[Any]],
    wanted: Sequence[str],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> dict[str, npt.NDArray[Any]]:
    """Compute values of nodes whose inputs are all constants.

    Args:
        nodes: In an order in which they can run.
        constants: What they read, by tensor name.
        wanted: Tensors whose values are returned.
        opsets: The model's.
    """
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        inputs=[],
        outputs=[onnx.helper.make_value_info(name, onnx.TypeProto()) for name in wanted],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets))
    return dict(zip(wanted, evaluator.run(wanted, {}), strict=True))


def replace_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each PRelu as relu(x) - a relu(-x), in convolutions of one weight a channel.

    onnxruntime leaves its blocked memory layout for a PRelu and comes back after it; it has convolutions and
    Relu in that layout. SFace takes half the time.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    slopes = {each.name: numpy_helper.to_array(each).ravel() for each in model.graph.initializer}
    nodes, weights = [], []
    for node in model.graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (x, slope), (y,) = node.input, node.output
        a = slopes.pop(slope)
        each: dict[str, Any] = {"group": len(a), "kernel_shape": [1, 1]}
        shape = (len(a), 1, 1, 1)
        weights += [
            numpy_helper.from_array(np.full(shape, -1, dtype=np.float32), f"{y}/minus_one"),
            numpy_helper.from_array(-a.astype(np.float32).reshape(shape), f"{y}/minus_slope"),
        ]
        nodes += [
            onnx.helper.make_node("Relu", [x], [f"{y}/positive"]),
            onnx.helper.make_node("Conv", [x, f"{y}/minus_one"], [f"{y}/minus_x"], **each),
            onnx.helper.make_node("Relu", [f"{y}/minus_x"], [f"{y}/negative"]),
            onnx.helper.make_node("Conv", [f"{y}/negative", f"{y}/minus_slope"], [f"{y}/sloped"], **each),
            onnx.helper.make_node("Add", [f"{y}/sloped", f"{y}/positive"], [y]),
        ]
    kept = [each for each in model.graph.initializer if each.name in slopes]
    for field, items in ((result.graph.node, nodes), (result.graph.initializer, [*kept, *weights])):
        del field[:]
        field.extend(items)
    return result


def create_session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    """Create a CPU session on one thread: extraction runs one analyzer a core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings of optional inputs are of no use to anybody
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def share_session(path: Path, prepare: Callable[[Path], onnx.ModelProto]) -> onnxruntime.InferenceSession:
    """Return this process's session of a file, created when first asked for: to prepare it takes longer than to run it.

    A session may run on several threads at once.

    Args:
        path: The ONNX file; a session of its own follows where the file was changed.
        prepare: Reads it; a function of a module, by which sessions are told apart.
    """
    written = path.stat()
    return _session(path, prepare, written.st_mtime_ns, written.st_size)


@functools.lru_cache(maxsize=2)  # a detector and a recogniser
def _session(
    path: Path, prepare: Callable[[Path], onnx.ModelProto], modified: int, size: int
) -> onnxruntime.InferenceSession:
    return create_session(prepare(path))
