"""Read an ONNX model into nodes and constants, with whatever constants alone decide already computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper

from facesmith.faces.analyzers.onnx_graph import evaluate_nodes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operation. inputs: "" where an optional one is left out. opset: that its semantics follow."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, key: str, default: Any = None) -> Any:
        """Return an attribute: text as str, tensors as arrays."""
        return self.attributes.get(key, default)

    def __str__(self) -> str:
        return f"{self.op} ({self.name})"


@dataclass(frozen=True)
class Graph:
    """What a model computes. constants: by name, float16 as float32. computed: those that are no initializers, by the
    type the file has them in.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    computed: Mapping[str, np.dtype[Any]]


def read(model: onnx.ModelProto) -> Graph:
    """Read a model; local functions are written out."""
    if model.functions:
        model = inliner.inline_local_functions(model)
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
