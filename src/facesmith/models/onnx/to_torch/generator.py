"""An ONNX swapper as a torch generator: the same crops in and out as facesmith's own, whatever its file asks for."""

import functools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.geometry.alignment import invert_transform, template_transform, transform_scale
from facesmith.models.onnx.export_spec import TOLERANCES, ExportError, ExportSpec
from facesmith.models.onnx.identity_encoding import identity_encoder
from facesmith.models.onnx.info import DFM_INPUT, DFM_MORPH, MASK, SOURCE, TARGET, Floats, SwapperInfo
from facesmith.models.onnx.parity import parity
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import read
from facesmith.models.onnx.to_torch.write_back import write_back
from facesmith.models.swapper.generator import SwapGenerator, SwapOutput, resample, sampling_grid

log = logging.getLogger(__name__)

_SAME = 1e-4  # largest difference between a crop computed alone and in a batch


class OnnxGenerator(SwapGenerator):
    """A swapper that is only a file, frozen and differentiable.

    Attributes:
        info: What the file is.
        template: Of the crops it takes: the file's own unless `set_template` changed it.
        size: Side of the crops in px.
        embedding_size: Length of the embedding it takes, None where it takes none.
        composited: Whether its pictures are blended into the crop already.
        graph: The file's graph.
        adaptable: Names of the layers that an adapter changes by default.
        fixed: Layers that cannot be adapted, with the reason.
    """

    adaptable: list[str]
    target_grid: Tensor
    face_grid: Tensor

    def __init__(self, info: SwapperInfo) -> None:
        """Read the file.

        Args:
            info: The file's description, see `swapper_file.read_info`.

        Raises:
            UserError: The file has operators that are not supported, or no layer that can be adapted.
        """
        super().__init__()
        self.info, self.template, self.size = info, info.template, info.size
        model = onnx.load(str(info.path))
        self._in_half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in model.graph.initializer)
        self.graph = OnnxModule(read(model), f"model.base={info.path}", trained=info.exported_by_facesmith)
        self.adaptable = [f"graph.{name}" for name in self.graph.adaptable if _adapted_by_default(name, info)]
        self.fixed: Mapping[str, str] = self.graph.fixed
        self.composited = info.tensors.composited
        self.embedding_size = info.embedding_size
        self._encode = identity_encoder(info, setting="model.base", group="model.onnx")
        self._takes_batch: bool | None = None if info.fixed_batch else True
        self._shrink = 1
        self._photo: Tensor | None = None
        if not self.adaptable:
            raise UserError(
                f"model.base={info.path}: holds no convolution or linear layer that can be adapted; give another base"
            )

    def set_template(self, template: str) -> None:
        """Take crops on another template, of the same size, and return faces on it."""
        if template == self.template:
            return
        outwards = template_transform(self.info.template, self.info.size, template, self.size)
        self._shrink = max(int(transform_scale(outwards) + 0.25), 1)
        self.register_buffer("target_grid", sampling_grid(outwards, self.info.size, self.size), persistent=False)
        self.register_buffer(
            "face_grid", sampling_grid(invert_transform(outwards), self.size, self.info.size), persistent=False
        )
        self.template, self.composited = template, False

    def set_photo(self, photo: Tensor) -> None:
        """Set the photo of the person for swappers that take one.

        Args:
            photo: (1,3,P,P) RGB -1..1, on the template and of the size in `info.photo`.
        """
        self._photo = photo

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap faces.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: L2-normalised embeddings (N,E), or photos (N,3,P,P) RGB -1..1 where none was set; not read where
                the identity is baked in.

        Raises:
            ValueError: A source is needed and missing.
        """
        if self.template == self.info.template:
            return self._swap(target, source)
        seen = F.avg_pool2d(target, self._shrink) if self._shrink > 1 else target
        made = self._swap(resample(seen, self.target_grid, "bilinear", "border"), source)
        face = resample(made.face, self.face_grid, "bicubic", "border")
        return SwapOutput(face, resample(made.mask, self.face_grid, "bilinear", "zeros"), {})

    def parity(self) -> float:
        """Compare the module with onnxruntime on the file itself.

        Returns:
            The largest absolute difference.

        Raises:
            UserError: The difference is above 1e-3, or .02 for float16 files.
        """
        info, names = self.info, self.graph.outputs
        size = info.size
        # No plain colour: swappers divide by the spread of what they see, and would blow rounding errors up.
        slope = torch.linspace(0, 1, 3 * size**2)
        example = {TARGET: slope.reshape(1, 3, size, size), DFM_INPUT: slope.reshape(1, size, size, 3)}
        example[DFM_MORPH] = torch.ones(1)
        if info.photo is not None:
            wide = info.photo[1]
            example[SOURCE] = torch.linspace(0, 1, 3 * wide**2).reshape(1, 3, wide, wide)
        elif info.embedding_size is not None:
            example[SOURCE] = F.normalize(torch.ones(1, info.embedding_size))
        inputs = {name: example[name] for name in self.graph.inputs}
        pictures: Literal["rgb", "bgr"] = "bgr" if info.tensors.channels == "BGR" else "rgb"
        spec = ExportSpec(self.graph, inputs, list(names), {}, pictures, MASK if MASK in names else names[0])
        allowed = TOLERANCES["fp16" if self._in_half else "fp32"]
        batches = (1,) if info.fixed_batch else (1, 2)
        assert info.path is not None
        try:
            return parity(spec, info.path.read_bytes(), allowed, batches).worst
        except ExportError as error:
            raise UserError(f"model.base={info.path}: cannot be adapted: {error}; give a checkpoint") from None

    def write_back(self, merged: "OnnxGenerator", metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the file with the weights of a merged copy, see `write_back.write_back`."""
        assert self.info.path is not None
        return write_back(self.info.path, self.graph, merged.graph, metadata)

    def _swap(self, target: Tensor, source: Tensor | None) -> SwapOutput:
        if self._photo is not None:
            source = self._photo.to(target).expand(len(target), -1, -1, -1)
        if self.info.takes_source and source is None:
            raise ValueError("source: this base has no identity of its own")
        feed = self._feed(target, source if self.info.takes_source else None)
        if len(target) > 1 and not self._computes_batches():
            ones = [self.graph(*_item(i, feed)) for i in range(len(target))]
            made = [torch.cat(parts) for parts in zip(*ones, strict=True)]
        else:
            made = list(self.graph(*feed))
        return self._read_outputs(dict(zip(self.graph.outputs, made, strict=True)), target)

    def _feed(self, target: Tensor, source: Tensor | None) -> list[Tensor]:
        """Return the graph's inputs, in its order."""
        tensors = self.info.tensors
        divisor, shift = (_like(each, target) for each in tensors.target_scaling(-1, 1))
        picture = target / divisor - shift
        picture = picture if tensors.channels == "RGB" else picture.flip(1)
        given = {tensors.target: picture.permute(0, 2, 3, 1) if tensors.channels_last else picture}
        if tensors.morph is not None:
            given[tensors.morph] = target.new_ones(1)
        if source is not None:
            given[tensors.source] = self._encoded(source)
        return [given[name] for name in self.graph.inputs]

    def _encoded(self, source: Tensor) -> Tensor:
        values = source.detach().cpu().float().numpy()
        if self.info.photo is not None:
            values = (values + np.float32(1)) / 2
        return torch.from_numpy(self._encode(values)).to(source)

    def _read_outputs(self, made: Mapping[str, Tensor], target: Tensor) -> SwapOutput:
        tensors = self.info.tensors
        picture = made[tensors.output]
        picture = picture.permute(0, 3, 1, 2) if tensors.channels_last else picture
        picture = picture if tensors.channels == "RGB" else picture.flip(1)
        divisor, shift = (_like(each, target) for each in tensors.output_scaling(-1, 1))
        shape = (len(target), 1, self.info.size, self.info.size)
        masks = [made[name].reshape(shape) for name in tensors.masks] or [target.new_ones(shape)]
        return SwapOutput((picture + shift) * divisor, functools.reduce(torch.minimum, masks).clamp(0, 1), {})

    def _computes_batches(self) -> bool:
        """Return whether a graph that may be made for one crop computes two as it computes each; tried once."""
        if self._takes_batch is None:
            self._takes_batch = self._try_batch()
        return self._takes_batch

    def _try_batch(self) -> bool:
        size, device = self.info.size, next(self.parameters()).device
        pair = torch.stack([torch.linspace(-1, 1, 3 * size**2), torch.linspace(1, -0.5, 3 * size**2)])
        target = pair.reshape(2, 3, size, size).to(device)
        source = None
        if self.info.embedding_size is not None:
            source = F.normalize(torch.eye(2, self.info.embedding_size) + 0.01).to(device)
        elif self.info.photo is not None:
            wide = self.info.photo[1]
            source = torch.linspace(-1, 1, 6 * wide**2).reshape(2, 3, wide, wide).to(device)
        feed = self._feed(target, source)
        with torch.no_grad():
            try:
                both = self.graph(*feed)
            except (RuntimeError, ValueError):  # a shape for one picture is written into the graph
                return False
            for i in range(2):
                alone = self.graph(*_item(i, feed))
                for one, among in zip(alone, both, strict=True):
                    if len(among) != 2 or not torch.allclose(one, among[i : i + 1], rtol=0, atol=_SAME):
                        return False
        return True


