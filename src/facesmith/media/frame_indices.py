"""Which frames of a video are asked for."""

from collections.abc import Sequence
from pathlib import Path


def ascending(path: Path, indices: Sequence[int], count: int) -> list[int]:
    """Give the wanted frames in order, each once; raises IndexError outside 0..count-1."""
    wanted = sorted({int(index) for index in indices})
    if wanted and not 0 <= wanted[0] <= wanted[-1] < count:
        raise IndexError(f"{path}: frames are 0..{count - 1}, not {wanted[0]}..{wanted[-1]}")
    return wanted
