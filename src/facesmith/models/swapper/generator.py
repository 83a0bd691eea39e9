"""Base class of swapper networks, their output, its composition with the target, and the export wrapper."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.faces.geometry.alignment import Matrix, invert_transform, template_transform, transform_scale

_ERODE: Final = 2 / 128  # of the crop's side: keeps the stretched texture at the hull's rim out of the picture
_BLUR: Final = 2.5 / 128
_STEEPNESS: Final = 16


class SwapOutput(NamedTuple):
    """A face and where it belongs.

    Attributes:
        face: (N,3,S,S) RGB in -1..1, meaningful inside the mask only.
        mask: (N,1,S,S) in 0..1, 1 where the target's face is.
        aux: What the generator's own loss reads besides, by name.
    """

    face: Tensor
    mask: Tensor
    aux: dict[str, Tensor]


class SwapGenerator(nn.Module, ABC):
    """Base class of swapper networks.

    Attributes:
        template: Where the face lies in its crops.
        size: Side of the crops in px.
        embedding_size: Numbers in the embeddings it takes; None where the identity is baked in.
        size_step: It runs at any multiple of so many px; None: at `size` only.
        takes_landmarks: Whether it is a `LandmarkGenerator`.
        composited: Whether its faces are blended into the target already.
        adaptable: Parts of the names of the layers that an adapter changes by default; None for all.
    """

    template: str
    size: int
    embedding_size: int | None
    size_step: ClassVar[int | None] = None
    takes_landmarks: ClassVar[bool] = False
    composited: bool = False
    adaptable: Sequence[str] | None = None

    @abstractmethod
    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap targets.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: (N,E) embeddings, L2-normalised; None where the identity is baked in.
        """


class LandmarkGenerator(SwapGenerator, ABC):
    """A generator that places the face by the target's landmarks, and finds them where none are given."""

    takes_landmarks = True

    @abstractmethod
    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Find the landmarks of targets.

        Args:
            target: (N,3,S,S) RGB -1..1.

        Returns:
            (N,478,3) in px of the crop, pixel centres at .5, depth in the same unit and the nearer the smaller; and
            (N,) in 0..1, how much of the swap is shown: 0 where no face is seen.
        """

    @abstractmethod
    def forward(
        self,
        target: Tensor,
        source: Tensor | None = None,
        landmarks: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> SwapOutput:
        """Swap targets.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: (N,E) embeddings, L2-normalised; None where the identity is baked in.
            landmarks: (N,478,3), as `find_landmarks` returns them; found where None.
            presence: (N,), likewise; 1 where landmarks are given without it.
        """


def composite(face: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Blend a face into its target under the mask, thresholded, eroded and feathered.

    Traces to plain ONNX operators; S must be fixed.

    Args:
        face: (N,3,S,S) RGB in -1..1.
        mask: (N,1,S,S) in 0..1.
        target: (N,3,S,S) RGB in -1..1.

    Returns:
        The picture (N,3,S,S) in -1..1, and the mask it was blended with (N,1,S,S) in 0..1, low at the crop's rim.
    """
    soft = feather(mask)
    # not lerp: exported it is two formulas and a choice between them
    return target + (face.clamp(-1, 1) - target) * soft, soft


def feather(mask: Tensor) -> Tensor:
    """Threshold a mask (N,1,S,S) at one half, erode it by 2/128 and blur it by 2.5/128 of its side."""
    size = int(mask.shape[-1])
    erode, sigma = max(1, round(size * _ERODE)), size * _BLUR
    radius = math.ceil(2.5 * sigma)
    # a ramp, not a step: a step turns the last bit of a float into a visible pixel, and no two runtimes agree
    outside = ((0.5 - mask) * _STEEPNESS + 0.5).clamp(0, 1)
    # outside the crop there is no face: a mask that touches the rim fades there instead of leaving a cut
    around = F.pad(outside, (erode,) * 4, value=1.0)
    kept = 1 - F.max_pool2d(around, 2 * erode + 1, stride=1)
    taps = torch.arange(-radius, radius + 1, dtype=mask.dtype, device=mask.device)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(size, 1, 1, -1)
    # rows are channels: a convolution of one channel is the slowest there is
    blurred = F.conv2d(kept.transpose(1, 2), kernel, padding=(0, radius), groups=size)
    blurred = F.conv2d(blurred.permute(0, 3, 2, 1), kernel, padding=(0, radius), groups=size)
    return blurred.permute(0, 2, 3, 1)


