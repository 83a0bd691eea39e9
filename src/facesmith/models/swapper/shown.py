"""A generator as clients run it: crop in, finished crop out."""

from typing import Any, cast

from torch import Tensor, nn

from facesmith.models.swapper.composite import composite
from facesmith.models.swapper.output import SwapOutput


class Shown(nn.Module):
    """A generator with its composite, which is all that is exported: outside the face its raw picture means nothing."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, target: Tensor, source: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the finished crop (N,3,S,S) -1..1 and what of it was changed (N,1,S,S) 0..1."""
        return self._finished(self._swap(target, source), target)

    def all(self, target: Tensor, source: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give the raw face, the raw mask, the finished crop and what of it was changed."""
        output = self._swap(target, source)
        return output.face, output.mask, *self._finished(output, target)

    def _finished(self, output: SwapOutput, target: Tensor) -> tuple[Tensor, Tensor]:
        if getattr(self.generator, "finished", False):  # a file that composites by itself
            return output.face, output.mask
        return composite(output.face, output.mask, target)

    def _swap(self, target: Tensor, source: Tensor | None) -> SwapOutput:
        generator: Any = self.generator
        # not `generator(...)`: where training is compiled, a few validations are not worth compiling anew
        return cast(SwapOutput, generator.forward(target, source if generator.embedding_size else None))
