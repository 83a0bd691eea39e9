"""Sharpen a swapped face with a face restoration model."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.models.onnx.graph import OnnxGraph

Pixels = npt.NDArray[np.uint8]

INPUT, WEIGHT = "input", "weight"


class Enhancer:
    """A restoration model such as GFPGAN or CodeFormer as ONNX; may be called from several threads.

    Attributes:
        template: Alignment template of its crops.
        size: Side of its crops in px.
        strength: How much of the enhanced face is shown, 0..1.
    """

    template: Final = "ffhq_512"
    size: Final = 512

    def __init__(self, path: Path, setting: str = "task.enhancer", strength: float = 1.0) -> None:
        """Open a model.

        Args:
            path: ONNX file with input `input` (N,3,512,512) float32 RGB -1..1 on ffhq_512 and output 0 like it; an
                input `weight` is set to 1, which is as faithful to the face as the model can be.
            setting: Key that named the file, for errors.
            strength: How much of the enhanced face is shown, 0..1.

        Raises:
            UserError: The file is missing, unreadable or of another contract.
        """
        self.strength = strength
        self._graph = graph = OnnxGraph(path, setting)
        if INPUT not in graph.inputs or set(graph.inputs) - {INPUT, WEIGHT}:
            raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not input")
        output = next(iter(graph.outputs.values()))
        for what, value in (("input", graph.inputs[INPUT]), (f"output {output.name}", output)):
            if not value.fits(None, 3, self.size, self.size):
                raise UserError(f"{graph}: wrong contract: {what} is {value}, not tensor(float) Nx3x512x512")
        self._output = output.name
        self._weight_type = None
        if WEIGHT in graph.inputs:
            self._weight_type = np.float64 if graph.inputs[WEIGHT].type == "tensor(double)" else np.float32

    def __call__(self, crops: Pixels) -> Pixels:
        """Return enhanced crops, both (N,512,512,3) RGB uint8 on ffhq_512."""
        return np.concatenate([self._enhance(crop) for crop in crops])

    def _enhance(self, crop: Pixels) -> Pixels:
        target = crop.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(127.5) - np.float32(1)
        feed: dict[str, npt.NDArray[np.floating]] = {INPUT: np.ascontiguousarray(target)}
        if self._weight_type is not None:
            feed[WEIGHT] = np.ones(1, self._weight_type)
        (output,) = self._graph.run(feed, [self._output])
        picture = np.clip(np.rint((output + 1) * 127.5), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(picture.transpose(0, 2, 3, 1))
