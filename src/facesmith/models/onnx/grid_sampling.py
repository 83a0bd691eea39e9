"""Run graphs with their GridSample operators computed by OpenCV: on a CPU, ten times as fast as onnxruntime's own."""

import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_OPERATOR: Final = b"GridSample"
_BORDERS: Final = {b"border": cv2.BORDER_REPLICATE, b"zeros": cv2.BORDER_CONSTANT}
_CHANNELS: Final = 4  # that OpenCV samples at once
_EXACT: Final = 5  # version of OpenCV from which `cv2.remap` weighs neighbours exactly; before, by 32nds of a pixel
_FAR: Final = 1e4  # px: OpenCV rounds places far outside to whole numbers of 16 bits
_BILINEAR: Final = range(16, 20)  # opsets in which a bilinear GridSample is one of pictures, not of volumes


def sample_grid(pictures: Floats, grids: Floats, border: int, align_corners: bool) -> Floats:
    """Compute what ONNX's bilinear GridSample does.

    Args:
        pictures: (N,C,H,W).
        grids: (N,h,w,2) places x, y; -1 and 1 are the picture's edges, or the middles of its outermost pixels.
        border: OpenCV's border outside the picture.
        align_corners: Whether -1 and 1 are middles of pixels.

    Returns:
        (N,C,h,w).
    """
    height, width = pictures.shape[2:]
    across, down = (width - 1, height - 1) if align_corners else (width, height)
    start = (0.0, 0.0) if align_corners else (-0.5, -0.5)
    turn = np.array([[across / 2, 0, across / 2 + start[0]], [0, down / 2, down / 2 + start[1]]])
    result = np.empty((*pictures.shape[:2], *grids.shape[1:3]), np.float32)
    for picture, grid, made in zip(pictures, grids, result, strict=True):
        places = cv2.transform(np.ascontiguousarray(grid), turn)
        lost = None
        if not (places.min() > -_FAR and places.max() < _FAR):
            lost = np.asarray(~np.isfinite(places).all(axis=-1), bool)
            places = np.clip(np.where(lost[..., None], 0, places), -2, np.array([width + 1, height + 1], np.float32))
        for first in range(0, len(picture), _CHANNELS):
            part = picture[first : first + _CHANNELS]
            seen = cv2.remap(cv2.merge(list(part)), places, None, cv2.INTER_LINEAR, borderMode=border)
            made[first : first + _CHANNELS] = cv2.split(seen)
        if lost is not None:
            made[:, lost] = np.nan
    return result


@dataclass(frozen=True)
class _Sampling:
    """A GridSample: names of its tensors, and how it treats what lies outside."""

    picture: str
    grid: str
    output: str
    border: int
    align_corners: bool

    def compute(self, values: Mapping[str, Array]) -> Floats:
        return sample_grid(values[self.picture], values[self.grid], self.border, self.align_corners)


