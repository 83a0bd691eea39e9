"""Losses of swapper networks: mesh warp by light, texture warp by geometry and light, AAD by pixels and identity."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.methods.swapper.config import AadLossConfig
from facesmith.models.swapper.colour import opponent
from facesmith.models.swapper.generator import SwapOutput, composite
from facesmith.training.distributed import all_reduce_mean
from facesmith.training.losses import AdversarialLoss, IdentityLoss, masked_l1, masked_mean, masked_ssim_loss, ramp

_CELLS: Final = 8  # colour and contrast are compared in 8x8 cells of the crop
_DEVIATION_FLOOR: Final = 3e-3


class MeshWarpLoss(nn.Module):
    """Loss of colour and light only: the geometry is known.

    Args:
        light: Weight of the L1 distance of cell means to the truth's, in opponent colours.
        face: Weight of the L1 distance to the truth, pixel by pixel.
        cells: Cells along a side whose means are compared.
    """

    def __init__(self, *, light: float, face: float, cells: int) -> None:
        super().__init__()
        self.weights = {"light": light, "face": face}
        self.cells = cells

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Compute the terms inside the face.

        Args:
            output: Of a `MeshWarp`.
            batch: truth (N,3,S,S) -1..1 and hull (N,1,S,S) 0..1.
            progress: Not used: there are no phases.

        Returns:
            The terms by name, weighted, and their sum as "loss".
        """
        inside = (batch["hull"] * output.mask).detach()
        residual = opponent(output.face) - opponent(batch["truth"])
        cell = residual.shape[-1] // self.cells
        share = F.avg_pool2d(inside, cell)
        means = F.avg_pool2d(residual * inside, cell) / share.clamp_min(1e-3)
        terms = {"light": masked_mean(means.abs(), share), "face": masked_mean(residual.abs(), inside)}
        terms = {name: self.weights[name] * value for name, value in terms.items()}
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}


