"""Landmarks as an input that need not be fed: without them the graph runs its own network.

`landmarks` is a graph input with a default, which holds no face: an overridable initializer. Runtimes do not list it
among the inputs, so that clients which feed all inputs they see never meet it. An `If` runs the network only where the
default was left.
"""

from collections.abc import Sequence
from typing import Final, Protocol, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from facesmith.faces.analyzers.onnx_graph import evaluate_nodes
from facesmith.faces.geometry import topology
from facesmith.models.onnx.info import LANDMARKS

PRESENCE: Final = "presence"
_PREFIX: Final = "find_landmarks/"


class FindsLandmarks(Protocol):
    """A module that finds the landmarks it needs, see `LandmarkGenerator.find_landmarks`."""

    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return landmarks (N,478,3) and presence (N,) of pictures in the module's own layout."""
        ...


class LandmarkFinder(nn.Module):
    """That part of a module as one that can be traced."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return landmarks (N,478,3) and presence (N,) of pictures in the module's own layout."""
        return cast(FindsLandmarks, self.module).find_landmarks(target)


def landmark_example() -> dict[str, Tensor]:
    """Return the optional input of an `ExportSpec` that takes landmarks."""
    return {LANDMARKS: torch.zeros(1, topology.LANDMARKS, 3)}


def make_optional(model: onnx.ModelProto, finder: onnx.ModelProto, picture: str) -> onnx.ModelProto:
    """Return a graph that finds the landmarks which it is not fed.

    Args:
        model: With the inputs landmarks (N,478,3) and presence (N,) beside the picture; it is changed.
        finder: From the picture to landmarks and presence.
        picture: Name of the picture's input.
    """
    graph = model.graph
    used = {LANDMARKS: f"{LANDMARKS}/used", PRESENCE: f"{PRESENCE}/used"}
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = used.get(name, name)
    shape = [axis.dim_value for axis in _value(graph.input, LANDMARKS).type.tensor_type.shape.dim]
    kept = [value for value in graph.input if value.name not in used]
    fed = helper.make_tensor_value_info(LANDMARKS, TensorProto.FLOAT, ["faces", *shape[1:]])
    given = helper.make_graph(
        [
            helper.make_node("Identity", [LANDMARKS], [f"{LANDMARKS}/fed"]),
            helper.make_node("Shape", [LANDMARKS], [f"{PRESENCE}/shape"], start=0, end=1),
            helper.make_node(
                "ConstantOfShape",
                [f"{PRESENCE}/shape"],
                [f"{PRESENCE}/fed"],
                value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            ),
        ],
        "fed",
        [],
        [
            helper.make_tensor_value_info(f"{LANDMARKS}/fed", TensorProto.FLOAT, ["faces", *shape[1:]]),
            helper.make_tensor_value_info(f"{PRESENCE}/fed", TensorProto.FLOAT, ["faces"]),
        ],
    )
    choice = [
        helper.make_node("Size", [LANDMARKS], [f"{LANDMARKS}/size"]),
        helper.make_node("Cast", [f"{LANDMARKS}/size"], [f"{LANDMARKS}/given"], to=TensorProto.BOOL),
        helper.make_node(
            "If",
            [f"{LANDMARKS}/given"],
            list(used.values()),
            then_branch=given,
            else_branch=_as_branch(finder.graph, picture),
        ),
    ]
    nodes = [*choice, *graph.node]
    for field, items in ((graph.node, nodes), (graph.input, [*kept, fed])):
        del field[:]
        field.extend(items)
    graph.initializer.append(numpy_helper.from_array(np.zeros((0, *shape[1:]), np.float32), LANDMARKS))
    return model


def _as_branch(graph: onnx.GraphProto, picture: str) -> onnx.GraphProto:
    """Return a finder's graph as a branch: names of its own, and the picture read from the graph around it."""
    branch = onnx.GraphProto()
    branch.CopyFrom(graph)
    del branch.input[:], branch.value_info[:]
    for node in branch.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = name if name in ("", picture) else _PREFIX + name
        node.name = _PREFIX + node.name
    for value in (*branch.output, *branch.initializer):
        value.name = _PREFIX + value.name
    return branch


def without_choice(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each `If` that its defaults decide replaced by the branch that is taken.

    Args:
        model: It is not changed.
    """
    if not any(node.op_type == "If" for node in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        needed = None if node.op_type != "If" else _made_by(nodes, node.input[0], set(constants))
        if needed is None:
            nodes.append(node)
            continue
        taken = node.input[0]
        found = evaluate_nodes(needed, constants, [taken], model.opset_import)[taken] if needed else constants[taken]
        branch = _branch(node, "then_branch" if bool(found) else "else_branch")
        graph.initializer.extend(branch.initializer)
        renamed = {value.name: name for value, name in zip(branch.output, node.output, strict=True)}
        for inner in branch.node:
            for names in (inner.input, inner.output):
                for i, name in enumerate(names):
                    names[i] = renamed.get(name, name)
        nodes.extend(branch.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _made_by(nodes: Sequence[onnx.NodeProto], name: str, constants: set[str]) -> list[onnx.NodeProto] | None:
    """Return the nodes that compute a value from constants alone, in order; None where an input decides it too."""
    makers = {output: node for node in nodes for output in node.output}
    chain: list[onnx.NodeProto] = []
    waiting = [name]
    while waiting:
        wanted = waiting.pop()
        if wanted in constants or not wanted:
            continue
        if wanted not in makers:
            return None
        chain.append(makers[wanted])
        waiting.extend(makers[wanted].input)
    return [node for node in nodes if any(node is each for each in chain)]


def _branch(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    return cast(onnx.GraphProto, next(each.g for each in node.attribute if each.name == name))


def _value(values: Sequence[onnx.ValueInfoProto], name: str) -> onnx.ValueInfoProto:
    return next(value for value in values if value.name == name)