class ExportWrapper(nn.Module):
    """A generator with its composite, which is all that is exported: outside the face its raw picture means nothing."""

    def __init__(self, generator: SwapGenerator) -> None:
        super().__init__()
        self.generator = generator

    @property
    def takes_landmarks(self) -> bool:
        """Return whether the generator takes landmarks."""
        return self.generator.takes_landmarks

    def forward(
        self,
        target: Tensor,
        source: Tensor | None = None,
        landmarks: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the composite (N,3,S,S) -1..1 and what of it was changed (N,1,S,S) 0..1.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: Embeddings (N,E); None for a generator of one identity.
            landmarks: (N,478,3) px of the crop, only for a `LandmarkGenerator`.
            presence: (N,) in 0..1, likewise.
        """
        return self._composite(self._swap(target, source, landmarks, presence), target)

    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Find landmarks and presence, see `LandmarkGenerator.find_landmarks`."""
        assert isinstance(self.generator, LandmarkGenerator)
        return self.generator.find_landmarks(target)

    def forward_all(self, target: Tensor, source: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the generator with its composite.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: Embeddings (N,E); None for a generator of one identity.

        Returns:
            The raw face (N,3,S,S), the raw mask (N,1,S,S), the composite (N,3,S,S), and the changed part
            (N,1,S,S) 0..1.
        """
        output = self._swap(target, source)
        return output.face, output.mask, *self._composite(output, target)

    def _composite(self, output: SwapOutput, target: Tensor) -> tuple[Tensor, Tensor]:
        if self.generator.composited:
            return output.face, output.mask
        return composite(output.face, output.mask, target)

    def _swap(
        self,
        target: Tensor,
        source: Tensor | None,
        landmarks: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> SwapOutput:
        source = source if self.generator.embedding_size else None
        # not `generator(...)`: where training is compiled, a few validations are not worth compiling anew
        if landmarks is None:
            return self.generator.forward(target, source)
        assert isinstance(self.generator, LandmarkGenerator)
        return self.generator.forward(target, source, landmarks, presence)


class AlignedGenerator(SwapGenerator):
    """A generator on crops of another template or size: two constant grids resample the target, and face and mask back.

    Args:
        generator: The network.
        template: Of the crops it takes and returns.
        size: Their side in px.
        inner_size: Side in px at which the network runs.
    """

    target_grid: Tensor
    face_grid: Tensor

    def __init__(self, generator: SwapGenerator, template: str, size: int, inner_size: int) -> None:
        super().__init__()
        self.generator = generator
        self.template, self.size = template, size
        self.embedding_size = generator.embedding_size
        outwards = template_transform(generator.template, inner_size, template, size)
        self._shrink = max(int(transform_scale(outwards) + 0.25), 1)
        self.register_buffer("target_grid", sampling_grid(outwards, inner_size, size), persistent=False)
        self.register_buffer("face_grid", sampling_grid(invert_transform(outwards), size, inner_size), persistent=False)

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap targets (N,3,size,size) RGB -1..1; `source` is the generator's."""
        # A grid samples single pixels: what shrinks is averaged first.
        seen = F.avg_pool2d(target, self._shrink) if self._shrink > 1 else target
        output = self.generator.forward(resample(seen, self.target_grid, "bilinear", "border"), source)
        # Cubic where the face grows, or it would be softer than the generator made it.
        face = resample(output.face, self.face_grid, "bicubic", "border")
        return SwapOutput(face, resample(output.mask, self.face_grid, "bilinear", "zeros"), {})


class FixedIdentityGenerator(SwapGenerator):
    """A generator that takes any identity, with one of them baked in.

    Args:
        generator: The network.
        embedding: (E,), L2-normalised.
    """

    embedding: Tensor

    def __init__(self, generator: SwapGenerator, embedding: Tensor) -> None:
        super().__init__()
        self.generator = generator
        self.template, self.size = generator.template, generator.size
        self.embedding_size = None
        self.register_buffer("embedding", embedding[None].float())

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap targets (N,3,S,S) RGB -1..1; `source` is not read."""
        return self.generator.forward(target, self.embedding.expand(target.shape[0], -1))


def sampling_grid(matrix: Matrix, size: int, picture_size: int) -> Tensor:
    """Make the grid that samples a picture where a matrix takes each pixel.

    Args:
        matrix: (2,3), from px of the result to px of the picture.
        size: Side of the result in px.
        picture_size: Side of the picture in px.

    Returns:
        (1,size,size,2) -1..1, for `resample`.
    """
    at = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float64)
    places = at @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy((places + 0.5) * (2 / picture_size) - 1)[None].float()


def resample(picture: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
    """Sample a picture at a grid.

    Args:
        picture: (N,C,S,S).
        grid: (1,h,w,2), -1..1.
        mode: Interpolation mode of `grid_sample`.
        padding: Padding mode of `grid_sample`.
    """
    batch_grid = grid.to(picture.dtype).expand(picture.shape[0], -1, -1, -1)
    return F.grid_sample(picture, batch_grid, mode=mode, padding_mode=padding, align_corners=False)
