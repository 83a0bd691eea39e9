"""Find the weights of convolutions and linear layers in a graph, and build these layers in torch."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from facesmith.models.onnx.to_torch.reading import Array, Graph, Node

L = TypeVar("L", nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Weight:
    """Origin of a layer's weight in the graph.

    Attributes:
        constant: Name of the constant in the file.
        transposed: Whether the constant is transposed.
        scale: Factor from constant to weight.
        dtype: Of the constant, where the file computes it.
    """

    constant: str
    transposed: bool = False
    scale: float = 1.0
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))

    def stored(self, weight: Array) -> Array:
        """Return the constant that makes the layer's weight this one."""
        given = weight / np.float32(self.scale) if self.scale != 1 else weight
        return np.ascontiguousarray(given.T if self.transposed else given)


@dataclass(frozen=True)
class Layer:
    """One layer of a graph.

    Attributes:
        module: As torch has it.
        weight: Where its weight comes from.
        name: Dotted.
        nodes: The nodes it computes, all alike.
        fixed: Why it cannot be adapted, None where it can.
    """

    module: nn.Conv2d | nn.Linear
    weight: Weight
    name: str
    nodes: tuple[Node, ...]
    fixed: str | None


def layers_of(graph: Graph, trained: bool) -> list[Layer]:
    """Find the layers of a graph.

    Args:
        graph: The graph.
        trained: Whether the file calls what was trained `.weight`, so that other constants cannot be adapted.
    """
    uses: dict[str, list[tuple[Node, int]]] = defaultdict(list)
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            uses[name].append((node, place))
    found = []
    for name in graph.constants:
        nodes = [node for node, place in uses[name] if place == 1]
        if len(nodes) != len(uses[name]) or len({_signature(node) for node in nodes}) != 1 or name in graph.outputs:
            continue
        layer = _layer(graph, nodes, name)
        if layer is not None:
            module, weight = layer
            if name in graph.computed:
                weight = replace(weight, dtype=graph.computed[name])
            fixed = _fixed(module, name, trained)
            found.append(Layer(module, weight, _name(name, nodes[0]), tuple(nodes), fixed))
    return found


def shared_constants(graph: Graph, layers: Sequence[Layer]) -> list[str]:
    """Return the constants that convolve or multiply but cannot be adapted, as other operations use them too."""
    held = {layer.weight.constant for layer in layers}
    heavy = {n.inputs[1] for n in graph.nodes if n.op in ("Conv", "Gemm", "MatMul") and len(n.inputs) > 1}
    return sorted(name for name in heavy & set(graph.constants) - held if graph.constants[name].ndim in (2, 4))


def _signature(node: Node) -> tuple[object, ...]:
    """Return what two nodes of one weight must have in common to be one layer."""
    given_name = {key: str(value) for key, value in node.attributes.items()}
    return (node.op, tuple(sorted(given_name.items())), node.inputs[2:])


def _layer(graph: Graph, nodes: Sequence[Node], name: str) -> tuple[nn.Conv2d | nn.Linear, Weight] | None:
    node, weight = nodes[0], graph.constants[name]
    if weight.dtype != np.float32:
        return None
    if node.op == "Conv" and weight.ndim == 4 and all(each in graph.constants for each in node.inputs[2:] if each):
        return _conv(graph, node, weight), Weight(name)
    if node.op == "MatMul" and weight.ndim == 2:
        return _linear(weight.T, None), Weight(name, transposed=True)
    if node.op == "Gemm" and weight.ndim == 2 and not node.get("transA", 0):
        transposed, scale = not node.get("transB", 0), float(node.get("alpha", 1.0))
        matrix = (weight.T if transposed else weight) * np.float32(scale)
        given = node.inputs[2] if len(node.inputs) > 2 else ""
        bias = graph.constants.get(given)
        plain = bias is not None and bias.size == len(matrix)
        total = None if not plain or bias is None else bias.reshape(-1) * np.float32(node.get("beta", 1.0))
        return _linear(matrix, total), Weight(name, transposed, scale)
    return None


def _conv(graph: Graph, node: Node, weight: Array) -> nn.Conv2d:
    out, group = len(weight), node.get("group", 1)
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    pads = list(node.get("pads") or [0] * 4)
    even = node.get("auto_pad", "NOTSET") == "NOTSET" and pads[:2] == pads[2:]
    layer = nn.Conv2d(
        weight.shape[1] * group,
        out,
        weight.shape[2:],
        tuple(node.get("strides") or (1, 1)),
        tuple(pads[:2]) if even else 0,
        tuple(node.get("dilations") or (1, 1)),
        group,
        bias is not None,
        device="meta",
    )
    return _fill(layer, weight, bias)


def pads_inside(layer: nn.Module) -> bool:
    """Return whether the layer computes its padding itself; else the node's attributes state it."""
    return not isinstance(layer, nn.Conv2d) or layer.padding != (0, 0)


def _linear(matrix: Array, bias: Array | None) -> nn.Linear:
    return _fill(nn.Linear(matrix.shape[1], matrix.shape[0], bias is not None, device="meta"), matrix, bias)


def _fill(layer: L, weight: Array, bias: Array | None) -> L:
    layer.weight = nn.Parameter(torch.from_numpy(np.array(weight, np.float32, order="C")), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(np.array(bias, np.float32, order="C")), requires_grad=False)
    return layer.eval()


def _fixed(layer: nn.Conv2d | nn.Linear, name: str, trained: bool) -> str | None:
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return "has grouped channels"
    if trained and not name.endswith(".weight"):
        return "was never trained"
    return "has one channel" if min(layer.weight.shape[:2]) < 2 else None


def _name(constant: str, node: Node) -> str:
    """Return a dotted module name: the weight's own where it is meaningful, else its node's."""
    given_name = constant.removesuffix(".weight")
    if given_name == constant and re.search(r"[A-Za-z]", node.name):
        given_name = node.name
    parts = [re.sub(r"\W+", "_", part) for part in re.split(r"[./]+", given_name) if part]
    return ".".join(f"{part}_" if hasattr(nn.Module, part) else part for part in parts) or "layer"
