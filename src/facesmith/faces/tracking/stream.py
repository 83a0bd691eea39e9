"""Faces along a stream of frames: linked, gaps bridged, landmarks smoothed, with a bounded look ahead."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.measures import iris_distance
from facesmith.faces.tracking.smoothing import (
    EVEN,
    fit_polynomial_at,
    landmark_distance,
    restore_fast_motion,
)
from facesmith.faces.tracking.tracker import CHANGED, CUT, FARTHEST, JUMP, SAME_PERSON, picture_difference

T = TypeVar("T")

HISTORY_SECONDS: Final = 1.0
"""Seconds of a track that tell how far its points usually are off the fit."""


@dataclass(frozen=True, slots=True)
class DetectedFrame(Generic[T]):
    """A frame as an analyzer sees it.

    item: anything that travels along. time: seconds, ascending. thumbnail: see `tracks.thumbnail`.
    """

    item: T
    time: float
    thumbnail: NDArray[np.uint8]
    faces: Sequence[Face]


@dataclass(frozen=True, slots=True)
class TrackedFrame(Generic[T]):
    """A frame whose faces are steady along time.

    faces: number of the track -> face, in the order of appearance. The embedding of a face is the mean of
    those that its track has had up to now, L2-normalised; NaN while there was none. bridged: tracks of which
    the analyzer saw nothing in this frame.
    """

    item: T
    faces: dict[int, Face]
    bridged: frozenset[int]


@dataclass
class _Track:
    last: Face
    time: float
    times: deque[float] = field(default_factory=deque)
    landmarks: deque[NDArray[np.float32]] = field(default_factory=deque)
    off: deque[tuple[float, NDArray[np.float32]]] = field(default_factory=deque)
    embedding: NDArray[np.float32] | None = None

    def take(self, time: float, face: Face) -> None:
        self.last, self.time = face, time
        self.times.append(time)
        self.landmarks.append(face.landmarks)
        if not np.isnan(face.embedding[0]):
            self.embedding = face.embedding + (0 if self.embedding is None else self.embedding)

    def steady(self, time: float, smoothing: SmoothingConfig) -> NDArray[np.float32]:
        """Return the landmarks (478,3) at a time, each later than the one before; see `smoothing.smooth`."""
        width = smoothing.window_seconds * (1 + EVEN)
        while self.times[0] < time - width and self.times[1] <= time:
            self.times.popleft()
            self.landmarks.popleft()
        # One row more than the window shows the fit that the track goes on: else it would lean back, and lag.
        known = np.array(self.times)
        count = int(np.searchsorted(known, max(time + width / 2, known[0] + width))) + 1
        times = known[:count]
        paths = np.stack([points for points, _ in zip(self.landmarks, times, strict=False)]).reshape(len(times), -1)
        row = int(np.searchsorted(times, time))
        found = self.landmarks[row]
        path = fit_polynomial_at(times, paths, row, smoothing)
        if path is None:
            return found
        fitted = path.reshape(found.shape)
        distance = landmark_distance(found, fitted)
        while self.off and self.off[0][0] < time - HISTORY_SECONDS:
            self.off.popleft()
        self.off.append((time, distance))
        return restore_fast_motion(found, fitted, distance, np.median([one for _, one in self.off], axis=0))


@dataclass
class _Pending(Generic[T]):
    seen: DetectedFrame[T]
    faces: dict[int, Face] = field(default_factory=dict)
    bridged: set[int] = field(default_factory=set)


class StreamTracker(Generic[T]):
    """Links faces of neighbouring frames as `tracks.link` does, bridges gaps, and smooths as `smooth` does.

    What is usual for a landmark is measured over the last second of its track, not over all of it.

    smoothing: Savitzky-Golay around each moment, never across a cut. max_gap: seconds that a face may be
    missing within a shot; in between it goes on a straight line, later it is a new one. A frame is held back
    until what follows can no longer change it: half a window, and `max_gap` more while a face is missing.
    """

    def __init__(self, *, smoothing: SmoothingConfig, max_gap: float) -> None:
        self._smoothing = smoothing
        self._max_gap = max_gap
        self._tracks: dict[int, _Track] = {}
        self._ended: dict[int, _Track] = {}
        self._pending: deque[_Pending[T]] = deque()
        self._following = 0

    def __call__(self, frames: Iterable[DetectedFrame[T]]) -> Iterator[TrackedFrame[T]]:
        """Return the frames in their order; once only."""
        before: DetectedFrame[T] | None = None
        for seen in frames:
            self._link(before, seen)
            yield from self._ready(self._certain_until(seen.time))
            before = seen
        yield from self._ready(np.inf)

    def _link(self, before: DetectedFrame[T] | None, seen: DetectedFrame[T]) -> None:
        change = 0.0 if before is None else picture_difference(before.thumbnail, seen.thumbnail)
        for number, track in list(self._tracks.items()):
            if change >= CUT or (seen.time - track.time > self._max_gap and track.time != self._newest()):
                self._ended[number] = self._tracks.pop(number)
        numbers = self._matches(seen.faces, change)
        pending = _Pending(seen)
        self._pending.append(pending)
        for number, face in zip(numbers, seen.faces, strict=True):
            if number in self._tracks:
                self._bridge(number, face, seen.time)
            else:
                self._tracks[number] = _Track(face, seen.time)
            self._tracks[number].take(seen.time, face)
            pending.faces[number] = face

    def _newest(self) -> float:
        return self._pending[-1].seen.time if self._pending else -np.inf

    def _matches(self, faces: Sequence[Face], change: float) -> list[int]:
        """The track of each face, by least displacement; a new number where there is none."""
        limit = JUMP if change > CHANGED else FARTHEST
        pairs: list[tuple[float, int, int]] = []
        for number, track in self._tracks.items():
            eyes = float(iris_distance(track.last.landmarks[None])[0])
            for j, face in enumerate(faces):
                moved = np.linalg.norm(track.last.landmarks[:, :2] - face.landmarks[:, :2], axis=1).mean()
                jump = float(moved) / max(eyes, 1e-6)
                if jump < limit and _may_be_one(track.embedding, face.embedding):
                    pairs.append((jump, number, j))
        result = [-1] * len(faces)
        for _, number, j in sorted(pairs):
            if result[j] < 0 and number not in result:
                result[j] = number
        for j, number in enumerate(result):
            if number < 0:
                result[j] = self._following
                self._following += 1
        return result

    def _bridge(self, number: int, face: Face, time: float) -> None:
        """Fill the frames in which a track was missing; they are all still pending."""
        track = self._tracks[number]
        start, gone = track.time, track.last
        for pending in self._pending:
            between = pending.seen.time
            if start < between < time:
                filled = _between(gone, face, (between - start) / (time - start))
                pending.faces[number] = filled
                pending.bridged.add(number)
                track.take(between, filled)

    def _certain_until(self, now: float) -> float:
        """The time up to which nothing changes any more."""
        missing = [track.time for track in self._tracks.values() if now - track.time <= self._max_gap]
        return min([now, *missing]) - self._smoothing.window_seconds / 2

    def _ready(self, until: float) -> Iterator[TrackedFrame[T]]:
        while self._pending and self._pending[0].seen.time <= until + 1e-9:
            pending = self._pending.popleft()
            yield TrackedFrame(pending.seen.item, self._steady(pending), frozenset(pending.bridged))

    def _steady(self, pending: _Pending[T]) -> dict[int, Face]:
        time = pending.seen.time
        faces = {}
        for number, face in sorted(pending.faces.items()):
            track = self._tracks.get(number) or self._ended[number]
            faces[number] = replace(face, landmarks=track.steady(time, self._smoothing), embedding=_mean(track, face))
        for number in [n for n, track in self._ended.items() if track.time <= time]:
            del self._ended[number]
        return faces


def _may_be_one(a: NDArray[np.float32] | None, b: NDArray[np.float32]) -> bool:
    """Whether embeddings, where there are any, do not speak against one person."""
    if a is None or np.isnan(b[0]):
        return True
    return float(a @ b) / max(float(np.linalg.norm(a)), 1e-6) > SAME_PERSON


def _mean(track: _Track, face: Face) -> NDArray[np.float32]:
    if track.embedding is None:
        return np.full_like(face.embedding, np.nan)
    return np.asarray(track.embedding / max(float(np.linalg.norm(track.embedding)), 1e-6), np.float32)


def _between(a: Face, b: Face, share: float) -> Face:
    """The face on the straight line from a to b."""

    def mixed(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(x + (y - x) * np.float32(share), np.float32)

    return Face(
        box=mixed(a.box, b.box),
        score=min(a.score, b.score),
        landmarks=mixed(a.landmarks, b.landmarks),
        blendshapes=mixed(a.blendshapes, b.blendshapes),
        pose=mixed(a.pose, b.pose),
        embedding=np.full_like(a.embedding, np.nan),
    )
