"""One large crop as several small ones that each show the whole face: how a small model swaps a large face."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


def split(crops: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Give (N k k, S, S, C) of crops (N, k S, k S, C): picture (i,j) of each holds its pixels [i::k, j::k]."""
    n, side, _, channels = crops.shape
    small = side // k
    parts = crops.reshape(n, small, k, small, k, channels).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts.reshape(n * k * k, small, small, channels))


def join(parts: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Undo `split`: (N, k S, k S, C) of (N k k, S, S, C)."""
    count, small, _, channels = parts.shape
    whole = parts.reshape(count // (k * k), k, k, small, small, channels).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(whole.reshape(-1, small * k, small * k, channels))
