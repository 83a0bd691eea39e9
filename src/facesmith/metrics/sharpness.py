"""How sharp a face is."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.measures import laplacian_variance

_RIM: Final = 13 / 128  # the mask is eroded by this window


def sharpness(picture: NDArray[np.uint8], inside: NDArray[np.floating]) -> float:
    """Compute the variance of the Laplacian of the lightness well inside a face.

    Args:
        picture: (S,S,3) RGB.
        inside: (S,S) 0..1.

    Returns:
        Grey levels squared; 0 when nothing is inside.
    """
    side = 2 * round(_RIM * picture.shape[0] / 2) + 1
    kept = cv2.erode(np.asarray(inside, np.float32), np.ones((side, side))) > 0.5
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return laplacian_variance(grey, kept)
