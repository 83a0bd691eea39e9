"""How much of each region of a face something hides, by the occluder that comes with the package.

It knows what a face is from many people, so it can judge a single picture, where the median of a person's pictures
(`visibility.py`) has nothing to compare. Of glasses and fringes it cannot tell whether they are always there.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith import assets
from facesmith.faces.geometry import masks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.topology import REGIONS

if TYPE_CHECKING:
    import onnxruntime

_OCCLUDER: Final = "occluder_general.onnx"
_LANDMARKS: Final = "landmarks"  # its optional input
_CHUNK: Final = 16  # faces a call
_CORNER: Final = np.array((0.5, 0.5, 0.0), np.float32)  # the file counts from pixels' corners
# Share of a region from which on it is hidden, of REGIONS: hair lies on cheeks and foreheads of free faces too, the
# bridge of spectacles on noses.
_HIDDEN: Final = np.array((0.2, 0.2, 0.15, 0.3, 0.4))


def measure_hidden_shares(faces: AlignedFaces) -> NDArray[np.float32]:
    """Measure how much of each region is hidden.

    Args:
        faces: N faces.

    Returns:
        (N,5) in 0..1, of REGIONS; 0 of a region that is turned away.
    """
    session = _open_occluder()
    chunks = (faces[first : first + _CHUNK] for first in range(0, len(faces), _CHUNK))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(
            [np.empty((0, len(REGIONS)), np.float32), *threads.map(partial(_measure, session), chunks)]
        )


def find_hidden(shares: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Decide which regions are hidden.

    Args:
        shares: (N,5), see `measure_hidden_shares`, less what is always hidden, where that is known.

    Returns:
        (N,5).
    """
    return np.asarray(shares > _HIDDEN, np.bool_)


def _measure(session: "onnxruntime.InferenceSession", faces: AlignedFaces) -> NDArray[np.float32]:
    given = session.get_inputs()[0]
    side = int(given.shape[1])
    large = [cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in faces.images]
    points = (faces.landmarks + _CORNER) * (side / faces.size)
    feed = {
        given.name: np.stack(large)[..., ::-1].astype(np.float32) / np.float32(255),
        _LANDMARKS: points.astype(np.float32),
    }
    (visible,) = session.run([session.get_outputs()[0].name], feed)
    found = np.zeros((len(faces), len(REGIONS)), np.float32)
    for row, plane, landmarks in zip(found, visible[..., 0], points, strict=True):
        parts = masks.divide_face(landmarks - _CORNER, side)
        row[:] = [float((plane[part] < 0.5).mean()) if part.any() else 0.0 for part in parts]
    return found


@cache
def _open_occluder() -> "onnxruntime.InferenceSession":
    from facesmith.faces.analyzers.onnx_graph import create_session  # what reads a face set needs no runtime

    return create_session(assets.fetch(_OCCLUDER))
