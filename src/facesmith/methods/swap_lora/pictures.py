"""Which of a base's own pictures of the person serves a new scene's faces."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.models.swapper.texture_warp import opponent

_AT_A_TIME: Final = 64
_FLOOR: Final = 1e-4


@torch.no_grad()
def nearest_pictures(pictures: Tensor, regions: Tensor, truth: Tensor, canonical: Tensor, hull: Tensor) -> Tensor:
    """Give (M,3) int64: the picture most like the truth around the eyes, at the mouth and elsewhere.

    pictures: (K,3,S,S) of a `TextureWarp`. regions: (1,3,S,S) where eyes, mouth and the rest lie in them. truth:
    (M,3,s,s) RGB -1..1. canonical: (M,2,s,s) where in the pictures each pixel lies. hull: (M,1,s,s) 0..1. Alike is
    what correlates in lightness: colour and light are not the picture's to bring. A base was told which frames its
    pictures were made of; in a scene that it did not know they are found by what they show.
    """
    shrink = max(1, pictures.shape[-1] // truth.shape[-1])
    small = F.avg_pool2d(pictures[:, :1], shrink).permute(1, 0, 2, 3)  # (1,K,s,s): lightness
    where = F.avg_pool2d(regions, shrink)
    found = []
    for start in range(0, len(truth), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        grid = canonical[part].permute(0, 2, 3, 1)
        count = len(grid)
        shown = F.grid_sample(small.expand(count, -1, -1, -1), grid, align_corners=False)
        weight = F.grid_sample(where.expand(count, -1, -1, -1), grid, align_corners=False) * hull[part]
        found.append(_correlation(shown, opponent(truth[part])[:, :1], weight).argmax(2))
    return torch.cat(found)


def _correlation(shown: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Give (M,R,K) of pictures (M,K,s,s) with (M,1,s,s) under weights (M,R,s,s)."""
    weight = (weight / weight.sum((2, 3), keepdim=True).clamp_min(_FLOOR))[:, :, None]
    a, b = shown[:, None], wanted[:, None]
    mean_a, mean_b = ((value * weight).sum((3, 4), keepdim=True) for value in (a, b))
    a, b = a - mean_a, b - mean_b
    together = (a * b * weight).sum((3, 4))
    apart = ((a * a * weight).sum((3, 4)) * (b * b * weight).sum((3, 4))).sqrt()
    return together / apart.clamp_min(_FLOOR)
