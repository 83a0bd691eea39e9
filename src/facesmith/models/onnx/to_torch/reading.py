"""Read an ONNX model into nodes and constants, with whatever constants alone decide already computed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper

from facesmith.faces.analyzers.onnx_graph import evaluate_nodes
from facesmith.models.onnx.landmark_input import without_choice

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        op: ONNX operator; with its domain where that is not ONNX's own.
        name: The node's name, or that of its first output.
        inputs: Names of the values it reads; "" for an omitted optional one.
        outputs: Names of the values it computes.
        attributes: By name.
        opset: Version of the operator's definition.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute: text as str, a tensor as an array; `default` where the node has none."""
        return self.attributes.get(key, default)

    def __str__(self) -> str:
        return f"{self.op} ({self.name})"


@dataclass(frozen=True)
class Graph:
    """The nodes, inputs and outputs of a model.

    Attributes:
        inputs: Names.
        outputs: Names.
        nodes: In the order they are computed.
        constants: By name, float16 as float32.
        computed: The file's type of those constants that are no initializers.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    computed: Mapping[str, np.dtype[Any]]


def read(model: onnx.ModelProto) -> Graph:
    """Read a model: local functions are inlined, and what constants alone decide is computed.

    Inputs that need not be fed keep their defaults.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    model = without_choice(model)
    graph = model.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    stored = set(constants)
    constants.update((node.output[0], _constant(node)) for node in graph.node if node.op_type == "Constant")
    known = set(constants)
    computed, kept = [], []
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        if node.input and all(not name or name in known for name in node.input) and not _holds_graph(node):
            computed.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    outputs = tuple(value.name for value in graph.output)
    used = {name for node in kept for name in node.input} | set(outputs)
    wanted = [name for node in computed for name in node.output if name in used]
    if wanted:
        constants.update(evaluate_nodes(computed, constants, wanted, model.opset_import))
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return Graph(
        inputs=tuple(value.name for value in graph.input if value.name not in stored),
        outputs=outputs,
        nodes=tuple(_node(node, number, opsets) for number, node in enumerate(kept)),
        constants={name: _plain(value) for name, value in constants.items() if name in used},
        computed={name: constants[name].dtype for name in used & set(constants) - stored},
    )


def fold_batch_norms(graph: Graph) -> Graph:
    """Return the graph with each batch norm that follows a convolution folded into its weights, for speed."""
    uses = Counter((*(name for node in graph.nodes for name in node.inputs), *graph.outputs))
    nodes = {node.outputs[0]: node for node in graph.nodes}
    constants = dict(graph.constants)
    for norm in graph.nodes:
        conv = nodes.get(norm.inputs[0]) if norm.op == "BatchNormalization" else None
        if conv is None or conv.op != "Conv" or uses[conv.outputs[0]] > 1:
            continue
        gamma, beta, mean, var = (constants[name].astype(np.float64) for name in norm.inputs[1:])
        factor = gamma / np.sqrt(var + norm.get("epsilon", 1e-5))
        weight = constants[conv.inputs[1]]
        bias = constants[conv.inputs[2]] if len(conv.inputs) > 2 else np.zeros(len(weight))
        output = norm.outputs[0]
        names = (f"{output}/weight", f"{output}/bias")
        constants[names[0]] = (weight * factor[:, None, None, None]).astype(np.float32)
        constants[names[1]] = ((bias - mean) * factor + beta).astype(np.float32)
        del nodes[conv.outputs[0]]
        nodes[output] = replace(conv, inputs=(conv.inputs[0], *names), outputs=(output,))
    used = {name for node in nodes.values() for name in node.inputs} | set(graph.outputs)
    return replace(
        graph,
        nodes=tuple(nodes.values()),
        constants={name: value for name, value in constants.items() if name in used},
    )


def _node(node: onnx.NodeProto, number: int, opsets: Mapping[str, int]) -> Node:
    foreign = node.domain not in ("", "ai.onnx")
    return Node(
        op=f"{node.domain}.{node.op_type}" if foreign else node.op_type,
        name=node.name or (node.output[0] if node.output else f"node {number}"),
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={attribute.name: _value(attribute) for attribute in node.attribute},
        opset=opsets.get(node.domain, opsets.get("ai.onnx", 1)),
    )


def _value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return _plain(numpy_helper.to_array(value)) if isinstance(value, onnx.TensorProto) else value


def _constant(node: onnx.NodeProto) -> Array:
    (attribute,) = node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value, np.int64 if attribute.name.startswith("value_int") else np.float32)


def _holds_graph(node: onnx.NodeProto) -> bool:
    return any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)


def _plain(value: Array) -> Array:
    """Half precision as float32: torch trains it there, and it is rounded again where it is written back."""
    return value.astype(np.float32) if value.dtype.itemsize == 2 and value.dtype.kind not in "iu" else value
