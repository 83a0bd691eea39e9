"""Orientations of pictures: how stored pixels are turned to be shown."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of a picture: transposed first, then mirrored, then turned upside down."""

    transposed: bool
    mirrored: bool
    flipped: bool

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return an (H, W) or (H, W, C) picture as it is shown."""
        if self == UPRIGHT:
            return image
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)

    def from_stored(self, width: int, height: int) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from stored px to px of the picture as it is shown.

        Args:
            width: Of the stored picture in px.
            height: Of the stored picture in px.
        """
        turn = np.array([[0.0, 1, 0], [1, 0, 0]] if self.transposed else [[1.0, 0, 0], [0, 1, 0]])
        across, down = (height, width) if self.transposed else (width, height)
        if self.mirrored:
            turn[0] = -turn[0]
            turn[0, 2] += across - 1
        if self.flipped:
            turn[1] = -turn[1]
            turn[1, 2] += down - 1
        return turn


UPRIGHT = Orientation(False, False, False)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame (ISO 14496-12), rounded to the nearest quarter turn."""
    matrix = display_matrix(frame)
    if matrix is None:
        return UPRIGHT
    a, b, c, d = (matrix[at] for at in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return the nine numbers of a frame's display matrix, in FFmpeg's fixed point; None for a frame without one."""
    data = read_side_data(frame, "DISPLAYMATRIX")
    return None if data is None else tuple(int(value) for value in np.frombuffer(data, np.int32))


def read_side_data(frame: VideoFrame, kind: str) -> bytes | None:
    """Return what travels beside a frame's pixels; None where there is nothing of that kind.

    `frame.side_data` would tie the frame into a cycle of references, in which its pixels stay in memory until Python
    collects garbage: some hundred MB in a film.

    Args:
        frame: As it was decoded.
        kind: FFmpeg's name without AV_FRAME_DATA.
    """
    data = SideDataContainer(frame).get(kind)  # type: ignore[call-arg]  # PyAV's stub names no argument
    return None if data is None else bytes(cast(Any, data))
