"""Write changed weights back into the ONNX file they were read from; everything else of it stays as it is."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from facesmith.errors import UserError
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import Array


def write_back(path: Path, untouched: OnnxModule, merged: OnnxModule, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return the model of a file with changed weights.

    A weight that is an initializer keeps place, name and type; one that the file computes from others becomes an
    initializer in place of the node that computed it.

    Args:
        path: The file.
        untouched: The module that was read from it.
        merged: The same module with other weights.
        metadata: Added to the file's own metadata_props, or put in their place.

    Raises:
        UserError: The file is not the one that the modules were read from.
    """
    model = onnx.load(str(path))
    stored = {each.name: each for each in model.graph.initializer}
    computed: dict[str, Array] = {}
    for name, weight in untouched.weights.items():
        before, after = (_weight(module, name) for module in (untouched, merged))
        if torch.equal(before, after):
            continue
        value = weight.stored(after.numpy())
        if weight.constant in stored:
            _replace(stored[weight.constant], value, path)
        else:
            computed[weight.constant] = value.astype(weight.dtype)
    if computed:
        _store(model.graph, computed)
    known = {each.key: each for each in model.metadata_props}
    for key, text in metadata.items():
        entry = known.get(key) or model.metadata_props.add(key=key)
        entry.value = text
    return model


def _weight(module: OnnxModule, name: str) -> torch.Tensor:
    weight = module.get_submodule(name).weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().cpu()


def _replace(tensor: onnx.TensorProto, value: Array, path: Path) -> None:
    if list(tensor.dims) != list(value.shape):
        raise UserError(f"{path}: is another file than when it was read: {tensor.name} has another shape")
    given = numpy_helper.from_array(value.astype(numpy_helper.to_array(tensor).dtype), tensor.name)
    for field in ("float_data", "double_data", "int32_data", "external_data"):
        tensor.ClearField(field)
    tensor.ClearField("data_location")
    tensor.raw_data = given.raw_data


def _store(graph: onnx.GraphProto, computed: Mapping[str, Array]) -> None:
    """Make initializers of values that nodes computed, and drop what only these nodes read."""
    kept = [node for node in graph.node if not set(node.output) & set(computed)]
    outputs = {value.name for value in graph.output}
    while True:
        read = {name for node in kept for name in _reads(node)} | outputs
        alive = [node for node in kept if set(node.output) & read]
        if len(alive) == len(kept):
            break
        kept = alive
    before = {name for node in graph.node for name in _reads(node)}
    # New ones go first: of some swappers the last is looked for by its place.
    added = [numpy_helper.from_array(value, name) for name, value in computed.items()]
    rest = [each for each in graph.initializer if each.name in read or each.name not in before]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend([*added, *rest])


def _reads(node: onnx.NodeProto) -> set[str]:
    inner = (attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH)
    return {*node.input, *(name for graph in inner for each in graph.node for name in _reads(each))}
