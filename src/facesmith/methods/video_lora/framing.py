"""Cut pictures to the shapes that clips have."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def resize_and_crop(frame: Frames, height: int, width: int) -> Frames:
    """Scale a frame to cover a size, and crop what exceeds it evenly.

    Args:
        frame: (h,w,3) RGB uint8.
        height: In px.
        width: In px.

    Returns:
        (height,width,3) RGB uint8.
    """
    rows, columns = frame.shape[:2]
    if (rows, columns) == (height, width):
        return frame
    scale = max(height / rows, width / columns)
    size = max(width, round(columns * scale)), max(height, round(rows * scale))
    grown = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(grown[top : top + height, left : left + width], np.uint8)


def crop_to_shape(picture: Frames, box: Sequence[float] | None, height: int, width: int) -> Frames:
    """Cut the largest part of a shape out of a picture, the face in its middle where it can be, and scale it.

    Args:
        picture: (h,w,3) RGB uint8.
        box: (4,) of the face: left, top, right, bottom in px; None: the middle of the picture.
        height: In px.
        width: In px.

    Returns:
        (height,width,3) RGB uint8.
    """
    top, left, scale = locate_crop(picture.shape[:2], box, height, width)
    rows, columns = round(height / scale), round(width / scale)
    return resize_and_crop(picture[top : top + rows, left : left + columns], height, width)


def locate_crop(shape: tuple[int, ...], box: Sequence[float] | None, height: int, width: int) -> tuple[int, int, float]:
    """Find the part of a picture that `crop_to_shape` cuts out.

    Args:
        shape: Height and width of the picture in px.
        box: (4,) of the face: left, top, right, bottom in px; None: the middle of the picture.
        height: Of the result in px.
        width: Of the result in px.

    Returns:
        Top and left of the part in px of the picture, and the scale to px of the result.
    """
    scale = max(height / shape[0], width / shape[1])
    x, y = (shape[1] / 2, shape[0] / 2) if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    rows, columns = height / scale, width / scale
    top = min(max(0.0, y - rows / 2), shape[0] - rows)
    left = min(max(0.0, x - columns / 2), shape[1] - columns)
    return round(top), round(left), scale


def nearest_size(sizes: Sequence[tuple[int, int]], height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) whose shape is nearest to that of a picture."""
    return min(sizes, key=lambda size: abs(np.log(size[1] / size[0] * height / width)))
