"""Faces along a stream of frames: tracked, gaps bridged, landmarks smoothed, with a bounded look ahead."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.tracking.smoothing import EVEN, fit_polynomial_at, measure_misfit, restore_fast_motion
from facesmith.faces.tracking.tracker import FaceTracker, Track

T = TypeVar("T")

HISTORY_SECONDS: Final = 1.0
"""How much of a track shows how far its points usually are off the fit."""


@dataclass(frozen=True, slots=True)
class DetectedFrame(Generic[T]):
    """A frame as an analyzer sees it.

    Attributes:
        item: Anything that travels along.
        time: Seconds, ascending.
        thumbnail: See `tracker.make_thumbnail`.
        faces: All faces of the frame.
    """

    item: T
    time: float
    thumbnail: NDArray[np.uint8]
    faces: Sequence[Face]


@dataclass(frozen=True, slots=True)
class TrackedFrame(Generic[T]):
    """A frame whose faces are steady along time.

    Attributes:
        item: What travelled along.
        faces: Number of the track to its face, in the order of appearance. The embedding of a face is the mean of those
            that its track has had up to now, L2-normalised; NaN while there was none.
        bridged: Tracks of which the analyzer saw nothing in this frame.
    """

    item: T
    faces: dict[int, Face]
    bridged: frozenset[int]


class StreamTracker(Generic[T]):
    """Track faces as `FaceTracker` does, bridge gaps, and smooth as `smooth_landmarks` does.

    What is usual for a landmark is measured over the last second of its track, not over all of it. A frame is held
    back until what follows can no longer change it: half a window, and `max_gap` more while a face is missing.
    """

    def __init__(self, *, smoothing: SmoothingConfig, max_gap: float) -> None:
        """Begin without any track.

        Args:
            smoothing: Savitzky-Golay around each moment, never across a cut.
            max_gap: Seconds that a face may be missing within a shot; in between it moves on a straight line, later it
                is a new one.
        """
        self._smoothing = smoothing
        self._max_gap = max_gap
        self._tracker = FaceTracker(max_gap=max_gap)
        self._paths: dict[int, _Path] = {}
        self._buffer: deque[_BufferedFrame[T]] = deque()

    def __call__(self, frames: Iterable[DetectedFrame[T]]) -> Iterator[TrackedFrame[T]]:
        """Yield the frames in their order; once only."""
        for frame in frames:
            self._add(frame)
            yield from self._release(self._certain_until(frame.time))
        yield from self._release(np.inf)

    def _add(self, frame: DetectedFrame[T]) -> None:
        landmarks, embeddings = [face.landmarks for face in frame.faces], [face.embedding for face in frame.faces]
        numbers = self._tracker.update(frame.time, frame.thumbnail, landmarks, embeddings)
        buffered = _BufferedFrame(frame)
        self._buffer.append(buffered)
        for number, face in zip(numbers, frame.faces, strict=True):
            if number in self._paths:
                self._bridge(number, face, frame.time)
            else:
                self._paths[number] = _Path(self._tracker.tracks[number])
            self._paths[number].add(frame.time, face)
            buffered.faces[number] = face

    def _bridge(self, number: int, face: Face, time: float) -> None:
        """Fill the frames in which a track was missing; they are all still in the buffer."""
        path = self._paths[number]
        start, last = path.last_time, path.last_face
        for buffered in self._buffer:
            between = buffered.frame.time
            if start < between < time:
                filled = _interpolate_face(last, face, (between - start) / (time - start))
                buffered.faces[number] = filled
                buffered.bridged.add(number)
                path.add(between, filled)

    def _certain_until(self, now: float) -> float:
        """Return the time up to which nothing changes any more."""
        missing = [track.time for track in self._tracker.tracks.values() if now - track.time <= self._max_gap]
        return min([now, *missing]) - self._smoothing.window_seconds / 2

    def _release(self, until: float) -> Iterator[TrackedFrame[T]]:
        while self._buffer and self._buffer[0].frame.time <= until + 1e-9:
            buffered = self._buffer.popleft()
            yield TrackedFrame(buffered.frame.item, self._smooth(buffered), frozenset(buffered.bridged))

    def _smooth(self, buffered: "_BufferedFrame[T]") -> dict[int, Face]:
        time = buffered.frame.time
        faces = {}
        for number, face in sorted(buffered.faces.items()):
            path = self._paths[number]
            mean = path.track.mean_embedding()
            embedding = np.full_like(face.embedding, np.nan) if mean is None else mean
            faces[number] = replace(face, landmarks=path.smooth_at(time, self._smoothing), embedding=embedding)
        for number, path in list(self._paths.items()):
            if number not in self._tracker.tracks and path.last_time <= time:
                del self._paths[number]
        return faces


@dataclass
class _BufferedFrame(Generic[T]):
    frame: DetectedFrame[T]
    faces: dict[int, Face] = field(default_factory=dict)
    bridged: set[int] = field(default_factory=set)


class _Path:
    """Past landmarks of a track, bridged frames included, as far back as smoothing needs them."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.last_face: Face
        self.last_time: float
        self._times: deque[float] = deque()
        self._landmarks: deque[NDArray[np.float32]] = deque()
        self._distances: deque[tuple[float, NDArray[np.float32]]] = deque()

    def add(self, time: float, face: Face) -> None:
        self.last_face, self.last_time = face, time
        self._times.append(time)
        self._landmarks.append(face.landmarks)

    def smooth_at(self, time: float, smoothing: SmoothingConfig) -> NDArray[np.float32]:
        """Return the landmarks (478, 3) at a time, each later than the one before; see `smooth_landmarks`."""
        width = smoothing.window_seconds * (1 + EVEN)
        while self._times[0] < time - width and self._times[1] <= time:
            self._times.popleft()
            self._landmarks.popleft()
        # One row more than the window tells the fit that the track continues: else it would lag.
        known = np.array(self._times)
        count = int(np.searchsorted(known, max(time + width / 2, known[0] + width))) + 1
        times = known[:count]
        paths = np.stack([points for points, _ in zip(self._landmarks, times, strict=False)]).reshape(len(times), -1)
        row = int(np.searchsorted(times, time))
        found = self._landmarks[row]
        path = fit_polynomial_at(times, paths, row, smoothing)
        if path is None:
            return found
        fitted = path.reshape(found.shape)
        distance = measure_misfit(found, fitted)
        while self._distances and self._distances[0][0] < time - HISTORY_SECONDS:
            self._distances.popleft()
        self._distances.append((time, distance))
        return restore_fast_motion(found, fitted, distance, np.median([one for _, one in self._distances], axis=0))


def _interpolate_face(a: Face, b: Face, share: float) -> Face:
    """Return the face on the straight line from a (share 0) to b (share 1), without embedding."""

    def mix(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(x + (y - x) * np.float32(share), np.float32)

    return Face(
        box=mix(a.box, b.box),
        score=min(a.score, b.score),
        landmarks=mix(a.landmarks, b.landmarks),
        blendshapes=mix(a.blendshapes, b.blendshapes),
        pose=mix(a.pose, b.pose),
        embedding=np.full_like(a.embedding, np.nan),
    )