class TextureWarpLoss(nn.Module):
    """Sum of geometry, mask, light, contrast and mix terms; no pixel, adversarial or identity loss.

    Where eyes and mouth lie is given once, through `set_regions`.

    Args:
        flow: Weight of the L1 distance of the predicted canonical places inside the hull, in halves of the crop.
        detail: How much more eyes and mouth count there.
        mask: Weight of the binary cross-entropy against the hull.
        light: Weight of the L1 distance of cell means in opponent colours.
        contrast: Weight of the L1 distance of the log contrast to the ratio of local deviations.
        mix: Weight of the cross-entropy of the chosen textures.
        mix_detail: How much more eyes and mouth count there.
        texture_size: Side of the textures in px.
    """

    regions: Tensor

    def __init__(
        self,
        *,
        flow: float,
        detail: float,
        mask: float,
        light: float,
        contrast: float,
        mix: float,
        mix_detail: float,
        texture_size: int,
    ) -> None:
        super().__init__()
        self.weights = {"flow": flow, "mask": mask, "light": light, "contrast": contrast, "mix": mix}
        self.detail, self.mix_detail = detail, mix_detail
        self.register_buffer("regions", torch.zeros(1, 2, texture_size, texture_size))

    @torch.no_grad()
    def set_regions(self, regions: Tensor) -> None:
        """Take the eyes and the mouth in canonical coordinates, (2,S,S) in 0..1."""
        self.regions.copy_(regions[None])

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Compute the terms.

        Args:
            output: Of a `TextureWarp`.
            batch: truth (N,3,S,S) -1..1, hull (N,1,S,S) 0..1, canonical (N,2,S,S) and labels (N,3).
            progress: Not used: there are no phases.

        Returns:
            The terms by name, weighted, and their sum as "loss".
        """
        truth, hull, aux = opponent(batch["truth"]), batch["hull"], output.aux
        # torch's own cross-entropy raises where the network's output is not finite, without a helpful message
        probability = output.mask.clamp(1e-4, 1 - 1e-4)
        terms = {
            "flow": self._flow(aux["flow"], batch["canonical"], hull),
            "mask": -(hull * probability.log() + (1 - hull) * (1 - probability).log()).mean(),
            "light": _light(aux, truth, hull),
            "contrast": _contrast(aux, truth, hull),
            "mix": self._mix(aux["mix"], batch["labels"]),
        }
        terms = {name: self.weights[name] * value for name, value in terms.items()}
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _flow(self, flow: Tensor, canonical: Tensor, hull: Tensor) -> Tensor:
        regions = self.regions.expand(len(flow), -1, -1, -1)
        places = canonical.permute(0, 2, 3, 1)
        detail = F.grid_sample(regions, places, mode="nearest", align_corners=False).amax(1, keepdim=True)
        return masked_mean((flow - canonical).abs(), (hull + 1e-3) * (1 + self.detail * detail))

    def _mix(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(-1, 3).mean(0)
        return loss[2] + self.mix_detail * (loss[0] + loss[1])


def _light(aux: dict[str, Tensor], truth: Tensor, hull: Tensor) -> Tensor:
    """Compare cell means; the contrast is left to its own term."""
    cell = truth.shape[-1] // _CELLS
    lit = aux["sampled"] * aux["contrast"].detach().exp()[:, :, None, None] + aux["light"]
    share = all_reduce_mean(F.avg_pool2d(hull, cell).mean())
    return F.avg_pool2d((lit - truth) * hull, cell).abs().mean() / share.clamp_min(1e-6)


def _contrast(aux: dict[str, Tensor], truth: Tensor, hull: Tensor) -> Tensor:
    """Compare the log contrast with the ratio of local deviations in cells that lie inside the face."""
    cell = truth.shape[-1] // _CELLS
    inside = (F.avg_pool2d(hull, cell) > 0.95).float() + 1e-6
    with torch.no_grad():
        wanted = _deviation(truth, cell, inside) / _deviation(aux["sampled"], cell, inside)
    return (aux["contrast"] - wanted.log()).abs().mean()


def _deviation(picture: Tensor, cell: int, inside: Tensor) -> Tensor:
    mean = F.avg_pool2d(picture, cell)
    variance = F.avg_pool2d(picture * picture, cell) - mean * mean
    local = variance.clamp_min(1e-5).sqrt() * inside
    return (local.sum((2, 3)) / inside.sum((2, 3))).clamp_min(_DEVIATION_FLOOR)


class AadLoss(nn.Module):
    """Pixels first, then likeness to the person, then (if wanted) an adversary.

    Args:
        config: Weights of the terms, and when they come in.
    """

    def __init__(self, config: AadLossConfig) -> None:
        super().__init__()
        self.config = config
        self.embedder = config.embedder
        self.adversary = AdversarialLoss(config.discriminator_channels) if config.adversarial else None
        self.identity_loss = IdentityLoss(config.embedder, config.identity_share)

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Compute the terms.

        Args:
            output: Of an `Aad`.
            batch: target and truth (N,3,S,S) -1..1, hull (N,1,S,S) 0..1, source (N,E).
            progress: Of the training, 0..1.

        Returns:
            The terms by name, not weighted, and their weighted sum as "loss".
        """
        config = self.config
        truth, hull = batch["truth"], batch["hull"]
        weight = hull * (1 - config.background) + config.background
        # half precision has no room for the logarithm of a saturated mask
        probability = output.mask.float().clamp(1e-4, 1 - 1e-4)
        parts = {
            "l1": masked_l1(output.face, truth, weight),
            "ssim": masked_ssim_loss(output.face, truth, weight),
            "mask": -(hull * probability.log() + (1 - hull) * (1 - probability).log()).mean(),
        }
        loss = config.l1 * parts["l1"] + config.ssim * parts["ssim"] + config.mask * parts["mask"]
        swapped, _ = composite(output.face, output.mask.detach(), batch["target"])
        if config.identity:
            self.identity_loss.load(swapped)
        if config.identity and progress >= config.identity_from:
            parts["identity"] = self.identity_loss(swapped, batch["source"])
            loss = loss + config.identity * ramp(progress, config.identity_from, config.ramp) * parts["identity"]
        if self.adversary is not None and progress >= config.adversarial_from:
            fooling, matching, parts["discriminator"] = self.adversary(swapped, truth)
            parts |= {"adversarial": fooling, "matching": matching}
            strength = config.adversarial * ramp(progress, config.adversarial_from, config.ramp)
            loss = loss + strength * (fooling + config.matching * matching) + parts["discriminator"]
        return {"loss": loss, **parts}
