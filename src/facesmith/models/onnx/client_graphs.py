"""A swapper or occluder as other programs run it: their layouts, ranges and outputs around our networks."""

from typing import Final

import torch
from torch import Tensor, nn

DFM_OUTPUTS: Final = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")
XSEG_INPUT, XSEG_OUTPUT = "input", "output"
XSEG_CONTRACT: Final = "facesmith/xseg/1"
# The crop is finished: its mask only has to hold all that changed. Clients erode and blur it once more, which
# would eat into the face if it fell off as softly as the blend itself.
_STEEPNESS = 4.0


class DfmGraph(nn.Module):
    """A swapper as `.dfm`. swapper: finished crop and mask of (N,3,S,S) RGB -1..1."""

    def __init__(self, swapper: nn.Module) -> None:
        super().__init__()
        self.swapper = swapper

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From (N,S,S,3) BGR 0..1 to target mask (N,S,S,1), face (N,S,S,3) BGR 0..1, source mask (N,S,S,1)."""
        picture, mask = self.swapper(_from_bgr(face))
        finished = ((picture + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).flip(-1)
        shown = (mask * _STEEPNESS).clamp(0, 1).permute(0, 2, 3, 1)
        return shown, finished, shown.clone()


class XsegGraph(nn.Module):
    """An occluder as FaceFusion's xseg models. network: (N,1,S,S) 0..1 of (N,3,S,S) RGB -1..1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        """From (N,S,S,3) BGR 0..1 to (N,S,S,1) 0..1, 1 where the face is visible."""
        visible: Tensor = self.network(_from_bgr(picture))
        return visible.permute(0, 2, 3, 1)


def _from_bgr(picture: Tensor) -> Tensor:
    """(N,3,S,S) RGB -1..1 of (N,S,S,3) BGR 0..1."""
    return torch.flip(picture, (-1,)).permute(0, 3, 1, 2) * 2 - 1
