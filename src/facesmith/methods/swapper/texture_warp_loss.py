"""What `TextureWarp` learns by: where things are, which picture serves, what light falls. Never pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.models.swapper.output import SwapOutput
from facesmith.models.swapper.texture_warp import opponent
from facesmith.training.losses import masked_mean
from facesmith.training.processes import mean_over_processes

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
        """Give the terms by name, weighted, and their sum as "loss".

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
