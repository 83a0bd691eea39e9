"""Which faces of a video's sampled frames are one face seen on, within one shot."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.analyzers.landmarker import SAME, shared
from facesmith.faces.face import Analyzer, Detection, Face

IRISES = (468, 473)
"""Centres of the two irises among the 478 points."""

THUMBNAIL = 16
"""Side of the grey thumbnail that tells whether the picture as a whole has changed."""

# Grey levels are 0..255. Neighbouring frames of one shot differ by 1-6, also at some frames a second; cuts
# by 15-60.
CHANGED = 8.0
CUT = 30.0
# Displacement of the landmarks in interocular distances: a head does not move half its eye distance in a
# frame unless the camera or the shot changes; a turning head at a few frames a second does, so it needs
# CHANGED as well.
JUMP = 0.6
FARTHEST = 2.0
SAME_PERSON = 0.2
LONGEST_GAP = 3.0


def interocular(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of the iris centres in px: (N,478,3) -> (N,).

    Measured in all three coordinates, so that it does not shrink when the head turns.
    """
    between = landmarks[:, IRISES[0]] - landmarks[:, IRISES[1]]
    return np.asarray(np.linalg.norm(between, axis=-1), np.float32)


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame (H,W,3) RGB uint8 as a tiny grey picture (THUMBNAIL**2,)."""
    step = max(1, min(pixels.shape[:2]) // (4 * THUMBNAIL))
    small = cv2.resize(pixels[::step, ::step], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8).ravel()


def picture_change(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two grey thumbnails in grey levels, exposure taken out."""
    difference = a.astype(np.float32) - b.astype(np.float32)
    return float(np.abs(difference - np.median(difference)).mean())


def link(
    positions: NDArray[np.integer],
    times: NDArray[np.float64],
    landmarks: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    thumbnails: NDArray[np.uint8],
) -> NDArray[np.int32]:
    """Number the faces of one video by track: the same number is one face, without cut or gap in between.

    positions: (N,) ordinal of the face's frame among the sampled frames, ascending, faces of a frame beside
    each other. times: (N,) seconds. landmarks: (N,478,3) px of the frame. embeddings: (N,E) L2-normalised.
    thumbnails: (N,THUMBNAIL**2) grey picture of the whole frame. Gives (N,) int32, from 0 on in order of
    appearance.

    Two faces of neighbouring sampled frames are linked unless the frame between them has no such face, the
    time step is a gap, the picture changes altogether, the landmarks jump while the picture changes, or the
    embedding turns into another person's. Wrongly splitting a track costs a little smoothing; wrongly
    joining two smears faces.
    """
    n = len(positions)
    tracks = np.full(n, -1, np.int32)
    following = 0
    eyes = interocular(landmarks)
    frames = [np.flatnonzero(positions == p) for p in np.unique(positions)]
    steps = np.diff([times[rows[0]] for rows in frames])
    usual = float(np.median(steps)) if len(steps) else 0.0
    for rows in frames[:1]:
        tracks[rows] = np.arange(len(rows))
        following = len(rows)
    for before, now in pairwise(frames):
        gap = positions[now[0]] != positions[before[0]] + 1
        gap |= bool(times[now[0]] - times[before[0]] > LONGEST_GAP * usual)
        change = picture_change(thumbnails[before[0]], thumbnails[now[0]])
        if not gap and change < CUT:
            moved = landmarks[before][:, None, :, :2] - landmarks[now][None, :, :, :2]
            jump = np.linalg.norm(moved, axis=-1).mean(-1) / np.maximum(eyes[before][:, None], 1e-6)
            alike = embeddings[before] @ embeddings[now].T
            limit = JUMP if change > CHANGED else FARTHEST
            for i, j in sorted(np.ndindex(*jump.shape), key=lambda ij: float(jump[ij])):
                free = tracks[now[j]] < 0 and tracks[before[i]] not in tracks[now]
                if free and jump[i, j] < limit and alike[i, j] > SAME_PERSON:
                    tracks[now[j]] = tracks[before[i]]
        fresh = now[tracks[now] < 0]
        tracks[fresh] = following + np.arange(len(fresh))
        following += len(fresh)
    return tracks


Pixels = NDArray[np.uint8]


def detect(analyzer: Analyzer, frame: Pixels, *, embed: bool) -> list[Face]:
    """All faces of a frame (H,W,3) RGB uint8, the largest first; without `embed` their embeddings are NaN."""
    return analyzer.faces(frame, analyzer.detect(frame), embed=embed)


def follow(
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
    small = [thumbnail(frame) for frame in frames]
    found: list[list[Face]] = [list(first)]
    for i in range(1, len(frames)):
        if picture_change(small[i - 1], small[i]) >= CHANGED:
            found.append(detect(analyzer, frames[i], embed=embed))
            continue
        followed = _onto(analyzer, frames[i], found[-1])
        if len(followed) < len(found[-1]):
            followed += _others(detect(analyzer, frames[i], embed=embed), followed)
        found.append(followed)
    if after is not None:
        later, faces = after
        change = picture_change(small[-1], thumbnail(later))
        for i in range(len(frames) - 1, 0, -1):
            come = _others(faces, found[i]) if change < CHANGED else []
            if not come:
                break
            found[i] += _others(_onto(analyzer, frames[i], come), found[i])
            faces = found[i]
            change = picture_change(small[i - 1], small[i])
    return found


def _onto(analyzer: Analyzer, frame: Pixels, faces: Sequence[Face]) -> list[Face]:
    """Find faces of a neighbouring frame again; those that cannot be seen are left out."""
    result: list[Face] = []
    for face in faces:
        seen = analyzer.faces(frame, [Detection(face.box, face.five, face.score)], embed=False)
        result += _others([replace(one, box=_moved(face, one)) for one in seen], result)
    return result


def _others(faces: Sequence[Face], known: Sequence[Face]) -> list[Face]:
    """Those of the faces that are none of the known ones."""
    return [face for face in faces if all(shared(face.landmarks, other.landmarks) < SAME for other in known)]


def _moved(before: Face, now: Face) -> NDArray[np.float32]:
    """The box of a detection, moved and scaled as the landmarks are."""
    a, b = before.landmarks[:, :2], now.landmarks[:, :2]
    grown = float(np.sqrt(b.var(axis=0).sum() / max(float(a.var(axis=0).sum()), 1e-6)))
    middle = np.tile(b.mean(0), 2)
    return np.asarray(middle + (before.box - np.tile(a.mean(0), 2)) * grown, np.float32)
