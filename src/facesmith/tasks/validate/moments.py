"""What is validated, frame by frame, beside what it was made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.media.sources import Media, find_media
from facesmith.media.video import open_video

Pixels = NDArray[np.uint8]
Backend = Literal["pyav", "decord"]

_STRETCH: Final = 24  # frames in a row, so that trembling shows


@dataclass(frozen=True)
class Moment:
    """A frame, its time in seconds, (H,W,3) RGB uint8, and the same frame of the target where there is one."""

    index: int
    time: float
    picture: Pixels
    before: Pixels | None


def moments(
    media: Media, target: Path | None, backend: Backend, max_frames: int | None
) -> tuple[int, Iterator[Moment]]:
    """Return how many frames of a picture or video are looked at, and these.

    max_frames: of a video, in stretches of consecutive ones, evenly spread; None: all.

    Raises:
        UserError: the target is another file than the one it was made from.
    """
    if media.kind == "image":
        before = None if target is None else read_image(target)
        picture = read_image(media.path)
        _require_size(media.path, picture, before)
        return 1, iter([Moment(0, 0.0, picture, before)])
    with open_video(media.path, backend) as reader:
        wanted = stretches(len(reader), max_frames)
    return len(wanted), _film(media.path, target, wanted, backend)


def _film(path: Path, target: Path | None, wanted: Sequence[int], backend: Backend) -> Iterator[Moment]:
    with open_video(path, backend) as reader:
        if target is None:
            for index, picture in reader.frames(wanted):
                yield Moment(index, float(reader.times[index]), picture, None)
            return
        with open_video(target, backend) as other:
            if len(other) < len(reader):
                raise UserError(
                    f"task.target={target}: has {len(other)} frames, {path} {len(reader)}; give the video that it "
                    "was made from"
                )
            originals = other.frames(wanted)
            held = next(originals, None)
            for index, picture in reader.frames(wanted):
                while held is not None and held[0] < index:
                    held = next(originals, None)
                if held is not None and held[0] == index:  # a damaged file may have lost it
                    _require_size(path, picture, held[1])
                    yield Moment(index, float(reader.times[index]), picture, held[1])


def matched(media: Sequence[Media], target: str | Sequence[str] | None) -> list[Path | None]:
    """Return the file each was made from: the only one, or the one of its name.

    Raises:
        UserError: there is none of its name, or it is of another kind.
    """
    if target is None:
        return [None] * len(media)
    found = find_media(target)
    if len(found) == 1 and len(media) == 1:
        pairs = [(media[0], found[0])]
    else:
        by_name = {one.path.stem: one for one in found}
        missing = [one.path.name for one in media if one.path.stem not in by_name]
        if missing:
            raise UserError(f"task.target={target}: holds nothing of the name {missing[0]}; give what it was made from")
        pairs = [(one, by_name[one.path.stem]) for one in media]
    for one, other in pairs:
        if one.kind != other.kind:
            raise UserError(f"task.target={other.path}: is a {other.kind}, {one.path} a {one.kind}; give its own")
    return [other.path for _, other in pairs]


def _require_size(path: Path, picture: Pixels, before: Pixels | None) -> None:
    if before is not None and before.shape != picture.shape:
        raise UserError(
            f"task.target: is {before.shape[1]}x{before.shape[0]} px, {path} {picture.shape[1]}x{picture.shape[0]}; "
            "give the very file it was made from"
        )


def stretches(count: int, most: int | None) -> list[int]:
    """Return all frames, or at most so many in stretches of consecutive ones, evenly spread."""
    if most is None or count <= most:
        return list(range(count))
    length = min(_STRETCH, most)
    starts = np.linspace(0, count - length, max(1, most // length)).round().astype(int)
    return sorted({int(start) + i for start in starts for i in range(length)})
