"""The quality gate: how well a swapped face is the person, stays true to its target, and fits its surroundings."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.faces.face import Analyzer
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.comparison import NOT_COMPARED, AlignedFace, FaceComparison
from facesmith.metrics.edges import seam, sharpness
from facesmith.metrics.limits import find_reason
from facesmith.metrics.recogniser import HeldOutRecogniser, distances
from facesmith.metrics.ssim import ssim_map
from facesmith.metrics.swap_metrics import PictureMetrics, SwapMetrics

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

_REFERENCE_FRAMES: Final = 16


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

    def __getitem__(self, rows: NDArray[np.bool_] | slice) -> "SwapPictures":
        return SwapPictures(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join pictures, in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class _Target:
    face: AlignedFace | None
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
        self._compare = FaceComparison(frames)
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
            mask, hull = (plane[i].astype(np.float32) / 255 for plane in (pictures.mask, pictures.hull))
            compared = NOT_COMPARED
            if seen is not None and was.face is not None:
                swapped = AlignedFace(pictures.composite[i], *seen)
                compared = self._compare(swapped, was.face, mask, pictures.raw[i])
            truth = sharpness(pictures.truth[i], hull)
            row = PictureMetrics(
                **vars(compared),
                name=names[i] if names else str(i),
                similarity=float(embeddings[i] @ self._embedding),
                distance=float(to_person[i]),
                left_similarity=float(embeddings[i] @ was.embedding),
                left_distance=float(np.linalg.norm(descriptors[i] - was.descriptor)),
                sharpness=sharpness(pictures.raw[i], hull) / max(truth, 1e-6),
                iou=_iou(mask > 0.5, hull > 0.5),
                seam=seam(pictures.target[i], pictures.composite[i], pictures.mask[i]),
                reason="",
            )
            rows.append(replace(row, reason=find_reason(row.values())))
        return SwapMetrics(rows)

    def _target(self, picture: Pixels) -> _Target:
        key = hashlib.sha256(picture.tobytes()).hexdigest()
        if key not in self._known:
            seen = self._analyzer.find_landmarks([picture])[0]
            face = None
            if seen is not None:
                face = AlignedFace(picture, *seen, self._compare.locate(seen[0], len(picture)))
            self._known[key] = _Target(face, self._embed(picture[None])[0], self._recogniser.embed([picture])[0])
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


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))
