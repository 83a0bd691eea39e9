"""What teaches the `aad` generator to be somebody else without copying the target."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.assets import fetch
from facesmith.errors import UserError
from facesmith.generators.composite import composite
from facesmith.generators.output import SwapOutput
from facesmith.recognisers import ArcFace, Recogniser, SFace
from facesmith.training.losses import AdversarialLoss, identity_loss, jittered, masked_l1, masked_ssim_loss

_JITTER = {"degrees": 4.0, "scale": 0.06, "shift": 0.04}


class AadLoss(nn.Module):
    """Pixels first, then likeness, then (if wanted) an adversary.

    Arguments: the weights `l1`, `ssim`, `mask`, `identity`, `adversarial` (0 builds no discriminator), `matching`;
    `background` is the weight of pixels outside the face hull, which has 1; `identity_from` and `adversarial_from`
    are the share of the training after which those losses ramp in, over `ramp`; `identity_share` is the part of each
    batch the recogniser sees, because it costs as much as the generator; `embedder` names the recogniser the source
    embeddings come from; `discriminator_channels` is the discriminator's width.

    A likeness loss on raw output finds adversarial stripes that fool the recogniser: it comes late, small, and on the
    composite a client would show, turned and moved at random.
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
        self.identity, self.identity_from, self.identity_share = identity, identity_from, identity_share
        self.adversarial, self.adversarial_from, self.matching = adversarial, adversarial_from, matching
        self.ramp = ramp
        self.embedder = embedder
        self.adversary = AdversarialLoss(discriminator_channels) if adversarial else None
        # In a list it is no submodule: frozen and rebuilt from its asset, it is neither saved nor averaged.
        self._recognisers: list[Recogniser] = []

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
        if self.identity and not self._recognisers:  # at the first step, so that what is missing is told at once
            self._recognisers.append(_recogniser(self.embedder).to(shown.device))
        if self.identity and progress >= self.identity_from:
            parts["identity"] = self._identity(shown, batch["source"])
            loss = loss + self.identity * self._ramp(progress, self.identity_from) * parts["identity"]
        if self.adversary is not None and progress >= self.adversarial_from:
            fooling, matching, parts["discriminator"] = self.adversary(shown, truth)
            parts |= {"adversarial": fooling, "matching": matching}
            strength = self.adversarial * self._ramp(progress, self.adversarial_from)
            loss = loss + strength * (fooling + self.matching * matching) + parts["discriminator"]
        return {"loss": loss, **parts}

    def _ramp(self, progress: float, start: float) -> float:
        return min(1.0, (progress - start) / self.ramp) if self.ramp else 1.0

    def _identity(self, shown: Tensor, source: Tensor) -> Tensor:
        # batches begin with the pairs of two people, where likeness is to be learnt
        count = math.ceil(self.identity_share * len(shown))
        crops = F.interpolate(shown[:count], size=(128, 128), mode="bilinear", antialias=True, align_corners=False)
        return identity_loss(self._recognisers[0].embed(jittered(crops, **_JITTER)), source[:count])


def _recogniser(embedder: str) -> Recogniser:
    if embedder == SFace.name:
        return SFace()
    if embedder == ArcFace.name:
        return ArcFace(fetch("buffalo_l") / "w600k_r50.onnx")
    raise UserError(f"model.loss.embedder={embedder}: no such recogniser; choose {SFace.name} or {ArcFace.name}")
