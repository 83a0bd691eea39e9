"""Animated GIF, WebP and PNG through the interface of video."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from facesmith.errors import MediaError
from facesmith.media.images import to_rgb
from facesmith.media.video_index import sorted_indices

# Browsers show frames without a duration, or one below 20 ms, for 100 ms.
_SHORTEST_MS, _DEFAULT_MS = 20, 100


class AnimationReader:
    """Reads the frames of an animated image, composed and over mid grey; see `video.VideoReader`.

    Attributes:
        durations: (N,) seconds that each frame is shown.
        times: (N,) seconds at which each frame begins.
        lost: What could not be read.
        doubtful: None; what is damaged is lost.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; MediaError when Pillow cannot read it."""
        self.path = path
        self.lost: list[str] = []
        self.doubtful: set[int] = set()
        try:
            self._image = Image.open(path)
            milliseconds = []
            for index in range(getattr(self._image, "n_frames", 1)):
                try:
                    self._image.seek(index)
                    self._image.load()
                except (EOFError, OSError, SyntaxError) as error:
                    self.lost.append(f"frames from {index} on cannot be decoded ({error})")
                    break
                milliseconds.append(float(self._image.info.get("duration", 0)))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            detail = " ".join(str(error).split())
            raise MediaError(f"{path}: is not an image that can be decoded ({detail}); remove it") from error
        if not milliseconds:
            raise MediaError(f"{path}: no frame could be decoded; replace or remove it")
        self.durations = np.array([m if m >= _SHORTEST_MS else _DEFAULT_MS for m in milliseconds]) / 1000
        self.times = np.concatenate([[0.0], np.cumsum(self.durations)[:-1]])
        self.fps = float(len(self.durations) / self.durations.sum())
        self._image.seek(0)
        self.height, self.width = to_rgb(self._image).shape[:2]

    def __len__(self) -> int:
        return len(self.times)

    def frames(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the wanted frames in ascending order, see `VideoReader`."""
        return self._read(sorted_indices(self.path, indices, len(self)))

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            self._image.seek(index)
            yield index, to_rgb(self._image)

    def close(self) -> None:
        """Release the file."""
        self._image.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
