"""Augmentation of covered faces and their masks."""

from collections.abc import Sequence

import torch
from kornia.augmentation import (
    AugmentationSequential,
    ColorJiggle,
    RandomAffine,
    RandomGamma,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomJPEG,
    RandomSharpness,
)
from kornia.constants import DataKey
from torch import Tensor, nn


class AugmentMasks(nn.Module):
    """Turn, scale, move, mirror, recolour and degrade pictures (N,3,S,S) 0..1, and masks (N,1,S,S) along with them.

    degrees: turned by at most. scale: smallest and largest, drawn for width and height apart, so that one face becomes
    long ones and wide ones. shear: slanted by at most, in degrees. shift: moved by at most, of the side. brightness,
    contrast, saturation, hue: strength of the colour changes. gamma: largest exponent, and inverse of the smallest.
    grey, sharp, blur, noise, jpeg: how often, 0..1. Drawn from torch's own random numbers.
    """

    def __init__(
        self,
        *,
        degrees: float,
        scale: Sequence[float],
        shear: float,
        shift: float,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        gamma: float,
        grey: float,
        sharp: float,
        blur: float,
        noise: float,
        jpeg: float,
    ) -> None:
        super().__init__()
        self.geometry = AugmentationSequential(
            RandomHorizontalFlip(p=0.5),
            RandomAffine(
                degrees,
                (shift, shift),
                (scale[0], scale[1], scale[0], scale[1]),
                (-shear, shear, -shear, shear),
                padding_mode="border",
                p=1.0,
            ),
            data_keys=["input", "mask"],
            extra_args={DataKey.MASK: {"resample": "bilinear", "align_corners": False}},
        )
        around = [(1 - brightness, 1 + brightness), (1 - contrast, 1 + contrast), (1 - saturation, 1 + saturation)]
        self.light = nn.Sequential(
            ColorJiggle(*around, (-hue, hue), p=0.9),
            RandomGamma((1 / gamma, gamma), p=0.4),
            RandomGrayscale(p=grey),
            # faces of a soft video under crisp things would teach that what is crisp is no face
            RandomSharpness((1.0, 6.0), p=sharp),
            RandomGaussianBlur((5, 5), (0.3, 1.6), p=blur),
            RandomGaussianNoise(std=0.02, p=noise),
        )
        self.jpeg, self.often = RandomJPEG((25.0, 90.0), p=1.0), jpeg

    @torch.no_grad()
    def forward(self, pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        pictures, masks = self.geometry(pictures, masks)
        pictures = self.light(pictures).clamp(0, 1)
        # kornia's codec works on the whole batch, even where it keeps nothing of it
        chosen = torch.rand(len(pictures), device=pictures.device) < self.often
        if chosen.any():
            pictures[chosen] = self.jpeg(pictures[chosen]).clamp(0, 1)
        return pictures, masks.clamp(0, 1)
