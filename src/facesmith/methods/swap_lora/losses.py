"""What a LoRA learns a scene by: the base's own loss, likeness late, steadiness, and no change elsewhere."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.methods.swap_lora.dataset import pairs_of, unlikeness
from facesmith.methods.swapper.losses import Likeness, ramp
from facesmith.models.swapper.wrappers import SwapOutput, composite

BASE_FACE, BASE_MASK = "base_face", "base_mask"


class SwapLoraLoss(nn.Module):
    """The base's own loss on the scene, and three terms.

    own: the base's loss, on pseudo ground truth of the scene. identity: weight of 1 - cosine to the person, on the
    composites of `identity_share` of the pictures, from `identity_from` of the training on, ramped in over `ramp`; of
    less than one picture a batch, that one is drawn by chance, because a recogniser costs more than a small generator
    does. temporal:
    weight of how unlike neighbouring frames come out, point of the face by point. elsewhere: weight of how far
    pictures that are not of the scene come out from what the base makes of them. embedder: of the sources.

    The target itself is never what the output is compared with: that teaches to copy it.
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
        elsewhere: float,
        embedder: str,
    ) -> None:
        super().__init__()
        self.own = own
        self.identity, self.identity_from, self.ramp = identity, identity_from, ramp
        self.temporal, self.elsewhere = temporal, elsewhere
        self.identity_share = identity_share
        self.likeness = Likeness(embedder, 1.0)

    def forward(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return `loss` and its unweighted parts.

        Besides what the own loss reads, `batch` needs `item` and `after` (N,), and where it has rows that are not of
        the scene `foreign` (N,) bool, `base_face` and `base_mask`: what the base makes of these rows.
        """
        foreign = batch.get("foreign")
        if foreign is None:
            return self._scene(output, batch, progress)
        here = (~foreign).nonzero()[:, 0]
        parts = self._scene(
            _rows(output, here), {k: v[here] for k, v in batch.items() if len(v) == len(foreign)}, progress
        )
        there = _rows(output, foreign.nonzero()[:, 0])
        parts["elsewhere"] = F.l1_loss(there.face, batch[BASE_FACE]) + F.l1_loss(there.mask, batch[BASE_MASK])
        parts["loss"] = parts["loss"] + self.elsewhere * parts["elsewhere"]
        return parts

    def _scene(self, output: SwapOutput, batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = dict(self.own(output, batch, progress))
        loss = parts.pop("loss")
        pairs = pairs_of(batch) if self.temporal else torch.empty(0)
        if len(pairs):
            after = pairs + 1
            places, hulls = batch["canonical"], batch["hull"]
            parts["temporal"] = unlikeness(
                output.face[pairs], output.face[after], (places[pairs], places[after]), (hulls[pairs], hulls[after])
            )
            loss = loss + self.temporal * parts["temporal"]
        if self.identity:
            self.likeness.load(output.face)
        strength = self.identity * ramp(progress, self.identity_from, self.ramp)
        count = int(self.identity_share * len(output.face) + float(torch.rand(()))) if strength else 0
        if count:
            few = slice(count)  # batches begin with the scene's own faces
            shown, _ = composite(output.face[few], output.mask[few].detach(), batch["target"][few])
            parts["identity"] = self.likeness(shown, batch["source"][few])
            loss = loss + strength * parts["identity"]
        return {"loss": loss, **parts}


def _rows(output: SwapOutput, rows: Tensor) -> SwapOutput:
    return SwapOutput(output.face[rows], output.mask[rows], {name: value[rows] for name, value in output.aux.items()})
