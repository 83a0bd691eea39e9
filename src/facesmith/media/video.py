"""Open any moving picture behind one interface: exact random access to RGB frames."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np

from facesmith.errors import MediaError, UserError
from facesmith.files import require_regular
from facesmith.media.planes import PlaneFrame

_PILLOW = frozenset([".gif", ".webp", ".png", ".apng"])


@runtime_checkable
class VideoReader(Protocol):
    """Random access to the frames of a video.

    Attributes:
        path: The file.
        times: (N,) float64 seconds, ascending, the first frame at 0.
        fps: Mean frame rate.
        width: px, after rotation.
        height: px, after rotation.
        doubtful: Numbers of frames given so far that follow damage and may show errors.
    """

    path: Path
    times: np.ndarray
    fps: float
    width: int
    height: int
    doubtful: set[int]

    @property
    def lost(self) -> list[str]:
        """Unreadable parts, one phrase each; grows while frames are read."""
        ...

    def __len__(self) -> int: ...

    def frames(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the wanted frames in ascending order, each once, decoding as little as possible.

        A frame that a damaged file does not yield is missing and noted in `lost`. One iterator at a time: a new call
        ends the one before.

        Args:
            indices: Numbers of frames; IndexError outside 0..N-1.

        Yields:
            Number and picture (H, W, 3) uint8 RGB.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


@runtime_checkable
class ReadsPlanes(Protocol):
    """A reader that yields frames as they were decoded."""

    def planes(self, indices: Sequence[int]) -> Iterator[tuple[int, PlaneFrame]]:
        """Yield the wanted frames in ascending order, see `VideoReader.frames`."""
        ...


def open_video(
    path: str | Path,
    backend: Literal["pyav", "decord"] = "pyav",
    *,
    threads: int = 1,
    fast_colour: bool = False,
) -> VideoReader:
    """Open a video file, or an animated GIF, WebP or PNG, for exact reading.

    Args:
        path: The file.
        backend: pyav reads whatever FFmpeg reads; decord only plain mp4 and mov files that it reads exactly.
        threads: How many the decoder may use; one costs the least CPU.
        fast_colour: Save 2 ms of CPU on a 720p frame, and get colours one level in 255 too dark: for analysis, not for
            writing back.

    Raises:
        MediaError: it is missing, unreadable, without pictures or without video.
        UserError: an unknown backend.
    """
    file = Path(path)
    require_regular(file)
    try:
        with file.open("rb") as content:
            if not content.read(1):
                raise MediaError(f"{file}: is empty (0 bytes); replace or remove it")
    except OSError as error:
        raise MediaError(f"{file}: cannot be read ({error.strerror}); check path and permissions") from error
    if file.suffix.lower() in _PILLOW:
        from facesmith.media.animation import AnimationReader

        return AnimationReader(file)
    if backend == "pyav":
        from facesmith.media.pyav_reader import PyAvReader

        return PyAvReader(file, threads=threads, fast_colour=fast_colour)
    if backend == "decord":
        from facesmith.media.decord_reader import DecordReader

        return DecordReader(file, threads=threads)
    raise UserError(f"media.backend: {backend!r} is unknown; use pyav or decord")


def read_planes(reader: VideoReader, indices: Sequence[int]) -> Iterator[tuple[int, PlaneFrame]]:
    """Yield the wanted frames in ascending order, as they were decoded; what a reader gives as RGB becomes 4:2:0.

    Args:
        reader: An open video.
        indices: Numbers of frames; IndexError outside 0..N-1.

    Yields:
        Number and frame.
    """
    if isinstance(reader, ReadsPlanes):
        return reader.planes(indices)
    return ((index, PlaneFrame.from_rgb(rgb)) for index, rgb in reader.frames(indices))
