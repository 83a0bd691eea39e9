"""Losses of swapper networks: mesh warp by light, AAD by pixels and identity."""

from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.methods.swapper.config import AadLossConfig
from facesmith.models.swapper.colour import opponent
from facesmith.models.swapper.generator import SwapOutput, composite
from facesmith.training.losses import AdversarialLoss, IdentityLoss, masked_l1, masked_mean, masked_ssim_loss, ramp


class MeshWarpLoss(nn.Module):
    """Loss of colour and light only: the geometry is known, and a loss on pixels fades what is sharp.

    Args:
        cells: Cells along a side whose means are compared.
        trust: Share of the error in light that is to be corrected. What is learnt from few faces copies the target
            if all of it is believed.
    """

    def __init__(self, *, cells: int, trust: float) -> None:
        super().__init__()
        self.cells, self.trust = cells, trust

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Compute the L1 distance of cell means inside the face, in opponent colours.

        Args:
            output: Of a `MeshWarp`.
            batch: truth (N,3,S,S) -1..1 and hull (N,1,S,S) 0..1.
            progress: Not used: there are no phases.

        Returns:
            The distance as "loss" and, by its name, as "light".
        """
        inside = (batch["hull"] * output.mask).detach()
        residual = opponent(output.face) - opponent(batch["truth"])
        # 0 where the correction is `trust` of what was wrong without it
        residual = self.trust * residual + (1 - self.trust) * output.aux["learned"]
        cell = residual.shape[-1] // self.cells
        share = F.avg_pool2d(inside, cell)
        means = F.avg_pool2d(residual * inside, cell) / share.clamp_min(1e-3)
        light = masked_mean(means.abs(), share)
        return {"loss": light, "light": light.detach()}


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
