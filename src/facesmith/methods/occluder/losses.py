"""The loss of the occluder, between predicted masks and labels."""

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torch.nn import functional as F


class MaskLoss(nn.Module):
    """Weighted sum of binary cross-entropy and Dice loss (Milletari et al. 2016).

    Args:
        bce: Weight of the binary cross-entropy.
        dice: Weight of the Dice loss.
    """

    def __init__(self, *, bce: float, dice: float) -> None:
        super().__init__()
        self.bce_weight, self.dice_weight = bce, dice
        self.dice = smp.losses.DiceLoss("binary", from_logits=True)

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Args:
            logits: Predictions (N,1,S,S), positive where the face is visible.
            masks: Labels (N,1,S,S) in 0..1; values between them are allowed.

        Returns:
            `loss`, the weighted sum, and its unweighted parts `bce` and `dice`; scalars.
        """
        bce, dice = F.binary_cross_entropy_with_logits(logits, masks), self.dice(logits, masks)
        return {"loss": self.bce_weight * bce + self.dice_weight * dice, "bce": bce, "dice": dice}
