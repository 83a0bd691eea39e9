"""Losses that more than one training type uses; pictures are (N,3,S,S) RGB -1..1, masks (N,1,S,S) 0..1."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.training.distributed import mean_over_processes

_SSIM_WINDOW = 7


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of `values` (N,C,h,w) where `weight` (N,1,h,w) says so, as a scalar.

    Where processes share a batch, the mean of their results is the whole batch's.
    """
    return (values * weight).sum() / (mean_over_processes(weight.sum()) * values.shape[1] + 1e-6)


def masked_l1(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference under `weight`, a scalar."""
    return masked_mean((picture - truth).abs(), weight)


def ssim_map(picture: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at every place where a 7 px window fits: (N,3,S-6,S-6), 1 where alike.

    Wang et al. 2004 with the uniform window, for pictures in -1..1.
    """
    picture, truth = (picture + 1) / 2, (truth + 1) / 2
    moments = torch.cat([picture, truth, picture * picture, truth * truth, picture * truth])
    mean_a, mean_b, square_a, square_b, product = F.avg_pool2d(moments, _SSIM_WINDOW, 1).chunk(5)
    variance = (square_a - mean_a * mean_a) + (square_b - mean_b * mean_b)
    covariance = product - mean_a * mean_b
    luminance_floor, contrast_floor = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + luminance_floor) * (2 * covariance + contrast_floor)
    return similarity / ((mean_a * mean_a + mean_b * mean_b + luminance_floor) * (variance + contrast_floor))


def masked_ssim_loss(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Half of 1 - SSIM under `weight`: 0 alike, 1 opposite, a scalar."""
    return masked_mean(1 - ssim_map(picture, truth), F.avg_pool2d(weight, _SSIM_WINDOW, 1)) / 2


def jittered(picture: Tensor, degrees: float, scale: float, shift: float) -> Tensor:
    """Turn, scale and move each picture a little at random, so that a recogniser cannot be fooled pixel by pixel.

    `scale` is the largest natural-log change of size, `shift` the largest move in halves of the picture's side.
    """
    count = len(picture)

    def spread(limit: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, device=picture.device) * 2 - 1) * limit

    angle, size = spread(math.radians(degrees)), spread(scale).exp()
    rows = [size * angle.cos(), -size * angle.sin(), size * angle.sin(), size * angle.cos()]
    matrix = torch.cat([torch.stack(rows, 1).view(count, 2, 2), spread(shift, 2, 1)], 2)
    grid = F.affine_grid(matrix, list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid.to(picture.dtype), padding_mode="border", align_corners=False)


def identity_loss(embedding: Tensor, source: Tensor) -> Tensor:
    """1 - cosine of two (N,E) embeddings: 0 the same person, about 1 strangers, a scalar."""
    return 1 - F.cosine_similarity(embedding, source).mean()


class PatchDiscriminator(nn.Module):
    """Tell real patches from generated ones: spectrally normalised, 2x2 pixels folded into channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        normalise = nn.utils.parametrizations.spectral_norm
        self.layers = nn.ModuleList(
            [
                normalise(nn.Conv2d(12, channels, 3, 1, 1)),
                normalise(nn.Conv2d(channels, 2 * channels, 4, 2, 1)),
                normalise(nn.Conv2d(2 * channels, 4 * channels, 4, 2, 1)),
            ]
        )
        self.judge = normalise(nn.Conv2d(4 * channels, 1, 3, 1, 1))

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return patch scores (N,1,s,s), high for real, and the features of every layer."""
        hidden, features = F.pixel_unshuffle(picture, 2), []
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        return self.judge(hidden), features


class AdversarialLoss(nn.Module):
    """Patch-hinge GAN with feature matching whose discriminator trains in the same backward pass and optimiser.

    The generator's terms are computed with the discriminator's parameters out of the graph, the discriminator's term
    with the generated picture detached: one sum, one backward, each side gets only its own gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.discriminator = PatchDiscriminator(channels)

    def forward(self, picture: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return three scalars: fooling the discriminator, feature matching, and the discriminator's own loss."""
        self.discriminator.requires_grad_(False)
        score, features = self.discriminator(picture)
        with torch.no_grad():
            _, wanted = self.discriminator(truth)
        self.discriminator.requires_grad_(True)
        matching = torch.stack([F.l1_loss(a, b) for a, b in zip(features, wanted, strict=True)]).mean()
        real, _ = self.discriminator(truth.detach())
        fake, _ = self.discriminator(picture.detach())
        return -score.mean(), matching, F.relu(1 - real).mean() + F.relu(1 + fake).mean()
