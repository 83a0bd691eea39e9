"""The quality gate: how well a swapped face is the person, stays true to its target, and fits its surroundings."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.faces.face import Analyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.measures import laplacian_variance
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.recogniser import SAME_PERSON, HeldOutRecogniser, distances
from facesmith.metrics.ssim import ssim_map

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

FARTHEST_NME: Final = 0.1
MOST_MISSES: Final = 0.1
_OPEN, _SHUT = 0.35, 0.5  # blink scores below and above which an eye is surely open, surely shut
_RIM: Final = 13 / 128  # the mask is eroded by this window before sharpness is measured
_REFERENCE_FRAMES: Final = 16
_FADE: Final = 9 / 128  # a composite fades out within this of the mask's rim, inwards
_BEYOND: Final = 2 / 128


@dataclass(frozen=True)
class SwapPictures:
    """N pictures before and after a swap, on `arcface_128`.

    Attributes:
        target: (N,S,S,3) uint8 RGB, what was put in.
        truth: (N,S,S,3), its pseudo truth.
        raw: (N,S,S,3), the generator's face.
        composite: (N,S,S,3), what a client shows.
        mask: (N,S,S) uint8, the generator's mask.
        hull: (N,S,S) uint8, the face's outline.
    """

    target: Pixels
    truth: Pixels
    raw: Pixels
    composite: Pixels
    mask: Pixels
    hull: Pixels

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: NDArray[np.bool_]) -> "SwapPictures":
        return SwapPictures(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join pictures, in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class PictureMetrics:
    """Figures of one picture.

    Attributes:
        name: Of its target.
        similarity: Cosine of the analyzer's embedding to the person's.
        distance: Of the held-out recogniser to the person.
        left_similarity: Cosine to the face that was there before.
        left_distance: Distance to the face that was there before.
        nme: Mean point distance by the target's eye distance; nan when no face is found.
        eyes: Mean difference of the blink scores, 0..1.
        mouth: Difference of the jaw scores, 0..1.
        sharpness: Laplacian variance, by the pseudo truth's.
        sharpness_own: Laplacian variance, by the person's own.
        iou: Of mask and hull, 0..1.
        seam: Edges added along the mask's rim, see `seam`.
        reason: Why it is rejected, else "".
    """

    name: str
    similarity: float
    distance: float
    left_similarity: float
    left_distance: float
    nme: float
    eyes: float
    mouth: float
    sharpness: float
    sharpness_own: float
    iou: float
    seam: float
    reason: str

    @property
    def accepted(self) -> bool:
        """Whether every metric passes."""
        return not self.reason


@dataclass(frozen=True)
class SwapMetrics:
    """Figures of several pictures, one a picture, and their means."""

    pictures: list[PictureMetrics]

    def figures(self, prefix: str) -> dict[str, float]:
        """Return means (sharpness: medians) over the pictures, by metric name: `prefix`/..."""
        rows = self.pictures

        def mean(name: str) -> float:
            values = np.array([getattr(row, name) for row in rows], np.float64)
            return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

        missed = float(np.mean([np.isnan(row.nme) for row in rows]))
        figures = {
            "identity_similarity": mean("similarity"),
            "identity_left": mean("left_similarity"),
            "judge_distance": mean("distance"),
            "judge_left": mean("left_distance"),
            "judge_accepted": float(np.mean([row.distance < SAME_PERSON for row in rows])),
            "accepted": float(np.mean([row.accepted for row in rows])) if missed <= MOST_MISSES else 0.0,
            "miss_rate": missed,
            "nme": mean("nme"),
            "eye_openness": mean("eyes"),
            "mouth_openness": mean("mouth"),
            "sharpness": float(np.median([row.sharpness for row in rows])),
            "sharpness_own": float(np.median([row.sharpness_own for row in rows])),
            "mask_iou": mean("iou"),
            "seam": mean("seam"),
        }
        return {f"{prefix}/{name}": value for name, value in figures.items()}


@dataclass(frozen=True)
class _Target:
    points: NDArray[np.float32] | None
    shapes: NDArray[np.float32]
    embedding: Floats
    descriptor: Floats


class SwapEvaluator:
    """Measures swapped faces against a person and against the faces that were there before. Not thread-safe.

    Targets are measured once and remembered.

    Args:
        analyzer: Finds landmarks and embeds.
        recogniser: Never trained against.
        person: Frames of the person on `arcface_128`; a few are enough.
        embedding: (E,) of the person's profile, L2-normalised; None: the mean of `person`.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        recogniser: HeldOutRecogniser,
        person: AlignedFaces,
        embedding: Floats | None = None,
    ) -> None:
        self._analyzer, self._recogniser = analyzer, recogniser
        frames = person[evenly_spaced(len(person), _REFERENCE_FRAMES, ends=True)]
        self._descriptors = recogniser.embed(frames.images)
        mean = self._embed(frames.images).mean(0) if embedding is None else np.asarray(embedding)
        self._embedding = mean / np.linalg.norm(mean)
        own = [
            _sharpness(image, outline_mask(points, frames.size))
            for image, points in zip(frames.images, frames.landmarks, strict=True)
        ]
        self._own_sharpness = float(np.median(own))
        self._known: dict[str, _Target] = {}

    def before(self, pictures: SwapPictures, names: Sequence[str] | None = None) -> SwapMetrics:
        """Measure unswapped targets, as the baseline.

        Args:
            pictures: The targets.
            names: Names of the pictures in the report.
        """
        target, hull = pictures.target, pictures.hull
        return self(SwapPictures(target, pictures.truth, target, target, np.zeros_like(hull), hull), names)

    def __call__(self, pictures: SwapPictures, names: Sequence[str] | None = None) -> SwapMetrics:
        """Measure pictures; `names` are their names in the report."""
        found = self._analyzer.find_landmarks(list(pictures.composite))
        embeddings, descriptors = self._embed(pictures.composite), self._recogniser.embed(pictures.composite)
        to_person = distances(descriptors, self._descriptors)
        rows = []
        for i, seen in enumerate(found):
            was = self._target(pictures.target[i])
            nme, eyes, mouth, shut = _geometry(was, seen)
            inside = pictures.hull[i].astype(np.float32) / 255
            sharp = _sharpness(pictures.raw[i], inside)
            rows.append(
                PictureMetrics(
                    name=names[i] if names else str(i),
                    similarity=float(embeddings[i] @ self._embedding),
                    distance=float(to_person[i]),
                    left_similarity=float(embeddings[i] @ was.embedding),
                    left_distance=float(np.linalg.norm(descriptors[i] - was.descriptor)),
                    nme=nme,
                    eyes=eyes,
                    mouth=mouth,
                    sharpness=sharp / max(_sharpness(pictures.truth[i], inside), 1e-6),
                    sharpness_own=sharp / max(self._own_sharpness, 1e-6),
                    iou=_iou(pictures.mask[i] > 127, pictures.hull[i] > 127),
                    seam=seam(pictures.target[i], pictures.composite[i], pictures.mask[i]),
                    reason=_reason(float(to_person[i]), nme, shut),
                )
            )
        return SwapMetrics(rows)

    def _target(self, picture: Pixels) -> _Target:
        key = hashlib.sha256(picture.tobytes()).hexdigest()
        if key not in self._known:
            seen = self._analyzer.find_landmarks([picture])[0]
            self._known[key] = _Target(
                points=None if seen is None else seen[0],
                shapes=np.zeros(52, np.float32) if seen is None else seen[1],
                embedding=self._embed(picture[None])[0],
                descriptor=self._recogniser.embed([picture])[0],
            )
        return self._known[key]

    def _embed(self, crops: Pixels) -> Floats:
        if crops.shape[1] != 128:
            crops = np.stack([cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA) for crop in crops])
        # an arcface_128 crop holds the recogniser's crop as it is
        return self._analyzer.embed_aligned(np.ascontiguousarray(crops[:, 0:112, 8:120]))


