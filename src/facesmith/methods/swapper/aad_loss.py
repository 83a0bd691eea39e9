"""What teaches the `aad` generator to be somebody else without copying the target."""

from torch import Tensor, nn

from facesmith.methods.swapper.likeness import Likeness, ramp
from facesmith.models.swapper.composite import composite
from facesmith.models.swapper.output import SwapOutput
from facesmith.training.losses import AdversarialLoss, masked_l1, masked_ssim_loss


class AadLoss(nn.Module):
    """Pixels first, then likeness, then (if wanted) an adversary.

    Arguments: the weights `l1`, `ssim`, `mask`, `identity`, `adversarial` (0 builds no discriminator), `matching`;
    `background` is the weight of pixels outside the face hull, which has 1; `identity_from` and `adversarial_from`
    are the share of the training after which those losses ramp in, over `ramp`; `identity_share` is the part of each
    batch the recogniser sees, because it costs as much as the generator; `embedder` names the recogniser the source
    embeddings come from; `discriminator_channels` is the discriminator's width.
    """

    def __init__(
        self,
        l1: float,
        ssim: float,
        mask: float,
        background: float,
        identity: float,
        identity_from: float,
        identity_share: float,
        embedder: str,
        adversarial: float,
        adversarial_from: float,
        matching: float,
        discriminator_channels: int,
        ramp: float,
    ) -> None:
        super().__init__()
        self.l1, self.ssim, self.mask, self.background = l1, ssim, mask, background
        self.identity, self.identity_from = identity, identity_from
        self.adversarial, self.adversarial_from, self.matching = adversarial, adversarial_from, matching
        self.ramp = ramp
        self.embedder = embedder
        self.adversary = AdversarialLoss(discriminator_channels) if adversarial else None
        self.likeness = Likeness(embedder, identity_share)

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Give `loss` and its unweighted parts; `batch` needs `target`, `truth`, `hull`, `source`."""
        truth, hull = batch["truth"], batch["hull"]
        weight = hull * (1 - self.background) + self.background
        # half precision has no room for the logarithm of a saturated mask
        probability = output.mask.float().clamp(1e-4, 1 - 1e-4)
        parts = {
            "l1": masked_l1(output.face, truth, weight),
            "ssim": masked_ssim_loss(output.face, truth, weight),
            "mask": -(hull * probability.log() + (1 - hull) * (1 - probability).log()).mean(),
        }
        loss = self.l1 * parts["l1"] + self.ssim * parts["ssim"] + self.mask * parts["mask"]
        shown, _ = composite(output.face, output.mask.detach(), batch["target"])
        if self.identity:
            self.likeness.load(shown)
        if self.identity and progress >= self.identity_from:
            parts["identity"] = self.likeness(shown, batch["source"])
            loss = loss + self.identity * ramp(progress, self.identity_from, self.ramp) * parts["identity"]
        if self.adversary is not None and progress >= self.adversarial_from:
            fooling, matching, parts["discriminator"] = self.adversary(shown, truth)
            parts |= {"adversarial": fooling, "matching": matching}
            strength = self.adversarial * ramp(progress, self.adversarial_from, self.ramp)
            loss = loss + strength * (fooling + self.matching * matching) + parts["discriminator"]
        return {"loss": loss, **parts}
