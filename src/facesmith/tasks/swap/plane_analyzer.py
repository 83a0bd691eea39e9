"""Find faces in frames as they were decoded: RGB is made of no more than an analyzer looks at."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.faces.analyzers.follower import SIDE as FOLLOW_SIDE
from facesmith.faces.analyzers.follower import follow_matrix
from facesmith.faces.face import Analyzer, Detection, Face, Floats, Pixels
from facesmith.faces.geometry.alignment import invert_transform, transform_points
from facesmith.faces.tracking.tracker import THUMBNAIL
from facesmith.media.planes import Box, PlaneFrame

_REACH: Final = 1.7  # sizes of a face around its middle: half the diagonal of the largest crop that is cut around it
_NEEDED: Final = 150.0  # px of a face that an analyzer makes use of


class PlaneAnalyzer:
    """An analyzer of planes: `detect` sees the whole picture, `analyse` what is around the faces, shrunk."""

    def __init__(self, analyzer: Analyzer) -> None:
        """Wrap an analyzer.

        Args:
            analyzer: Of RGB pictures.
        """
        self._analyzer = analyzer

    def detect(self, frame: PlaneFrame) -> list[Detection]:
        """Find where faces may be, px of the frame."""
        return self._analyzer.detect(_whole(frame))

    def search(self, frame: PlaneFrame) -> list[Detection]:
        """Find faces where `detect` finds none, however turned or small; px of the frame."""
        return self._analyzer.search(_whole(frame))

    def analyse(self, frame: PlaneFrame, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """Return the faces behind detections, the largest first, px of the frame; see `FrameAnalyzer`."""
        if not detections:
            return []
        shrink = max(1, int(min(each.size for each in detections) / _NEEDED))
        picture, box = frame.view(_around(detections, *frame.shape), shrink)
        offset = np.array([box[0] + (shrink - 1) / 2, box[1] + (shrink - 1) / 2], np.float32)
        moved = [
            Detection(
                box=np.asarray((each.box - np.tile(offset, 2)) / shrink, np.float32),
                keypoints=np.asarray((each.keypoints - offset) / shrink, np.float32),
                score=each.score,
            )
            for each in detections
        ]
        return [_move_back(face, offset, shrink) for face in self._analyzer.analyse(picture, moved, embed=embed)]

    def follow(self, frame: PlaneFrame, landmarks: Floats) -> Floats | None:
        """Find the landmarks of a face again, px of the frame; see `FrameAnalyzer`."""
        matrix = follow_matrix(landmarks)
        if not np.isfinite(matrix).all():
            return None
        crop = frame.cut(matrix, FOLLOW_SIDE)
        found = self._analyzer.follow(crop, transform_points(landmarks, matrix))
        return None if found is None else transform_points(found, invert_transform(matrix))


def _whole(frame: PlaneFrame) -> Pixels:
    height, width = frame.shape
    return frame.view((0, 0, width, height), 1)[0]


def plane_thumbnail(frame: PlaneFrame) -> npt.NDArray[np.uint8]:
    """Shrink a frame to a tiny grey picture (THUMBNAIL ** 2,), see `tracker.make_thumbnail`."""
    return frame.luma_thumbnail(THUMBNAIL).ravel()


def _around(detections: Sequence[Detection], height: int, width: int) -> Box:
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for each in detections:
        middle = (each.box[:2] + each.box[2:]) / 2
        low = np.minimum(low, middle - _REACH * each.size)
        high = np.maximum(high, middle + _REACH * each.size)
    left, top = np.clip(np.floor(low), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(high), [left + 1, top + 1], [width, height]).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _move_back(face: Face, offset: Floats, shrink: int) -> Face:
    moved = face.landmarks * np.float32(shrink)
    moved[:, :2] += offset
    return replace(face, box=face.box * np.float32(shrink) + np.tile(offset, 2), landmarks=moved)
