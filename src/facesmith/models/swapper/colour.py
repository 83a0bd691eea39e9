"""Colour and light of a face, read off its skin, and the colour space they are compared in."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.models.swapper.layers import resize, shrink

_LIGHT_CELLS: Final = 16
_LIGHT_SIGMA: Final = 11 / 128  # the scene's light, as in the pseudo ground truth
_RELIGHT: Final = 0.6
_TO_OPPONENT: Final = ((1 / 3, 1 / 3, 1 / 3), (2 / 3, -1 / 3, -1 / 3), (-1 / 3, -1 / 3, 2 / 3))
_FROM_OPPONENT: Final = ((1.0, 1.0, 0.0), (1.0, -1.0, -1.0), (1.0, 0.0, 1.0))
_LEAST: Final = (0.6, 0.05, 0.05)  # bounds of the contrast, times the person's own; a grey picture has no colour
_MOST: Final = 1.4
_SOFTEST, _SHARPEST = 0.3, 1.5  # bounds of the change of fine detail
_LIGHTNESS_COUNTS: Final = 0.3  # how much less than hue: light differs on one skin
_UNLIKE: Final = 2.5  # deviations from the mean at which a pixel counts half


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
        skin = skin * _alike(seen, skin)
        total = skin.sum((2, 3), keepdim=True).clamp_min(1e-3)
        mean_seen, mean_face = ((p * skin).sum((2, 3), keepdim=True) / total for p in (seen, face))
        deviation_seen, deviation_face = (
            (((p - m) ** 2 * skin).sum((2, 3), keepdim=True) / total + 1e-6).sqrt()
            for p, m in ((seen, mean_seen), (face, mean_face))
        )
        least = deviation * deviation.new_tensor(_LEAST).view(1, 3, 1, 1)
        scale = (deviation_seen / deviation_face).clamp(least, _MOST * deviation)
        offset = mean_seen - mean_face * scale
        window = seen.shape[-1] // _LIGHT_CELLS
        weight = F.avg_pool2d(skin, window) + 1e-3
        left = F.avg_pool2d((seen - face * scale - offset) * skin, window)
        smooth = [F.conv2d(p.flatten(0, 1)[:, None], self.kernel, padding=3).view_as(p) for p in (left, weight)]
        return scale.flatten(1).log(), offset + _RELIGHT * smooth[0] / smooth[1]


def match_detail(face: Tensor, target: Tensor, skin: Tensor) -> Tensor:
    """Bring a face to the sharpness of its target: a soft scene has no sharp face in it.

    Args:
        face: (N,3,S,S), opponent colours; the lightness is changed.
        target: (N,3,S,S), opponent colours.
        skin: (N,1,S,S) 0..1, where the two may be compared.

    Returns:
        (N,3,S,S).
    """
    fine, wanted = (_fine(picture[:, :1]) for picture in (face, target))
    strength = [((plane * plane * skin).sum((2, 3), keepdim=True) + 1e-4).sqrt() for plane in (fine, wanted)]
    gain = (strength[1] / strength[0]).clamp(_SOFTEST, _SHARPEST)
    return torch.cat([face[:, :1] + (gain - 1) * fine, face[:, 1:]], 1)


def _fine(plane: Tensor) -> Tensor:
    size = int(plane.shape[-1])
    return plane - resize(shrink(plane, size // 2), size, "bilinear")


def _alike(seen: Tensor, skin: Tensor) -> Tensor:
    """Weigh pixels by how near their colour is to that of the skin: hair, glasses and what lies behind are not."""
    weight = skin
    for _ in range(2):
        total = weight.sum((2, 3), keepdim=True).clamp_min(1e-3)
        mean = (seen * weight).sum((2, 3), keepdim=True) / total
        squared = (seen - mean) ** 2
        apart = squared / ((squared * weight).sum((2, 3), keepdim=True) / total + 1e-4)
        unlike = _LIGHTNESS_COUNTS * apart[:, :1] + apart[:, 1:].mean(1, keepdim=True)
        weight = skin / (1 + (unlike / _UNLIKE) ** 2)
    return weight / skin.clamp_min(1e-6)


def opponent(picture: Tensor) -> Tensor:
    """Convert RGB (N,3,S,S) to opponent colours: lightness, red minus lightness, blue minus lightness."""
    return _convert(picture, _TO_OPPONENT)


def from_opponent(colours: Tensor) -> Tensor:
    """Convert opponent colours (N,3,S,S) to RGB: undo `opponent`."""
    return _convert(colours, _FROM_OPPONENT)


def _convert(picture: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    # as a product: one pass over the picture
    weights = torch.tensor(matrix, dtype=picture.dtype, device=picture.device)
    return (weights @ picture.flatten(2)).view(picture.shape)
