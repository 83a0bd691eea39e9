"""What is learnt of a scene's light on top of what is measured on the skin."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from facesmith.models.swapper.layers import conv_block, resize


class Relight(nn.Module):
    """Learn what of a scene's colour and light a smooth transfer misses, as a correction of 8x8 cells.

    Finer cells carry the target's brows, eyes and beard back into the picture (16x16 cost a tenth of the likeness), and
    a learnt contrast fades the person's own.

    Args:
        channels: At 32, 16 and 8 px.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.stem = conv_block(10, fine, 2)
        self.down = nn.Sequential(conv_block(fine, middle, 2), conv_block(middle, coarse, 2))
        self.offset = nn.Conv2d(coarse, 3, 3, padding=1)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor, face: Tensor, offset: Tensor, skin: Tensor) -> Tensor:
        """Compute what is added to the transfer.

        Args:
            seen: (N,3,64,64) the target in opponent colours.
            face: (N,3,64,64) the warped pictures with their contrast, before the offset.
            offset: (N,3,16,16) of the transfer.
            skin: (N,1,64,64) in 0..1.

        Returns:
            Offset (N,3,8,8).
        """
        lit = face + resize(offset, int(face.shape[-1]), "bicubic")
        correction: Tensor = self.offset(self.down(self.stem(torch.cat([seen, lit, seen - lit, skin], 1))))
        return correction
