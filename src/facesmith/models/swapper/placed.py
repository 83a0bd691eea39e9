"""A generator inside a graph whose crops lie on another template or have another size."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.faces.geometry.align import Matrix, between, invert, scale
from facesmith.models.swapper.output import SwapOutput


class Placed(nn.Module):
    """Resample a target to the generator's own crop, and its face and mask back, by two constant grids.

    template, size: of the crops it takes and gives. inner_size: px at which the generator runs.
    """

    seen_at: Tensor
    laid_at: Tensor

    def __init__(self, generator: nn.Module, template: str, size: int, inner_size: int) -> None:
        super().__init__()
        network: Any = generator
        self.generator = generator
        self.template, self.size = template, size
        self.embedding_size: int | None = network.embedding_size
        outwards = between(network.template, inner_size, template, size)
        self.shrink = max(int(scale(outwards) + 0.25), 1)
        self.register_buffer("seen_at", grid(outwards, inner_size, size), persistent=False)
        self.register_buffer("laid_at", grid(invert(outwards), size, inner_size), persistent=False)

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap `target` (N,3,size,size) RGB -1..1; see the generator's own."""
        generator: Any = self.generator
        # A grid samples single pixels: what shrinks is averaged first.
        seen = F.avg_pool2d(target, self.shrink) if self.shrink > 1 else target
        output: SwapOutput = generator.forward(sampled(seen, self.seen_at, "bilinear", "border"), source)
        # Cubic where the face grows, or it would be softer than the generator made it.
        face = sampled(output.face, self.laid_at, "bicubic", "border")
        return SwapOutput(face, sampled(output.mask, self.laid_at, "bilinear", "zeros"), {})


class Baked(nn.Module):
    """A generator that takes any identity, with one of them inside. embedding: (E,), L2-normalised."""

    embedding: Tensor
    embedding_size: int | None = None

    def __init__(self, generator: nn.Module, embedding: Tensor) -> None:
        super().__init__()
        network: Any = generator
        self.generator = generator
        self.template, self.size = network.template, network.size
        self.register_buffer("embedding", embedding[None].float())

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap `target` (N,3,S,S) RGB -1..1; there is no source."""
        generator: Any = self.generator
        output: SwapOutput = generator.forward(target, self.embedding.expand(target.shape[0], -1))
        return output


def grid(matrix: Matrix, size: int, sampled: int) -> Tensor:
    """Give the grid (1,size,size,2) that samples a picture of `sampled` px where `matrix` takes each pixel."""
    at = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float64)
    places = at @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy((places + 0.5) * (2 / sampled) - 1)[None].float()


def sampled(picture: Tensor, at: Tensor, mode: str, padding: str) -> Tensor:
    """Sample a picture (N,C,S,S) at a grid (1,h,w,2)."""
    where = at.to(picture.dtype).expand(picture.shape[0], -1, -1, -1)
    return F.grid_sample(picture, where, mode=mode, padding_mode=padding, align_corners=False)