@dataclass
class _Stage:
    """Nodes that need no samplings but those of the stages before, and the samplings that need these nodes."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    samplings: list[_Sampling] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    session: onnxruntime.InferenceSession | None = None

    def reads(self) -> set[str]:
        """Return the names of all tensors that it takes from elsewhere."""
        sampled = {name for each in self.samplings for name in (each.picture, each.grid)}
        return (_read_by(self.nodes) | sampled) - {name for node in self.nodes for name in node.output}


class StagedGraph:
    """A graph cut at its samplings: onnxruntime runs what lies between. May be called from several threads."""

    def __init__(self, model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> None:
        """Cut a graph and open its stages.

        Args:
            model: One of which `can_stage` holds.
            options: Of each stage's session.
        """
        inferred = onnx.shape_inference.infer_shapes(model).graph
        types = {each.name: each.type.tensor_type.elem_type for each in (*inferred.value_info, *inferred.output)}
        inputs = {each.name: each for each in model.graph.input}
        constants = {each.name: each for each in model.graph.initializer}
        self._stages = _cut(model)
        types |= {each.output: onnx.TensorProto.FLOAT for stage in self._stages for each in stage.samplings}
        wanted = {each.name for each in model.graph.output}
        self._known = {
            name: numpy_helper.to_array(constants[name])
            for name in wanted.union(*(stage.reads() for stage in self._stages if stage.samplings))
            if name in constants and name not in inputs
        }
        for stage in reversed(self._stages):
            made = {name for node in stage.nodes for name in node.output}
            sampled = {name for each in stage.samplings for name in (each.picture, each.grid)}
            stage.outputs = sorted(made & (wanted | sampled) - {""})
            read = _read_by(stage.nodes) - made
            stage.inputs = sorted(read & inputs.keys() | (read - constants.keys()))
            wanted |= read | sampled
            if stage.outputs:
                body = helper.make_graph(
                    stage.nodes,
                    "stage",
                    [
                        inputs.get(name) or helper.make_tensor_value_info(name, types[name], None)
                        for name in stage.inputs
                    ],
                    [helper.make_empty_tensor_value_info(name) for name in stage.outputs],
                    [constants[name] for name in sorted(read) if name in constants],
                )
                part = helper.make_model(body, opset_imports=model.opset_import, functions=model.functions)
                part.ir_version = model.ir_version
                stage.session = onnxruntime.InferenceSession(
                    part.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            stage.nodes = []

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Compute outputs.

        Args:
            names: Of the outputs.
            feed: Inputs by name.
        """
        values: dict[str, Array] = {**self._known, **feed}
        for stage in self._stages:
            if stage.session is not None:
                given = {name: values[name] for name in stage.inputs if name in values}
                values.update(zip(stage.outputs, stage.session.run(stage.outputs, given), strict=True))
            for sampling in stage.samplings:
                values[sampling.output] = sampling.compute(values)
        return [values[name] for name in names]


def load_staged(source: Path | bytes) -> onnx.ModelProto | None:
    """Read a model whose samplings OpenCV computes faster; None for any other, which is hardly looked at.

    Args:
        source: The file, or the serialised model.
    """
    if isinstance(source, bytes):
        mentioned = _OPERATOR in source
    else:
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            mentioned = content.find(_OPERATOR) >= 0
    if not mentioned:
        return None
    model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(str(source))
    return model if can_stage(model) else None


def can_stage(model: onnx.ModelProto) -> bool:
    """Return whether a graph has samplings that OpenCV computes as exactly as onnxruntime."""
    exact = int(cv2.__version__.partition(".")[0]) >= _EXACT
    return exact and any(_sampling(node, model) for node in model.graph.node)


def _sampling(node: onnx.NodeProto, model: onnx.ModelProto) -> _Sampling | None:
    """Return a node as a sampling; None if it is none that OpenCV computes."""
    version = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if node.op_type != _OPERATOR.decode() or node.domain not in ("", "ai.onnx") or version not in _BILINEAR:
        return None
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    border = _BORDERS.get(given.get("padding_mode", b"zeros"))
    if border is None or given.get("mode", b"bilinear") != b"bilinear":
        return None
    return _Sampling(node.input[0], node.input[1], node.output[0], border, bool(given.get("align_corners", 0)))


def _cut(model: onnx.ModelProto) -> list[_Stage]:
    """Assign each node to the first stage in which it can run."""
    level: dict[str, int] = {}
    sources: dict[str, onnx.NodeProto] = {}  # constants as nodes: every stage that reads one has its own
    stages = [_Stage()]
    for node in model.graph.node:
        read = _read_by([node])
        if not read:
            sources.update(dict.fromkeys(node.output, node))
            continue
        at = max(level.get(name, 0) for name in read)
        sampling = _sampling(node, model)
        while len(stages) <= at + (sampling is not None):
            stages.append(_Stage())
        if sampling is not None:
            stages[at].samplings.append(sampling)
        else:
            stages[at].nodes.append(node)
        level.update(dict.fromkeys(node.output, at + (sampling is not None)))
    for stage in stages:
        own = {id(sources[name]): sources[name] for name in sorted(stage.reads() & sources.keys())}
        stage.nodes[:0] = own.values()
    return stages


def _read_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Return the names of all tensors that nodes read, also within their subgraphs."""
    read: set[str] = set()
    for node in nodes:
        read.update(node.input)
        for attribute in node.attribute:
            for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                own = {each.name for each in (*graph.input, *graph.initializer)}
                read |= _read_by(graph.node) - own - {name for each in graph.node for name in each.output}
                read |= {each.name for each in graph.output} - own - {n for each in graph.node for n in each.output}
    return read - {""}
