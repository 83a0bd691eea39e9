"""The face's outline as a mask, with the forehead that landmarks leave out."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.alignment import warp_face
from facesmith.faces.geometry.masks import draw_hull
from facesmith.methods.occluder.dataset import Labelled


def face_mask(landmarks: NDArray[np.floating], size: int, forehead: float) -> NDArray[np.float32]:
    """Return the convex outline of (478,2+) landmarks in px as (size,size) float32, 1 inside.

    forehead: how far the points above the brows are moved away from them, of their distance to them: the mesh ends in
    the middle of the forehead.
    """
    points = np.asarray(landmarks[topology.OVAL, :2], np.float32)
    brows = landmarks[topology.BROWS, :2].mean(0)
    up = brows - landmarks[topology.MOUTH, :2].mean(0)
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    above = np.clip((points - brows) @ up, 0, None)
    raised = points + (forehead * above)[:, None] * up
    everything = np.concatenate([landmarks[: topology.MESH, :2], raised])
    return draw_hull(everything, size)


SUFFIX: Final = ".png"
_NEAR: Final = 8  # how far from black and white a pixel may be: rounding of other programs


class PaintedMasks:
    """A folder of masks `<crop>.png`, grey, 512 px like the crops of the face set: white is face, black is not.

    Raises:
        UserError: a mask has no crop in the set.
    """

    def __init__(self, folder: Path, faces: FaceSet) -> None:
        self._folder, self._faces = folder, faces
        if not folder.is_dir():
            raise UserError(f"data.masks={folder}: no such folder; paint masks with facesmith annotate")
        self._known = {Path(faces.crop_name(i)).stem: i for i in range(len(faces))}
        found = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.name[0] != ".")
        strangers = [path for path in found if path.stem not in self._known]
        if strangers:
            raise UserError(
                f"{strangers[0]}: is the mask of no face of {faces.path} ({len(strangers)} such files); "
                "remove it, or extract with the settings it was painted for"
            )
        self._painted = {self._known[path.stem]: path for path in found}

    def __len__(self) -> int:
        return len(self._painted)

    def get(self, row: int) -> NDArray[np.uint8] | None:
        """Return the mask (512,512) uint8 0 or 255 of a kept face, or None where nobody painted one.

        Raises:
            UserError: it is damaged, of another size, or has more than two colours.
        """
        path = self._painted.get(row)
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                mask = np.asarray(picture.convert("L"))
        except (OSError, SyntaxError):
            raise UserError(f"{path}: cannot be read as a picture; paint it again") from None
        side = self._faces.crop_size
        if mask.shape != (side, side):
            raise UserError(
                f"{path}: is {mask.shape[1]}x{mask.shape[0]} px, its crop {side}x{side}; paint it on the crop"
            )
        between = int(((mask > _NEAR) & (mask < 255 - _NEAR)).sum())
        if between > mask.size * 0.02:  # the rim of a brush may be soft
            raise UserError(f"{path}: {between} of its pixels are neither black nor white; save it without grey")
        return np.where(mask > 127, 255, 0).astype(np.uint8)


def labelled(
    faces: FaceSet, rows: NDArray[np.intp], template: str, size: int, forehead: float, masks: Path | None
) -> Labelled:
    """Return faces of a set on a template with their masks.

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
                outlines[number] = np.where(
                    warp_face(np.dstack([mask] * 3), matrix, size)[..., 0] > 127, 255, 0
                ).astype(np.uint8)
    return Labelled(aligned, np.stack(outlines))
