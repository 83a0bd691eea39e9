"""Pose videos of dances: the landmarks of the one who dances, found by MediaPipe, followed, and drawn on black."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from facesmith.errors import UserError
from facesmith.media.pairing import pair_by_path
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.clips import dance_name
from facesmith.methods.video_lora.pose_drawing import (
    BODY_PARTS,
    HEAD,
    VISIBLE,
    Frames,
    Points,
    PoseStyle,
    draw_pose,
    seen_limbs,
)
from facesmith.methods.video_lora.pose_landmarks import SMALL, CrowdLandmarker, PoseLandmarker, overlap
from facesmith.progress import track

log = logging.getLogger(__name__)

Recognise = Callable[[Frames], Sequence[tuple[NDArray[np.float32], float]]]
"""Finds faces (4,) left, top, right, bottom in a frame (H,W,3), each with its similarity to the person."""

_FIRST_OF_BODY: Final = 11  # the points before are the face's
_FEWEST_SEEN: Final = 1 / 3  # share of the frames that must show enough of a person
_SAME: Final = 0.4  # intersection over union of two poses' boxes from which they are one person, found twice
_NEAR: Final = 0.5  # of the height, for each frame between: how far a person moves
_LONGEST_GAP: Final = 15  # frames
_BRIEF_GAP: Final = 6  # frames: in shorter gaps a pose is interpolated
_BRIEFEST: Final = 5  # frames in which somebody is seen who counts as a person
_OUTLIER: Final = 1.15  # of a dancer's usual height: from there a pose is no good one
_LOOKS: Final = 5  # frames in which the face of each person is recognised
_AROUND: Final = 1.5  # of the person's side: the crop's
_STEADY: Final = 15  # frames: the crop follows the median of so many
_MOVED: Final = 0.35  # of the person's side: how far from the crop's middle the same person is
_FACE_KNOWN: Final = 0.3  # similarity from which a face is the person's


@dataclass
class Dancer:
    """One person, followed through a video.

    Attributes:
        points: (33,3) landmarks by number of the frame.
    """

    points: dict[int, Points] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """Number of the last frame that shows the person."""
        return max(self.points)

    @property
    def size(self) -> float:
        """The area of the person in px, summed over all frames."""
        return sum(_height(one) * max(1.0, _spread(one, 0)) for one in self.points.values())

    def distance(self, frame: int, points: Points) -> float:
        """Return how far a pose is from the last one, in heights of the person for each frame between."""
        before = self.points[self.last]
        away = float(np.linalg.norm(before[:, :2].mean(0) - points[:, :2].mean(0)))
        return away / max(_height(before), _height(points), 1.0) / max(1, frame - self.last)


class DancerTracker:
    """Follows everybody through a video, frame after frame."""

    def __init__(self) -> None:
        self._dancers: list[Dancer] = []

    def add(self, frame: int, poses: Sequence[Points]) -> None:
        """Add the poses found in a frame.

        Args:
            frame: Number of the frame, higher than all before.
            poses: (33,3) of each person; one that was found twice counts once.
        """
        kept: list[Points] = []
        for one in sorted(poses, key=lambda points: float(points[:, 2].sum()), reverse=True):
            if all(overlap(one, other) < _SAME for other in kept):
                kept.append(one)
        open_ = [dancer for dancer in self._dancers if frame - dancer.last <= _LONGEST_GAP]
        pairs = sorted(
            ((dancer.distance(frame, one), i, k) for i, dancer in enumerate(open_) for k, one in enumerate(kept)),
        )
        taken: set[int] = set()
        placed: set[int] = set()
        for away, i, k in pairs:
            if away <= _NEAR and i not in taken and k not in placed:
                open_[i].points[frame] = kept[k]
                taken.add(i)
                placed.add(k)
        self._dancers += [Dancer({frame: one}) for k, one in enumerate(kept) if k not in placed]

    def people(self) -> list[Dancer]:
        """Return who was seen for more than a moment, the largest first; who was lost for long is somebody else."""
        found = [dancer for dancer in self._dancers if len(dancer.points) >= _BRIEFEST] or self._dancers
        return sorted(found, key=lambda dancer: dancer.size, reverse=True)


def follow_dancer(video: Path, progress: bool, recognise: Recognise | None = None) -> dict[int, Points]:
    """Find the one who dances: whose face is the person's, else who is largest; the choice is logged.

    Args:
        video: Of one person, or of several.
        progress: Whether a bar is shown.
        recognise: Compares faces with the person's; None: faces are not looked at.

    Returns:
        (33,3) landmarks by number of the frame; frames that do not show the dancer are missing.
    """
    tracker, landmarker = DancerTracker(), CrowdLandmarker()
    try:
        with open_video(video) as reader:
            count = len(reader)
            frames = reader.frames(range(count))
            for index, frame in track(frames, f"poses of {video.name}", count, shown=progress, transient=True):
                tracker.add(index, landmarker.find_all(frame, round(1000 * float(reader.times[index]))))
    finally:
        landmarker.close()
    people = tracker.people()
    if not people:
        return {}
    chosen, why = people[0], "who is the largest"
    if len(people) > 1:
        if recognise is not None:
            likeness = [_recognise_dancer(video, one, recognise) for one in people]
            best = int(np.argmax(likeness))
            if likeness[best] >= _FACE_KNOWN:
                chosen, why = people[best], f"whose face is the person's (similarity {likeness[best]:.2f})"
        log.info(
            "%s: shows several people; the pose video follows the one %s, seen in %d of %d frames",
            video,
            why,
            len(chosen.points),
            count,
        )
    return _look_closer(video, _fill_gaps(chosen, [one for one in people if one is not chosen]), progress)


def render_pose_video(
    dance: Path,
    target: Path,
    mark: Mark,
    progress: bool,
    style: PoseStyle = "openpose",
    min_limbs: int = 4,
    recognise: Recognise | None = None,
) -> None:
    """Write the pose video of a dance, frame for frame at its times.

    Args:
        dance: Video of one person, or of several.
        target: File to write.
        mark: Says that the file is synthetic.
        progress: Whether a bar is shown.
        style: Of `draw_pose`.
        min_limbs: Limbs that a third of the frames must show at least.
        recognise: Compares faces with the person's, where several people are seen.

    Raises:
        UserError: too few frames show enough of a person; says what they show.
    """
    points = follow_dancer(dance, progress, recognise)
    with open_video(dance) as reader:
        size, count = (reader.height, reader.width), len(reader)
    check_limbs(dance, points, size, count, min_limbs)
    with VideoWriter(target, like=dance, mark=mark, sound=False) as writer:
        for index in range(count):
            writer.write(draw_pose(points.get(index), *size, style), index)


def check_limbs(dance: Path, points: dict[int, Points], size: tuple[int, int], count: int, min_limbs: int) -> None:
    """Check that a dance shows enough of a body to be followed.

    Args:
        dance: For the error.
        points: (33,3) landmarks by number of the frame.
        size: Height and width of the video in px.
        count: Frames of the video.
        min_limbs: Limbs that a third of the frames must show.

    Raises:
        UserError: it does not; says which parts of the body are seen in how many frames.
    """
    seen = [seen_limbs(one, *size) for one in points.values()]
    enough = sum(sum(part != HEAD for part in limbs) >= min_limbs for limbs in seen)
    if enough and enough >= _FEWEST_SEEN * count:
        return
    if not seen:
        raise UserError(
            f"{dance}: a person is seen in 0 of {count} frames; give a video that shows the whole dancer, or a pose "
            "video of your own"
        )
    parts = Counter(part for limbs in seen for part in set(limbs))
    shown = ", ".join(f"{part} in {parts[part]}" for part in BODY_PARTS)
    raise UserError(
        f"{dance}: {enough} of {count} frames show {min_limbs} limbs or more ({shown}); give a video that shows the "
        f"dancer's body, or a pose video of your own, or lower data.min_limbs={min_limbs}"
    )


def _recognise_dancer(video: Path, dancer: Dancer, recognise: Recognise) -> float:
    """Return the highest similarity of a dancer's face to the person's; -1 where none is seen."""
    heights = {frame: _height(points) for frame, points in dancer.points.items()}
    usual = _OUTLIER * float(np.median(list(heights.values())))  # a pose of two people is as tall as both
    largest = sorted((frame for frame in heights if heights[frame] <= usual), key=heights.__getitem__)[-_LOOKS:]
    best = -1.0
    with open_video(video) as reader:
        for index, frame in reader.frames(sorted(largest)):
            nose = dancer.points[index][0, :2]
            for box, similarity in recognise(frame):
                if box[0] <= nose[0] <= box[2] and box[1] <= nose[1] <= box[3]:
                    best = max(best, similarity)
    return best


def _fill_gaps(chosen: Dancer, others: Sequence[Dancer]) -> dict[int, Points]:
    """Fill gaps with poses that lie where the dancer must have been, found as somebody else's, and between others.

    Returns:
        (33,3) landmarks by number of the frame.
    """
    known = sorted(chosen.points)
    filled = dict(chosen.points)
    for before, after in pairwise(known):
        for frame in range(before + 1, after):
            share = (frame - before) / (after - before)
            guess = (1 - share) * chosen.points[before] + share * chosen.points[after]
            found = [one.points[frame] for one in others if frame in one.points]
            near = max(found, key=lambda points: overlap(points, guess), default=None)
            if near is not None and overlap(near, guess) >= _SAME:
                filled[frame] = near
            elif after - before <= _BRIEF_GAP:
                filled[frame] = guess.astype(np.float32)
    return filled


def _look_closer(video: Path, points: dict[int, Points], progress: bool) -> dict[int, Points]:
    """Find a small dancer again, in a crop of each frame: the network sees whole frames at 224 px.

    It takes people who are small there for people upside down, or for none.

    Args:
        video: Of the dancer.
        points: (33,3) landmarks by number of the frame.
        progress: Whether a bar is shown.

    Returns:
        Them, replaced where the crop shows the same person, and frames close by in which only the crop does.
    """
    known = sorted(points)
    boxes = np.array([[*points[n][:, :2].min(0), *points[n][:, :2].max(0)] for n in known])
    with open_video(video) as reader:
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
        if np.median(sides) > SMALL * max(reader.height, reader.width):
            return points
        wanted = [n for n in range(len(reader)) if min(abs(n - one) for one in known) <= _LONGEST_GAP]
        steady = [median_filter(row, _STEADY, mode="mirror") for row in (*((boxes[:, :2] + boxes[:, 2:]) / 2).T, sides)]
        places = dict(zip(wanted, zip(*(np.interp(wanted, known, row) for row in steady), strict=True), strict=True))
        found, landmarker = dict(points), PoseLandmarker(tracks=False)
        try:
            frames = track(reader.frames(wanted), f"a closer look at {video.name}", len(wanted), shown=progress)
            for number, frame in frames:
                x, y, side = places[number]
                half = round(_AROUND * side / 2)
                left, top = max(0, round(x) - half), max(0, round(y) - half)
                crop = frame[top : max(0, round(y) + half), left : max(0, round(x) + half)]
                closer = landmarker(crop, 0) if crop.size else None
                if closer is None:
                    continue
                closer[:, :2] += (left, top)
                if np.linalg.norm(closer[:, :2].mean(0) - (x, y)) <= _MOVED * side:
                    found[number] = closer
        finally:
            landmarker.close()
    return found


def _height(points: Points) -> float:
    return _spread(points, 1)


def _spread(points: Points, axis: int) -> float:
    return float(np.ptp(points[:, axis]))


def find_missing_poses(videos: Sequence[Path], poses: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Find the dances that have no pose video yet.

    Args:
        videos: Of dances; pose videos among them are skipped.
        poses: Pose videos, in a folder of their own or beside the dances.
        folder: Where missing pose videos go.

    Returns:
        Each dance's pose video, still to be written.
    """
    dances = [path for path in videos if not path.stem.endswith("_pose")]
    drawn = [path for path in poses if path not in dances]
    found = pair_by_path(dances, drawn, dance_name)
    root = Path(os.path.commonpath([path.parent for path in dances])) if dances else Path()
    # Dances of one name in several folders have pose videos in folders of the same names.
    return {path: folder / path.relative_to(root).with_name(f"{path.stem}_pose.mp4") for path in found.missing}


def pose_agreement(
    found: Sequence[NDArray[np.float32] | None], expected: Sequence[NDArray[np.float32] | None]
) -> float:
    """Compute the share of body landmarks within a fifth of the torso of where they should be.

    The torso reaches from the middle of the shoulders to that of the hips.

    Args:
        found: (33,3) landmarks of each frame, None if no person is seen.
        expected: Those of the true video.

    Returns:
        0..1 over the frames in which both are seen; NaN when there are none.
    """
    close: list[bool] = []
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:
            continue
        torso = float(np.linalg.norm(other[11:13, :2].mean(0) - other[23:25, :2].mean(0)))
        visible = other[_FIRST_OF_BODY:, 2] >= VISIBLE
        away = np.linalg.norm(one[_FIRST_OF_BODY:, :2] - other[_FIRST_OF_BODY:, :2], axis=1)[visible]
        close += (away < 0.2 * max(torso, 1.0)).tolist()
    return float(np.mean(close)) if close else float("nan")
