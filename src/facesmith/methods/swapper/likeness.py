"""How like a person a swapped face is, through a recogniser that is never trained."""

import math

from torch import Tensor
from torch.nn import functional as F

from facesmith.assets import fetch
from facesmith.errors import UserError
from facesmith.models.recognisers import ArcFace, Recogniser, SFace
from facesmith.training.losses import identity_loss, jittered

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
    """Give the strength 0..1 of a loss that comes in at `start` of the training and is whole after `length` more."""
    if progress < start:
        return 0.0
    return min(1.0, (progress - start) / length) if length else 1.0


def _recogniser(embedder: str) -> Recogniser:
    if embedder == SFace.name:
        return SFace()
    if embedder == ArcFace.name:
        return ArcFace(fetch("buffalo_l") / "w600k_r50.onnx")
    raise UserError(f"model.loss.embedder={embedder}: no such recogniser; choose {SFace.name} or {ArcFace.name}")
