"""An ONNX swapper as a generator: the same crops in and out as our own, whatever its file asks for."""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.faces.geometry.alignment import invert_transform, template_transform, transform_scale
from facesmith.models.onnx.export_spec import TOLERANCES, ExportError, ExportSpec
from facesmith.models.onnx.foreign import ForeignContract
from facesmith.models.onnx.info import DFM_INPUT, DFM_MORPH, MASK, OUTPUT, SOURCE, TARGET
from facesmith.models.onnx.parity import parity
from facesmith.models.onnx.to_torch.described import Described
from facesmith.models.onnx.to_torch.merging import written_back
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import read
from facesmith.models.swapper.wrappers import SwapOutput, grid, sampled

log = logging.getLogger(__name__)

_SAME = 1e-4  # a picture alone and among others


class OnnxGenerator(nn.Module):
    """A swapper that is only a file, frozen and differentiable, its layers named.

    said: what the file says. template, size: of the crops it takes, the file's own unless `place_on` changed them.
    embedding_size: E of its source, None where it takes no embedding. finished: whether its pictures are composited
    already. adaptable: names of the layers that an adapter changes unless told. fixed: layers that are not to be
    changed, with the reason.

    Raises:
        UserError: operators that are not supported, or nothing that can be adapted.
    """

    seen_at: Tensor
    laid_at: Tensor

    def __init__(self, said: Described) -> None:
        super().__init__()
        self.said, self.template, self.size = said, said.template, said.size
        model = onnx.load(str(said.path))
        self._in_half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in model.graph.initializer)
        self.graph = OnnxModule(read(model), f"model.base={said.path}", trained="contract" in said.metadata)
        self.adaptable = [f"graph.{name}" for name in self.graph.adaptable if _meant(name, said.metadata)]
        self.fixed: Mapping[str, str] = self.graph.fixed
        self.finished = said.kind != "dfm"
        self.embedding_size = said.embedding_size
        self._several: bool | None = None if said.fixed_batch else True
        self._shrink = 1
        self._person: Tensor | None = None
        if not self.adaptable:
            raise UserError(
                f"model.base={said.path}: holds no convolution or linear layer that can be adapted; give another base"
            )

    def place_on(self, template: str) -> None:
        """Take crops on another template, of the same size, and give faces there."""
        if template == self.template:
            return
        outwards = template_transform(self.said.template, self.said.size, template, self.size)
        self._shrink = max(int(transform_scale(outwards) + 0.25), 1)
        self.register_buffer("seen_at", grid(outwards, self.said.size, self.size), persistent=False)
        self.register_buffer("laid_at", grid(invert_transform(outwards), self.size, self.said.size), persistent=False)
        self.template, self.finished = template, False

    def show(self, person: Tensor) -> None:
        """Take the photo (1,3,P,P) RGB -1..1 that a base which looks at one is shown, on the template it says."""
        self._person = person

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap `target` (N,3,S,S) RGB -1..1 for the person of `source`: an embedding (N,E), L2-normalised, or a photo
        (N,3,P,P) RGB -1..1 where none was shown. Where the identity is baked in it is not read; elsewhere ValueError
        without one.
        """
        if self.template == self.said.template:
            return self._swapped(target, source)
        seen = F.avg_pool2d(target, self._shrink) if self._shrink > 1 else target
        made = self._swapped(sampled(seen, self.seen_at, "bilinear", "border"), source)
        face = sampled(made.face, self.laid_at, "bicubic", "border")
        return SwapOutput(face, sampled(made.mask, self.laid_at, "bilinear", "zeros"), {})

    def _swapped(self, target: Tensor, source: Tensor | None) -> SwapOutput:
        if self._person is not None:
            source = self._person.to(target).expand(len(target), -1, -1, -1)
        if self.said.told and source is None:
            raise ValueError("source: this base has no identity of its own")
        feed = self._fed(target, source if self.said.told else None)
        if len(target) > 1 and not self._takes_several():
            ones = [self.graph(*_only(i, feed)) for i in range(len(target))]
            made = [torch.cat(parts) for parts in zip(*ones, strict=True)]
        else:
            made = list(self.graph(*feed))
        return self._shown(dict(zip(self.graph.outputs, made, strict=True)), target)

    def parity(self) -> float:
        """Hold the module against onnxruntime on the file itself, and give the largest difference.

        Raises:
            UserError: it is more than 1e-4, or .02 for float16 files.
        """
        side, names, file = self.said.size, self.graph.outputs, self.said.path
        # No plain colour: swappers divide by the spread of what they see, and would blow rounding errors up.
        slope = torch.linspace(0, 1, 3 * side**2)
        example = {TARGET: slope.reshape(1, 3, side, side), DFM_INPUT: slope.reshape(1, side, side, 3)}
        example[DFM_MORPH] = torch.ones(1)
        if self.said.photo is not None:
            wide = self.said.photo[1]
            example[SOURCE] = torch.linspace(0, 1, 3 * wide**2).reshape(1, 3, wide, wide)
        elif self.embedding_size is not None:
            example[SOURCE] = nn.functional.normalize(torch.ones(1, self.embedding_size))
        inputs = {name: example[name] for name in self.graph.inputs}
        pictures: Literal["rgb", "bgr"] = "bgr" if self.said.kind == "dfm" else "rgb"
        spec = ExportSpec(self.graph, inputs, list(names), {}, pictures, MASK if MASK in names else names[0])
        allowed = TOLERANCES["fp16" if self._in_half else "fp32"]
        batches = (1,) if self.said.fixed_batch else (1, 2)
        try:
            return parity(spec, file.read_bytes(), allowed, batches).worst
        except ExportError as error:
            raise UserError(f"model.base={file}: cannot be adapted: {error}; give a checkpoint") from None

    def written_back(self, merged: "OnnxGenerator", metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the file with the weights of a merged copy; see `merging.written_back`."""
        return written_back(self.said.path, self.graph, merged.graph, metadata)

    def _fed(self, target: Tensor, source: Tensor | None) -> list[Tensor]:
        given: dict[str, Tensor] = {TARGET: target}
        if self.said.foreign is not None:
            mean, std = _normalisation(self.said.foreign, target)
            given[TARGET] = ((target + 1) / 2 - mean) / std
        if self.said.kind == "dfm":
            given[DFM_INPUT] = (target.flip(1).permute(0, 2, 3, 1) + 1) / 2
            given[DFM_MORPH] = target.new_ones(1)
        if source is not None:
            given[SOURCE] = source if self.said.foreign is None else self._encoded(source, self.said.foreign)
        return [given[name] for name in self.graph.inputs]

    def _encoded(self, source: Tensor, foreign: ForeignContract) -> Tensor:
        told = source.detach().cpu().float().numpy()
        if foreign.kind.photo is not None:
            told = (told + np.float32(1)) / 2
        return torch.from_numpy(foreign.encode(told)).to(source)

    def _shown(self, made: Mapping[str, Tensor], target: Tensor) -> SwapOutput:
        if self.said.kind == "dfm":
            first, face, second = made.values()
            mask = torch.minimum(first, second).reshape(len(target), 1, self.said.size, self.said.size)
            return SwapOutput(face.permute(0, 3, 1, 2).flip(1) * 2 - 1, mask.clamp(0, 1), {})
        if self.said.foreign is None:
            return SwapOutput(made[OUTPUT], made[MASK], {})
        face = made[self.said.foreign.output]
        if self.said.foreign.kind.centred:
            mean, std = _normalisation(self.said.foreign, target)
            face = face * std + mean
        whole = target.new_ones(len(target), 1, self.said.size, self.said.size)
        return SwapOutput(face * 2 - 1, made[self.said.foreign.mask] if self.said.foreign.mask else whole, {})

    def _takes_several(self) -> bool:
        """Whether a graph, maybe made for one picture at a time, computes two as it computes each; tried once."""
        if self._several is None:
            self._several = self._tried()
        return self._several

    def _tried(self) -> bool:
        size, device = self.said.size, next(self.parameters()).device
        pair = torch.stack([torch.linspace(-1, 1, 3 * size**2), torch.linspace(1, -0.5, 3 * size**2)])
        target = pair.reshape(2, 3, size, size).to(device)
        source = None
        if self.embedding_size is not None:
            source = nn.functional.normalize(torch.eye(2, self.embedding_size) + 0.01).to(device)
        elif self.said.photo is not None:
            side = self.said.photo[1]
            source = torch.linspace(-1, 1, 6 * side**2).reshape(2, 3, side, side).to(device)
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


def _normalisation(foreign: ForeignContract, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of pictures 0..1, on the device of `like`."""
    return torch.from_numpy(foreign.mean).to(like), torch.from_numpy(foreign.std).to(like)


def _meant(name: str, metadata: Mapping[str, str]) -> bool:
    """Whether a layer is among those that an adapter of the network changes, where the file says which."""
    parts = metadata.get("adaptable", "").split(",")
    return parts == [""] or any(f".{part}." in f".{name}." for part in parts)


def load(said: Described, *, check: bool = True) -> OnnxGenerator:
    """Make a base of a file that was described. check: hold it against onnxruntime first, and tell how true it is.

    Raises:
        UserError: operators that are not supported, nothing that can be adapted, or off by too much.
    """
    base = OnnxGenerator(said)
    if check:
        words = "%s: %s, %d layers can be adapted; as torch it is within %.0e of onnxruntime"
        log.info(words, said.path, said.kind, len(base.adaptable), base.parity())
        for name, why in base.fixed.items():
            log.info("%s: %s is left as it is: %s", said.path, name, why)
    return base
