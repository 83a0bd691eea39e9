"""The loss of the occluder, between predicted masks and labels."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from facesmith.training.distributed import sum_over_processes


class MaskLoss(nn.Module):
    """Weighted sum of binary cross-entropy and Dice loss (Milletari et al. 2016).

    Args:
        bce: Weight of the binary cross-entropy.
        dice: Weight of the Dice loss.
    """

    def __init__(self, *, bce: float, dice: float) -> None:
        super().__init__()
        self.bce_weight, self.dice_weight = bce, dice
        self.dice = WholeBatchDice("binary", from_logits=True)

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


class WholeBatchDice(smp.losses.DiceLoss):
    """Dice loss of the batch of all processes: its areas are summed over them before they are divided."""

    @override
    def compute_score(
        self, output: Tensor, target: Tensor, smooth: float = 0.0, eps: float = 1e-7, dims: Any = None
    ) -> Tensor:
        """Compute the Dice score, see `segmentation_models_pytorch`.

        Args:
            output: (N,1,P) predictions in 0..1.
            target: (N,1,P) labels in 0..1.
            smooth: Added to numerator and denominator.
            eps: Least denominator.
            dims: That are summed over.
        """
        difference = torch.linalg.vector_norm(output - target, ord=1, dim=dims)
        own = torch.stack([output.sum(dims), target.sum(dims), difference])
        predicted, labelled, apart = sum_over_processes(own)
        both = (predicted + labelled - apart) / 2
        either = both + 0.5 * (predicted - both) + 0.5 * (labelled - both)
        return (both + smooth) / (either + smooth).clamp_min(eps)
