"""A recogniser that nothing here is ever trained against: dlib's, the outside measure of identity."""

from collections.abc import Sequence
from typing import Final

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from facesmith.assets import fetch

SAME_PERSON: Final = 0.6
"""dlib's own threshold of the distance."""
_SIDE, _BORDER = 384, 40
# where the face lies in an arcface_128 crop when dlib's detector does not see it: left, top, right, bottom
_FACE: Final = (124 / 464, 136 / 464, 340 / 464, 352 / 464)


class HeldOutRecogniser:
    """dlib's ResNet-29 with its 5-point aligner, on `arcface_128` crops. Not thread-safe.

    Source: Davis King, dlib_face_recognition_resnet_model_v1 (CC0): below 0.6 means the same person.

    Raises:
        UserError: As `assets.fetch`, when the weights cannot be had.
    """

    def __init__(self) -> None:
        self._points = dlib.shape_predictor(str(fetch("shape_predictor_5_face_landmarks.dat")))
        self._network = dlib.face_recognition_model_v1(str(fetch("dlib_face_recognition_resnet_model_v1.dat")))
        self._detector = dlib.get_frontal_face_detector()

    def embed(self, crops: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute descriptors (N,128) of crops (S,S,3) RGB uint8."""
        return np.stack([self._embed(crop) for crop in crops]) if len(crops) else np.empty((0, 128))

    def _embed(self, crop: NDArray[np.uint8]) -> NDArray[np.float64]:
        large = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        framed = cv2.copyMakeBorder(large, *(_BORDER,) * 4, cv2.BORDER_REPLICATE)
        found = list(self._detector(framed, 0))
        left, top, right, bottom = (round(side * framed.shape[0]) for side in _FACE)
        box = max(found, key=lambda b: b.area()) if found else dlib.rectangle(left, top, right, bottom)
        return np.array(self._network.compute_face_descriptor(framed, self._points(framed, box)))


def distances(descriptors: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the distance of each descriptor to a person's mean.

    Args:
        descriptors: (N,128).
        reference: The person's, (M,128).

    Returns:
        (N,).
    """
    return np.linalg.norm(descriptors - reference.mean(0), axis=1)
