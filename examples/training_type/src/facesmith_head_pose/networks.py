"""The network: crops in, angles out. It knows nothing of Lightning."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LARGEST_ANGLE = 90.0
"""Degrees that an output of 1 stands for."""


class PoseNetwork(nn.Module):
    """A small convolutional network that estimates pitch and yaw.

    Args:
        channels: Of its stages; each halves the picture.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in zip([3, *channels], channels, strict=False):
            stages += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(min(8, after), after), nn.SiLU()]
        self.stages = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(channels[-1] * 16, 2)

    def forward(self, crops: Tensor) -> Tensor:
        """Return pitch and yaw (N,2) in degrees of crops (N,3,S,S) RGB 0..1."""
        angles: Tensor = torch.tanh(self.head(self.stages(crops * 2 - 1))) * LARGEST_ANGLE
        return angles
