"""Augmentation of training pictures together with their masks, on the batch's device."""

import math

import torch
from kornia.augmentation import (
    AugmentationSequential,
    ColorJiggle,
    RandomAffine,
    RandomGamma,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomGrayscale,
    RandomJPEG,
    RandomSharpness,
)
from kornia.constants import DataKey
from torch import Tensor, nn

from facesmith.faces.geometry.topology import LANDMARK_MIRROR
from facesmith.methods.occluder.config import AugmentMasksConfig


class AugmentMasks(nn.Module):
    """Rotate, scale, shift, mirror, recolour and degrade pictures, and move masks and landmarks along with them.

    Draws from torch's global random numbers.

    Args:
        config: Strengths and probabilities.
    """

    def __init__(self, config: AugmentMasksConfig) -> None:
        super().__init__()
        self.geometry = AugmentationSequential(
            RandomAffine(
                config.degrees,
                (config.shift, config.shift),
                (config.scale[0], config.scale[1], config.scale[0], config.scale[1]),
                (-config.shear, config.shear, -config.shear, config.shear),
                padding_mode="border",
                p=1.0,
            ),
            data_keys=["input", "mask", "keypoints"],
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
            RandomGaussianNoise(std=0.05, p=config.noise / 3),
        )
        self.misplaced = config.misplaced
        self.jpeg, self.jpeg_probability = RandomJPEG((25.0, 90.0), p=1.0), config.jpeg

    @torch.no_grad()
    def forward(self, pictures: Tensor, masks: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Augment a batch.

        Args:
            pictures: (N,3,S,S) RGB in 0..1.
            masks: (N,1,S,S) in 0..1.
            points: Landmarks (N,478,3) px.

        Returns:
            All three in the same form; landmarks a little misplaced, as a detector's are.
        """
        pictures, masks, points = _mirror_half(pictures, masks, points)
        pictures, masks, flat = self.geometry(pictures, masks, points[..., :2])
        pictures = self.appearance(pictures).clamp(0, 1)
        # kornia's codec works on the whole batch, even where it keeps nothing of it
        chosen = torch.rand(len(pictures), device=pictures.device) < self.jpeg_probability
        if chosen.any():
            pictures[chosen] = self.jpeg(pictures[chosen]).clamp(0, 1)
        return pictures, masks.clamp(0, 1), torch.cat([self._misplace(flat, pictures.shape[-1]), points[..., 2:]], -1)

    def _misplace(self, flat: Tensor, side: int) -> Tensor:
        """Shift, scale and bend landmarks (N,478,2) at random."""
        error = self.misplaced * side
        middle = flat.mean(1, keepdim=True)
        scale = 1 + self.misplaced * torch.randn_like(middle)
        # neighbours err together: a bend along a random direction of the face
        direction = torch.randn_like(middle)
        phase = ((flat - middle) * direction).sum(-1, keepdim=True) * (2 * math.pi / side)
        bend = torch.sin(phase + torch.rand_like(phase[:, :1]) * 2 * math.pi) * torch.randn_like(middle)
        return middle + (flat - middle) * scale + error * (torch.randn_like(middle) + 0.5 * bend)


def _mirror_half(pictures: Tensor, masks: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror each of a batch with a probability of one half: left landmarks become right ones."""
    flipped = torch.rand(len(pictures), device=pictures.device) < 0.5
    planes = flipped[:, None, None, None]
    mirrored = points[:, list(LANDMARK_MIRROR)] * points.new_tensor([-1, 1, 1])
    mirrored = mirrored + points.new_tensor([pictures.shape[-1] - 1, 0, 0])
    return (
        torch.where(planes, pictures.flip(-1), pictures),
        torch.where(planes, masks.flip(-1), masks),
        torch.where(flipped[:, None, None], mirrored, points),
    )
