"""Swappers of other projects, used by their own contracts."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from facesmith.errors import UserError
from facesmith.model_files.contract import MASK, SOURCE, TARGET
from facesmith.model_files.types import ARCFACE, ARCFACE_SIZE, TYPES, SwapperType
from facesmith.onnx_graph import OnnxGraph
from facesmith.swap_models.aligned import Floats, Pixels, SwapModel, finished

Encode = Callable[[Floats], Floats]


def load_foreign(graph: OnnxGraph, name: str, *, converter: Path | None, raw_length: float) -> SwapModel:
    """Make a swapper of a graph by the contract of its type, a key of `TYPES`.

    converter: crossface file for the types that need one. raw_length: length of an ArcFace embedding before
    it was normalised; a profile keeps its direction only, and converters are fed the raw one.

    Raises:
        UserError: the graph is not of this contract, a converter is missing or needless.
    """
    kind = TYPES[name]
    size = _size(graph, name, kind)
    told = SOURCE in graph.inputs
    _check(graph, name, kind, size)
    encode = _encoder(graph, name, kind, converter, raw_length) if told else _checked_needless(graph, name, converter)
    mask_name = _mask_name(graph, size)
    mean, std = (np.asarray(each, np.float32).reshape(1, 3, 1, 1) for each in kind.sizes[size])
    outputs = [next(iter(graph.outputs)), *([mask_name] if mask_name else [])]

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        target = (crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - mean) / std
        feed = {TARGET: np.ascontiguousarray(target)}
        if source is not None:
            one = source[None] if kind.photo else np.atleast_2d(source)
            feed[SOURCE] = _repeated(encode(one), len(crops))
        output, *more = graph.run(feed, outputs)
        if output.shape != target.shape:
            raise UserError(
                f"{graph}: wrong contract: output 0 is {_shape(output)}, not {_shape(target)}; "
                "choose another task.model_type"
            )
        picture = finished((output * std + mean if kind.centred else output) * 255)
        mask = np.clip(more[0][:, 0], 0, 1) if more else np.ones((len(crops), size, size), np.float32)
        return picture, mask.astype(np.float32)

    said = graph.metadata
    return SwapModel(
        kind.template,
        size,
        run,
        embedder=ARCFACE if told and kind.photo is None else "",
        embedding_size=ARCFACE_SIZE if told and kind.photo is None else None,
        photo=kind.photo if told else None,
        identity="" if told else said.get("identity", graph.path.stem),
        consent="" if told else said.get("consent", ""),
        consent_note="" if told else said.get("consent_note", ""),
    )


def _size(graph: OnnxGraph, name: str, kind: SwapperType) -> int:
    """Side of the crops: the file's, or the type's usual one where the file leaves it free."""
    shape = graph.inputs[TARGET].shape if TARGET in graph.inputs else ()
    if len(shape) == 4 and isinstance(shape[2], int) and shape[2] in kind.sizes:
        return shape[2]
    return next(iter(kind.sizes))


def _check(graph: OnnxGraph, name: str, kind: SwapperType, size: int) -> None:
    # Of the embedding types FaceFusion feeds `source` only where the graph asks for it.
    allowed = {TARGET, SOURCE}
    if TARGET not in graph.inputs or set(graph.inputs) - allowed or (kind.photo and SOURCE not in graph.inputs):
        raise UserError(
            f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs) or 'none'}, not source, target "
            f"({name}); choose another task.model_type"
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
                "choose another task.model_type"
            )


def _mask_name(graph: OnnxGraph, size: int) -> str | None:
    """The output that says what was changed, where the file gives one."""
    value = graph.outputs.get(MASK)
    return MASK if value is not None and value.fits(None, 1, size, size) else None


def _checked_needless(graph: OnnxGraph, name: str, converter: Path | None) -> Encode:
    if converter is not None:
        raise UserError(f"task.converter={converter}: {graph.path} ({name}) takes none; leave task.converter out")
    return lambda source: source


def _encoder(graph: OnnxGraph, name: str, kind: SwapperType, converter: Path | None, raw_length: float) -> Encode:
    """From an L2-normalised embedding (N,512), or a photo, to what the graph is fed."""
    if kind.source not in ("converter", "unit_converter"):
        as_it_is = _checked_needless(graph, name, converter)
        return _emap(graph) if kind.source == "emap" else as_it_is
    if converter is None:
        raise UserError(f"task.converter: {graph.path} ({name}) needs one; give task.converter=crossface_{name}.onnx")
    crossface = OnnxGraph(converter, "task.converter")
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


def _repeated(source: Floats, count: int) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(source, (count, *source.shape[1:])), np.float32)


def _shape(array: npt.NDArray[np.generic]) -> str:
    return "x".join(str(step) for step in array.shape) or "one number"
