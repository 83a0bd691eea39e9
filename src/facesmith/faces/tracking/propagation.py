"""Faces from frame to frame of a video without a search: detection runs only where a face is lost or comes in."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Analyzer, Detection, Face
from facesmith.faces.measures import DUPLICATE_IOU, landmark_iou
from facesmith.faces.tracking.tracker import CHANGED, make_thumbnail, picture_difference

Pixels = NDArray[np.uint8]


def detect_faces(analyzer: Analyzer, frame: Pixels, *, embed: bool) -> list[Face]:
    """All faces of a frame (H,W,3) RGB uint8, the largest first; without `embed` their embeddings are NaN."""
    return analyzer.faces(frame, analyzer.detect(frame), embed=embed)


def propagate_faces(
    analyzer: Analyzer,
    frames: Sequence[Pixels],
    first: Sequence[Face],
    after: tuple[Pixels, Sequence[Face]] | None,
    *,
    embed: bool,
) -> list[list[Face]]:
    """Return the faces of each of the frames, which follow each other in one video.

    frames: (H,W,3) RGB uint8. first: the faces of the first of them. after: the frame that comes after the
    last one, and its faces; None at the end of the video. Detection runs only where a face is lost or the
    picture changes; a face that is first seen in `after` is followed backwards to where it came in. A face
    that was followed has no embedding (NaN).
    """
    small = [make_thumbnail(frame) for frame in frames]
    found: list[list[Face]] = [list(first)]
    for i in range(1, len(frames)):
        if picture_difference(small[i - 1], small[i]) >= CHANGED:
            found.append(detect_faces(analyzer, frames[i], embed=embed))
            continue
        followed = _onto(analyzer, frames[i], found[-1])
        if len(followed) < len(found[-1]):
            followed += _others(detect_faces(analyzer, frames[i], embed=embed), followed)
        found.append(followed)
    if after is not None:
        later, faces = after
        change = picture_difference(small[-1], make_thumbnail(later))
        for i in range(len(frames) - 1, 0, -1):
            come = _others(faces, found[i]) if change < CHANGED else []
            if not come:
                break
            found[i] += _others(_onto(analyzer, frames[i], come), found[i])
            faces = found[i]
            change = picture_difference(small[i - 1], small[i])
    return found


def _onto(analyzer: Analyzer, frame: Pixels, faces: Sequence[Face]) -> list[Face]:
    """Find faces of a neighbouring frame again; those that cannot be seen are left out."""
    result: list[Face] = []
    for face in faces:
        seen = analyzer.faces(frame, [Detection(face.box, face.keypoints, face.score)], embed=False)
        result += _others([replace(one, box=_moved(face, one)) for one in seen], result)
    return result


def _others(faces: Sequence[Face], known: Sequence[Face]) -> list[Face]:
    """Those of the faces that are none of the known ones."""
    return [
        face for face in faces if all(landmark_iou(face.landmarks, other.landmarks) < DUPLICATE_IOU for other in known)
    ]


def _moved(before: Face, now: Face) -> NDArray[np.float32]:
    """The box of a detection, moved and scaled as the landmarks are."""
    a, b = before.landmarks[:, :2], now.landmarks[:, :2]
    grown = float(np.sqrt(b.var(axis=0).sum() / max(float(a.var(axis=0).sum()), 1e-6)))
    middle = np.tile(b.mean(0), 2)
    return np.asarray(middle + (before.box - np.tile(a.mean(0), 2)) * grown, np.float32)