def held_out_ssim(frames: Pixels, rebuilt: Pixels, hull: Pixels) -> float:
    """Compute the structural similarity of a person's unseen frames and what became of them, inside the hull.

    Args:
        frames: (N,S,S,3) uint8 RGB.
        rebuilt: (N,S,S,3) uint8 RGB.
        hull: (N,S,S) uint8.

    Returns:
        1 is alike; nan for no frames.
    """
    if not len(frames):
        return float("nan")
    ours, theirs = (
        torch.from_numpy(stack.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1 for stack in (frames, rebuilt)
    )
    whole = ssim_map(ours, theirs, borders=True).mean(1).numpy()
    return float(np.mean([one[inside > 127].mean() for one, inside in zip(whole, hull, strict=True)]))


def seam(target: Pixels, composite: Pixels, mask: Pixels) -> float:
    """Compute how steep the edges are that a composite adds along its rim.

    Args:
        target: (S,S,3) uint8 RGB.
        composite: (S,S,3) uint8 RGB.
        mask: (S,S) uint8, what the composite was made with.

    Returns:
        Levels of 255 a px, at 128 px: root of the mean square of the lightness's slope beyond the steepest the target
        had nearby, along the mask's rim and the feathered way inwards. 0 where the mask is empty.
    """
    size = len(mask)
    inside = (mask > 127).astype(np.uint8)
    inner, outer = (np.ones((2 * max(1, round(px * size)) + 1,) * 2, np.uint8) for px in (_FADE, _BEYOND))
    ring = (cv2.dilate(inside, outer) - cv2.erode(inside, inner, borderValue=0)) > 0
    if not ring.any():
        return 0.0
    added = np.clip(_slope(composite) - cv2.dilate(_slope(target), outer), 0, None)
    return float(np.sqrt(np.square(added[ring]).mean()) * size / 128)


def _slope(picture: Pixels) -> NDArray[np.float32]:
    # floats: a blur of bytes is rounded to whole levels, and so are the edges
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down, across = np.gradient(cv2.GaussianBlur(grey, (0, 0), len(picture) / 128))
    return np.hypot(down, across).astype(np.float32)


def _geometry(
    was: _Target, seen: tuple[NDArray[np.float32], NDArray[np.float32]] | None
) -> tuple[float, float, float, bool]:
    """Return NME, eye and mouth openness differences, and whether an eye that was open is shut."""
    if was.points is None or seen is None:
        return float("nan"), float("nan"), float("nan"), False
    points, shapes = seen
    eyes = was.points[[topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER], :2]
    displacement = np.linalg.norm(points[:, :2] - was.points[:, :2], axis=1).mean()
    blink, blink_was = shapes[topology.EYE_BLINK], was.shapes[topology.EYE_BLINK]
    shut = bool(((blink_was < _OPEN) & (blink > _SHUT)).any())
    jaw = abs(float(shapes[topology.JAW_OPEN] - was.shapes[topology.JAW_OPEN]))
    return (
        float(displacement / np.linalg.norm(eyes[0] - eyes[1])),
        float(np.abs(blink - blink_was).mean()),
        jaw,
        shut,
    )


def _reason(distance: float, nme: float, shut: bool) -> str:
    if np.isnan(nme):
        return "no face found"
    reasons = []
    if distance >= SAME_PERSON:
        reasons.append(f"not the person (dlib {distance:.2f})")
    if nme > FARTHEST_NME:
        reasons.append(f"features misplaced (NME {nme:.2f})")
    if shut:
        reasons.append("eyes shut that were open")
    return ", ".join(reasons)


def _sharpness(picture: Pixels, inside: Floats) -> float:
    """Compute the variance of the Laplacian of the lightness well inside a face; 0 when nothing is inside."""
    side = 2 * round(_RIM * picture.shape[0] / 2) + 1
    kept = cv2.erode(np.asarray(inside, np.float32), np.ones((side, side))) > 0.5
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return laplacian_variance(grey, kept)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))
