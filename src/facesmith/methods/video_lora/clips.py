"""Dance videos paired with their pose videos, and the clips that are cut from them."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.files import read_user_text, short_path, write_text
from facesmith.media.pairing import pair_by_path
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media, natural_key
from facesmith.media.video import VideoReader, open_video
from facesmith.methods.video_lora.framing import nearest_size, resize_and_crop

log = logging.getLogger(__name__)

_POSE: Final = "_pose"
_ASPECT_TOLERANCE: Final = 0.02
_NAMED_AT_MOST: Final = 6
_LOOKED_AT: Final = 9  # frames of a pose video, of which one at least must show somebody
_BLURRED: Final = 2.0  # scale from which a video is too small
DRAWN: Final = 16  # levels from which something is drawn
_MOSTLY_BLACK: Final = 0.5  # share of a pose drawing that is black at least
_NESTED: Final = "__"  # between the folders of dances of one name
SKIPPED: Final = "left out"  # value in the tables of clips of earlier runs

Unpaired = Literal["leave_out", "refuse"]
Bucket = tuple[int, int, int]  # frames, height, width
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A dance video and the pose video that goes with it.

    Attributes:
        stem: Name of the dance, without ending.
        video: The dance.
        pose: The pose video.
        prompt: Content of the dance's text file; None without one.
    """

    stem: str
    video: Path
    pose: Path
    prompt: str | None


@dataclass(frozen=True)
class Clip:
    """Some frames of a pair.

    Attributes:
        pair: Where they come from.
        indices: Of the frames in both videos.
        height: To which they are scaled, in px.
        width: To which they are scaled, in px.
    """

    pair: Pair
    indices: tuple[int, ...]
    height: int
    width: int

    @property
    def bucket(self) -> Bucket:
        """Frames, height, width: clips alike in these share batches."""
        return len(self.indices), self.height, self.width

    @property
    def name(self) -> str:
        """Stem and first frame."""
        return f"{self.pair.stem}_{self.indices[0]:05d}"


@dataclass(frozen=True)
class ClipReport:
    """A row of the table of clips: what became of a stretch of a video. The fields are the table's columns.

    Attributes:
        video: File name, with its folders where several have the same.
        first: First frame of the stretch.
        last: Last frame of the stretch.
        frames: How many are used or skipped.
        height: Of the clip in px.
        width: Of the clip in px.
        used_as: `clip`, or `left out`.
        why: The reason, where there is one.
    """

    video: str
    first: int
    last: int
    frames: int
    height: int
    width: int
    used_as: str
    why: str = ""


def pair_videos(videos: Path, poses: Path, unpaired: Unpaired) -> tuple[list[Pair], list[ClipReport]]:
    """Pair `dance_001.mp4` with `dance_001_pose.mp4`, or with the same name in a folder of its own.

    Of several of one name in subfolders those go together whose folders have the same names.

    Args:
        videos: Folder of dances; `dance_001.txt` beside one is its prompt.
        poses: Folder of pose videos; it may be the same.
        unpaired: Whether a video without a partner is skipped or an error.

    Returns:
        The pairs, and a report of each video without a partner.

    Raises:
        UserError: no pair is left, or a partner is missing and `unpaired` is "refuse"; names them all.
    """
    dances = [path for path in find_videos(videos, "data.videos") if not path.stem.endswith(_POSE)]
    drawn = find_videos(poses, "data.poses")
    if videos.resolve() == poses.resolve():
        drawn = [path for path in drawn if path.stem.endswith(_POSE)]
    found = pair_by_path(dances, drawn, dance_name)
    problems = {}  # report of each kind, and its files
    if found.missing:
        problems["no pose video"] = found.missing
    if found.stray:
        problems["no dance video"] = found.stray
    if found.ambiguous:
        problems["several videos of this name"] = list(found.ambiguous)
    told = [f"{why} for {_abbreviate(_names(paths, videos, poses))}" for why, paths in problems.items()]
    expected = f" (expected <name>{_POSE}.mp4)" if found.missing else ""
    mend = " (use the same folders below both)" if found.ambiguous else ""
    line = f"data.poses={poses}: {'; '.join(told) or 'no video to pair'}{expected}{mend}"
    if (problems and unpaired == "refuse") or not found.pairs:
        raise UserError(f"{line}; add them, or set data.make_poses=true to draw the missing pose videos")
    if problems:
        log.warning("%s: skipped; data.make_poses=true draws missing pose videos", line)
    stems = Counter(path.stem for path in found.pairs)
    pairs = [
        Pair(
            path.stem if stems[path.stem] == 1 else _nested_name(path, videos),
            path,
            pose,
            read_prompt(path.with_suffix(".txt")),
        )
        for path, pose in sorted(found.pairs.items(), key=lambda pair: natural_key(pair[0]))
    ]
    skipped = [
        ClipReport(name, 0, 0, 0, 0, 0, SKIPPED, why)
        for why, paths in problems.items()
        for name in sorted(_names(paths, videos, poses), key=natural_key)
    ]
    return pairs, skipped


