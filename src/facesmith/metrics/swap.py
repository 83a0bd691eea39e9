"""An outside judge of identity: dlib's recogniser, which nothing here is ever trained against."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from facesmith.assets import fetch
from facesmith.faces.face import Analyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.measures import laplacian_variance
from facesmith.media.sampling import evenly_spaced

SAME_PERSON: Final = 0.6  # dlib's own threshold
_SIDE, _BORDER = 384, 40
# where the face lies in an arcface_128 crop when dlib's detector does not see it: left, top, right, bottom
_FACE: Final = (124 / 464, 136 / 464, 340 / 464, 352 / 464)


class Judge:
    """dlib's ResNet-29 with its 5-point aligner, on `arcface_128` crops.

    Source: Davis King, dlib_face_recognition_resnet_model_v1 (CC0): below 0.6 means the same person.
    Raises what `assets.fetch` raises when the weights cannot be had. Not thread-safe.
    """

    def __init__(self) -> None:
        self._points = dlib.shape_predictor(str(fetch("shape_predictor_5_face_landmarks.dat")))
        self._network = dlib.face_recognition_model_v1(str(fetch("dlib_face_recognition_resnet_model_v1.dat")))
        self._detector = dlib.get_frontal_face_detector()

    def describe(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return (N,128) descriptors of crops (S,S,3) RGB uint8."""
        return np.stack([self._describe(crop) for crop in crops]) if len(crops) else np.empty((0, 128))

    def _describe(self, crop: NDArray[np.uint8]) -> NDArray[np.float64]:
        large = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        framed = cv2.copyMakeBorder(large, *(_BORDER,) * 4, cv2.BORDER_REPLICATE)
        found = list(self._detector(framed, 0))
        left, top, right, bottom = (round(side * framed.shape[0]) for side in _FACE)
        box = max(found, key=lambda b: b.area()) if found else dlib.rectangle(left, top, right, bottom)
        return np.array(self._network.compute_face_descriptor(framed, self._points(framed, box)))


def distances(descriptors: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the distance of each descriptor (N,128) to the mean of a person's (M,128)."""
    return np.linalg.norm(descriptors - reference.mean(0), axis=1)


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
class Verdict:
    """Figures of one picture.

    similarity, distance: SFace cosine and dlib distance to the person; left_similarity, left_distance: to
    the face that was there before. nme: mean point distance by the target's eye distance; nan when no face
    is found. eyes, mouth: mean difference of the blink and jaw scores, 0..1. sharpness, sharpness_own:
    Laplacian variance against the pseudo truth's and the person's own. iou: of mask and hull. seam: edges
    added along the mask's rim, in levels of 255 a px of 128. reason: why rejected, else "".
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
        """Tell whether nothing speaks against it."""
        return not self.reason


@dataclass(frozen=True)
class Quality:
    """Verdicts, one a picture."""

    verdicts: list[Verdict]

    def figures(self, prefix: str) -> dict[str, float]:
        """Return means (sharpness: medians) over the pictures under the project's metric names, `prefix`/..."""
        rows = self.verdicts

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


class QualityGate:
    """Holds pictures against a person and against the faces that were there before.

    analyzer finds landmarks and embeds; judge is never trained against. person: frames of the person on
    arcface_128, a few are enough. embedding: (E,) the person's profile, L2-normalised; None: the mean of
    `person`. Targets are described once and remembered. Not thread-safe.
    """

    def __init__(self, analyzer: Analyzer, judge: Judge, person: AlignedFaces, embedding: Floats | None = None) -> None:
        self._analyzer, self._judge = analyzer, judge
        few = evenly_spaced(len(person), _REFERENCE_FRAMES, ends=True)
        frames = person[few]
        self._descriptors = judge.describe(list(frames.images))
        mean = self._embed(frames.images).mean(0) if embedding is None else np.asarray(embedding)
        self._embedding = mean / np.linalg.norm(mean)
        own = [
            _sharpness(image, outline_mask(points, frames.size))
            for image, points in zip(frames.images, frames.landmarks, strict=True)
        ]
        self._own_sharpness = float(np.median(own))
        self._known: dict[str, _Target] = {}

    def before(self, target: Pixels, truth: Pixels, hull: Pixels, names: Sequence[str] | None = None) -> Quality:
        """Judge targets as they are: what everything else is compared with."""
        return self(target, truth, target, target, np.zeros_like(hull), hull, names)

    def __call__(
        self,
        target: Pixels,
        truth: Pixels,
        raw: Pixels,
        shown: Pixels,
        mask: Pixels,
        hull: Pixels,
        names: Sequence[str] | None = None,
    ) -> Quality:
        """Judge N pictures on arcface_128.

        target, truth (pseudo truth), raw (the generator's face), shown (its composite): (N,S,S,3) uint8 RGB.
        mask, hull: (N,S,S) uint8, the generator's mask and the face's outline. names: what to call the rows.
        """
        found = self._analyzer.find_landmarks(list(shown))
        embeddings, descriptors = self._embed(shown), self._judge.describe(list(shown))
        to_person = distances(descriptors, self._descriptors)
        verdicts = []
        for i, seen in enumerate(found):
            was = self._target(target[i])
            nme, eyes, mouth, shut = _geometry(was, seen)
            inside = hull[i].astype(np.float32) / 255
            sharp = _sharpness(raw[i], inside)
            reason = _reason(float(to_person[i]), nme, shut)
            verdicts.append(
                Verdict(
                    name=names[i] if names else str(i),
                    similarity=float(embeddings[i] @ self._embedding),
                    distance=float(to_person[i]),
                    left_similarity=float(embeddings[i] @ was.embedding),
                    left_distance=float(np.linalg.norm(descriptors[i] - was.descriptor)),
                    nme=nme,
                    eyes=eyes,
                    mouth=mouth,
                    sharpness=sharp / max(_sharpness(truth[i], inside), 1e-6),
                    sharpness_own=sharp / max(self._own_sharpness, 1e-6),
                    iou=_iou(mask[i] > 127, hull[i] > 127),
                    seam=seam(target[i], shown[i], mask[i]),
                    reason=reason,
                )
            )
        return Quality(verdicts)

    def _target(self, picture: Pixels) -> _Target:
        key = hashlib.sha256(picture.tobytes()).hexdigest()
        if key not in self._known:
            seen = self._analyzer.find_landmarks([picture])[0]
            self._known[key] = _Target(
                points=None if seen is None else seen[0],
                shapes=np.zeros(52, np.float32) if seen is None else seen[1],
                embedding=self._embed(picture[None])[0],
                descriptor=self._judge.describe([picture])[0],
            )
        return self._known[key]

    def _embed(self, crops: Pixels) -> Floats:
        if crops.shape[1] != 128:
            crops = np.stack([cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA) for crop in crops])
        # an arcface_128 crop holds the recogniser's crop as it is
        return self._analyzer.embed_aligned(np.ascontiguousarray(crops[:, 0:112, 8:120]))


