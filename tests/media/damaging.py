"""Damaged copies of a video whose frames carry their own number, and how well a reader copes with them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from facesmith.media.pyav_reader import PyAvReader

from .stamped import clear_number

Damage = Callable[[bytes, np.random.Generator], bytes]


def overwrite(content: bytes, random: np.random.Generator) -> bytes:
    """Write random bytes over a stretch of 1 to 7 %."""
    data = bytearray(content)
    length = int(len(data) * random.uniform(0.01, 0.07))
    start = int(random.integers(len(data) // 20, len(data) - length))
    data[start : start + length] = random.bytes(length)
    return bytes(data)


def sprinkle(content: bytes, random: np.random.Generator) -> bytes:
    """Change single bytes all over the file."""
    data = bytearray(content)
    for at in random.integers(len(data) // 20, len(data), 40):
        data[at] = int(random.integers(256))
    return bytes(data)


def shuffle(content: bytes, random: np.random.Generator) -> bytes:
    """Shuffle the bytes of a stretch of 3 %."""
    data = bytearray(content)
    length = len(data) * 3 // 100
    start = int(random.integers(len(data) // 20, len(data) - length))
    data[start : start + length] = bytes(random.permutation(np.frombuffer(content[start : start + length], np.uint8)))
    return bytes(data)


def cut_out(content: bytes, random: np.random.Generator) -> bytes:
    """Cut a stretch of 5 % out."""
    length = len(content) // 20
    start = int(random.integers(len(content) // 20, len(content) - length))
    return content[:start] + content[start + length :]


def cut_short(content: bytes, random: np.random.Generator) -> bytes:
    """Keep the first 50 to 90 %."""
    return content[: int(len(content) * random.uniform(0.5, 0.9))]


def join(content: bytes, random: np.random.Generator) -> bytes:
    """Append another half of the file."""
    return content + content[: int(len(content) * random.uniform(0.4, 0.6))]


def join_whole(content: bytes, random: np.random.Generator) -> bytes:
    """Append the file to itself."""
    return content + content


DAMAGES: dict[str, Damage] = {
    one.__name__: one for one in (overwrite, sprinkle, shuffle, cut_out, cut_short, join, join_whole)
}


@dataclass(frozen=True)
class Reading:
    """What a reader gave of a damaged file.

    Attributes:
        numbers: Of each frame in turn, the number that it shows; -1 where its picture is broken.
        indices: The numbers under which it came.
        times: Seconds.
        lost: What the reader tells.
        doubtful: Those of the indices that may show errors.
    """

    numbers: list[int]
    indices: list[int]
    times: list[float]
    lost: list[str]
    doubtful: set[int]


def read(path: Path) -> Reading:
    """Read all frames of a file; MediaError where it cannot be opened."""
    with PyAvReader(path) as reader:
        numbers, indices, times = [], [], []
        for index, image in reader.frames(range(len(reader))):
            numbers.append(clear_number(image))
            indices.append(index)
            times.append(float(reader.times[index]))
        return Reading(numbers, indices, times, reader.lost, set(reader.doubtful))


def read_plainly(path: Path) -> list[int]:
    """Return the numbers of the frames that PyAV gives without further ado, -1 for broken ones."""
    numbers = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                numbers += [clear_number(frame.to_ndarray(format="rgb24")) for frame in frames]
    except (av.error.FFmpegError, IndexError):
        pass  # PyAV itself fails where further streams begin on the way
    return numbers