def list_dances(videos: Path) -> list[str]:
    """List what the dances of a folder may be called; of several of one name, with and without their folders.

    Args:
        videos: The folder; pose videos in it are left out.

    Raises:
        UserError: It holds no video.
    """
    dances = [path for path in find_videos(videos, "data.videos", warn=False) if not path.stem.endswith(_POSE)]
    stems = Counter(path.stem for path in dances)
    return [*stems, *(_nested_name(path, videos) for path in dances if stems[path.stem] > 1)]


def require_known(holdout: Sequence[str], known: Sequence[str]) -> None:
    """Make sure that the names of a `holdout` are those of videos.

    Args:
        holdout: Names without endings.
        known: Names of the videos that there are.

    Raises:
        UserError: there is no such video.
    """
    if unknown := sorted(set(holdout) - set(known)):
        raise UserError(f"data.holdout: no video is called {', '.join(unknown)}; there are {', '.join(known[:12])}")


def hold_out(clips: Sequence[Clip], holdout: float | list[str]) -> set[str]:
    """Choose the videos that are never trained on: whole videos, for clips of one are alike.

    Args:
        clips: Of all videos.
        holdout: Share of the videos, the last ones, or their names.

    Raises:
        UserError: there is no such video, or none is left to train on.
    """
    known = list(dict.fromkeys(clip.pair.stem for clip in clips))
    if isinstance(holdout, float):
        count = min(len(known) - 1, max(1, round(holdout * len(known)))) if holdout else 0
        return set(known[len(known) - count :])
    require_known(holdout, known)
    if len(holdout) == len(known):
        raise UserError(f"data.holdout={holdout}: leaves nothing to train on; hold fewer videos out")
    return set(holdout)


def _nested_name(path: Path, videos: Path) -> str:
    return _NESTED.join(path.relative_to(videos).with_suffix("").parts)


def dance_name(path: Path) -> str:
    """Return what a dance and its pose video have in common."""
    return path.stem.removesuffix(_POSE)


def _names(paths: Sequence[Path], *roots: Path) -> list[str]:
    """Return paths below whichever folder they are in."""
    return [str(path.relative_to(next(root for root in roots if path.is_relative_to(root)))) for path in paths]


