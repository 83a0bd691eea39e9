"""Which way up a video frame is shown."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: transposed first, then mirrored and turned upside down."""

    transposed: bool
    mirrored: bool
    flipped: bool

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Lay an (H, W, 3) picture as it is shown."""
        if self == UPRIGHT:
            return image
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)


UPRIGHT = Orientation(False, False, False)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame (ISO 14496-12), rounded to the nearest quarter turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(cast(Any, data)), np.int32)
    a, b, c, d = (int(matrix[at]) for at in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)
