"""Measure one swapped picture or video beside its target and its source."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import Matrix, estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.masks import feathered_outline_mask, outline_mask
from facesmith.faces.geometry.topology import LANDMARKS
from facesmith.faces.measures import jitter
from facesmith.media.images import read_image
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.comparison import AlignedFace
from facesmith.metrics.edges import find_changed, seam
from facesmith.metrics.figures import FACE_FIGURES, PAIR_FIGURES
from facesmith.metrics.gaze import gaze_error
from facesmith.metrics.limits import find_reason
from facesmith.metrics.person import COMPARED_AT, at_same_place
from facesmith.metrics.retrieval import retrieval_rank
from facesmith.metrics.statistics import reduce_values
from facesmith.metrics.steadiness import measure_steadiness
from facesmith.tasks.evaluate.pairs import Pair
from facesmith.tasks.evaluate.people import TEMPLATE, KnownPerson, People
from facesmith.tasks.evaluate.recognisers import CropRecogniser, compare
from facesmith.tasks.validate.frames import Backend, FramePair, read_frame_pairs

Pixels = NDArray[np.uint8]

_PLACES: Final = 4  # crops of a video that are kept for FID and the page
_RANKS: Final = (1, 5)
_SAME_SHAPE: Final = 0.01  # how far the sides' ratios of a picture and its target may differ


@dataclass(frozen=True)
class Place:
    """Where a face is, to cut it out again.

    Attributes:
        frame: Number of the frame; 0 for a picture.
        matrix: (2,3), from the target's frame onto `arcface_128` at COMPARED_AT px.
        found: Whether a face is there in the swap.
    """

    frame: int
    matrix: list[list[float]]
    found: bool


@dataclass(frozen=True)
class PairResult:
    """What was measured on a pair.

    Attributes:
        name: Of the swap.
        person: Name of the source.
        frames: How many frames were compared; those whose target has no face do not count.
        figures: By name; of a video, over its frames. What was not measured is missing.
        reason: Why the quality gate rejects the first rejected face, else "".
        notes: What a reader should know.
        places: Of the target's face, in some frames.
        failed: Why nothing could be measured, else "".
    """

    name: str
    person: str
    frames: int
    figures: Mapping[str, float]
    reason: str = ""
    notes: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    failed: str = ""


@dataclass
class _Frame:
    figures: dict[str, float]
    reason: str
    place: Place
    points: NDArray[np.float32] | None
    target_points: NDArray[np.float32]
    inside: NDArray[np.float32]


@dataclass
class _Series:
    """What a video's frames have given so far; no picture but the last pair."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    indices: list[int] = field(default_factory=list)
    points: list[NDArray[np.float32]] = field(default_factory=list)
    target_points: list[NDArray[np.float32]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    last: tuple[FramePair, _Frame] | None = None


class PairMeter:
    """Measures pairs. Not thread-safe.

    Args:
        analyzer: Finds faces.
        recognisers: Measure identity.
        people: Sources and gallery.
        backend: What decodes videos.
        max_frames: Of each video; None for all.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        recognisers: Sequence[CropRecogniser],
        people: People,
        *,
        backend: Backend,
        max_frames: int | None,
    ) -> None:
        self._analyzer, self._recognisers, self._people = analyzer, recognisers, people
        self._backend, self._max_frames = backend, max_frames

    def __call__(self, pair: Pair) -> PairResult:
        """Measure a pair; what cannot be read is a result too."""
        try:
            return self._measure(pair)
        except UserError as error:
            return PairResult(pair.name, pair.person, 0, {}, failed=str(error))

    def _measure(self, pair: Pair) -> PairResult:
        series = _Series()
        person = self._people.sources[pair.person]
        faceless = 0
        for frames in self._read(pair):
            assert frames.target is not None
            frame = self._measure_frame(frames.picture, frames.target, frames.index, person, series)
            if frame is None:
                faceless += 1
                series.last = None
                continue
            self._add(series, frames, frame)
        if not series.indices:
            raise UserError(f"{pair.target.path}: no face found in the target; give pictures that show one")
        if faceless:
            series.notes[f"{faceless} frames of the target show no face and do not count"] = None
        figures = {**_reduce(series.values), **_along_time(series)}
        rows = evenly_spaced(len(series.places), _PLACES, ends=True)
        return PairResult(
            pair.name,
            pair.person,
            len(series.indices),
            {name: value for name, value in figures.items() if math.isfinite(value)},
            next((reason for reason in series.reasons if reason), ""),
            tuple(series.notes),
            tuple(series.places[row] for row in rows),
        )

    def _add(self, series: _Series, pair: FramePair, frame: _Frame) -> None:
        assert pair.target is not None
        for name, value in frame.figures.items():
            series.values[name].append(value)
        missing = np.full((LANDMARKS, 2), np.nan, np.float32)
        series.indices.append(pair.index)
        series.points.append(missing if frame.points is None else frame.points[:, :2])
        series.target_points.append(frame.target_points[:, :2])
        series.places.append(frame.place)
        series.reasons.append(frame.reason)
        if series.last is not None and series.last[0].index == pair.index - 1 and frame.points is not None:
            before, was = series.last
            assert before.target is not None
            if was.points is not None:
                matrix = np.array(was.place.matrix)
                cut = [
                    warp_face(one, matrix, COMPARED_AT)
                    for one in (before.picture, pair.picture, before.target, pair.target)
                ]
                steady = measure_steadiness((cut[0], cut[1]), (cut[2], cut[3]), was.inside)
                for name, value in vars(steady).items():
                    series.values[name].append(value)
        series.last = (pair, frame)

    def _read(self, pair: Pair) -> Iterator[FramePair]:
        if pair.swap.kind != pair.target.kind:
            raise UserError(f"{pair.swap.path}: is {pair.swap.kind}, its target {pair.target.path} {pair.target.kind}")
        if pair.swap.kind == "video":
            yield from read_frame_pairs(pair.swap, pair.target.path, self._backend, self._max_frames)[1]
            return
        yield read_picture_pair(pair)

    def _measure_frame(
        self, picture: Pixels, target: Pixels, index: int, person: KnownPerson, series: _Series
    ) -> _Frame | None:
        """Measure the face that was swapped; None where the target has none."""
        faces, faces_before = self._analyzer(picture), self._analyzer(target)
        if not faces_before:
            return None
        was = _find_swapped(picture, target, faces_before)
        if len(faces) > 1 or len(faces_before) > 1:
            series.notes["several faces: the one that was changed most counts"] = None
        now = min(
            (face for face in faces if at_same_place(face, was)),
            key=lambda face: float(np.linalg.norm(face.keypoints - was.keypoints)),
            default=None,
        )
        matrix = estimate_alignment(was.keypoints, TEMPLATE, COMPARED_AT)
        before = _align(target, was, matrix)
        place = Place(index, matrix.tolist(), now is not None)
        inside = cv2.erode(outline_mask(before.landmarks, COMPARED_AT), np.ones((COMPARED_AT // 8,) * 2))
        figures = {"miss_rate": float(now is None), "accepted": 0.0}
        figures |= self._compare_identity(picture, now, target, was, person)
        if now is None:
            return _Frame(figures, "no face found", place, None, was.landmarks, np.asarray(inside, np.float32))
        after = _align(picture, now, matrix)
        compared = self._people.comparison(person.name)(
            after, before, feathered_outline_mask(before.landmarks, COMPARED_AT)
        )
        values = compared.values()
        figures |= {one.name: values[one.field] for one in FACE_FIGURES}
        figures["gaze_error"] = gaze_error(now.landmarks, was.landmarks, now.blendshapes, was.blendshapes)
        figures["seam"] = seam(before.picture, after.picture, find_changed(before.picture, after.picture))
        judged = {"distance": figures.get("distance_dlib", math.nan)}
        judged["identity_moved"] = figures.get("distance_target_dlib", math.nan) - judged["distance"]
        reason = find_reason({**values, **judged})
        figures["accepted"] = float(not reason)
        return _Frame(figures, reason, place, now.landmarks, was.landmarks, np.asarray(inside, np.float32))

    def _compare_identity(
        self, picture: Pixels, now: Face | None, target: Pixels, was: Face, person: KnownPerson
    ) -> dict[str, float]:
        """Compare a face with its source, with the target's own and with the gallery; a miss finds nobody."""
        figures: dict[str, float] = {}
        crops = [_crop(picture, now), _crop(target, was)] if now is not None else []
        for one in self._recognisers:
            names, gallery = self._people.embeddings(one.name)
            known = person.embeddings.get(one.name)
            of = "similarity" if one.measure == "cosine" else "distance"
            sought = known is not None and len(names) > 1
            if now is None:
                figures |= {f"top{k}_{one.name}": 0.0 for k in _RANKS if sought and len(names) > k}
                continue
            if one.name == self._analyzer.embedder:
                ours, theirs = now.embedding, was.embedding
            else:
                ours, theirs = one.embed(crops)
            figures[f"{of}_target_{one.name}"] = float(compare(one.measure, ours, theirs[None])[0])
            if known is None:
                continue
            figures[f"{of}_{one.name}"] = float(compare(one.measure, ours, known[None])[0])
            if sought:
                similar = compare(one.measure, ours, gallery)
                rank = retrieval_rank(similar if one.measure == "cosine" else -similar, names.index(person.name))
                figures |= {f"top{k}_{one.name}": float(rank <= k) for k in _RANKS if len(names) > k}
        return figures


def read_picture_pair(pair: Pair) -> FramePair:
    """Read a swapped picture and its target, brought to the swap's size where a tool has changed it.

    Raises:
        UserError: One of them cannot be read, or they do not have one shape.
    """
    picture, target = read_image(pair.swap.path), read_image(pair.target.path)
    height, width = picture.shape[:2]
    if target.shape != picture.shape:
        was = target.shape[1] / target.shape[0]
        if abs(width / height / was - 1) > _SAME_SHAPE:
            raise UserError(
                f"{pair.swap.path}: is {width}x{height} px, its target {pair.target.path} "
                f"{target.shape[1]}x{target.shape[0]}: not of one shape; give what it was swapped into"
            )
        target = np.asarray(cv2.resize(target, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return FramePair(0, 0.0, picture, target)


def _align(picture: Pixels, face: Face, matrix: Matrix) -> AlignedFace:
    points = transform_points(face.landmarks, matrix).astype(np.float32)
    return AlignedFace(warp_face(picture, matrix, COMPARED_AT), points, face.blendshapes)


def _crop(picture: Pixels, face: Face) -> Pixels:
    return warp_face(picture, estimate_alignment(face.keypoints, TEMPLATE, COMPARED_AT), COMPARED_AT)


def _find_swapped(picture: Pixels, target: Pixels, faces: Sequence[Face]) -> Face:
    """Return the face that was changed most; where none was, the largest."""
    if len(faces) == 1:
        return faces[0]

    def change(face: Face) -> float:
        matrix = estimate_alignment(face.keypoints, TEMPLATE, 64)
        now, was = (warp_face(one, matrix, 64).astype(np.int16) for one in (picture, target))
        return float(np.abs(now - was).mean())

    return max(faces, key=change)  # the largest comes first


def _reduce(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Reduce frames to one figure each: means, of signed ones of magnitudes, of sharpness medians."""
    rules = {figure.name: figure.reduction for figure in PAIR_FIGURES}
    return {name: reduce_values(np.array(series), rules.get(name, "mean")) for name, series in values.items()}


def _along_time(series: _Series) -> dict[str, float]:
    numbers = np.asarray(series.indices, np.float64)
    gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
    means = []
    for points in (series.points, series.target_points):
        parts = zip(np.split(numbers, gaps), np.split(np.stack(points), gaps), strict=True)
        found = np.concatenate([jitter(times, landmarks) for times, landmarks in parts])
        means.append(float(np.nanmean(found)) if np.isfinite(found).any() else math.nan)
    return {"jitter_ratio": means[0] / means[1] if means[1] > 0 else math.nan}
