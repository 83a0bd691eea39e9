"""Paste a face into a copy of a frame."""

import numpy as np

from facesmith.tasks.swap.paste import paste_back


def paste(frame: np.ndarray, *arguments, **options) -> np.ndarray:
    """Return a copy of the frame with the face blended in, see `paste_back`."""
    result = frame.copy()
    paste_back(result, *arguments, **options)
    return result
