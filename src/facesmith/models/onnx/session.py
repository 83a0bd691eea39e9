"""A swapper of aligned crops, whatever file it came from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.models.adapters.spec import AdapterSpec
from facesmith.models.onnx.foreign import foreign_contract
from facesmith.models.onnx.graph import OnnxGraph, check_own, dfm_size
from facesmith.models.onnx.info import (
    ARCFACE,
    ARCFACE_SIZE,
    DFM_INPUT,
    DFM_MORPH,
    MASK,
    OUTPUT,
    SOURCE,
    TARGET,
    SwapperInfo,
    kind_of,
)

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Run = Callable[[Pixels, Floats | None], tuple[Pixels, Floats]]


class Swapper:
    """A swapper ready for use; may be called from several threads.

    template, size: of the crops. run: from crops and source, as `__call__` takes them, to what it gives.
    embedder, embedding_size: of the identity it is told, None when that is baked in or comes as a photo.
    photo: template and size of that photo. identity, consent, consent_note: of the face baked in, else empty.
    contract: what a file of facesmith says of itself.
    """

    def __init__(
        self,
        template: str,
        size: int,
        run: Run,
        *,
        embedder: str = "",
        embedding_size: int | None = None,
        photo: tuple[str, int] | None = None,
        identity: str = "",
        consent: str = "",
        consent_note: str = "",
        contract: SwapperInfo | None = None,
    ) -> None:
        self.template, self.size, self._run = template, size, run
        self.embedder, self.embedding_size, self.photo = embedder, embedding_size, photo
        self.identity, self.consent, self.consent_note = identity, consent, consent_note
        self.contract = contract

    @property
    def baked(self) -> bool:
        """Whether its identity lies inside it, so that it takes no source."""
        return self.embedding_size is None and self.photo is None

    def __call__(self, crops: Pixels, source: Floats | None = None) -> tuple[Pixels, Floats]:
        """Swap aligned faces.

        crops: (N,S,S,3) RGB uint8 on `template`. source: an embedding (E,) or (N,E), L2-normalised, or a photo
        (3,P,P) RGB 0..1; None exactly when the model is `baked`. Gives the finished crops, like `crops`, and
        (N,S,S) float32 in 0..1: what of them was changed. Raises ValueError on other shapes.
        """
        side = self.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (N, {side}, {side}, 3)")
        if (source is None) != self.baked:
            raise ValueError(f"source is {'missing' if source is None else 'not taken'}: see baked")
        return self._run(crops, source)


def finished(output: npt.NDArray[np.floating]) -> Pixels:
    """Return (N,S,S,3) uint8 of (N,3,S,S) 0..255."""
    picture = np.clip(np.rint(output), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(0, 2, 3, 1))


def load_foreign(graph: OnnxGraph, name: str, *, converter: Path | None, raw_length: float) -> Swapper:
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
    return Swapper(
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


TEMPLATE: Final = "dfl_whole_face"
_ERODE, _SIGMA = 2, 6.25  # rounds of a 3x3 ellipse, px


def load_dfm(graph: OnnxGraph, *, morph: float) -> Swapper:
    """Make a swapper of a `.dfm`: `in_face:0` (N,S,S,3) BGR 0..1 in; target mask, face, source mask out.

    morph: 0..1, how far towards the person, for the files that have it.

    Raises:
        UserError: the graph is not of this contract.
    """
    size = dfm_size(graph)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        feed = {DFM_INPUT: np.ascontiguousarray(crops[..., ::-1], np.float32) / np.float32(255)}
        ones = [feed[DFM_INPUT][i : i + 1] for i in range(len(crops))]
        if DFM_MORPH in graph.inputs:  # its one number has no batch
            told = np.full(1, morph, np.float32)
            parts = [graph.run({DFM_INPUT: one, DFM_MORPH: told}) for one in ones]
            target_mask, face, source_mask = (np.concatenate(each) for each in zip(*parts, strict=True))
        else:
            target_mask, face, source_mask = graph.run(feed)
        if face.shape != feed[DFM_INPUT].shape or target_mask.size * 3 != face.size != source_mask.size * 3:
            raise UserError(f"{graph}: wrong contract: its outputs are not mask, face, mask of {size} px (dfm)")
        masks = np.minimum(target_mask, source_mask).reshape(len(crops), size, size).clip(0, 1).astype(np.float32)
        masks = np.stack([cv2.GaussianBlur(cv2.erode(m, ellipse, iterations=_ERODE), (0, 0), _SIGMA) for m in masks])
        swapped = face[..., ::-1] * 255
        blended = crops + (swapped - crops) * masks[..., None]
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8), np.asarray(masks, np.float32)

    said = graph.metadata
    return Swapper(
        TEMPLATE,
        size,
        run,
        identity=said.get("identity", graph.path.stem),
        consent=said.get("consent", ""),
        consent_note=said.get("consent_note", ""),
    )


__all__ = ["Swapper", "load_swapper"]


def load_swapper(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    morph: float = 1.0,
    threads: int = 1,
    adapters: AdapterSpec | None = None,
) -> Swapper:
    """Load a swapper of facesmith (.onnx, or .ckpt, which imports torch), a foreign one (.onnx) or a .dfm.

    model_type: `auto`, which believes the file's own metadata, then its suffix and name; `facesmith`, `dfm` or a
    key of `TYPES`. converter, raw_length: see `load_foreign`. morph: see `load_dfm`. threads: of one call.
    adapters: merged into the model, which imports torch; the file stays as it is.

    Raises:
        UserError: missing, of another suffix, unreadable, or not a swapper by contract; says what is wrong. An adapter
            was made for another model.
    """
    if not path.is_file():
        raise UserError(f"model={path}: no such file; give a swapper that was trained (.ckpt) or exported (.onnx)")
    if path.suffix == ".ckpt":
        if model_type not in ("auto", "facesmith"):
            raise UserError(
                f"task.model_type={model_type}: {path} is a checkpoint of facesmith; leave task.model_type out"
            )
        return _load_checkpoint(path, adapters)
    if path.suffix not in (".onnx", ".dfm"):
        raise UserError(f"model={path}: neither .onnx nor .dfm nor .ckpt; give a swapper that was trained or exported")
    graph = OnnxGraph(path, "model", threads)
    name = kind_of(path, graph.metadata, graph.inputs, chosen=model_type, key="task.model_type", origin=graph)
    if converter is not None and name in ("facesmith", "dfm"):
        raise UserError(f"task.converter={converter}: {path} ({name}) takes none; leave task.converter out")
    if adapters is not None:
        from facesmith.models.adapters.merge import merge_into_file

        graph = OnnxGraph(path, "model", threads, merge_into_file(path, adapters).model.SerializeToString())
    if name == "facesmith":
        return _load_own(graph)
    if name == "dfm":
        return load_dfm(graph, morph=morph)
    return load_foreign(graph, name, converter=converter, raw_length=raw_length)


def _load_own(graph: OnnxGraph) -> Swapper:
    contract = SwapperInfo.read(graph.metadata, graph)
    check_own(contract, graph)

    def run(feed: dict[str, Floats]) -> Sequence[Floats]:
        return graph.run(feed, [OUTPUT, MASK])

    return _own(contract, run)


def _load_checkpoint(path: Path, adapters: AdapterSpec | None) -> Swapper:
    import torch

    from facesmith.models.adapters.merge import merge_into_export
    from facesmith.models.checkpoint import load_module
    from facesmith.models.onnx.export_spec import Exports

    module = load_module(path)
    if not isinstance(module, Exports):
        raise UserError(f"model={path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
    spec = module.export_spec()
    contract = SwapperInfo.read(spec.metadata, path)
    network = (spec if adapters is None else merge_into_export(spec, adapters, path)).module.eval()

    def run(feed: dict[str, Floats]) -> Sequence[Floats]:
        with torch.inference_mode():
            return [each.numpy() for each in network(*(torch.from_numpy(feed[name]) for name in spec.inputs))]

    return _own(contract, run)


def _own(contract: SwapperInfo, network: Any) -> Swapper:
    """A swapper that keeps facesmith's own contract, whatever runs it."""

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        target = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        feed = {TARGET: np.ascontiguousarray(target)}
        if source is not None:
            feed[SOURCE] = np.ascontiguousarray(np.broadcast_to(source, (len(crops), source.shape[-1])), np.float32)
        output, mask = network(feed)
        return finished((output + 1) * 127.5), mask[:, 0]

    baked = contract.embedding_size is None
    return Swapper(
        contract.template,
        contract.size,
        run,
        embedder=contract.embedder,
        embedding_size=contract.embedding_size,
        identity=contract.identity if baked else "",
        consent=contract.consent if baked else "",
        consent_note=contract.consent_note if baked else "",
        contract=contract,
    )
