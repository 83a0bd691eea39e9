"""What every swapper network gives back."""

from typing import NamedTuple

from torch import Tensor


class SwapOutput(NamedTuple):
    """A face and where it belongs.

    face: (N,3,S,S) RGB in -1..1, meaningful inside the mask only. mask: (N,1,S,S) in 0..1, 1 where the
    target's face is. aux: what the generator's own loss reads besides, by name.
    """

    face: Tensor
    mask: Tensor
    aux: dict[str, Tensor]
