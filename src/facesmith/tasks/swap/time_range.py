"""Parts of a video and sizes of a picture as users write them: seconds, time codes and frames; factors and sizes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError

_FORMS: Final = "seconds (12.5), a time (1:02:03.5), a time code (00:01:02:12) or a frame (250f)"
_TIME: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)$")
_TIME_CODE: Final = re.compile(r"(\d+):(\d+):(\d+)[:;](\d+)$")
_FRAME: Final = re.compile(r"(\d+)f$")
_SIZE: Final = re.compile(r"(\d+)x(\d+)$")
_LEAST: Final = 16  # px: a number from here on is a height, one below a factor
_MOST: Final = 16384  # px, what encoders take
_LEAST_FACTOR: Final = 0.01

Moment = float | str


def check_moment(value: Moment | None) -> Moment | None:
    """Return a moment as it is.

    Raises:
        ValueError: It has none of the forms that are read.
    """
    if value is not None:
        _parse(value, 25.0)
    return value


def check_range(start: Moment | None, end: Moment | None) -> None:
    """Refuse an end that lies at or before the start, where the two can be compared without the video.

    Args:
        start: Where to begin; None for the beginning.
        end: Where to stop; None for the end.

    Raises:
        ValueError: Nothing lies between them.
    """
    if end is None:
        return
    (first, from_frame), (stop, to_frame) = (_parse(one, 25.0) for one in (0.0 if start is None else start, end))
    if from_frame is not None and to_frame is not None:
        empty = to_frame <= from_frame
    elif from_frame is None and to_frame is None:
        empty = stop <= first
    else:  # one in seconds, one in frames
        empty = start is None and to_frame == 0
    if empty:
        raise ValueError(f"end={end}: must be after start={0 if start is None else start}")


def select_frames(
    path: Path, times: npt.NDArray[np.float64], fps: float, start: Moment | None, end: Moment | None
) -> range:
    """Return the frames of a video between two moments.

    Args:
        path: The video, for errors.
        times: Seconds of all its frames, (N,).
        fps: Its frames a second, for time codes.
        start: The first frame is the first one from here on; None for the beginning.
        end: The last frame is the last one before this; None for the end.

    Raises:
        UserError: There is no frame between the two.
    """
    first = 0 if start is None else _find(start, times, fps)
    stop = len(times) if end is None else _find(end, times, fps)
    if first >= stop:
        length = float(times[-1]) + 1 / fps
        raise UserError(
            f"{path}: has no frame between task.start={start} and task.end={end}; it lasts {length:.2f} s "
            f"({len(times)} frames)"
        )
    return range(first, stop)


def _find(moment: Moment, times: npt.NDArray[np.float64], fps: float) -> int:
    """Return the number of the first frame from a moment on."""
    seconds, frame = _parse(moment, fps)
    if frame is not None:
        return min(frame, len(times))
    # Half a frame's tolerance: users round.
    return int(np.searchsorted(times, seconds - 0.25 / fps))


def _parse(moment: Moment, fps: float) -> tuple[float, int | None]:
    """Return seconds, or the number of a frame."""
    text = str(moment).strip()
    if found := _FRAME.match(text):
        return 0.0, int(found[1])
    if found := _TIME_CODE.match(text):
        hours, minutes, seconds, frames = (int(part) for part in found.groups())
        whole = (hours * 60 + minutes) * 60 + seconds
        return 0.0, whole * round(fps) + frames
    if found := _TIME.match(text):
        hours, minutes = (int(part or 0) for part in found.groups()[:2])
        return (hours * 60 + minutes) * 60 + float(found[3]), None
    raise ValueError(f"must be {_FORMS}")


def parse_scale(scale: float | str | None) -> Callable[[int, int], tuple[int, int]] | None:
    """Return what makes the size of a picture from its width and height; None for nothing.

    Args:
        scale: A factor below 16, a height in px from 16 on, or a box such as 1280x720 that the picture fits into.

    Raises:
        ValueError: It is none of these, or too small or large for a picture.
    """
    if scale is None:
        return None
    box = _SIZE.match(str(scale).strip())
    try:
        number = 0.0 if box else float(scale)
    except ValueError:
        number = 0.0
    sides = [int(box[1]), int(box[2])] if box else [int(number)] if number >= _LEAST else []
    if not (sides and all(_LEAST <= side <= _MOST for side in sides)) and not _LEAST_FACTOR <= number < _LEAST:
        raise ValueError(
            f"must be a factor (0.5), a height (720) or a box (1280x720), with sides of {_LEAST} to {_MOST} px"
        )

    def size(width: int, height: int) -> tuple[int, int]:
        if box is not None:
            factor = min(int(box[1]) / width, int(box[2]) / height)
        else:
            factor = number / height if number >= _LEAST else number
        if factor == 1:
            return width, height
        return _even(width * factor), _even(height * factor)

    return size


def _even(side: float) -> int:
    return max(2 * round(side / 2), 2)
