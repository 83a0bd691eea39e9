"""Augmentation of training pictures together with their masks, on the batch's device."""

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

from facesmith.methods.occluder.config import AugmentMasksConfig


class AugmentMasks(nn.Module):
    """Rotate, scale, shift, mirror, recolour and degrade pictures, and move their masks along with them.

    Draws from torch's global random numbers.

    Args:
        config: Strengths and probabilities.
    """

    def __init__(self, config: AugmentMasksConfig) -> None:
        super().__init__()
        self.geometry = AugmentationSequential(
            RandomHorizontalFlip(p=0.5),
            RandomAffine(
                config.degrees,
                (config.shift, config.shift),
                (config.scale[0], config.scale[1], config.scale[0], config.scale[1]),
                (-config.shear, config.shear, -config.shear, config.shear),
                padding_mode="border",
                p=1.0,
            ),
            data_keys=["input", "mask"],
            extra_args={DataKey.MASK: {"resample": "bilinear", "align_corners": False}},
        )
        factors = [(1 - limit, 1 + limit) for limit in (config.brightness, config.contrast, config.saturation)]
        self.appearance = nn.Sequential(
            ColorJiggle(*factors, (-config.hue, config.hue), p=0.9),
            RandomGamma((1 / config.gamma, config.gamma), p=0.4),
            RandomGrayscale(p=config.grey),
            # faces of a soft video under crisp things would teach that what is crisp is no face
            RandomSharpness((1.0, 6.0), p=config.sharpen),
            RandomGaussianBlur((5, 5), (0.3, 1.6), p=config.blur),
            RandomGaussianNoise(std=0.02, p=config.noise),
        )
        self.jpeg, self.jpeg_probability = RandomJPEG((25.0, 90.0), p=1.0), config.jpeg

    @torch.no_grad()
    def forward(self, pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Augment pictures (N,3,S,S) RGB in 0..1 and masks (N,1,S,S) in 0..1; return both in the same form."""
        pictures, masks = self.geometry(pictures, masks)
        pictures = self.appearance(pictures).clamp(0, 1)
        # kornia's codec works on the whole batch, even where it keeps nothing of it
        chosen = torch.rand(len(pictures), device=pictures.device) < self.jpeg_probability
        if chosen.any():
            pictures[chosen] = self.jpeg(pictures[chosen]).clamp(0, 1)
        return pictures, masks.clamp(0, 1)