def load_generator(info: SwapperInfo, *, check: bool = True) -> OnnxGenerator:
    """Read a swapper's file as a torch generator.

    Args:
        info: The file's description, see `swapper_file.read_info`.
        check: Whether to compare it with onnxruntime first, and to log the difference and what cannot be adapted.

    Raises:
        UserError: The file has operators that are not supported or no layer that can be adapted, or torch computes
            something else than onnxruntime.
    """
    base = OnnxGenerator(info)
    if check:
        words = "%s: %s, %d layers can be adapted; as torch it is within %.0e of onnxruntime"
        log.info(words, info.path, info.kind, len(base.adaptable), base.parity())
        for name, why in base.fixed.items():
            log.info("%s: %s is not adapted: %s", info.path, name, why, extra={"file_only": True})
        reasons = Counter(base.fixed.values()).most_common()
        if reasons:
            counted = ", ".join(f"{why} ({count})" for why, count in reasons)
            log.info("%d layers are not adapted, named in the log: %s", len(base.fixed), counted)
    return base


def _item(number: int, feed: Sequence[Tensor]) -> list[Tensor]:
    """Return one crop's part of a graph's inputs; values without a batch, a .dfm's morph, belong to every crop."""
    return [value if value.dim() == 1 else value[number : number + 1] for value in feed]


def _like(values: Floats, like: Tensor) -> Tensor:
    """Return values by channel, (3,), as (1,3,1,1) on the device and in the precision of `like`."""
    return torch.from_numpy(values).to(like).reshape(1, 3, 1, 1)


def _adapted_by_default(name: str, info: SwapperInfo) -> bool:
    return not info.adaptable or any(f".{part}." in f".{name}." for part in info.adaptable)
