"""Frames of swapped media beside the same frames of their targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.media.pairing import pair_by_path
from facesmith.media.sources import IMAGES, VIDEOS, Media, find_media
from facesmith.media.video import open_video

Pixels = NDArray[np.uint8]
Backend = Literal["pyav", "decord"]

_SEGMENT: Final = 24  # consecutive frames, so that jitter can be measured


@dataclass(frozen=True)
class FramePair:
    """A swapped frame and the same frame of the target."""

    index: int
    time: float
    """In seconds."""
    picture: Pixels
    """The swapped frame, (H,W,3) RGB uint8."""
    target: Pixels | None
    """The target's, (H,W,3) RGB uint8; None without a target."""


def read_frame_pairs(
    media: Media, target: Path | None, backend: Backend, max_frames: int | None
) -> tuple[int, Iterator[FramePair]]:
    """Read frames of a picture or video beside those of its target.

    Args:
        media: The swapped picture or video.
        target: Its target; None for none.
        backend: What decodes videos.
        max_frames: Of a video, see `choose_segments`; None for all.

    Returns:
        The number of frames, and the frames.

    Raises:
        UserError: The target is not the file it was swapped into.
    """
    if media.kind == "image":
        original = None if target is None else read_image(target)
        picture = read_image(media.path)
        _check_size(media.path, picture, original)
        return 1, iter([FramePair(0, 0.0, picture, original)])
    with open_video(media.path, backend) as reader:
        indices = choose_segments(len(reader), max_frames)
    return len(indices), _read_video(media.path, target, indices, backend)


def _read_video(path: Path, target: Path | None, indices: Sequence[int], backend: Backend) -> Iterator[FramePair]:
    with open_video(path, backend) as reader:
        if target is None:
            for index, picture in reader.frames(indices):
                yield FramePair(index, float(reader.times[index]), picture, None)
            return
        with open_video(target, backend) as other:
            if len(other) < len(reader):
                raise UserError(
                    f"task.target={target}: has {len(other)} frames, {path} {len(reader)}; give the video it "
                    "was swapped into"
                )
            originals = other.frames(indices)
            pending = next(originals, None)
            for index, picture in reader.frames(indices):
                while pending is not None and pending[0] < index:
                    pending = next(originals, None)
                if pending is not None and pending[0] == index:  # a damaged file may have lost it
                    _check_size(path, picture, pending[1])
                    yield FramePair(index, float(reader.times[index]), picture, pending[1])


def match_targets(media: Sequence[Media], target: str | Sequence[str] | None) -> list[Path | None]:
    """Return the target of each file: the only one, or the one of the same name and folders; None without targets.

    Raises:
        UserError: There is none of its name, or it is of another kind.
    """
    if target is None:
        return [None] * len(media)
    targets = find_media(target)
    if len(targets) == 1 and len(media) == 1:
        pairs = [(media[0], targets[0])]
    else:
        by_path = {one.path: one for one in targets}
        found = pair_by_path([one.path for one in media], list(by_path), _original_name)
        if found.missing:
            name = found.missing[0].name
            raise UserError(f"task.target={target}: has no file named {name}; give what it was swapped into")
        if found.ambiguous:
            path, several = next(iter(found.ambiguous.items()))
            raise UserError(
                f"task.target={target}: {', '.join(map(str, several))} may be what {path} was swapped into, or others "
                "were; keep the folders of the sources"
            )
        pairs = [(one, by_path[found.pairs[one.path]]) for one in media]
    for one, other in pairs:
        if one.kind != other.kind:
            raise UserError(f"task.target={other.path}: is a {other.kind}, {one.path} a {one.kind}; give its own")
    return [other.path for _, other in pairs]


def _original_name(path: Path) -> str:
    """Return the name of a source: of `scene.avi` also in `scene.avi.mp4`, as results of such files are called."""
    stem = Path(path.stem)
    return stem.stem if stem.suffix.lower() in IMAGES | VIDEOS else path.stem


def _check_size(path: Path, picture: Pixels, target: Pixels | None) -> None:
    if target is not None and target.shape != picture.shape:
        raise UserError(
            f"task.target: is {target.shape[1]}x{target.shape[0]} px, {path} {picture.shape[1]}x{picture.shape[0]}; "
            "give the file it was swapped into"
        )


def choose_segments(count: int, max_frames: int | None) -> list[int]:
    """Choose frames in segments of consecutive ones, evenly spaced.

    Args:
        count: Number of frames there are.
        max_frames: How many are chosen at most; None for all.

    Returns:
        Their numbers, ascending.
    """
    if max_frames is None or count <= max_frames:
        return list(range(count))
    length = min(_SEGMENT, max_frames)
    starts = np.linspace(0, count - length, max(1, max_frames // length)).round().astype(int)
    return sorted({int(start) + i for start in starts for i in range(length)})
