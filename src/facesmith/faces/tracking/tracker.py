"""Faces numbered through a video: one number is one face, seen on from frame to frame within one shot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.measures import iris_distance

Floats = NDArray[np.float32]

THUMBNAIL: Final = 16
"""Side of the grey thumbnail that shows whether the picture as a whole has changed."""

# Grey levels are 0..255. Neighbouring frames of one shot differ by 1-6, also at some frames a second; cuts by 15-60.
CHANGE_THRESHOLD: Final = 8.0
CUT_THRESHOLD: Final = 30.0
# Displacement of the landmarks in iris distances: a head does not move half its eye distance in a frame unless the
# camera or the shot changes; a turning head at a few frames a second does, so it needs a changed picture as well.
MAX_SHIFT_IN_CHANGE: Final = 0.6
MAX_SHIFT: Final = 2.0
MIN_SIMILARITY: Final = 0.2
# A step in time that is so many times the usual one is a gap.
MAX_STEP: Final = 3.0


@dataclass
class Track:
    """One face seen on: where it was last, when, and the sum of its embeddings, None while it has had none."""

    landmarks: Floats
    time: float
    embedding_sum: Floats | None = None

    def add(self, time: float, landmarks: Floats, embedding: Floats) -> None:
        """Add the face of a later frame.

        Args:
            time: Of the frame, in seconds.
            landmarks: (478,2 or 3), px of the frame.
            embedding: (E,), L2-normalised; NaN is ignored.
        """
        self.time, self.landmarks = time, landmarks
        if not np.isnan(embedding[0]):
            self.embedding_sum = embedding + (0 if self.embedding_sum is None else self.embedding_sum)

    def mean_embedding(self) -> Floats | None:
        """Return the mean of the embeddings so far, (E,), L2-normalised; None while there was none."""
        if self.embedding_sum is None:
            return None
        return np.asarray(self.embedding_sum / max(float(np.linalg.norm(self.embedding_sum)), 1e-6), np.float32)


class FaceTracker:
    """Assigns track numbers to the faces of frames that come one after another.

    Two faces are one track unless the picture changes altogether, the landmarks jump while the picture changes, the
    embedding turns into another person's, or the face was missing for too long. Wrongly splitting a track costs a
    little smoothing; wrongly joining two smears faces.

    Attributes:
        tracks: The tracks that may continue, by number.
    """

    def __init__(self, *, max_gap: float) -> None:
        """Begin without any track.

        Args:
            max_gap: Seconds that a face may be missing; 0 when it must be in every frame.
        """
        self.tracks: dict[int, Track] = {}
        self._max_gap = max_gap
        self._next = 0
        self._time: float | None = None
        self._thumbnail: NDArray[np.uint8] | None = None

    def update(
        self,
        time: float,
        thumbnail: NDArray[np.uint8],
        landmarks: Sequence[Floats] | Floats,
        embeddings: Sequence[Floats] | Floats,
    ) -> list[int]:
        """Assign track numbers to the faces of the next frame.

        Args:
            time: Seconds, later than the frame before.
            thumbnail: The frame, see `make_thumbnail`.
            landmarks: (478, 3) px of each of K faces.
            embeddings: (E,) of each, L2-normalised; NaN where it is not known.

        Returns:
            The track of each face; numbers ascend from 0 in order of appearance.
        """
        change = 0.0 if self._thumbnail is None else picture_difference(self._thumbnail, thumbnail)
        for number, track in list(self.tracks.items()):
            missed = track.time != self._time
            if change >= CUT_THRESHOLD or (missed and time - track.time > self._max_gap):
                del self.tracks[number]
        numbers = self._match(landmarks, embeddings, MAX_SHIFT_IN_CHANGE if change > CHANGE_THRESHOLD else MAX_SHIFT)
        for number, points, embedding in zip(numbers, landmarks, embeddings, strict=True):
            self.tracks.setdefault(number, Track(points, time)).add(time, points, embedding)
        self._time, self._thumbnail = time, thumbnail
        return numbers

    def end_tracks(self) -> None:
        """End all tracks: frames are missing in between."""
        self.tracks.clear()

    def _match(
        self, landmarks: Sequence[Floats] | Floats, embeddings: Sequence[Floats] | Floats, max_shift: float
    ) -> list[int]:
        """Return the track of each face, by least displacement; a new number where there is none."""
        pairs: list[tuple[float, int, int]] = []
        for number, track in self.tracks.items():
            unit = max(float(iris_distance(track.landmarks)), 1e-6)
            mean = track.mean_embedding()
            for j, (points, embedding) in enumerate(zip(landmarks, embeddings, strict=True)):
                shift = float(np.linalg.norm(track.landmarks[:, :2] - points[:, :2], axis=1).mean()) / unit
                unknown = mean is None or np.isnan(embedding[0])
                if shift < max_shift and (unknown or float(mean @ embedding) > MIN_SIMILARITY):
                    pairs.append((shift, number, j))
        result = [-1] * len(landmarks)
        for _, number, j in sorted(pairs):
            if result[j] < 0 and number not in result:
                result[j] = number
        for j, number in enumerate(result):
            if number < 0:
                result[j] = self._next
                self._next += 1
        return result


def assign_tracks(
    positions: NDArray[np.integer],
    times: NDArray[np.float64],
    landmarks: Floats,
    embeddings: Floats,
    thumbnails: NDArray[np.uint8],
) -> NDArray[np.int32]:
    """Assign track numbers to the faces of one video's sampled frames, without cut or gap in between.

    Args:
        positions: (N,) ordinal of the face's frame among the sampled frames, ascending, faces of a frame beside each
            other.
        times: (N,) seconds.
        landmarks: (N, 478, 3) px of the frame.
        embeddings: (N, E), L2-normalised.
        thumbnails: (N, THUMBNAIL ** 2), see `make_thumbnail`.

    Returns:
        (N,) numbers of tracks, from 0 on in order of appearance.
    """
    tracker = FaceTracker(max_gap=0.0)
    result = np.full(len(positions), -1, np.int32)
    frames = [np.flatnonzero(positions == p) for p in np.unique(positions)]
    steps = np.diff([times[rows[0]] for rows in frames])
    longest = MAX_STEP * float(np.median(steps)) if len(steps) else 0.0
    before = None
    for rows in frames:
        now = rows[0]
        if before is not None and (positions[now] != positions[before] + 1 or times[now] - times[before] > longest):
            tracker.end_tracks()
        result[rows] = tracker.update(float(times[now]), thumbnails[now], landmarks[rows], embeddings[rows])
        before = now
    return result


def make_thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a frame (H, W, 3) RGB to a tiny grey picture (THUMBNAIL ** 2,)."""
    step = max(1, min(pixels.shape[:2]) // (4 * THUMBNAIL))
    small = cv2.resize(pixels[::step, ::step], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8).ravel()


def picture_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two grey thumbnails in grey levels, exposure taken out."""
    difference = a.astype(np.float32) - b.astype(np.float32)
    return float(np.abs(difference - np.median(difference)).mean())
