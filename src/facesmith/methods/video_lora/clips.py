"""Which videos go with which poses, and what clips are cut from them."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.files import write_text
from facesmith.media.sources import find_media, natural_key
from facesmith.media.video import open_video

log = logging.getLogger(__name__)

_POSE: Final = "_pose"
_ASPECT_TOLERANCE: Final = 0.02
_NAMED_AT_MOST: Final = 6
LEFT_OUT: Final = "left out"

Unpaired = Literal["leave_out", "refuse"]

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A dance and the pose video that steers it; `prompt` is what the text file beside it says."""

    stem: str
    video: Path
    pose: Path
    prompt: str | None


@dataclass(frozen=True)
class Clip:
    """Frames of a pair: `indices` of the source, shown at `height` x `width` px."""

    pair: Pair
    indices: tuple[int, ...]
    height: int
    width: int

    @property
    def bucket(self) -> tuple[int, int, int]:
        """Frames, height, width: clips alike in these share batches."""
        return len(self.indices), self.height, self.width

    @property
    def name(self) -> str:
        """Stem and first frame."""
        return f"{self.pair.stem}_{self.indices[0]:05d}"


@dataclass(frozen=True)
class Fate:
    """A line of the table of clips: what became of a stretch of a video."""

    video: str
    first: int
    last: int
    frames: int
    height: int
    width: int
    used_as: str
    why: str = ""


def pair_up(videos: Path, poses: Path, unpaired: Unpaired) -> tuple[list[Pair], list[Fate]]:
    """Pair `dance_001.mp4` with `dance_001_pose.mp4`, or with the same name in a folder of its own.

    `dance_001.txt` beside the video is its prompt. Gives the pairs, and what became of videos without a partner.

    Raises:
        UserError: no pair is left, or partners are missing and `unpaired` is "refuse"; names them all.
    """
    dances = {path.stem: path for path in find_videos(videos, "data.videos") if not path.stem.endswith(_POSE)}
    drawn = {path.stem: path for path in find_videos(poses, "data.poses")}
    if videos.resolve() == poses.resolve():
        drawn = {stem: path for stem, path in drawn.items() if stem.endswith(_POSE)}
    drawn = {stem.removesuffix(_POSE): path for stem, path in drawn.items()}
    without = [path.name for stem, path in dances.items() if stem not in drawn]
    stray = [path.name for stem, path in drawn.items() if stem not in dances]
    told = []
    if without:
        told.append(f"no pose video for {_some(without)} (expected <name>{_POSE}.mp4)")
    if stray:
        told.append(f"no dance video for {_some(stray)}")
    line = f"data.poses={poses}: {'; '.join(told) or 'no video to pair'}"
    if (told and unpaired == "refuse") or len(without) == len(dances):
        raise UserError(f"{line}; add them, or draw the missing with data.make_poses=true")
    if told:
        log.warning("%s: left out; data.make_poses=true draws missing poses", line)
    pairs = [
        Pair(stem, dances[stem], drawn[stem], _prompt(dances[stem].with_suffix(".txt")))
        for stem in sorted(dances.keys() & drawn.keys(), key=natural_key)
    ]
    lost = [Fate(name, 0, 0, 0, 0, 0, LEFT_OUT, "no pose video") for name in sorted(without, key=natural_key)]
    lost += [Fate(name, 0, 0, 0, 0, 0, LEFT_OUT, "no dance video") for name in sorted(stray, key=natural_key)]
    return pairs, lost


def cut(
    pairs: Sequence[Pair],
    *,
    frames: int,
    min_frames: int,
    stride: int,
    sizes: Sequence[tuple[int, int]],
    fps: float | None,
    step: int,
    unpaired: Unpaired,
) -> tuple[list[Clip], list[Fate]]:
    """Cut pairs into clips of `frames` every `stride`; a shorter video gives one of the longest length that fits.

    sizes: (height, width) that clips may have; the one whose shape is nearest a video's is taken, and the rest cropped
    away evenly. fps: of the clips, None for the video's own. step: lengths are one more than a multiple of it.
    unpaired: what becomes of pairs that do not match or cannot be read.

    Raises:
        UserError: nothing is long enough, or a pair does not match and `unpaired` is "refuse"; says which.
    """
    clips: list[Clip] = []
    fates: list[Fate] = []
    for pair in pairs:
        try:
            times = _matched_times(pair)
        except UserError as error:
            if unpaired == "refuse" or len(pairs) == 1:
                raise
            log.warning("%s: left out", error)
            fates.append(_fate(pair, [], 0, 0, LEFT_OUT, str(error)))
            continue
        taken = _at_rate(times.seconds, fps)
        height, width = min(sizes, key=lambda size: abs(np.log(size[1] / size[0] * times.height / times.width)))
        fitting = frames if len(taken) >= frames else (len(taken) - 1) // step * step + 1
        if fitting < min_frames:
            fates.append(_fate(pair, taken, height, width, LEFT_OUT, f"{len(taken)} frames, {min_frames} are needed"))
            continue
        end = 0
        for start in range(0, len(taken) - fitting + 1, stride):
            clip = Clip(pair, tuple(taken[start : start + fitting]), height, width)
            clips.append(clip)
            end = start + fitting
            why = "" if fitting == frames else f"shorter than {frames} frames"
            fates.append(_fate(pair, clip.indices, height, width, "clip", why))
        if end < len(taken):
            fates.append(_fate(pair, taken[end:], height, width, LEFT_OUT, "the rest is shorter than a clip"))
    if not clips:
        longest = max(fates, key=lambda fate: fate.frames)
        if not longest.frames:
            raise UserError(f"data.videos: no pair is left; the first: {fates[0].why}")
        raise UserError(
            f"data.videos: no video is long enough, the longest is {longest.video} ({longest.why}); give longer videos "
            "or lower data.num_frames and data.min_frames"
        )
    return clips, fates


