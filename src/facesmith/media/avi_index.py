"""Frame numbers of an AVI by its own index: FFmpeg counts the frames that it finds, and is early after a loss."""

import mmap
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ENTRY: Final = np.dtype([("kind", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])
# Neighbours whose sizes must agree before frames that were skipped are believed.
_AGREEING: Final = 3


def read_frame_sizes(path: Path, stream: int) -> NDArray[np.int64] | None:
    """Read the sizes of a stream's frames from `idx1`.

    Args:
        path: The file.
        stream: Number of the stream.

    Returns:
        (N,) bytes; None where the file has no such index.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.rfind(b"idx1")
        if at < 0:
            return None
        length = min(int.from_bytes(content[at + 4 : at + 8], "little"), len(content) - at - 8)
        entries = np.frombuffer(content[at + 8 : at + 8 + length // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY)
    kinds = [f"{stream:02d}{kind}".encode() for kind in ("dc", "db")]
    return entries["size"][np.isin(entries["kind"], kinds)].astype(np.int64)


def number_frames(found: NDArray[np.int64], stated: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the packets found in a damaged file.

    Args:
        found: (M,) sizes of the packets, in bytes.
        stated: (N,) sizes of all frames, by the index.

    Returns:
        (M,) numbers of frames, ascending; a packet that agrees with none is counted on from the one before.
    """
    numbers = np.empty(len(found), np.int64)
    expected = 0
    for place in range(len(found)):
        if expected >= len(stated) or stated[expected] != found[place]:
            expected = _find_sequence(found[place : place + _AGREEING], stated, expected)
        numbers[place] = expected
        expected += 1
    return numbers


def _find_sequence(sizes: NDArray[np.int64], stated: NDArray[np.int64], start: int) -> int:
    """Return where sizes follow each other in the index from `start` on; `start` where they do not."""
    rest = stated[start:]
    if len(sizes) < _AGREEING or len(rest) < len(sizes):
        return start
    match = np.ones(len(rest) - len(sizes) + 1, bool)
    for at, size in enumerate(sizes):
        match &= rest[at : len(match) + at] == size
    hits = np.flatnonzero(match)
    return start + int(hits[0]) if len(hits) else start
