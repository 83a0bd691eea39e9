"""Structural similarity, as the loss of a training and the gate measure it."""

from typing import Final

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

WINDOW: Final = 7  # px


def ssim_map(pictures: Tensor, truth: Tensor, borders: bool = False) -> Tensor:
    """Compute the structural similarity at every place, with the uniform window of 7 px of Wang et al. 2004.

    Args:
        pictures: (N,C,S,S) in -1..1.
        truth: The same shape and range.
        borders: Whether to measure where the window reaches past the picture too, which is mirrored there.

    Returns:
        (N,C,S-6,S-6), with `borders` (N,C,S,S): 1 where alike. Differentiable.
    """
    found = structural_similarity_index_measure(
        (pictures + 1) / 2,
        (truth + 1) / 2,
        gaussian_kernel=False,
        kernel_size=WINDOW,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    whole: Tensor = found[1]
    rim = WINDOW // 2
    return whole if borders else whole[..., rim:-rim, rim:-rim]
