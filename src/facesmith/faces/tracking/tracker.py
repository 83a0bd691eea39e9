"""Which faces of a video's sampled frames are one face seen on, within one shot."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.measures import iris_distance

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


def make_thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame (H,W,3) RGB uint8 as a tiny grey picture (THUMBNAIL**2,)."""
    step = max(1, min(pixels.shape[:2]) // (4 * THUMBNAIL))
    small = cv2.resize(pixels[::step, ::step], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8).ravel()


def picture_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two grey thumbnails in grey levels, exposure taken out."""
    difference = a.astype(np.float32) - b.astype(np.float32)
    return float(np.abs(difference - np.median(difference)).mean())


def assign_tracks(
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
    eyes = iris_distance(landmarks)
    frames = [np.flatnonzero(positions == p) for p in np.unique(positions)]
    steps = np.diff([times[rows[0]] for rows in frames])
    usual = float(np.median(steps)) if len(steps) else 0.0
    for rows in frames[:1]:
        tracks[rows] = np.arange(len(rows))
        following = len(rows)
    for before, now in pairwise(frames):
        gap = positions[now[0]] != positions[before[0]] + 1
        gap |= bool(times[now[0]] - times[before[0]] > LONGEST_GAP * usual)
        change = picture_difference(thumbnails[before[0]], thumbnails[now[0]])
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
