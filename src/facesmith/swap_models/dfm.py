"""DeepFaceLab's `.dfm` files, used as FaceFusion uses them."""

from typing import Final

import cv2
import numpy as np

from facesmith.errors import UserError
from facesmith.onnx_graph import OnnxGraph
from facesmith.swap_models.aligned import Floats, Pixels, SwapModel

FACE_IN, MORPH = "in_face:0", "morph_value:0"
TEMPLATE: Final = "dfl_whole_face"
_ERODE, _SIGMA = 2, 6.25  # rounds of a 3x3 ellipse, px


def load_dfm(graph: OnnxGraph, *, morph: float) -> SwapModel:
    """Make a swapper of a `.dfm`: `in_face:0` (N,S,S,3) BGR 0..1 in; target mask, face, source mask out.

    morph: 0..1, how far towards the person, for the files that have it.

    Raises:
        UserError: the graph is not of this contract.
    """
    size = _checked_size(graph)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        feed = {FACE_IN: np.ascontiguousarray(crops[..., ::-1], np.float32) / np.float32(255)}
        ones = [feed[FACE_IN][i : i + 1] for i in range(len(crops))]
        if MORPH in graph.inputs:  # its one number has no batch
            told = np.full(1, morph, np.float32)
            parts = [graph.run({FACE_IN: one, MORPH: told}) for one in ones]
            target_mask, face, source_mask = (np.concatenate(each) for each in zip(*parts, strict=True))
        else:
            target_mask, face, source_mask = graph.run(feed)
        if face.shape != feed[FACE_IN].shape or target_mask.size * 3 != face.size != source_mask.size * 3:
            raise UserError(f"{graph}: wrong contract: its outputs are not mask, face, mask of {size} px (dfm)")
        masks = np.minimum(target_mask, source_mask).reshape(len(crops), size, size).clip(0, 1).astype(np.float32)
        masks = np.stack([cv2.GaussianBlur(cv2.erode(m, ellipse, iterations=_ERODE), (0, 0), _SIGMA) for m in masks])
        swapped = face[..., ::-1] * 255
        blended = crops + (swapped - crops) * masks[..., None]
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8), np.asarray(masks, np.float32)

    said = graph.metadata
    return SwapModel(
        TEMPLATE,
        size,
        run,
        identity=said.get("identity", graph.path.stem),
        consent=said.get("consent", ""),
        consent_note=said.get("consent_note", ""),
    )


def _checked_size(graph: OnnxGraph) -> int:
    if FACE_IN not in graph.inputs or set(graph.inputs) - {FACE_IN, MORPH}:
        raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not {FACE_IN} (dfm)")
    given = graph.inputs[FACE_IN]
    side = given.shape[1] if len(given.shape) == 4 else None
    if not isinstance(side, int) or not given.fits(None, side, side, 3) or given.shape[2] != side:
        raise UserError(f"{graph}: wrong contract: {FACE_IN} is {given}, not tensor(float) NxSxSx3 (dfm)")
    if len(graph.outputs) != 3:
        raise UserError(f"{graph}: wrong contract: it has {len(graph.outputs)} outputs, not mask, face, mask (dfm)")
    return side
