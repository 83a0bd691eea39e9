"""DeepFaceLab's `.dfm` files, used as FaceFusion uses them."""

from typing import Final

import cv2
import numpy as np

from facesmith.errors import UserError
from facesmith.models.onnx.aligned_session import Floats, Pixels, SwapModel
from facesmith.models.onnx.graph import OnnxGraph
from facesmith.models.onnx.graph_checks import dfm_size
from facesmith.models.onnx.kinds import DFM_INPUT, DFM_MORPH

TEMPLATE: Final = "dfl_whole_face"
_ERODE, _SIGMA = 2, 6.25  # rounds of a 3x3 ellipse, px


def load_dfm(graph: OnnxGraph, *, morph: float) -> SwapModel:
    """Make a swapper of a `.dfm`: `in_face:0` (N,S,S,3) BGR 0..1 in; target mask, face, source mask out.

    morph: 0..1, how far towards the person, for the files that have it.

    Raises:
        UserError: the graph is not of this contract.
    """
    size = dfm_size(graph)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))

    def run(crops: Pixels, source: Floats | None) -> tuple[Pixels, Floats]:
        feed = {DFM_INPUT: np.ascontiguousarray(crops[..., ::-1], np.float32) / np.float32(255)}
        ones = [feed[DFM_INPUT][i : i + 1] for i in range(len(crops))]
        if DFM_MORPH in graph.inputs:  # its one number has no batch
            told = np.full(1, morph, np.float32)
            parts = [graph.run({DFM_INPUT: one, DFM_MORPH: told}) for one in ones]
            target_mask, face, source_mask = (np.concatenate(each) for each in zip(*parts, strict=True))
        else:
            target_mask, face, source_mask = graph.run(feed)
        if face.shape != feed[DFM_INPUT].shape or target_mask.size * 3 != face.size != source_mask.size * 3:
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
