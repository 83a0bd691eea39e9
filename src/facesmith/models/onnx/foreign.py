"""What a swapper of another project takes and gives: its file held against its kind, its source made for it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from facesmith.errors import UserError
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.info import ARCFACE_SIZE, MASK, SOURCE, TARGET, TYPES, SwapperType

Floats = npt.NDArray[np.float32]
Encode = Callable[[Floats], Floats]


@dataclass(frozen=True)
class ForeignContract:
    """A checked foreign swapper. size: of its crops in px. told: whether it takes a source. output, mask: names of its
    outputs, None where it gives no mask. encode: from an L2-normalised embedding (N,512), or a photo (N,3,P,P) RGB
    0..1, to its `source`. mean, std: (1,3,1,1), target = (RGB 0..1 - mean) / std.
    """

    kind: SwapperType
    size: int
    told: bool
    output: str
    mask: str | None
    encode: Encode
    mean: Floats
    std: Floats


def foreign_contract(
    graph: OnnxGraph, name: str, *, converter: Path | None, raw_length: float, group: str = "task"
) -> ForeignContract:
    """Hold a graph against the contract of its type, a key of `TYPES`.

    converter: crossface file for the types that need one. raw_length: length of an ArcFace embedding before
    it was normalised; a profile keeps its direction only, and converters are fed the raw one. group: of the keys
    `model_type` and `converter`, for errors.

    Raises:
        UserError: the graph is not of this contract, a converter is missing or needless.
    """
    kind = TYPES[name]
    size = _size(graph, name, kind)
    _check(graph, name, kind, size, f"{group}.model_type")
    told, key = SOURCE in graph.inputs, f"{group}.converter"
    if told and kind.source in ("converter", "unit_converter"):
        encode = _converter(graph, name, kind, converter, raw_length, key)
    elif converter is not None:
        raise UserError(f"{key}={converter}: {graph.path} ({name}) takes none; leave {key} out")
    else:
        encode = _emap(graph) if told and kind.source == "emap" else _as_it_is
    mean, std = (np.asarray(each, np.float32).reshape(1, 3, 1, 1) for each in kind.sizes[size])
    return ForeignContract(kind, size, told, next(iter(graph.outputs)), _mask_name(graph, size), encode, mean, std)


def _size(graph: OnnxGraph, name: str, kind: SwapperType) -> int:
    """Side of the crops: the file's, or the type's usual one where the file leaves it free."""
    shape = graph.inputs[TARGET].shape if TARGET in graph.inputs else ()
    if len(shape) == 4 and isinstance(shape[2], int) and shape[2] in kind.sizes:
        return shape[2]
    return next(iter(kind.sizes))


def _check(graph: OnnxGraph, name: str, kind: SwapperType, size: int, key: str) -> None:
    # Of the embedding types FaceFusion feeds `source` only where the graph asks for it.
    allowed = {TARGET, SOURCE}
    if TARGET not in graph.inputs or set(graph.inputs) - allowed or (kind.photo and SOURCE not in graph.inputs):
        raise UserError(
            f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs) or 'none'}, not source, target "
            f"({name}); choose another {key}"
        )
    wanted: dict[str, tuple[int | None, ...]] = {TARGET: (None, 3, size, size)}
    if SOURCE in graph.inputs:
        side = kind.photo[1] if kind.photo else None
        wanted[SOURCE] = (None, 3, side, side) if kind.photo else (None, ARCFACE_SIZE)
    for value, sizes in [(graph.inputs[each], sizes) for each, sizes in wanted.items()]:
        if not value.fits(*sizes):
            shape = "x".join("N" if step is None else str(step) for step in sizes)
            raise UserError(
                f"{graph}: wrong contract: input {value.name} is {value}, not tensor(float) {shape} ({name}); "
                f"choose another {key}"
            )


def _mask_name(graph: OnnxGraph, size: int) -> str | None:
    """The output that says what was changed, where the file gives one."""
    value = graph.outputs.get(MASK)
    return MASK if value is not None and value.fits(None, 1, size, size) else None


def _as_it_is(source: Floats) -> Floats:
    return source


def _converter(
    graph: OnnxGraph, name: str, kind: SwapperType, converter: Path | None, raw_length: float, key: str
) -> Encode:
    if converter is None:
        raise UserError(f"{key}: {graph.path} ({name}) needs one; give {key}=crossface_{name}.onnx")
    crossface = OnnxGraph(converter, key)
    value = crossface.inputs.get("input")
    if value is None or len(crossface.inputs) > 1 or not value.fits(None, ARCFACE_SIZE):
        raise UserError(f"{crossface}: wrong contract: takes no input Nx{ARCFACE_SIZE}; give a crossface file")
    unit = kind.source == "unit_converter"

    def convert(source: Floats) -> Floats:
        (output,) = crossface.run({"input": np.ascontiguousarray(source * np.float32(raw_length))})[:1]
        if output.shape != source.shape:
            raise UserError(f"{crossface}: wrong contract: gives {_shape(output)}, not {_shape(source)}")
        return np.asarray(output / np.linalg.norm(output, axis=1, keepdims=True) if unit else output, np.float32)

    return _remembered(convert)


def _emap(graph: OnnxGraph) -> Encode:
    """Inswapper's own projection of an embedding, which its file carries as the last initializer."""
    weights = onnx.load(str(graph.path)).graph.initializer
    emap = numpy_helper.to_array(weights[-1]) if len(weights) else np.zeros(0)
    if emap.shape != (ARCFACE_SIZE, ARCFACE_SIZE):
        raise UserError(
            f"{graph}: wrong contract: its last initializer is {_shape(emap)}, not the {ARCFACE_SIZE}x{ARCFACE_SIZE} "
            "emap (inswapper); give the original file"
        )
    projection = emap.astype(np.float32)
    return lambda source: np.asarray(source @ projection, np.float32)


def _remembered(encode: Encode) -> Encode:
    """Encode the same embedding once, not once a frame."""
    known: dict[bytes, Floats] = {}
    lock = threading.Lock()

    def remember(source: Floats) -> Floats:
        key = source.tobytes()
        with lock:
            if key not in known:
                known.clear()
                known[key] = encode(source)
            return known[key]

    return remember


def _shape(array: npt.NDArray[Any]) -> str:
    return "x".join(str(step) for step in array.shape) or "one number"
