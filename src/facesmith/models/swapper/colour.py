"""Colour and light of a face, read off its skin, and the colour space they are compared in."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LIGHT_CELLS: Final = 16
_LIGHT_SIGMA: Final = 11 / 128  # the scene's light, as in the pseudo ground truth
_RELIGHT: Final = 0.6
_LEAST, _MOST = 0.6, 1.4  # bounds of the contrast, times the person's own


class ColourTransfer(nn.Module):
    """Reads the colour of a face and the light on it off its skin: no parameter, at the trunk's size."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        sigma = _LIGHT_SIGMA * _LIGHT_CELLS
        taps = torch.arange(-3.0, 4.0)
        line = torch.exp(-0.5 * (taps / sigma) ** 2)
        plane = line[:, None] * line[None]
        self.register_buffer("kernel", (plane / plane.sum())[None, None], persistent=False)

    def forward(self, seen: Tensor, face: Tensor, skin: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what brings sampled pictures to the target's colour and light.

        Args:
            seen: (N,3,S,S), opponent colours of the target.
            face: (N,3,S,S), opponent colours of the sampled pictures.
            skin: (N,1,S,S) 0..1, where the two may be compared.
            deviation: (1,3,1,1) of the person's skin; it limits the contrast.

        Returns:
            Natural log of the contrast (N,3), and offset (N,3,16,16).
        """
        total = skin.sum((2, 3), keepdim=True).clamp_min(1e-3)
        mean_seen, mean_face = ((p * skin).sum((2, 3), keepdim=True) / total for p in (seen, face))
        deviation_seen, deviation_face = (
            (((p - m) ** 2 * skin).sum((2, 3), keepdim=True) / total + 1e-6).sqrt()
            for p, m in ((seen, mean_seen), (face, mean_face))
        )
        scale = (deviation_seen / deviation_face).clamp(_LEAST * deviation, _MOST * deviation)
        offset = mean_seen - mean_face * scale
        window = seen.shape[-1] // _LIGHT_CELLS
        weight = F.avg_pool2d(skin, window) + 1e-3
        left = F.avg_pool2d((seen - face * scale - offset) * skin, window)
        smooth = [F.conv2d(p.flatten(0, 1)[:, None], self.kernel, padding=3).view_as(p) for p in (left, weight)]
        return scale.flatten(1).log(), offset + _RELIGHT * smooth[0] / smooth[1]


def opponent(picture: Tensor) -> Tensor:
    """Convert RGB (N,3,S,S) to opponent colours: lightness, red minus lightness, blue minus lightness."""
    lightness = picture.mean(1, keepdim=True)
    return torch.cat([lightness, picture[:, :1] - lightness, picture[:, 2:] - lightness], 1)


def from_opponent(colours: Tensor) -> Tensor:
    """Convert opponent colours (N,3,S,S) to RGB: undo `opponent`."""
    lightness, red, blue = colours[:, :1], colours[:, 1:2], colours[:, 2:]
    return torch.cat([lightness + red, lightness - red - blue, lightness + blue], 1)
