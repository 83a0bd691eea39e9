"""Labels of the visible face: the outline of landmarks with the forehead, or masks that a person painted."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.alignment import warp_face
from facesmith.faces.geometry.masks import draw_hull

if TYPE_CHECKING:
    from facesmith.methods.occluder.dataset import LabelledFaces

MASK_SUFFIX: Final = ".png"
_TOLERANCE: Final = 8  # how far from black and white a pixel may be: other programs round


def face_mask(landmarks: NDArray[np.floating], size: int, forehead: float) -> NDArray[np.float32]:
    """Draw the convex hull of landmarks, extended over the forehead.

    Args:
        landmarks: (478,2+) in px.
        size: Width and height of the mask in px.
        forehead: How far the points above the brows are moved up, as a share of their distance to the brows: the
            landmark mesh ends in the middle of the forehead.

    Returns:
        (size,size) float32, 1 inside.
    """
    points = np.asarray(landmarks[topology.OVAL, :2], np.float32)
    brows = landmarks[topology.BROWS, :2].mean(0)
    up = brows - landmarks[topology.MOUTH, :2].mean(0)
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    above = np.clip((points - brows) @ up, 0, None)
    raised = points + (forehead * above)[:, None] * up
    everything = np.concatenate([landmarks[: topology.MESH, :2], raised])
    return draw_hull(everything, size)


class PaintedMasks:
    """A folder of masks that a person painted.

    Args:
        folder: Holds `<name of the crop>.png`, grey, as large as the crops of the face set (512 px): white where the
            face is visible, black elsewhere.
        faces: The face set.

    Raises:
        UserError: There is no such folder, or a mask has no crop in the set.
    """

    def __init__(self, folder: Path, faces: FaceSet) -> None:
        self._folder, self._faces = folder, faces
        if not folder.is_dir():
            raise UserError(f"data.masks={folder}: no such folder; paint masks with facesmith annotate")
        self._known = {Path(faces.crop_name(i)).stem: i for i in range(len(faces))}
        found = sorted(path for path in folder.iterdir() if path.suffix == MASK_SUFFIX and path.name[0] != ".")
        unknown = [path for path in found if path.stem not in self._known]
        if unknown:
            raise UserError(
                f"{unknown[0]}: belongs to no face of {faces.path} ({len(unknown)} such files); "
                "remove it, or extract with the settings it was painted for"
            )
        self._painted = {self._known[path.stem]: path for path in found}

    def __len__(self) -> int:
        return len(self._painted)

    def get(self, row: int) -> NDArray[np.uint8] | None:
        """Read the mask of a face.

        Args:
            row: Number of the face among the kept ones of the set.

        Returns:
            (512,512) uint8, 0 or 255; None where none was painted.

        Raises:
            UserError: The file is damaged, has another size, or is not black and white.
        """
        path = self._painted.get(row)
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                mask = np.asarray(picture.convert("L"))
        except (OSError, SyntaxError):
            raise UserError(f"{path}: cannot be read as an image; paint it again") from None
        size = self._faces.crop_size
        if mask.shape != (size, size):
            raise UserError(
                f"{path}: has {mask.shape[1]}x{mask.shape[0]} px, its crop {size}x{size}; paint it on the crop"
            )
        grey = int(((mask > _TOLERANCE) & (mask < 255 - _TOLERANCE)).sum())
        if grey > mask.size * 0.02:  # the rim of a brush may be soft
            raise UserError(f"{path}: {grey} pixels are neither black nor white; save it without grey")
        return np.where(mask > 127, 255, 0).astype(np.uint8)


def label_faces(
    faces: FaceSet, rows: NDArray[np.intp], template: str, size: int, forehead: float, masks: Path | None
) -> "LabelledFaces":
    """Align faces of a set and make their masks.

    Args:
        faces: The face set.
        rows: Numbers of the wanted faces among the kept ones.
        template: Name of the alignment template.
        size: Width and height of pictures and masks in px.
        forehead: Extension of the outline, see `face_mask`.
        masks: A folder of painted masks, which replace the outline where there is one; None for outlines alone.

    Raises:
        UserError: A painted mask cannot be used; the message names it.
    """
    from facesmith.methods.occluder.dataset import LabelledFaces  # imports torch, which the painter does without

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
    return LabelledFaces(aligned, np.stack(outlines))