def held_out_ssim(frames: Pixels, shown: Pixels, hull: Pixels) -> float:
    """Return the structural similarity inside the hull of a person's unseen frames and what became of them.

    frames, shown: (N,S,S,3) uint8 RGB; hull (N,S,S) uint8. 1 is alike; nan for no frames.
    """
    values = []
    for frame, picture, inside in zip(frames, shown, hull, strict=True):
        _, whole = structural_similarity(  # type: ignore[no-untyped-call]
            frame, picture, channel_axis=2, full=True
        )
        values.append(float(whole[inside > 127].mean()))
    return float(np.mean(values)) if values else float("nan")


def seam(target: Pixels, shown: Pixels, mask: Pixels) -> float:
    """Return how steep the edges are that a composite adds along its rim: levels of 255 a px, at 128 px.

    target, shown: (S,S,3) uint8 RGB; mask (S,S) uint8, what the composite was made with. Root of the mean square of the
    lightness's slope beyond the steepest the target had nearby, along the mask's rim and the feathered way inwards. 0
    where the mask is empty.
    """
    size = len(mask)
    inside = (mask > 127).astype(np.uint8)
    inner, outer = (np.ones((2 * max(1, round(px * size)) + 1,) * 2, np.uint8) for px in (_FADE, _BEYOND))
    ring = (cv2.dilate(inside, outer) - cv2.erode(inside, inner, borderValue=0)) > 0
    if not ring.any():
        return 0.0
    added = np.clip(_slope(shown) - cv2.dilate(_slope(target), outer), 0, None)
    return float(np.sqrt(np.square(added[ring]).mean()) * size / 128)


def _slope(picture: Pixels) -> NDArray[np.float32]:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
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
    apart = np.linalg.norm(points[:, :2] - was.points[:, :2], axis=1).mean()
    blink, blink_was = shapes[topology.EYE_BLINK], was.shapes[topology.EYE_BLINK]
    shut = bool(((blink_was < _OPEN) & (blink > _SHUT)).any())
    jaw = abs(float(shapes[topology.JAW_OPEN] - was.shapes[topology.JAW_OPEN]))
    return (
        float(apart / np.linalg.norm(eyes[0] - eyes[1])),
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
    """Variance of the Laplacian of the lightness well inside a face; 0 when nothing is inside."""
    side = 2 * round(_RIM * picture.shape[0] / 2) + 1
    kept = cv2.erode(np.asarray(inside, np.float32), np.ones((side, side))) > 0.5
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return laplacian_variance(grey, kept)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))
