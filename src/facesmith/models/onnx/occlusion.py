"""Find what covers a face: any occluder of the xseg contract."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.geometry.masks import soften_mask
from facesmith.models.onnx.graph import OnnxGraph

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

INPUT = "input"


class Occluder:
    """Separates the visible face from hands, hair and microphones before it; may be called from several threads.

    Attributes:
        size: Side of its crops in px.
    """

    def __init__(self, path: Path, setting: str = "task.occluder") -> None:
        """Open a model.

        Args:
            path: ONNX file with input `input` (N,S,S,3) float32 BGR 0..1 and output 0 (N,S,S,1), 1 where the face is
                visible.
            setting: Key that named the file, for errors.

        Raises:
            UserError: The file is missing, unreadable or of another contract.
        """
        self._graph = graph = OnnxGraph(path, setting)
        if list(graph.inputs) != [INPUT]:
            raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not input (xseg)")
        given, output = graph.inputs[INPUT], next(iter(graph.outputs.values()))
        side = given.shape[1] if len(given.shape) == 4 else None
        if not isinstance(side, int) or not given.fits(None, side, side, 3):
            raise UserError(f"{graph}: wrong contract: input is {given}, not tensor(float) Nx256x256x3 (xseg)")
        if not output.fits(None, side, side, 1):
            raise UserError(f"{graph}: wrong contract: output 0 is {output}, not tensor(float) Nx{side}x{side}x1")
        self.size = side
        self._output = output.name

    def __call__(self, crops: Pixels, size: int) -> Plane:
        """Predict where faces are visible.

        Args:
            crops: (N,S,S,3) RGB uint8.
            size: Side of the masks in px.

        Returns:
            (N,size,size) 0..1, 1 where the face is visible.
        """
        feed = np.ascontiguousarray(crops[..., ::-1], np.float32) / np.float32(255)
        (found,) = self._graph.run({INPUT: feed}, [self._output])
        resized = [cv2.resize(one[..., 0].astype(np.float32), (size, size)) for one in found]
        return np.stack([soften_mask(np.asarray(one, np.float32)) for one in resized])
