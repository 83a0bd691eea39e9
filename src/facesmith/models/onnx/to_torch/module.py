"""An ONNX graph as a torch module."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.models.onnx.to_torch import arithmetic, shapes, spatial
from facesmith.models.onnx.to_torch.layers import Layer, Weight, layers_of, pads_inside, shared_constants
from facesmith.models.onnx.to_torch.reading import Graph, Node

SUPPORTED: Final = {**arithmetic.TABLE, **shapes.TABLE, **spatial.TABLE}


class OnnxModule(nn.Module):
    """A graph, frozen and differentiable, that computes what onnxruntime does.

    Attributes:
        inputs: Names of its inputs, in order.
        outputs: Names of its outputs, in order.
        nodes: Its operations.
        weights: Where the weight of each layer comes from, by the layer's name.
        fixed: Layers and constants that cannot be adapted, with the reason.
        adaptable: Names of all other layers.
    """

    def __init__(
        self,
        graph: Graph,
        origin: object,
        *,
        trained: bool = False,
        hint: str = "give a checkpoint, or a file exported without them",
    ) -> None:
        """Build the module.

        Args:
            graph: What it computes.
            origin: Names the file in errors.
            trained: Whether only constants called `.weight` were trained, see `layers_of`.
            hint: What the user can do where operators are not supported.

        Raises:
            UserError: Operators are not supported; the error names them all.
        """
        super().__init__()
        _require_supported(graph, origin, hint)
        self.inputs, self.outputs, self.nodes = graph.inputs, graph.outputs, graph.nodes
        self.weights: dict[str, Weight] = {}
        self.fixed = dict.fromkeys(
            shared_constants(graph, layers := layers_of(graph, trained)), "is used in several ways"
        )
        self._layer_at: dict[str, str] = {}  # by the node's first output
        for layer in layers:
            self._hold(layer)
        self.adaptable = [name for name in self.weights if name not in self.fixed]
        self._buffer_of: dict[str, str] = {}
        self._numbers: dict[str, Tensor] = {}  # whole numbers stay on the CPU, where sizes are counted
        alone = {name for node in graph.nodes for name in self._read_by(node)} | set(graph.outputs)
        for name in sorted(graph.constants.keys() & alone):
            value = torch.tensor(graph.constants[name])  # standard strides, also of single numbers
            if value.is_floating_point():
                self._keep(name, value)
            else:
                self._numbers[name] = value
        self._last = _last_uses(graph, [self._read_by(node) for node in graph.nodes])

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Where automatic mixed precision is on, only layers that can be adapted use it: all else, such as the geometry
        of a face or a variance, was written for float32, and gives NaN in less.

        Args:
            given: The inputs, in the order of `inputs`.
        """
        device = given[0].device.type
        mixed = torch.is_autocast_enabled(device)
        if mixed:
            given = tuple(value.float() if value.is_floating_point() else value for value in given)
        values: dict[str, Tensor] = dict(zip(self.inputs, given, strict=True)) | self._numbers
        values.update((name, getattr(self, key)) for name, key in self._buffer_of.items())
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            for node, done in zip(self.nodes, self._last, strict=True):
                result = self._compute(node, values, mixed)
                for name, value in zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False):
                    values[name] = value
                for name in done:
                    del values[name]
        return tuple(values[name] for name in self.outputs)

    def _compute(self, node: Node, values: dict[str, Tensor], mixed: bool) -> Any:
        name = self._layer_at.get(node.outputs[0])
        if name is None:
            return SUPPORTED[node.op](node, *(values[each] if each else None for each in node.inputs))
        layer, x = self.get_submodule(name), values[node.inputs[0]]
        base: Any = getattr(layer, "base_layer", layer)  # under a LoRA of peft
        if node.op == "Conv" and not pads_inside(base):
            pads = spatial.padding(node, x.shape[2:], base.kernel_size)
            x = F.pad(x, pads) if any(pads) else x
        if mixed and name not in self.fixed:
            with torch.autocast(x.device.type):
                made: Tensor = layer(x).float()
        else:
            made = layer(x)
        if node.op == "Gemm" and base.bias is None and len(node.inputs) > 2 and node.inputs[2]:
            made = made + node.get("beta", 1.0) * values[node.inputs[2]]
        return made

    def _read_by(self, node: Node) -> list[str]:
        """Return the names of the values a node reads, except those its layer holds."""
        name = self._layer_at.get(node.outputs[0])
        if name is None:
            return [each for each in node.inputs if each]
        layer: Any = self.get_submodule(name)
        separate_bias = node.op == "Gemm" and layer.bias is None
        return [node.inputs[0], *(each for each in node.inputs[2:] if separate_bias and each)]

    def _hold(self, layer: Layer) -> None:
        """Register a layer under its dotted name, or one like it that is free."""
        name = layer.name
        while not self._free(name):
            name += "_"
        parent: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(last, layer.module)
        self.weights[name] = layer.weight
        if layer.fixed:
            self.fixed[name] = layer.fixed
        for node in layer.nodes:
            self._layer_at[node.outputs[0]] = name

    def _keep(self, name: str, value: Tensor) -> None:
        key = "constant_" + re.sub(r"\W", "_", name)
        while hasattr(self, key):
            key += "_"
        self._buffer_of[name] = key
        self.register_buffer(key, value)

    def _free(self, name: str) -> bool:
        parts = name.split(".")
        above = {".".join(parts[:i]) for i in range(1, len(parts))}
        first = hasattr(self, parts[0]) and parts[0] not in dict(self.named_children())
        taken = {other for other, _ in self.named_modules()}
        return not first and name not in taken and not above & set(self.weights)


def _require_supported(graph: Graph, origin: object, hint: str) -> None:
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    wrong: list[str] = []
    for node in graph.nodes:
        if node.op not in SUPPORTED:
            wrong.append(str(node))
        elif reason := _unsupported(node, read):
            wrong.append(f"{node}: {reason}")
    if wrong:
        raise UserError(
            f"{origin}: cannot be read into torch, these operators are not supported: {', '.join(wrong)}; {hint}"
        )


def _unsupported(node: Node, read: set[str]) -> str | None:
    if node.op not in ("Split", "TopK") and any(name in read for name in node.outputs[1:]):
        return "its second output"
    if node.op == "Cast" and node.get("to") not in shapes.DTYPES:
        return f"to type {node.get('to')}"
    if node.op == "Dropout" and any(node.inputs[2:]):
        return "training_mode"
    if node.op == "ArgMax" and node.get("select_last_index", 0):
        return "select_last_index"
    return spatial.unsupported(node)


def _last_uses(graph: Graph, reads: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return, for each node, the values that nothing needs after it."""
    last: dict[str, int] = {}
    for number, (node, names) in enumerate(zip(graph.nodes, reads, strict=True)):
        last.update(dict.fromkeys((*names, *filter(None, node.outputs)), number))
    done: list[list[str]] = [[] for _ in graph.nodes]
    for name, number in last.items():
        if name not in graph.outputs and name not in graph.constants:
            done[number].append(name)
    return done