def cut_clips(
    pairs: Sequence[Pair],
    *,
    frames: int,
    min_frames: int,
    stride: int,
    sizes: Sequence[tuple[int, int]],
    fps: float | None,
    step: int,
    unpaired: Unpaired,
) -> tuple[list[Clip], list[ClipReport]]:
    """Cut pairs into clips; a shorter video becomes one clip of the longest length that fits.

    Args:
        pairs: Of dances and pose videos.
        frames: Of a clip.
        min_frames: Of the shortest clip.
        stride: Frames from one clip's start to the next one's.
        sizes: (height, width) that clips may have; the one whose shape is nearest a video's is taken, and the rest
            cropped away evenly.
        fps: Of the clips; None: the video's own.
        step: Lengths are one more than a multiple of it.
        unpaired: Whether a pair that does not match or cannot be read is skipped or an error.

    Returns:
        The clips, and a report of every stretch of video.

    Raises:
        UserError: no video is long enough, or a pair does not match and `unpaired` is "refuse"; names it.
    """
    clips: list[Clip] = []
    reports: list[ClipReport] = []
    for pair in pairs:
        try:
            timing = _read_timing(pair)
        except UserError as error:
            if unpaired == "refuse" or len(pairs) == 1:
                raise
            log.warning("%s: skipped", error)
            reports.append(_report(pair, [], 0, 0, SKIPPED, str(error)))
            continue
        taken = resample(timing.seconds, fps)
        height, width = nearest_size(sizes, timing.height, timing.width)
        grown = max(height / timing.height, width / timing.width)
        if grown >= _BLURRED:
            log.warning(
                "%s: is %dx%d px, scaled up %.1f times to %dx%d: its clips teach blur",
                pair.video,
                timing.height,
                timing.width,
                grown,
                height,
                width,
            )
        fitting = frames if len(taken) >= frames else (len(taken) - 1) // step * step + 1
        if fitting < min_frames:
            why = f"{len(taken)} frames, {min_frames} are needed"
            reports.append(_report(pair, taken, height, width, SKIPPED, why))
            continue
        end = 0
        for start in range(0, len(taken) - fitting + 1, stride):
            clip = Clip(pair, tuple(taken[start : start + fitting]), height, width)
            clips.append(clip)
            end = start + fitting
            why = "" if fitting == frames else f"shorter than {frames} frames"
            reports.append(_report(pair, clip.indices, height, width, "clip", why))
        if end < len(taken):
            reports.append(_report(pair, taken[end:], height, width, SKIPPED, "the rest is shorter than a clip"))
    if not clips:
        longest = max(reports, key=lambda report: report.frames)
        if not longest.frames:
            raise UserError(f"data.videos: no pair is left; the first: {reports[0].why}")
        raise UserError(
            f"data.videos: no video is long enough, the longest is {longest.video} ({longest.why}); give longer videos "
            "or lower data.num_frames and data.min_frames"
        )
    return clips, reports


def read_clip(clip: Clip, which: Path) -> Frames:
    """Read a clip's frames, scaled to cover its size and cropped evenly.

    Args:
        clip: Which frames, at which size.
        which: The dance or the pose video of its pair.

    Returns:
        (T,H,W,3) RGB uint8.

    Raises:
        UserError: a frame is damaged.
    """
    wanted = sorted(set(clip.indices))
    with open_video(which) as reader:
        found = {index: resize_and_crop(frame, clip.height, clip.width) for index, frame in reader.frames(wanted)}
        lost = [index for index in wanted if index not in found]
        if lost:
            raise UserError(f"{which}: frame {lost[0]} is damaged; repair or remove the video")
    return np.stack([found[index] for index in clip.indices])


