"""From detections to faces: landmarks of each, one face a person, embeddings in one go."""

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np

from facesmith.faces.analyzers.detection import Detection
from facesmith.faces.analyzers.landmarker import Landmarker, Mesh
from facesmith.faces.face import Face, Floats, Pixels, five_of
from facesmith.faces.geometry import align

SAME: Final = 0.4
"""Two faces cannot share this much of the boxes around their landmarks: they are one, detected twice."""


def faces_of(
    frame: Pixels,
    detections: Sequence[Detection],
    landmarker: Landmarker,
    embed: Callable[[Pixels], Floats] | None,
    embedding_size: int,
) -> list[Face]:
    """The faces of a frame (H, W, 3) RGB uint8 behind its detections, the largest first.

    A detection without landmarks is left out, and so is the lower-scored of two that share their landmarks.
    embed: (N, 112, 112, 3) RGB uint8 on arcface_112_v2 to (N, E); without it embeddings are NaN.
    """
    found: list[tuple[Detection, Mesh]] = []
    for detection in sorted(detections, key=lambda each: -each.score):
        mesh = landmarker.of_detection(frame, detection)
        if mesh is not None and all(shared(mesh.landmarks, other.landmarks) < SAME for _, other in found):
            found.append((detection, mesh))
    if not found:
        return []
    found.sort(key=lambda each: -_area(each[0].box))
    if embed is None:
        embeddings = np.full((len(found), embedding_size), np.nan, np.float32)
    else:
        fives = [five_of(mesh.landmarks) for _, mesh in found]
        crops = [align.warp(frame, align.estimate(five, "arcface_112_v2", 112), 112) for five in fives]
        embeddings = embed(np.stack(crops))
    return [
        Face(
            box=detection.box,
            score=detection.score,
            landmarks=mesh.landmarks,
            blendshapes=mesh.blendshapes,
            pose=mesh.pose,
            embedding=embedding,
        )
        for (detection, mesh), embedding in zip(found, embeddings, strict=True)
    ]


def landmarks_of_crops(crops: Sequence[Pixels], landmarker: Landmarker) -> list[tuple[Floats, Floats] | None]:
    """Of each aligned crop (S, S, 3) RGB uint8: (478, 3) px and (52,); None if no face is seen."""
    return [_landmarks_of_crop(crop, landmarker) for crop in crops]


def _landmarks_of_crop(crop: Pixels, landmarker: Landmarker) -> tuple[Floats, Floats] | None:
    # The landmarker's own detector may want air around a face, of which a tight template leaves none.
    for margin in (0, crop.shape[0] // 4):
        picture = cv2.copyMakeBorder(crop, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
        mesh = landmarker.of_picture(np.asarray(picture, dtype=np.uint8))
        if mesh is not None:
            return (mesh.landmarks - np.array([margin, margin, 0], dtype=np.float32)).astype(
                np.float32
            ), mesh.blendshapes
    return None


def _area(box: Floats) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def shared(a: Floats, b: Floats) -> float:
    """How much the boxes around two faces' landmarks (478, 3) have in common: intersection over union."""
    box_a, box_b = (np.concatenate([each[:, :2].min(0), each[:, :2].max(0)]) for each in (a, b))
    both = _area(np.concatenate([np.maximum(box_a[:2], box_b[:2]), np.minimum(box_a[2:], box_b[2:])]))
    return both / (_area(box_a) + _area(box_b) - both)
