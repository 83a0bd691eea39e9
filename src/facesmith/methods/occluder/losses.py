"""What a mask is held to."""

import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F


class MaskLoss(nn.Module):
    """Binary cross-entropy and Dice (Milletari et al. 2016) of logits against soft masks, both (N,1,S,S).

    bce, dice: their weights.
    """

    def __init__(self, *, bce: float, dice: float) -> None:
        super().__init__()
        self.weights = (bce, dice)
        self.dice = smp.losses.DiceLoss("binary", from_logits=True)

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Return `loss` and its parts, scalars."""
        bce, dice = F.binary_cross_entropy_with_logits(logits, masks), self.dice(logits, masks)
        return {"loss": self.weights[0] * bce + self.weights[1] * dice, "bce": bce, "dice": dice}
