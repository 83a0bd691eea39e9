"""Lay a generated face over its target: one way for export, inference and validation."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_ERODE = 2 / 128  # of the crop's side: keeps the stretched texture at the hull's rim out of the picture
_BLUR = 2.5 / 128
_STEEPNESS = 16


def composite(face: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Blend a face into its target under the mask, thresholded, eroded and feathered.

    face, target: (N,3,S,S) RGB in -1..1. mask: (N,1,S,S) in 0..1. Returns the picture (N,3,S,S) in -1..1
    and the mask it was blended with (N,1,S,S) in 0..1, low at the crop's rim. Traces to plain ONNX operators;
    S must be fixed.
    """
    soft = feather(mask)
    return torch.lerp(target, face.clamp(-1, 1), soft), soft


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
    kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
    blurred = F.conv2d(kept, kernel, padding=(0, radius))
    return F.conv2d(blurred, kernel.transpose(2, 3), padding=(radius, 0))
