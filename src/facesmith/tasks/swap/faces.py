"""Which of the faces in a picture or video are swapped."""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.faces.tracking.propagation import detect_faces, propagate_faces
from facesmith.faces.tracking.stream import DetectedFrame
from facesmith.faces.tracking.tracker import make_thumbnail
from facesmith.media.images import read_image

Select = Literal["largest", "all", "reference"] | int

# The largest face stays the largest until another is clearly so: two of one size would take turns.
_CLEARLY = 1.25


class FaceChoice:
    """Choose faces frame by frame.

    select: the largest, all, the one that is most like the reference, or the n-th from the left, from 0 on.
    reference: (E,) embedding, L2-normalised, exactly for "reference". threshold: cosine from which on a face
    is the reference's. One object a video: the largest face stays chosen until another is a quarter larger.
    """

    def __init__(
        self, select: Select, *, reference: npt.NDArray[np.float32] | None = None, threshold: float = 0.0
    ) -> None:
        if (select == "reference") != (reference is not None):
            raise ValueError(f"a reference goes with select=reference, not {select}")
        self._select = select
        self._reference = reference
        self._threshold = threshold
        self._largest: int | None = None

    def __call__(self, faces: Mapping[int, Face]) -> list[Face]:
        """The chosen of a frame's faces (number of the track -> face), the largest first."""
        ranked = sorted(faces, key=lambda number: -_area(faces[number]))
        if not ranked:
            return []
        if self._select == "all":
            return [faces[number] for number in ranked]
        if self._select == "largest":
            held = None if self._largest is None else faces.get(self._largest)
            if held is None or _area(faces[ranked[0]]) > _CLEARLY * _area(held):
                self._largest, held = ranked[0], faces[ranked[0]]
            return [held]
        if self._reference is not None:
            alike = {number: float(face.embedding @ self._reference) for number, face in faces.items()}
            known = [number for number in ranked if not np.isnan(alike[number])]
            best = max(known, key=lambda number: alike[number], default=None)
            return [faces[best]] if best is not None and alike[best] >= self._threshold else []
        assert isinstance(self._select, int)
        from_left = sorted(faces.values(), key=lambda face: float(face.box[0] + face.box[2]))
        return from_left[self._select : self._select + 1]


def reference_embedding(reference: Path, analyzer: Analyzer) -> npt.NDArray[np.float32]:
    """The embedding (E,) of a profile (.json) or of the one face in a photo.

    Raises:
        UserError: the profile is of another embedder, or the photo shows no face or several; says which.
    """
    if reference.suffix.lower() == ".json":
        profile = IdentityProfile.load(reference)
        profile.require(analyzer.embedder, analyzer.embedding_size)
        return profile.mean
    faces = analyzer(read_image(reference))
    if len(faces) != 1:
        found = f"{len(faces)} faces" if faces else "no face"
        raise UserError(f"task.reference={reference}: shows {found}; give a photo of the one person, or a profile")
    return faces[0].embedding


def threshold_of(thresholds: float | Mapping[str, float], embedder: str) -> float:
    """The cosine that stands for an embedder.

    Raises:
        UserError: there is none for it.
    """
    if isinstance(thresholds, float | int):
        return float(thresholds)
    if embedder not in thresholds:
        raise UserError(f"task.select_threshold: has no value for embedder {embedder}; give one, such as 0.35")
    return float(thresholds[embedder])


def _area(face: Face) -> float:
    left, top, right, bottom = (float(edge) for edge in face.box)
    return max(right - left, 0.0) * max(bottom - top, 0.0)


Pixels = npt.NDArray[np.uint8]
Frame = tuple[int, Pixels]
"""Its number in the video, and (H, W, 3) RGB uint8."""


class Analyzers:
    """One analyzer for every thread that comes at the same time. make: makes one; `close` gives all back."""

    def __init__(self, make: Callable[[], Analyzer]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[Analyzer] = queue.SimpleQueue()

    @contextmanager
    def lend(self) -> Iterator[Analyzer]:
        """Lend an analyzer to this thread alone."""
        try:
            analyzer = self._idle.get_nowait()
        except queue.Empty:
            analyzer = self._make()
        try:
            yield analyzer
        finally:
            self._idle.put(analyzer)

    def close(self) -> None:
        """Return the analyzers back."""
        while not self._idle.empty():
            self._idle.get().close()


def analysed(
    frames: Iterable[Frame],
    times: npt.NDArray[np.float64],
    analyzers: Analyzers,
    *,
    every: int,
    embed: bool,
    workers: int,
) -> Iterator[DetectedFrame[Frame]]:
    """Return the frames of a video with their faces, in order, analysed side by side.

    times: (N,) seconds of all its frames. every: each so many frames faces are looked for, in between they are
    followed. Runs begin at multiples of it, and nothing depends on the number of workers: one who begins in
    the middle of a video finds the same. embed: whether recognition is needed; then each face found has an
    embedding, those followed have none.
    """
    waiting: deque[tuple[list[Frame], Future[list[list[Face]]]]] = deque()

    def found(run: list[Frame]) -> list[Face]:
        with analyzers.lend() as analyzer:
            return detect_faces(analyzer, run[0][1], embed=embed)

    def followed(
        run: list[Frame], first: Future[list[Face]], after: tuple[Pixels, Future[list[Face]]] | None
    ) -> list[list[Face]]:
        # Both were handed in before this: in a pool that takes work in order they run or are done.
        faces, coming = first.result(), None if after is None else (after[0], after[1].result())
        with analyzers.lend() as analyzer:
            return propagate_faces(analyzer, [frame for _, frame in run], faces, coming, embed=embed)

    def oldest() -> Iterator[DetectedFrame[Frame]]:
        run, faces = waiting.popleft()
        for (number, frame), seen in zip(run, faces.result(), strict=True):
            yield DetectedFrame((number, frame), float(times[number]), make_thumbnail(frame), seen)

    pool = ThreadPoolExecutor(workers)
    try:
        before: tuple[list[Frame], Future[list[Face]]] | None = None
        for run in _runs(frames, every):
            first = pool.submit(found, run)
            if before is not None:
                waiting.append((before[0], pool.submit(followed, *before, (run[0][1], first))))
            before = run, first
            while len(waiting) > workers:
                yield from oldest()
        if before is not None:
            waiting.append((before[0], pool.submit(followed, *before, None)))
        while waiting:
            yield from oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _runs(frames: Iterable[Frame], every: int) -> Iterator[list[Frame]]:
    run: list[Frame] = []
    for number, frame in frames:
        if run and number // every != run[0][0] // every:
            yield run
            run = []
        run.append((number, frame))
    if run:
        yield run
