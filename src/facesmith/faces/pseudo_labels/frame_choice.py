"""Choose a person's frames for a target's face, eyes and mouth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.mean_shape import estimate_mean_shape
from facesmith.faces.geometry.thin_plate import CONTROL_POINTS, fit_similarity

Floats = NDArray[np.float64]
_MIRROR_COST: Final = 0.3  # px at 128: a frame as it was filmed is preferred to its mirror image
_POSE_SHARE: Final = 0.4
_EYE_WEIGHT: Final = 10.0
_MOUTH_WEIGHT: Final = 15.0
_FEATURE_WEIGHT: Final = 6.0
_HIDDEN_COST: Final = 1000.0  # px at 128, for each region: a frame that shows more is always preferred
_EYES, _MOUTH = topology.REGIONS.index("eyes"), topology.REGIONS.index("mouth")
_PART_WEIGHT: Final = 0.5


@dataclass(frozen=True)
class FrameChoice:
    """Rows of the person's frames for the whole face, the eyes and the mouth.

    Attributes:
        base: Row of the frame for the whole face.
        eyes: Row of the frame for the eyes.
        mouth: Row of the frame for the mouth.
        residual: Px by which the base's landmarks miss the wanted ones, RMS.
    """

    base: int
    eyes: int
    mouth: int
    residual: float

    @property
    def frames(self) -> tuple[int, int, int]:
        """Rows of base, eyes and mouth."""
        return self.base, self.eyes, self.mouth


class FrameChooser:
    """Scores a person's faces against a wanted face.

    Args:
        faces: Of the person; the second half are mirror images of the first.

    Attributes:
        canonical: (478,3) px, the person's mean face, see `estimate_mean_shape`.
    """

    def __init__(self, faces: AlignedFaces) -> None:
        self._unit = faces.size / 128
        self._points = faces.landmarks[..., :2].astype(np.float64)
        self._shapes = faces.blendshapes.astype(np.float64)
        self._hidden = ~faces.visible
        half = len(faces) // 2
        self._mirror_cost = _MIRROR_COST * (np.arange(len(faces)) >= half)
        self.canonical: Floats = estimate_mean_shape(faces)
        self._fitted = fit_similarity(self._points, self.canonical[:, :2])

    def residuals(self, landmarks: NDArray[np.floating]) -> Floats:
        """Compute how far each frame's mesh is from wanted landmarks (478,2+) px: (n,) RMS px."""
        return np.sqrt((self._errors(landmarks)[:, : topology.MESH] ** 2).mean(1))

    def choose(self, landmarks: NDArray[np.floating], blendshapes: NDArray[np.floating]) -> FrameChoice:
        """Choose the frames that fit a wanted face best; what is hidden is chosen only if no frame shows it.

        Args:
            landmarks: (478,2+) px.
            blendshapes: (52,), its expression.
        """
        errors = self._errors(landmarks) / self._unit
        whole = np.sqrt((errors[:, : topology.MESH] ** 2).mean(1))
        base = int(np.argmin(whole + self._mirror_cost + _HIDDEN_COST * self._hidden.sum(1)))
        parts = []
        for points, shapes, weight, region in (
            (topology.EYES, topology.EYE_BLENDSHAPES, _EYE_WEIGHT, _EYES),
            (topology.MOUTH, topology.MOUTH_BLENDSHAPES, _MOUTH_WEIGHT, _MOUTH),
        ):
            expression = np.abs(self._shapes[:, shapes] - blendshapes[shapes]).mean(1)
            score = _POSE_SHARE * whole + errors[:, points].mean(1) + weight * expression + self._mirror_cost
            parts.append(int(np.argmin(score + _HIDDEN_COST * self._hidden[:, region])))
        return FrameChoice(base, parts[0], parts[1], float(whole[base] * self._unit))

    def features(self) -> Floats:
        """Compute features (n,f) of each frame's pose, eyes and mouth on one scale."""
        return np.concatenate([self._shape_features(), self._eye_features(), self._mouth_features()], axis=1)

    def part_features(self) -> tuple[Floats, Floats, Floats]:
        """Compute features (n,f) that tell each frame's eyes with brows, mouth, and pose apart."""
        brows = self._shapes[:, topology.BROW_BLENDSHAPES] * _FEATURE_WEIGHT
        eyes = [self._eye_features(), brows, self._part_shape(topology.EYES + topology.IRISES)]
        mouth = [self._mouth_features(), self._part_shape(topology.MOUTH)]
        return np.concatenate(eyes, 1), np.concatenate(mouth, 1), np.concatenate([self._shape_features(), brows], 1)

    def _part_shape(self, part: Sequence[int]) -> Floats:
        points = self._fitted[:, list(part)]
        points = (points - points.mean(1, keepdims=True)) / self._unit
        return points.reshape(len(points), -1) * (_PART_WEIGHT / np.sqrt(len(part)))

    def least_hidden(self) -> NDArray[np.intp]:
        """Return the rows of the frames that show most regions: all of them, or as many as the best frame."""
        hidden = self._hidden.sum(1)
        return np.flatnonzero(hidden == hidden.min())

    def _errors(self, landmarks: NDArray[np.floating]) -> Floats:
        flat = np.asarray(landmarks, np.float64)[:, :2]
        return np.linalg.norm(fit_similarity(self._points, flat) - flat, axis=-1)

    def _shape_features(self) -> Floats:
        points = self._fitted[:, CONTROL_POINTS].reshape(len(self._fitted), -1) / self._unit
        return points / np.sqrt(len(CONTROL_POINTS))

    def _eye_features(self) -> Floats:
        return self._shapes[:, topology.EYE_BLENDSHAPES] * _FEATURE_WEIGHT

    def _mouth_features(self) -> Floats:
        return self._shapes[:, topology.MOUTH_BLENDSHAPES] * _FEATURE_WEIGHT


def sample_varied(features: Floats, count: int) -> NDArray[np.intp]:
    """Choose rows of all kinds: half the most dissimilar, half typical ones, as many of a kind as there are often.

    Args:
        features: (n,f).
        count: Of rows to choose; they repeat when n is smaller.

    Returns:
        (count,) rows.
    """
    if len(features) <= count:
        return sample_farthest(features, count)
    rare = sample_farthest(features, max(1, count // 2))
    means, _ = kmeans2(features, count - len(rare), minit="++", rng=np.random.default_rng(0))
    typical = cdist(means, features).argmin(1)
    chosen = list(dict.fromkeys([*rare.tolist(), *typical.tolist()]))
    return sample_farthest(features, count, chosen)


def sample_farthest(
    features: Floats, count: int, first: Sequence[int] = (), among: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """Choose dissimilar rows by farthest point sampling.

    Args:
        features: (n,f).
        count: Of rows to choose; they repeat when there are fewer.
        first: Rows to begin with; without any, the row nearest to the mean.
        among: Rows that may be chosen; None: all.

    Returns:
        (count,) rows.
    """
    allowed = np.arange(len(features)) if among is None else among
    some = features[allowed]
    chosen = list(first[:count]) or [int(allowed[((some - some.mean(0)) ** 2).sum(1).argmin()])]
    distance = np.min([((some - features[row]) ** 2).sum(1) for row in chosen], axis=0)
    while len(chosen) < min(count, len(allowed)):
        row = int(allowed[distance.argmax()])
        chosen.append(row)
        distance = np.minimum(distance, ((some - features[row]) ** 2).sum(1))
    return np.resize(np.array(chosen), count)
