"""Convert a float32 graph into one that computes in float16 where that is safe.

The converter of onnxruntime.transformers was tried with the same lists of operators: its graphs are out of order, fail
ONNX's full check, hold twice the casts (127 instead of 60 in a .dfm) and miss the tolerance there (.07, allowed .02).
"""

from collections.abc import Iterator, Mapping, Set
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Operators that sum many values or compare close ones: statistics of the skin, exponents, coordinates.
_FLOAT32_OPERATORS: Final = {
    *("GridSample", "ReduceSum", "ReduceMean", "Pow", "Sqrt", "Div", "Log", "Exp", "Softmax"),
    *("If", "InstanceNormalization", "Cast", "Constant", "ConstantOfShape", "Range"),
}
_LAYOUT_OPERATORS: Final = {"Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Slice", "Concat", "Identity"}
_WORTH_IT: Final = 1024  # numbers from which on a weight is stored in half its bytes
_FLOAT_INPUTS: Final = {"Resize": (1, 2)}  # region and scales are float32 in either precision


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with float16 weights and arithmetic, float32 at its inputs and outputs.

    Sampling stays float32, and so does what computes the coordinates that are sampled and the scores that are ranked,
    and what follows from them alone, such as a mask's outline: near 1 a float16 is off by 1/2048 of a picture's side.

    Args:
        model: A float32 model; it is not changed.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    floats = _floats(graph)
    constant = floats & _weight_names(graph)
    weights = {each.name: each for each in graph.initializer if each.name in constant}
    grid = set(_grid_nodes(graph))
    in_float32 = {*grid, *_constant_nodes(graph), *_coordinate_nodes(graph, grid), *_moved_batches(graph)}
    # By value: whether it is made in float16.
    made = dict.fromkeys(floats, False)
    nodes: list[onnx.NodeProto] = []
    casts: dict[tuple[str, bool], str] = {}
    halves: dict[str, onnx.TensorProto] = {}
    kept: set[str] = set()

    def in_precision(name: str, half: bool) -> str:
        """Return the name of a value in one precision; cast it where it was computed in the other."""
        if name in weights and half:
            halves.setdefault(name, _half(weights[name]))
            return halves[name].name
        if name in weights or made[name] == half:
            kept.add(name)
            return name
        if (name, half) not in casts:
            casts[name, half] = f"{name}/{'half' if half else 'float'}"
            to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [name], [casts[name, half]], to=to))
        return casts[name, half]

    for position, node in enumerate(graph.node):
        half = position not in in_float32 and node.op_type not in _FLOAT32_OPERATORS
        for i, name in enumerate(node.input):
            if name in floats:
                node.input[i] = in_precision(name, half and i not in _FLOAT_INPUTS.get(node.op_type, ()))
        nodes.append(node)
        for name in node.output:
            made[name] = half and name in floats
    for value in graph.output:
        if made.get(value.name):
            inner = f"{value.name}/inner"
            _rename(nodes, value.name, inner)
            nodes.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT))
    rest = [each for each in graph.initializer if each.name not in weights or each.name in kept]
    for field, items in (
        (graph.node, nodes),
        (graph.initializer, [*rest, *halves.values()]),
        (graph.value_info, []),
    ):
        del field[:]
        field.extend(items)
    return inferred


def store_exact_halves(graph: onnx.GraphProto) -> None:
    """Store in float16 what it holds exactly, as the landmark network's own file does; runtimes widen it at loading.

    Args:
        graph: It is changed.
    """
    widened, weights = [], []
    for each in graph.initializer:
        value = numpy_helper.to_array(each)
        half = value.astype(np.float16) if value.dtype == np.float32 and value.size >= _WORTH_IT else None
        if half is None or not np.array_equal(half.astype(np.float32), value):
            weights.append(each)
            continue
        stored = f"{each.name}/stored"
        weights.append(numpy_helper.from_array(half, stored))
        widened.append(helper.make_node("Cast", [stored], [each.name], name=f"{each.name}/widen", to=TensorProto.FLOAT))
    nodes = [*widened, *graph.node]
    for field, items in ((graph.node, nodes), (graph.initializer, weights)):
        del field[:]
        field.extend(items)


def _floats(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all float32 values."""
    values = (*graph.input, *graph.output, *graph.value_info)
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT}


def _half(weight: onnx.TensorProto) -> onnx.TensorProto:
    limit = float(np.finfo(np.float16).max)
    array = np.clip(numpy_helper.to_array(weight), -limit, limit).astype(np.float16)
    return numpy_helper.from_array(array, f"{weight.name}/half")


def _rename(nodes: list[onnx.NodeProto], old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def _grid_nodes(graph: onnx.GraphProto) -> Iterator[int]:
    """Yield positions of the nodes on which a GridSample's grid or a TopK's scores depend."""
    makers: Mapping[str, int] = {name: i for i, node in enumerate(graph.node) for name in node.output}
    waiting = [node.input[1] for node in graph.node if node.op_type == "GridSample"]
    waiting += [node.input[0] for node in graph.node if node.op_type == "TopK"]
    seen: set[int] = set()
    while waiting:
        position = makers.get(waiting.pop())
        if position is None or position in seen:
            continue
        seen.add(position)
        waiting.extend(graph.node[position].input)
        yield position


def _constant_nodes(graph: onnx.GraphProto) -> Iterator[int]:
    """Yield positions of nodes that compute with weights alone: runtimes do that once, on the CPU, when they load."""
    known = _weight_names(graph)
    for position, node in enumerate(graph.node):
        if _reads_only(node, known):
            known.update(node.output)
            if node.op_type not in _LAYOUT_OPERATORS:
                yield position


def _coordinate_nodes(graph: onnx.GraphProto, grid: Set[int]) -> Iterator[int]:
    """Yield positions of nodes that compute with coordinates and weights alone, up to the pictures sampled there.

    Coordinates are what a grid is computed from and is no picture or feature map, which have four axes.

    Args:
        graph: The model's.
        grid: Positions of the nodes that compute coordinates.
    """
    known = _weight_names(graph)
    constant = set(known)
    pictures = {value.name for value in graph.value_info if len(value.type.tensor_type.shape.dim) > 3}
    for position, node in enumerate(graph.node):
        if _reads_only(node, constant):
            constant.update(node.output)
            known.update(node.output)
        elif position in grid:
            known.update(set(node.output) - pictures)
        elif node.op_type != "GridSample" and _reads_only(node, known):
            known.update(node.output)
            yield position


def _moved_batches(graph: onnx.GraphProto) -> Iterator[int]:
    """Yield positions of products that read a transposed batch, and of those transpositions.

    onnxruntime 1.32 merges the two into one operator. Where a cast stands between them, and it adds casts itself where
    its CPU computes float16 in float32, it leaves a broken graph and the process dies of it when it loads the file.
    """
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if node.op_type == "Transpose"}
    for position, node in enumerate(graph.node):
        if node.op_type != "MatMul":
            continue
        for name in node.input:
            maker = makers.get(name)
            if maker is None:
                continue
            axes = next((list(each.ints) for each in graph.node[maker].attribute if each.name == "perm"), [])
            if len(axes) > 2 and 0 in axes[-2:]:
                yield from (maker, position)


def _weight_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of weights; what a client may feed in place of a default is none."""
    return {each.name for each in graph.initializer} - {each.name for each in graph.input}


def _reads_only(node: onnx.NodeProto, known: Set[str]) -> bool:
    """Return whether a node reads something, and nothing but these values."""
    return bool(node.input) and all(name in known or not name for name in node.input)
