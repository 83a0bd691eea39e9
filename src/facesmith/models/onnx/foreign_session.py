"""Swappers of other projects, used by their own contracts."""

from pathlib import Path

import numpy as np

from facesmith.errors import UserError
from facesmith.models.onnx.aligned_session import Floats, Pixels, SwapModel, finished
from facesmith.models.onnx.contract import SOURCE, TARGET
from facesmith.models.onnx.foreign import foreign_contract
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.types import ARCFACE, ARCFACE_SIZE


def load_foreign(graph: OnnxGraph, name: str, *, converter: Path | None, raw_length: float) -> SwapModel:
    """Make a swapper of a graph by the contract of its type; see `foreign_contract`.

    Raises:
        UserError: the graph is not of this contract, a converter is missing or needless.
    """
    contract = foreign_contract(graph, name, converter=converter, raw_length=raw_length)
    kind, size, mean, std = contract.kind, contract.size, contract.mean, contract.std
    outputs = [contract.output, *([contract.mask] if contract.mask else [])]

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        target = (crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - mean) / std
        feed = {TARGET: np.ascontiguousarray(target)}
        if source is not None:
            one = source[None] if kind.photo else np.atleast_2d(source)
            feed[SOURCE] = _repeated(contract.encode(one), len(crops))
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
    embedded = contract.told and kind.photo is None
    return SwapModel(
        kind.template,
        size,
        run,
        embedder=ARCFACE if embedded else "",
        embedding_size=ARCFACE_SIZE if embedded else None,
        photo=kind.photo if contract.told else None,
        identity="" if contract.told else said.get("identity", graph.path.stem),
        consent="" if contract.told else said.get("consent", ""),
        consent_note="" if contract.told else said.get("consent_note", ""),
    )


def _repeated(source: Floats, count: int) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(source, (count, *source.shape[1:])), np.float32)


def _shape(array: Floats) -> str:
    return "x".join(str(step) for step in array.shape)
