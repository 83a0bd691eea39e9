"""What is learnt of a scene's light on top of what is measured on the skin."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.models.swapper.layers import conv_block, resize


class Relight(nn.Module):
    """Learn what of a scene's colour and light a smooth transfer misses: shadows, and the person's own skin.

    What it adds is as coarse as 16 cells a side, so it cannot bring the target's features back.

    Args:
        channels: At 32, 16 and 8 px.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.stem = conv_block(10, fine, 2)
        self.down = nn.ModuleList([conv_block(fine, middle, 2), conv_block(middle, coarse, 2)])
        self.up = conv_block(coarse + middle, middle, 1)
        self.offset = nn.Conv2d(middle, 3, 3, padding=1)
        self.stretch = nn.Linear(coarse, 3)
        for parameter in (*self.offset.parameters(), *self.stretch.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor, face: Tensor, offset: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what is added to the transfer.

        Args:
            seen: (N,3,64,64) the target in opponent colours.
            face: (N,3,64,64) the warped pictures with their contrast, before the offset.
            offset: (N,3,16,16) of the transfer.
            skin: (N,1,64,64) in 0..1.

        Returns:
            Log contrast (N,3) and offset (N,3,16,16).
        """
        lit = face + resize(offset, int(face.shape[-1]), "bicubic")
        fine = self.stem(torch.cat([seen, lit, seen - lit, skin], 1))
        middle = self.down[0](fine)
        coarse = self.down[1](middle)
        joined = self.up(torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), middle], 1))
        return self.stretch(coarse.mean((2, 3))), self.offset(joined)
