"""Turn an embedding or a photo of a person into what a swapper's source input takes."""

import threading
from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from facesmith.errors import UserError
from facesmith.models.onnx.graph import OnnxGraph, format_shape
from facesmith.models.onnx.info import ARCFACE_SIZE, Floats, SwapperInfo

Encode = Callable[[Floats], Floats]


def identity_encoder(info: SwapperInfo, *, setting: str = "model", group: str = "task") -> Encode:
    """Return the function that encodes an identity for a swapper.

    Args:
        info: The swapper.
        setting: Key that named its file, for errors.
        group: Group of the key `converter`, for errors.

    Returns:
        From L2-normalised embeddings (N,E), or photos (N,3,P,P) RGB 0..1, to values of the source input.

    Raises:
        UserError: The file lacks its projection, or the converter is no crossface network.
    """
    if info.takes_source and info.source_encoding == "emap":
        return _emap(info, setting)
    if info.converter is not None:
        return _converter(info, f"{group}.converter")
    return lambda source: source


def _emap(info: SwapperInfo, setting: str) -> Encode:
    """Inswapper's own projection of an embedding, which its file holds as the last initializer."""
    weights = onnx.load(str(info.path)).graph.initializer
    emap = numpy_helper.to_array(weights[-1]) if len(weights) else np.zeros(0)
    if emap.shape != (ARCFACE_SIZE, ARCFACE_SIZE):
        raise UserError(
            f"{setting}={info.path}: wrong contract: its last initializer is {format_shape(emap)}, not the "
            f"{ARCFACE_SIZE}x{ARCFACE_SIZE} emap (inswapper); give the original file"
        )
    projection = emap.astype(np.float32)
    return lambda source: np.asarray(source @ projection, np.float32)


def _converter(info: SwapperInfo, key: str) -> Encode:
    assert info.converter is not None
    crossface = OnnxGraph(info.converter, key)
    value = crossface.inputs.get("input")
    if value is None or len(crossface.inputs) > 1 or not value.fits(None, ARCFACE_SIZE):
        raise UserError(f"{crossface}: wrong contract: takes no input Nx{ARCFACE_SIZE}; give a crossface file")
    unit, raw_length = info.source_encoding == "unit_converter", np.float32(info.raw_length)

    def convert(source: Floats) -> Floats:
        output = crossface.run({"input": np.ascontiguousarray(source * raw_length)})[0]
        if output.shape != source.shape:
            raise UserError(f"{crossface}: wrong contract: gives {format_shape(output)}, not {format_shape(source)}")
        return np.asarray(output / np.linalg.norm(output, axis=1, keepdims=True) if unit else output, np.float32)

    return _remember_last(convert)


def _remember_last(encode: Encode) -> Encode:
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
