"""An ONNX swapper as a generator: the same crops in and out as our own, whatever its file asks for."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from facesmith.adapters.onnx_base.graph import read
from facesmith.adapters.onnx_base.merging import written_back
from facesmith.adapters.onnx_base.module import OnnxModule
from facesmith.errors import UserError
from facesmith.generators.output import SwapOutput
from facesmith.model_files.contract import MASK, OUTPUT, SOURCE, TARGET, SwapperContract
from facesmith.model_files.foreign import ForeignContract, foreign_contract
from facesmith.model_files.graph_checks import check_own, dfm_size
from facesmith.model_files.kinds import DFM_INPUT, DFM_MORPH, kind_of
from facesmith.model_files.parity import parity
from facesmith.model_files.spec import TOLERANCES, ExportError, ExportSpec
from facesmith.model_files.types import ARCFACE, ARCFACE_SIZE
from facesmith.onnx_graph import OnnxGraph

log = logging.getLogger(__name__)

_DFM_TEMPLATE: Final = "dfl_whole_face"
_GROUP: Final = "model.onnx"
_SAME = 1e-4  # a picture alone and among others


class OnnxBase(nn.Module):
    """A swapper that is only a file, frozen and differentiable, its layers named.

    file: it. kind: `facesmith`, `dfm` or a key of `TYPES`. template, size: of its crops. embedding_size, embedder: of
    the identity it is told, None and "" where that is baked in or comes as a photo. photo: template and size of that
    photo. identity, consent, consent_note: of the face baked in, else empty. finished: whether its pictures are
    composited already. adaptable: names of the layers that an adapter changes unless told. fixed: layers that are not
    to be changed, with the reason.
    """

    def __init__(self, file: OnnxGraph, kind: str, foreign: ForeignContract | None) -> None:
        super().__init__()
        self.file, self.kind, self._metadata = file.path, kind, dict(file.metadata)
        model = onnx.load(str(file.path))
        self._in_half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in model.graph.initializer)
        self.graph = OnnxModule(read(model), file, trained="contract" in file.metadata)
        self.adaptable = [f"graph.{name}" for name in self.graph.adaptable]
        self.fixed: Mapping[str, str] = self.graph.fixed
        self.finished = kind != "dfm"
        self._foreign = foreign
        self.embedding_size: int | None = None
        self.embedder = ""
        self.photo: tuple[str, int] | None = None
        said = file.metadata
        self.identity = said.get("identity", file.path.stem)
        self.consent, self.consent_note = said.get("consent", ""), said.get("consent_note", "")
        if kind == "facesmith":
            contract = SwapperContract.read(said, file)
            check_own(contract, file)
            self.template, self.size, self.embedder = contract.template, contract.size, contract.embedder
            self.embedding_size = contract.embedding_size
        elif foreign is not None:
            self.template, self.size = foreign.kind.template, foreign.size
            self.embedder = said.get("embedder", "")
            if foreign.told:
                self.photo = foreign.kind.photo
                self.embedding_size, self.embedder = (None, "") if self.photo else (ARCFACE_SIZE, ARCFACE)
        else:
            self.template, self.size = _DFM_TEMPLATE, dfm_size(file)
            self.embedder = said.get("embedder", "")
        if self.embedding_size is not None or self.photo is not None:
            self.identity = self.consent = self.consent_note = ""
        self._fixed_batch = any(value.shape[:1] == (1,) for value in file.inputs.values())
        self._several: bool | None = None if self._fixed_batch else True

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap `target` (N,3,S,S) RGB -1..1 for the person of `source`: an embedding (N,E), L2-normalised, or a photo
        (N,3,P,P) RGB -1..1. Where the identity is baked in it is not read; elsewhere ValueError without one.
        """
        told = self.embedding_size is not None or self.photo is not None
        if told and source is None:
            raise ValueError("source: this base has no identity of its own")
        source = source if told else None
        feed = self._fed(target, source)
        if len(target) > 1 and not self._takes_several():
            ones = [
                self.graph(*(value if value.dim() == 1 else value[i : i + 1] for value in feed))
                for i in range(len(target))
            ]
            made = [torch.cat(parts) for parts in zip(*ones, strict=True)]
        else:
            made = list(self.graph(*feed))
        return self._shown(dict(zip(self.graph.outputs, made, strict=True)), target)

    def parity(self) -> float:
        """Hold the module against onnxruntime on the file itself, and give the largest difference.

        Raises:
            UserError: it is more than 1e-4, or .02 for float16 files.
        """
        side, names = self.size, self.graph.outputs
        # No plain colour: swappers divide by the spread of what they see, and would blow rounding errors up.
        slope = torch.linspace(0, 1, 3 * side**2)
        example = {TARGET: slope.reshape(1, 3, side, side), DFM_INPUT: slope.reshape(1, side, side, 3)}
        example[DFM_MORPH] = torch.ones(1)
        if self.photo is not None:
            example[SOURCE] = torch.linspace(0, 1, 3 * self.photo[1] ** 2).reshape(1, 3, self.photo[1], self.photo[1])
        elif self.embedding_size is not None:
            example[SOURCE] = nn.functional.normalize(torch.ones(1, self.embedding_size))
        inputs = {name: example[name] for name in self.graph.inputs}
        pictures: Literal["rgb", "bgr"] = "bgr" if self.kind == "dfm" else "rgb"
        spec = ExportSpec(self.graph, inputs, list(names), {}, pictures, MASK if MASK in names else names[0])
        allowed = TOLERANCES["fp16" if self._in_half else "fp32"]
        batches = (1,) if self._fixed_batch else (1, 2)
        try:
            return parity(spec, self.file.read_bytes(), allowed, batches).worst
        except ExportError as error:
            raise UserError(f"{self.file}: cannot be adapted: {error}; give a checkpoint") from None

    def written_back(self, merged: "OnnxBase", metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Give the file with the weights of a merged copy; see `merging.written_back`."""
        return written_back(self.file, self.graph, merged.graph, metadata)

    def _fed(self, target: Tensor, source: Tensor | None) -> list[Tensor]:
        given: dict[str, Tensor] = {TARGET: target}
        if self._foreign is not None:
            mean, std = (torch.from_numpy(value).to(target) for value in (self._foreign.mean, self._foreign.std))
            given[TARGET] = ((target + 1) / 2 - mean) / std
        if self.kind == "dfm":
            given[DFM_INPUT] = (target.flip(1).permute(0, 2, 3, 1) + 1) / 2
            given[DFM_MORPH] = target.new_ones(1)
        if source is not None:
            given[SOURCE] = source if self._foreign is None else self._encoded(source, self._foreign)
        return [given[name] for name in self.graph.inputs]

    def _encoded(self, source: Tensor, foreign: ForeignContract) -> Tensor:
        told = source.detach().cpu().float().numpy()
        if foreign.kind.photo is not None:
            told = (told + np.float32(1)) / 2
        return torch.from_numpy(foreign.encode(told)).to(source)

    def _shown(self, made: Mapping[str, Tensor], target: Tensor) -> SwapOutput:
        if self.kind == "dfm":
            first, face, second = made.values()
            mask = torch.minimum(first, second).reshape(len(target), 1, self.size, self.size)
            return SwapOutput(face.permute(0, 3, 1, 2).flip(1) * 2 - 1, mask.clamp(0, 1), {})
        if self._foreign is None:
            return SwapOutput(made[OUTPUT], made[MASK], {})
        face = made[self._foreign.output]
        if self._foreign.kind.centred:
            mean, std = (torch.from_numpy(value).to(target) for value in (self._foreign.mean, self._foreign.std))
            face = face * std + mean
        whole = target.new_ones(len(target), 1, self.size, self.size)
        return SwapOutput(face * 2 - 1, made[self._foreign.mask] if self._foreign.mask else whole, {})

    def _takes_several(self) -> bool:
        """Whether a graph, maybe made for one picture at a time, computes two as it computes each; tried once."""
        if self._several is None:
            self._several = self._tried()
        return self._several

    def _tried(self) -> bool:
        pair = torch.stack([torch.linspace(-1, 1, 3 * self.size**2), torch.linspace(1, -0.5, 3 * self.size**2)])
        target = pair.reshape(2, 3, self.size, self.size)
        source = None
        if self.embedding_size is not None:
            source = nn.functional.normalize(torch.eye(2, self.embedding_size) + 0.01)
        elif self.photo is not None:
            side = self.photo[1]
            source = torch.linspace(-1, 1, 6 * side**2).reshape(2, 3, side, side)
        feed = self._fed(target, source)
        with torch.no_grad():
            try:
                both = self.graph(*feed)
            except (RuntimeError, ValueError):  # a shape for one picture is written into the graph
                return False
            for i in range(2):
                alone = self.graph(*_only(i, feed))
                for one, among in zip(alone, both, strict=True):
                    if len(among) != 2 or not torch.allclose(one, among[i : i + 1], rtol=0, atol=_SAME):
                        return False
        return True


def _only(number: int, feed: Sequence[Tensor]) -> list[Tensor]:
    """One picture's part of what a graph is fed; numbers without a batch, a .dfm's morph, are every picture's."""
    return [value if value.dim() == 1 else value[number : number + 1] for value in feed]


def load(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    check: bool = True,
) -> OnnxBase:
    """Load a swapper (.onnx or .dfm) to be adapted: `model.base` of a training.

    model_type, converter, raw_length: as in `load_swap_model`; keys of `model.onnx`. check: hold the module against
    onnxruntime, and say how true it is and what of it can be adapted.

    Raises:
        UserError: missing, not a swapper by contract, of operators that are not supported, or off by too much.
    """
    file = OnnxGraph(path, "model.base")
    kind = kind_of(path, file.metadata, file.inputs, chosen=model_type, key=f"{_GROUP}.model_type", origin=file)
    foreign = None
    if kind not in ("facesmith", "dfm"):
        foreign = foreign_contract(file, kind, converter=converter, raw_length=raw_length, group=_GROUP)
    base = OnnxBase(file, kind, foreign)
    if not base.adaptable:
        raise UserError(f"{file}: holds no convolution or linear layer that can be adapted; give another base")
    if not check:
        return base
    log.info(
        "%s: %s, %d layers can be adapted; as torch it is within %.0e of onnxruntime",
        path,
        kind,
        len(base.adaptable),
        base.parity(),
    )
    for name, why in base.fixed.items():
        log.info("%s: %s is left as it is: %s", path, name, why)
    return base
