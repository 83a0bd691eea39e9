"""Video through decord2, for plain mp4 and mov files that it reads exactly."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import decord
import numpy as np

from facesmith.errors import MediaError
from facesmith.media.video_index import build_index, sorted_indices

_BATCH = 8
_TOLERANCE_SECONDS = 1e-3
_MEND = "set media.backend=pyav"


class DecordReader:
    """Reads plain mp4 and mov files through decord2; see `video.VideoReader`."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Open a file and check decord's answers against the exact index.

        Args:
            path: The file.
            threads: How many the decoder may use.

        Raises:
            MediaError: decord does not read it exactly: containers other than mp4 and mov, open GOPs, damaged files,
                time stamps, frame counts or sizes (rotation) that differ from the index.
        """
        self.path = path
        index = build_index(path)
        if "mp4" not in index.format.split(","):
            raise MediaError(f"{path}: decord reads {index.format} inexactly; {_MEND}")
        if index.has_open_gop:
            raise MediaError(f"{path}: has open GOPs, which decord reads inexactly; {_MEND}")
        if index.lost or not index.timed:
            raise MediaError(f"{path}: is damaged or lacks time stamps, which decord does not detect; {_MEND}")
        try:
            self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=threads)
            stamps = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
            first = self._reader[0].asnumpy()
        except (RuntimeError, IndexError, decord.DECORDError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise MediaError(f"{path}: decord cannot read it ({reason}); {_MEND}") from error
        if len(stamps) != len(index):
            raise MediaError(f"{path}: decord sees {len(stamps)} of {len(index)} frames; {_MEND}")
        if np.abs((stamps - stamps[0]) - index.times).max() > _TOLERANCE_SECONDS:
            raise MediaError(f"{path}: decord's times differ from the file's (variable frame rate); {_MEND}")
        from facesmith.media.pyav_reader import PyAvReader

        with PyAvReader(path) as exact:
            if (exact.height, exact.width) != first.shape[:2]:
                raise MediaError(f"{path}: is rotated, which decord ignores; {_MEND}")
        self.times = index.times
        self.fps = index.fps
        self.height, self.width = first.shape[:2]
        self.lost: list[str] = []
        self.doubtful: set[int] = set()

    def __len__(self) -> int:
        return len(self.times)

    def frames(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the wanted frames in ascending order, see `VideoReader`."""
        return self._read(sorted_indices(self.path, indices, len(self)))

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            yield from zip(batch, self._reader.get_batch(batch).asnumpy(), strict=True)

    def close(self) -> None:
        """Release the file."""
        self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