def read_clip(clip: Clip, which: Path) -> Frames:
    """Read the clip's frames of its dance or pose video: (T,H,W,3) RGB uint8, scaled to cover and cropped evenly."""
    wanted = sorted(set(clip.indices))
    with open_video(which) as reader:
        found = {index: fitted(frame, clip.height, clip.width) for index, frame in reader.frames(wanted)}
        lost = [index for index in wanted if index not in found]
        if lost:
            raise UserError(f"{which}: frame {lost[0]} is damaged; repair or remove the video")
    return np.stack([found[index] for index in clip.indices])


def write_table(fates: Sequence[Fate], path: Path) -> str:
    """Write what became of every stretch as CSV, and give one sentence about it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Fate)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(fate) for fate in fates)
    write_text(path, text.getvalue())
    kinds = Counter(fate.used_as for fate in fates)
    shapes = Counter(f"{f.frames} x {f.height} x {f.width}" for f in fates if f.used_as == "clip")
    told = ", ".join(f"{count} of {shape}" for shape, count in shapes.most_common())
    lost = f"; {kinds[LEFT_OUT]} stretches left out" if kinds[LEFT_OUT] else ""
    return f"{kinds['clip']} clips ({told}){lost}: {path}"


@dataclass(frozen=True)
class _Times:
    seconds: NDArray[np.float64]
    height: int
    width: int


def _matched_times(pair: Pair) -> _Times:
    with open_video(pair.video) as dance, open_video(pair.pose) as pose:
        if abs(len(dance) - len(pose)) > 1:
            raise UserError(
                f"{pair.pose}: has {len(pose)} frames, {pair.video.name} has {len(dance)}; draw the poses from this "
                "very video"
            )
        if abs(np.log(dance.width / dance.height * pose.height / pose.width)) > _ASPECT_TOLERANCE:
            raise UserError(
                f"{pair.pose}: is {pose.width}x{pose.height}, {pair.video.name} is {dance.width}x{dance.height}; both "
                "must have the same shape"
            )
        return _Times(np.asarray(dance.times[: min(len(dance), len(pose))]), dance.height, dance.width)


def _at_rate(seconds: NDArray[np.float64], fps: float | None) -> list[int]:
    """Return the indices of the frames shown at a steady rate."""
    if fps is None or len(seconds) < 2:
        return list(range(len(seconds)))
    wanted = np.arange(0, seconds[-1] + 0.5 / fps, 1 / fps)
    right = np.clip(np.searchsorted(seconds, wanted), 1, len(seconds) - 1)
    nearer = np.where(wanted - seconds[right - 1] <= seconds[right] - wanted, right - 1, right)
    return [int(index) for index in nearer]


def fitted(frame: Frames, height: int, width: int) -> Frames:
    """Scale a frame to cover height x width px and crop what stands over evenly."""
    rows, columns = frame.shape[:2]
    if (rows, columns) == (height, width):
        return frame
    scale = max(height / rows, width / columns)
    size = max(width, round(columns * scale)), max(height, round(rows * scale))
    grown = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(grown[top : top + height, left : left + width], np.uint8)


def _fate(pair: Pair, taken: Sequence[int], height: int, width: int, used_as: str, why: str) -> Fate:
    first, last = (taken[0], taken[-1]) if taken else (0, 0)
    return Fate(pair.video.name, first, last, len(taken), height, width, used_as, why)


def find_videos(folder: Path, setting: str) -> list[Path]:
    """List the videos of a folder; UserError, which names the setting, when there is none."""
    try:
        found = [media.path for media in find_media(folder) if media.kind == "video"]
    except UserError as error:
        raise UserError(f"{setting}={folder}: {error}") from None
    if not found:
        raise UserError(f"{setting}={folder}: holds no video; give a folder of .mp4 files")
    return found


def _prompt(path: Path) -> str | None:
    if not path.is_file():
        return None
    return " ".join(path.read_text(encoding="utf-8").split()) or None


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
