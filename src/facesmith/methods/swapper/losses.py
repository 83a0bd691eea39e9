"""How like a person a swapped face is, through a recogniser that is never trained."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith.assets import fetch
from facesmith.errors import UserError
from facesmith.models.recognisers import ArcFace, Recogniser, SFace
from facesmith.models.swapper.texture_warp import opponent
from facesmith.models.swapper.wrappers import SwapOutput, composite
from facesmith.training.distributed import mean_over_processes
from facesmith.training.losses import AdversarialLoss, identity_loss, jittered, masked_l1, masked_mean, masked_ssim_loss

_JITTER = {"degrees": 4.0, "scale": 0.06, "shift": 0.04}


class Likeness:
    """1 - cosine of composites to their sources, of a share of each batch: a recogniser costs as much as a generator.

    embedder: the recogniser the sources come from. It is no submodule: frozen and rebuilt from its asset, it is neither
    saved nor averaged.

    A likeness loss on raw output finds adversarial stripes that fool the recogniser: it is to come late, small, and on
    the composite a client would show, which is turned and moved at random here.
    """

    def __init__(self, embedder: str, share: float) -> None:
        self.embedder, self.share = embedder, share
        self._recogniser: Recogniser | None = None

    def load(self, like: Tensor) -> None:
        """Load the recogniser, once, onto a tensor's device; at the first step, so that what is missing is told."""
        if self._recogniser is None:
            self._recogniser = _recogniser(self.embedder).to(like.device)

    def __call__(self, shown: Tensor, source: Tensor) -> Tensor:
        """Compare the first of `shown` (N,3,S,S) -1..1, the pairs of two people, with `source` (N,E)."""
        self.load(shown)
        assert self._recogniser is not None
        count = math.ceil(self.share * len(shown))
        crops = F.interpolate(shown[:count], size=(128, 128), mode="bilinear", antialias=True, align_corners=False)
        return identity_loss(self._recogniser.embed(jittered(crops, **_JITTER)), source[:count])


def ramp(progress: float, start: float, length: float) -> float:
    """Return the strength 0..1 of a loss that comes in at `start` of the training and is whole after `length` more."""
    if progress < start:
        return 0.0
    return min(1.0, (progress - start) / length) if length else 1.0


def _recogniser(embedder: str) -> Recogniser:
    if embedder == SFace.name:
        return SFace()
    if embedder == ArcFace.name:
        return ArcFace(fetch("buffalo_l") / "w600k_r50.onnx")
    raise UserError(f"model.loss.embedder={embedder}: no such recogniser; choose {SFace.name} or {ArcFace.name}")


_CELLS = 8  # colour and contrast are compared in 8x8 cells of the crop
_STD_FLOOR = 3e-3


class TextureWarpLoss(nn.Module):
    """Sum of geometry, mask, light, contrast and mix terms; no pixel, adversarial or identity loss.

    flow: weight of the L1 distance of the predicted canonical places inside the hull, in halves of the crop.
    detail: how much more eyes and mouth count there. mask: binary cross-entropy against the hull. light: L1
    of cell means in opponent colours. contrast: L1 of the log contrast against the ratio of local spreads.
    mix: cross-entropy of the chosen pictures; mix_detail: its weight on eyes and mouth.
    regions: (2,S,S) eyes and mouth in canonical coordinates, given once through `set_regions`.
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
        """Return the terms by name, weighted, and their sum as "loss".

        Reads truth (N,3,S,S) -1..1, hull (N,1,S,S) 0..1, canonical (N,2,S,S) and labels (N,3) of the batch.
        `progress` is not used: the recipe has no phases.
        """
        truth, hull, aux = opponent(batch["truth"]), batch["hull"], output.aux
        # torch's own cross-entropy raises where the network's output is not finite, before anybody can say why
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
    share = mean_over_processes(F.avg_pool2d(hull, cell).mean())
    return F.avg_pool2d((lit - truth) * hull, cell).abs().mean() / share.clamp_min(1e-6)


def _contrast(aux: dict[str, Tensor], truth: Tensor, hull: Tensor) -> Tensor:
    """Compare the log contrast with the ratio of local spreads in cells that lie inside the face."""
    cell = truth.shape[-1] // _CELLS
    inside = (F.avg_pool2d(hull, cell) > 0.95).float() + 1e-6
    with torch.no_grad():
        wanted = _spread(truth, cell, inside) / _spread(aux["sampled"], cell, inside)
    return (aux["contrast"] - wanted.log()).abs().mean()


def _spread(picture: Tensor, cell: int, inside: Tensor) -> Tensor:
    mean = F.avg_pool2d(picture, cell)
    variance = F.avg_pool2d(picture * picture, cell) - mean * mean
    local = variance.clamp_min(1e-5).sqrt() * inside
    return (local.sum((2, 3)) / inside.sum((2, 3))).clamp_min(_STD_FLOOR)


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
        """Return `loss` and its unweighted parts; `batch` needs `target`, `truth`, `hull`, `source`."""
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
