"""Losses that more than one training type uses; pictures are (N,3,S,S) RGB -1..1, masks (N,1,S,S) 0..1."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.assets import fetch
from facesmith.errors import UserError
from facesmith.metrics.ssim import WINDOW, ssim_map
from facesmith.models.recognisers import ArcFace, Recogniser, SFace
from facesmith.training.distributed import all_reduce_mean

_SMALL_MOVES: Final = {"degrees": 4.0, "scale": 0.06, "shift": 0.04}


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Compute a weighted mean; where processes share a batch, the mean of their results is the whole batch's.

    Args:
        values: (N,C,h,w).
        weight: (N,1,h,w), at least 0.

    Returns:
        A scalar.
    """
    return (values * weight).sum() / (all_reduce_mean(weight.sum()) * values.shape[1] + 1e-6)


def masked_l1(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean absolute difference, a scalar.

    Args:
        picture: (N,C,S,S).
        truth: (N,C,S,S).
        weight: (N,1,S,S), at least 0.
    """
    return masked_mean((picture - truth).abs(), weight)


def masked_ssim_loss(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Compute half of 1 - SSIM, a scalar: 0 alike, 1 opposite.

    Args:
        picture: (N,C,S,S) in -1..1.
        truth: (N,C,S,S) in -1..1.
        weight: (N,1,S,S), at least 0.
    """
    return masked_mean(1 - ssim_map(picture, truth), F.avg_pool2d(weight, WINDOW, 1)) / 2


def ramp(progress: float, start: float, length: float) -> float:
    """Return the strength 0..1 of a loss that comes in during a training.

    Args:
        progress: Share of the training that is done, 0..1.
        start: Share at which it comes in.
        length: Share after which, from there, it is whole; 0: at once.
    """
    if progress < start:
        return 0.0
    return min(1.0, (progress - start) / length) if length else 1.0


class IdentityLoss:
    """1 - cosine of composites' embeddings to their sources: 0 the same person, about 1 strangers.

    A loss on raw output finds adversarial stripes that fool the recogniser: it is to come late, small, and on the
    composite a client would show, which is turned and moved at random here. The recogniser is frozen and rebuilt from
    its asset, so this is no module: nothing of it is saved or averaged.

    Args:
        embedder: Name of the recogniser that the sources come from.
        share: Part of each batch that is compared: a recogniser costs as much as a generator.
    """

    def __init__(self, embedder: str, share: float = 1.0) -> None:
        self.embedder, self.share = embedder, share
        self._recogniser: Recogniser | None = None

    def load(self, like: Tensor) -> None:
        """Load the recogniser, once, onto a tensor's device; at the first step, so that a missing file is reported."""
        if self._recogniser is None:
            self._recogniser = _recogniser(self.embedder).to(like.device)

    def __call__(self, pictures: Tensor, source: Tensor) -> Tensor:
        """Compare the first `share` of pictures (N,3,S,S) -1..1, the pairs of two people, with sources (N,E)."""
        self.load(pictures)
        assert self._recogniser is not None
        count = math.ceil(self.share * len(pictures))
        crops = F.interpolate(pictures[:count], size=(128, 128), mode="bilinear", antialias=True, align_corners=False)
        embeddings = self._recogniser.embed(random_affine(crops, **_SMALL_MOVES))
        return 1 - F.cosine_similarity(embeddings, source[:count]).mean()


def random_affine(pictures: Tensor, degrees: float, scale: float, shift: float) -> Tensor:
    """Turn, scale and move each picture a little at random, so that a recogniser cannot be fooled pixel by pixel.

    Args:
        pictures: (N,C,S,S).
        degrees: Largest rotation.
        scale: Largest change of size, natural log.
        shift: Largest move, in halves of the side.
    """
    count = len(pictures)

    def draw(limit: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, device=pictures.device) * 2 - 1) * limit

    angle, size = draw(math.radians(degrees)), draw(scale).exp()
    rows = [size * angle.cos(), -size * angle.sin(), size * angle.sin(), size * angle.cos()]
    matrix = torch.cat([torch.stack(rows, 1).view(count, 2, 2), draw(shift, 2, 1)], 2)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid.to(pictures.dtype), padding_mode="border", align_corners=False)


class PatchDiscriminator(nn.Module):
    """Scores patches, real from generated: spectrally normalised, 2x2 pixels folded into channels."""

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


def _recogniser(embedder: str) -> Recogniser:
    if embedder == SFace.name:
        return SFace()
    if embedder == ArcFace.name:
        return ArcFace(fetch("buffalo_l") / "w600k_r50.onnx")
    raise UserError(f"model.loss.embedder={embedder}: no such recogniser; choose {SFace.name} or {ArcFace.name}")
