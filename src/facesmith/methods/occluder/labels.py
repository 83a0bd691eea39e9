"""What is face in a picture: the landmarks' outline, or what a person painted."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.align import warp
from facesmith.methods.occluder.dataset import Labelled
from facesmith.methods.occluder.hull import face_mask
from facesmith.methods.occluder.painted import PaintedMasks


def labelled(
    faces: FaceSet, rows: NDArray[np.intp], template: str, size: int, forehead: float, masks: Path | None
) -> Labelled:
    """Give faces of a set on a template with their masks.

    forehead: as of `face_mask`. masks: a folder of painted masks, which win over the outline.

    Raises:
        UserError: a painted mask cannot be used; names it.
    """
    aligned = faces.aligned(template, size)[rows]
    outlines = [np.rint(face_mask(points, size, forehead) * 255).astype(np.uint8) for points in aligned.landmarks]
    if masks is not None:
        painted = PaintedMasks(masks, faces)
        for number, row in enumerate(rows):
            mask = painted.get(int(row))
            if mask is not None:
                matrix = faces.to_template(int(row), template, size)
                outlines[number] = np.where(warp(np.dstack([mask] * 3), matrix, size)[..., 0] > 127, 255, 0).astype(
                    np.uint8
                )
    return Labelled(aligned, np.stack(outlines))