def write_table(reports: Sequence[ClipReport], path: Path) -> str:
    """Write what became of every stretch of video as CSV.

    Args:
        reports: One for each row.
        path: File to write.

    Returns:
        A sentence that counts clips and skipped stretches.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ClipReport)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(report) for report in reports)
    write_text(path, text.getvalue())
    kinds = Counter(report.used_as for report in reports)
    shapes = Counter(f"{r.frames} x {r.height} x {r.width}" for r in reports if r.used_as == "clip")
    counts = ", ".join(f"{count} of {shape}" for shape, count in shapes.most_common())
    clips = f"{kinds['clip']} clip{'s' * (kinds['clip'] != 1)}"
    skipped = f"; skipped {kinds[SKIPPED]} stretch{'es' * (kinds[SKIPPED] != 1)}" if kinds[SKIPPED] else ""
    return f"{clips} ({counts}){skipped}: {short_path(path)}"


def find_videos(folder: Path, setting: str, *, warn: bool = True) -> list[Path]:
    """List the videos of a folder.

    Args:
        folder: Where to look.
        setting: Key that named the folder, for the error.
        warn: Whether files that cannot be read are logged.

    Raises:
        UserError: there is none.
    """
    try:
        found = [media.path for media in find_media(folder, warn=warn) if media.kind == "video"]
    except UserError as error:
        raise UserError(f"{setting}={folder}: {error}") from None
    if not found:
        raise UserError(f"{setting}={folder}: holds no video; give a folder of .mp4 files")
    return found


@dataclass(frozen=True)
class _Timing:
    seconds: NDArray[np.float64]
    height: int
    width: int


def _read_timing(pair: Pair) -> _Timing:
    with open_video(pair.video) as dance, open_video(pair.pose) as pose:
        if abs(len(dance) - len(pose)) > 1:
            raise UserError(
                f"{pair.pose}: has {len(pose)} frames, {pair.video.name} has {len(dance)}; draw the poses from this "
                "very video"
            )
        if abs(np.log(dance.width / dance.height * pose.height / pose.width)) > _ASPECT_TOLERANCE:
            raise UserError(
                f"{pair.pose}: is {pose.width}x{pose.height}, {pair.video.name} is {dance.width}x{dance.height}; draw "
                "the poses from this very video, or cut both to one shape"
            )
        check_drawn(pair.pose, pose, f"draw the poses of {pair.video.name} again")
        return _Timing(np.asarray(dance.times[: min(len(dance), len(pose))]), dance.height, dance.width)


def check_drawn(path: Path, reader: VideoReader, mend: str) -> None:
    """Look at some frames of a pose video; warn of one that is no drawing on black, such as the dance itself.

    Args:
        path: Of the video.
        reader: Of the video.
        mend: What the error asks for.

    Raises:
        UserError: they are black, nobody is drawn.
    """
    drawn = [frame for _, frame in reader.frames(evenly_spaced(len(reader), _LOOKED_AT, ends=True))]
    if all(frame.max() < DRAWN for frame in drawn):
        raise UserError(f"{path}: is black, nobody is drawn; {mend}")
    black = float(np.median([np.mean(frame.max(-1) < DRAWN) for frame in drawn]))
    if black < _MOSTLY_BLACK:
        log.warning("%s: is no drawing on black (%.0f %% of it is black); is it a pose video?", path, 100 * black)


def resample(seconds: NDArray[np.float64], fps: float | None) -> list[int]:
    """Find the frames that are shown at a steady rate.

    Args:
        seconds: (T,) times of a video's frames.
        fps: Frames per second that are wanted; None: all frames.

    Returns:
        Numbers of frames; one may come several times.
    """
    if fps is None or len(seconds) < 2:
        return list(range(len(seconds)))
    wanted = np.arange(0, seconds[-1] + 0.5 / fps, 1 / fps)
    right = np.clip(np.searchsorted(seconds, wanted), 1, len(seconds) - 1)
    nearer = np.where(wanted - seconds[right - 1] <= seconds[right] - wanted, right - 1, right)
    return [int(index) for index in nearer]


def _report(pair: Pair, taken: Sequence[int], height: int, width: int, used_as: str, why: str) -> ClipReport:
    first, last = (taken[0], taken[-1]) if taken else (0, 0)
    name = pair.stem.replace(_NESTED, "/") if pair.stem != pair.video.stem else pair.stem
    return ClipReport(f"{name}{pair.video.suffix}", first, last, len(taken), height, width, used_as, why)


def read_prompt(path: Path) -> str | None:
    """Return the content of a prompt's file in one line; None where there is none."""
    if not path.is_file():
        return None
    return " ".join(read_user_text(path).split()) or None


def _abbreviate(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
