"""Convert a TensorFlow.js graph model of plain convolutions to ONNX. Nothing in its files is run."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facesmith.errors import UserError

Array = NDArray[Any]

_OPSET: Final = 17
_IR: Final = 8
_PLAIN: Final = {
    "Add": "Add",
    "AddV2": "Add",
    "BiasAdd": "Add",
    "Mul": "Mul",
    "Relu": "Relu",
    "Minimum": "Min",
    "Maximum": "Max",
    "Sigmoid": "Sigmoid",
    "Softmax": "Softmax",
}


@dataclass
class _Graph:
    """What has been converted."""

    weights: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = value
        return name

    def operand(self, name: str) -> str:
        """Return a tensor by name; a constant per channel is brought into the place of ONNX's channels."""
        if name not in self.weights:
            return name
        value = self.weights[name]
        return self.constant(name, value.reshape(-1, 1, 1) if value.ndim == 1 and value.size > 1 else value)


def convert(topology: Path, weights: Path, output: str) -> onnx.ModelProto:
    """Convert the part of a graph that one output needs.

    Args:
        topology: The .json file.
        weights: Its one .bin file; values stored as halves are read.
        output: Name of the node whose result, a vector a picture, the model returns.

    Returns:
        A model with one input `input` (N,3,H,W), in the value range and channel order of the graph.

    Raises:
        UserError: The files are no such model, or have an operator that is not known here.
    """
    try:
        content = json.loads(topology.read_text(encoding="utf-8"))
        nodes = {node["name"]: node for node in content["modelTopology"]["node"]}
        held = _read_weights(content["weightsManifest"], weights.read_bytes())
        (placeholder,) = (node for node in nodes.values() if node["op"] == "Placeholder")
        height, width, channels = (int(one["size"]) for one in placeholder["attr"]["shape"]["shape"]["dim"][1:])
        graph = _Graph(held)
        for node in _order(nodes, output):
            if node["op"] not in ("Placeholder", "Const"):
                _convert_node(node, graph)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{topology}: is no TensorFlow.js graph model ({error}); give a model.json and its .bin"
        ) from None
    for one in graph.nodes:
        one.input[:] = ["input" if name == placeholder["name"] else name for name in one.input]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            topology.stem,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, height, width])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", "features"])],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    onnx.checker.check_model(model)
    return model


def _read_weights(manifest: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Array]:
    found: dict[str, Array] = {}
    offset = 0
    for group in manifest:
        for one in group["weights"]:
            quantised = one.get("quantization", {}).get("dtype")
            if quantised not in (None, "float16"):
                raise ValueError(f"weights are stored as {quantised}")
            stored = np.dtype(quantised or one["dtype"]).newbyteorder("<")
            count = prod(one["shape"])
            value = np.frombuffer(data, stored, count, offset).reshape(one["shape"])
            found[one["name"]] = value.astype(one["dtype"])
            offset += count * stored.itemsize
    if offset != len(data):
        raise ValueError(f"weights have {len(data)} bytes, {offset} are named")
    return found


def _order(nodes: Mapping[str, Mapping[str, Any]], output: str) -> list[Mapping[str, Any]]:
    """Return what an output needs, each node after its inputs."""
    ordered: dict[str, Mapping[str, Any]] = {}
    waiting = [output]
    while waiting:
        name = waiting[-1]
        inputs = [one.split(":")[0] for one in nodes[name].get("input", [])]
        missing = [one for one in inputs if one not in ordered]
        if name in ordered or not missing:
            ordered.setdefault(name, nodes[name])
            waiting.pop()
        elif len(waiting) > len(nodes):
            raise ValueError("the graph runs in a circle")
        else:
            waiting += missing
    return list(ordered.values())


def _convert_node(node: Mapping[str, Any], graph: _Graph) -> None:
    operator = node["op"]
    if operator in _PLAIN:
        graph.add(_PLAIN[operator], [graph.operand(name) for name in node["input"]], node["name"])
        return
    if operator not in _SPECIAL:
        raise ValueError(f"has the operator {operator}, which is not known here")
    _SPECIAL[operator](node, graph)


def _convolve(node: Mapping[str, Any], graph: _Graph) -> None:
    attributes, (source, kernel) = node["attr"], node["input"]
    weights = graph.weights[kernel]
    grouped = node["op"] == "DepthwiseConv2dNative"
    if _text(attributes["data_format"]) != "NHWC" or (grouped and weights.shape[3] != 1):
        raise ValueError(f"{node['name']} is no convolution that is known here")
    # (H,W,in,out) of TensorFlow, depthwise (H,W,channels,1), becomes (out,in,H,W)
    value = weights.transpose((2, 3, 0, 1) if grouped else (3, 2, 0, 1))
    same = _text(attributes["padding"]) == "SAME"
    graph.add(
        "Conv",
        [source, graph.constant(kernel, value)],
        node["name"],
        auto_pad="SAME_UPPER" if same else "VALID",
        group=len(value) if grouped else 1,
        kernel_shape=value.shape[2:],
        strides=_middle(attributes["strides"]),
        dilations=_middle(attributes["dilations"]),
    )


def _average(node: Mapping[str, Any], graph: _Graph) -> None:
    source, axes = node["input"]
    if sorted(graph.weights[axes].tolist()) != [1, 2]:
        raise ValueError(f"{node['name']} averages over other axes than height and width")
    graph.add("ReduceMean", [source], node["name"], axes=[2, 3], keepdims=int(node["attr"]["keep_dims"]["b"]))


_SPECIAL: Final[dict[str, Callable[[Mapping[str, Any], _Graph], None]]] = {
    "Conv2D": _convolve,
    "DepthwiseConv2dNative": _convolve,
    "Mean": _average,
}


def _text(attribute: Mapping[str, str]) -> str:
    return base64.b64decode(attribute["s"]).decode()


def _middle(attribute: Mapping[str, Any]) -> list[int]:
    """Return height and width of a list (batch, height, width, channels)."""
    return [int(one) for one in attribute["list"]["i"][1:3]]
