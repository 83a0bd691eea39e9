"""Pictures side by side, with titles."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from facesmith.media.visualization import image_grid


def titled_grid(columns: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """Draw pictures side by side, a column a title, a row a picture.

    Args:
        columns: Pictures (N,3,S,S) RGB in -1..1, by the title of their column.

    Returns:
        (H,W,3) RGB uint8.
    """
    return image_grid([to_bytes(pictures) for pictures in columns.values()], list(columns))


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Convert pictures (N,C,S,S) -1..1 to (N,S,S,C) uint8."""
    scaled = pictures.detach().float().add(1).mul(127.5).round().clamp(0, 255).byte()
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
