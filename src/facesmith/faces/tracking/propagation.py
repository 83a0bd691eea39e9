"""Faces from frame to frame of a video without a search: detection runs only where a face is lost or comes in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Detection, Face, keypoints_from_landmarks
from facesmith.faces.geometry.pose import turn_pose
from facesmith.faces.measures import DUPLICATE_IOU, landmark_iou
from facesmith.faces.tracking.tracker import CHANGE_THRESHOLD, make_thumbnail, picture_difference

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
F = TypeVar("F")
F_contra = TypeVar("F_contra", contravariant=True)

_MAX_DISTANCE: Final = 0.25  # sizes of a face by which its points move from one frame to the next, at most


class FrameAnalyzer(Protocol[F_contra]):
    """The part of an `Analyzer` that looks at frames, of whatever kind they are: (H, W, 3) RGB, or planes."""

    def detect(self, frame: F_contra) -> list[Detection]:
        """Find where faces may be in a frame that is upright, more or less."""
        ...

    def search(self, frame: F_contra) -> list[Detection]:
        """Find faces where `detect` finds none, however turned or small; slower."""
        ...

    def analyse(self, frame: F_contra, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """Return the faces behind detections, the largest first.

        Args:
            frame: As the analyzer takes it.
            detections: In this frame.
            embed: Whether they get an embedding; else it is NaN.
        """
        ...

    def follow(self, frame: F_contra, landmarks: Floats) -> Floats | None:
        """Find the landmarks of a face again near where it was.

        Args:
            frame: As the analyzer takes it.
            landmarks: (478, 3) px, of the frame before.

        Returns:
            (478, 3) px; None if no face is seen there.
        """
        ...


def detect_faces(analyzer: FrameAnalyzer[F], frame: F, *, embed: bool, thorough: bool = False) -> list[Face]:
    """Return all faces of a frame, the largest first.

    Args:
        analyzer: Finds them.
        frame: As the analyzer takes it.
        embed: Whether they get an embedding; else it is NaN.
        thorough: Whether turned and small faces are searched for where there are no others.
    """
    faces = analyzer.analyse(frame, analyzer.detect(frame), embed=embed)
    if not faces and thorough:
        faces = analyzer.analyse(frame, analyzer.search(frame), embed=embed)
    return settle_faces(analyzer, frame, faces)


def settle_faces(analyzer: FrameAnalyzer[F], frame: F, faces: Sequence[Face]) -> list[Face]:
    """Return detected faces with the landmarks that following them gives, so that those of all frames agree.

    Args:
        analyzer: Follows them.
        frame: As the analyzer takes it.
        faces: Of this frame.
    """
    followed = [(face, analyzer.follow(frame, face.landmarks)) for face in faces]
    return [face if landmarks is None else replace(face, landmarks=landmarks) for face, landmarks in followed]


def propagate_faces(
    analyzer: FrameAnalyzer[F],
    frames: Sequence[F],
    first: Sequence[Face],
    after: tuple[F, Sequence[Face]] | None,
    *,
    embed: bool,
    thorough: bool = False,
    thumbnail: Callable[[F], Pixels] | None = None,
) -> list[list[Face]]:
    """Find the faces of frames that follow each other in one video, beginning with those of the first frame.

    Detection runs only where a face is lost or the picture changes; a face that is first seen in `after` is propagated
    backwards to where it came in.

    Args:
        analyzer: Finds landmarks where the face was in the neighbouring frame.
        frames: As the analyzer takes them.
        first: The faces of the first frame.
        after: The frame that comes after the last one, and its faces; None at the end of the video.
        embed: Whether faces that are detected get an embedding.
        thorough: See `detect_faces`.
        thumbnail: Makes a frame's thumbnail; None for frames (H, W, 3) RGB.

    Returns:
        The faces of each frame. A propagated face has neither embedding nor blendshapes (NaN).
    """
    thumbnail = thumbnail or cast(Callable[[F], Pixels], make_thumbnail)
    small = [thumbnail(frame) for frame in frames]
    found: list[list[Face]] = [list(first)]
    for i in range(1, len(frames)):
        if picture_difference(small[i - 1], small[i]) >= CHANGE_THRESHOLD:
            found.append(detect_faces(analyzer, frames[i], embed=embed, thorough=thorough))
            continue
        propagated = _find_again(analyzer, frames[i], found[-1])
        if len(propagated) < len(found[-1]):
            propagated += _remove_known(detect_faces(analyzer, frames[i], embed=embed, thorough=thorough), propagated)
        found.append(propagated)
    if after is not None:
        later, faces = after
        change = picture_difference(small[-1], thumbnail(later))
        for i in range(len(frames) - 1, 0, -1):
            new = _remove_known(faces, found[i]) if change < CHANGE_THRESHOLD else []
            if not new:
                break
            found[i] += _remove_known(_find_again(analyzer, frames[i], new), found[i])
            faces = found[i]
            change = picture_difference(small[i - 1], small[i])
    return found


def _find_again(analyzer: FrameAnalyzer[F], frame: F, faces: Sequence[Face]) -> list[Face]:
    """Find faces of a neighbouring frame again; those that cannot be seen are missing."""
    result: list[Face] = []
    for face in faces:
        landmarks = analyzer.follow(frame, face.landmarks)
        if landmarks is not None and _is_near(face.landmarks, landmarks):
            result += _remove_known([_moved(face, landmarks)], result)
    return result


def _remove_known(faces: Sequence[Face], known: Sequence[Face]) -> list[Face]:
    return [
        face for face in faces if all(landmark_iou(face.landmarks, other.landmarks) < DUPLICATE_IOU for other in known)
    ]


def _is_near(before: Floats, now: Floats) -> bool:
    """Return whether landmarks are where the same face can be a frame later: else they are a neighbour's."""
    a, b = (keypoints_from_landmarks(each) for each in (before, now))
    return float(np.linalg.norm(a - b, axis=1).mean()) <= _MAX_DISTANCE * float(np.ptp(before[:, :2], axis=0).max())


def _moved(face: Face, landmarks: Floats) -> Face:
    """Return a face where it was found again."""
    return replace(
        face,
        box=_move_box(face, landmarks),
        landmarks=landmarks,
        blendshapes=np.full_like(face.blendshapes, np.nan),
        pose=turn_pose(face.pose, face.landmarks, landmarks),
        embedding=np.full_like(face.embedding, np.nan),
    )


def _move_box(before: Face, landmarks: Floats) -> Floats:
    """Return the box of a detection, moved and scaled as the landmarks are."""
    a, b = before.landmarks[:, :2], landmarks[:, :2]
    growth = float(np.sqrt(b.var(axis=0).sum() / max(float(a.var(axis=0).sum()), 1e-6)))
    return np.asarray(np.tile(b.mean(0), 2) + (before.box - np.tile(a.mean(0), 2)) * growth, np.float32)
