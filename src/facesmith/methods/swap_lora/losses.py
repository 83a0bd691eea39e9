"""The loss of a LoRA: the base's loss, late identity loss, temporal consistency, and prior preservation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.methods.swap_lora.neighbours import face_difference, neighbour_rows
from facesmith.models.swapper.generator import SwapOutput, composite
from facesmith.training.losses import IdentityLoss, ramp

BASE_FACE, BASE_MASK = "base_face", "base_mask"


class SwapLoraLoss(nn.Module):
    """The base's own loss on the scene, and three terms: identity, temporal, prior.

    The target itself is never what the output is compared with: that teaches to copy it.

    Args:
        own: The base's loss, on pseudo ground truth of the scene.
        identity: Weight of 1 - cosine to the person, on composites.
        identity_from: Share of the training after which it ramps in.
        identity_share: Part of each batch that the recogniser sees. Of less than one picture, that one is drawn by
            chance, because a recogniser costs more than a small generator.
        ramp: Share of the training over which it ramps in.
        temporal: Weight of the difference of neighbouring frames, point of the face by point.
        prior: Weight of the difference from the base on pictures that are not of the scene.
        embedder: Recogniser of the sources.
    """

    def __init__(
        self,
        own: nn.Module,
        *,
        identity: float,
        identity_from: float,
        identity_share: float,
        ramp: float,
        temporal: float,
        prior: float,
        embedder: str,
    ) -> None:
        super().__init__()
        self.own = own
        self.identity, self.identity_from, self.ramp = identity, identity_from, ramp
        self.identity_share = identity_share
        self.temporal, self.prior = temporal, prior
        self.identity_loss = IdentityLoss(embedder)

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return `loss` and its unweighted parts.

        Besides what the own loss reads, `batch` needs `item` and `after` (N,), and where it has rows of the prior
        `prior` (N,) bool, `base_face` and `base_mask`: what the base makes of these rows.
        """
        prior = batch.get("prior")
        if prior is None:
            return self._scene_losses(output, batch, progress)
        here = (~prior).nonzero()[:, 0]
        parts = self._scene_losses(
            _rows(output, here), {k: v[here] for k, v in batch.items() if len(v) == len(prior)}, progress
        )
        there = _rows(output, prior.nonzero()[:, 0])
        parts["prior"] = F.l1_loss(there.face, batch[BASE_FACE]) + F.l1_loss(there.mask, batch[BASE_MASK])
        parts["loss"] = parts["loss"] + self.prior * parts["prior"]
        return parts

    def _scene_losses(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = dict(self.own(output, batch, progress))
        loss = parts.pop("loss")
        pairs = neighbour_rows(batch) if self.temporal else torch.empty(0)
        if len(pairs):
            after = pairs + 1
            places, hulls = batch["canonical"], batch["hull"]
            parts["temporal"] = face_difference(
                output.face[pairs], output.face[after], (places[pairs], places[after]), (hulls[pairs], hulls[after])
            )
            loss = loss + self.temporal * parts["temporal"]
        if self.identity:
            self.identity_loss.load(output.face)
        strength = self.identity * ramp(progress, self.identity_from, self.ramp)
        count = int(self.identity_share * len(output.face) + float(torch.rand(()))) if strength else 0
        if count:
            few = slice(count)  # batches begin with the scene's own faces
            shown, _ = composite(output.face[few], output.mask[few].detach(), batch["target"][few])
            parts["identity"] = self.identity_loss(shown, batch["source"][few])
            loss = loss + strength * parts["identity"]
        return {"loss": loss, **parts}


def _rows(output: SwapOutput, rows: Tensor) -> SwapOutput:
    return SwapOutput(output.face[rows], output.mask[rows], {name: value[rows] for name, value in output.aux.items()})
