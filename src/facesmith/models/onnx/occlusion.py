"""Find what covers a face: any occluder of the xseg contract, told where the face is if it takes landmarks."""

import logging
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.masks import soften_mask
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.info import LANDMARKS

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

GENERAL: Final = "asset:occluder_general.onnx"
"""The occluder that comes with the package."""
_PIXEL_CENTRE: Final = np.array([0.5, 0.5, 0.0], np.float32)
_INSIDE: Final = 0.5  # share of the landmarks that must lie in the crop


class Occluder:
    """Separates the visible face from hands, hair and microphones before it; may be called from several threads.

    Attributes:
        size: Side of its crops in px.
        takes_landmarks: Whether landmarks help it; one without them sees the crop alone.
    """

    def __init__(self, path: Path, setting: str = "task.occluder") -> None:
        """Open a model.

        Args:
            path: ONNX file, or `asset:<name>`, with one input (N,S,S,3) float32 BGR 0..1, of any name, and output 0
                (N,S,S,1), 1 where the face is visible.
            setting: Key that named the file, for errors.

        Raises:
            UserError: The file is missing, unreadable or of another contract.
        """
        self._graph = graph = OnnxGraph(Path(assets.resolve(str(path))), setting)
        if len(graph.inputs) != 1:
            raise _wrong_contract(graph, f"its inputs are {', '.join(graph.inputs)}, not one picture")
        self._input, given = next(iter(graph.inputs.items()))
        output = next(iter(graph.outputs.values()))
        side = given.shape[1] if len(given.shape) == 4 else None
        if not isinstance(side, int) or not given.fits(None, side, side, 3):
            raise _wrong_contract(graph, f"input is {given}, not tensor(float) Nx256x256x3")
        if not output.fits(None, side, side, 1):
            raise _wrong_contract(graph, f"output 0 is {output}, not tensor(float) Nx{side}x{side}x1")
        self.size = side
        self.takes_landmarks = LANDMARKS in graph.optional
        self._output = output.name
        self._warned = False

    def __call__(self, crops: Pixels, size: int, landmarks: Floats | None = None) -> Plane:
        """Predict masks for a swap: blurred, and 0 where the face is rather covered, see `soften_mask`.

        Args:
            crops: (N,S,S,3) RGB uint8.
            size: Side of the masks in px.
            landmarks: As in `predict`.

        Returns:
            (N,size,size) 0..1.
        """
        return np.stack([soften_mask(one) for one in self.predict(crops, size, landmarks)])

    def predict(self, crops: Pixels, size: int, landmarks: Floats | None = None) -> Plane:
        """Predict how probable it is that a pixel shows the face.

        Args:
            crops: (N,S,S,3) RGB uint8.
            size: Side of the masks in px.
            landmarks: Of the crops, (N,478,3) px, where (0, 0) is the centre of the top left pixel; an occluder that
                takes them finds them itself where None.

        Returns:
            (N,size,size) 0..1; 1 everywhere where landmarks lie outside of their crop.
        """
        feed = {self._input: np.ascontiguousarray(crops[..., ::-1], np.float32) / np.float32(255)}
        lost = np.zeros(len(crops), np.bool_)
        if landmarks is not None and self.takes_landmarks:
            feed[LANDMARKS] = np.ascontiguousarray(landmarks + _PIXEL_CENTRE, np.float32)
            lost = self._find_lost(landmarks)
        (found,) = self._graph.run(feed, [self._output])
        found[lost] = 1
        resized = [cv2.resize(one[..., 0].astype(np.float32), (size, size)) for one in found]
        return np.stack([np.asarray(one, np.float32) for one in resized])

    def _find_lost(self, landmarks: Floats) -> npt.NDArray[np.bool_]:
        """Return which faces' landmarks (N,478,3) are not in their crop, and warn of the first."""
        flat = landmarks[:, : topology.MESH, :2]
        inside = ((flat >= 0) & (flat < self.size)).all(-1).mean(1)
        lost = ~(inside >= _INSIDE)
        if lost.any() and not self._warned:
            self._warned = True
            log.warning(
                "%s: a face's landmarks lie outside of its crop; what covers such faces is not found", self._graph
            )
        return np.asarray(lost)


def _wrong_contract(graph: OnnxGraph, why: str) -> UserError:
    return UserError(
        f"{graph}: wrong contract: {why} (xseg); give a file of facesmith export to=xseg, or omit the key for the "
        "occluder that comes along"
    )
