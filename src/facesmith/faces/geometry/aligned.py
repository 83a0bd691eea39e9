"""Aligned faces in memory: what training, pseudo ground truth and the quality gate read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.topology import BLENDSHAPE_MIRROR, LANDMARK_MIRROR, REGIONS

Rows = slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True)
class AlignedFaces:
    """Square face crops on one template with their landmarks and expressions.

    ValueError is raised when the shapes do not belong together.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        landmarks: (N, 478, 3) px of the crop (pixel centres at whole numbers), z on the same scale.
        blendshapes: (N, 52) 0..1.
        template: A key of `alignment.TEMPLATES`.
        visible: (N, 5) whether each of `topology.REGIONS` shows nothing but the person; all do where it is not known.
            Given as (1, 5), it holds for all faces.
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    template: str
    visible: NDArray[np.bool_] = field(default_factory=lambda: np.ones((1, len(REGIONS)), np.bool_))

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.shape[1] != self.images.shape[2] or self.images.shape[3] != 3:
            raise ValueError(f"images must be (N,S,S,3), got {self.images.shape}")
        if self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8, got {self.images.dtype}")
        if self.landmarks.shape != (n, 478, 3):
            raise ValueError(f"landmarks must be ({n},478,3), got {self.landmarks.shape}")
        if self.blendshapes.shape != (n, 52):
            raise ValueError(f"blendshapes must be ({n},52), got {self.blendshapes.shape}")
        if self.visible.shape not in {(1, len(REGIONS)), (n, len(REGIONS))}:
            raise ValueError(f"visible must be ({n},{len(REGIONS)}), got {self.visible.shape}")
        object.__setattr__(self, "visible", np.broadcast_to(self.visible, (n, len(REGIONS))).astype(np.bool_))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of a crop in px."""
        return int(self.images.shape[1])

    def __getitem__(self, rows: Rows) -> "AlignedFaces":
        """Return the chosen faces (a slice, an index array or a mask; a single index would drop an axis)."""
        if isinstance(rows, int | np.integer):
            raise TypeError("index AlignedFaces with a slice, an index array or a mask: faces[i : i + 1]")
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = chosen.astype(np.intp)
        return AlignedFaces(
            self.images[chosen],
            self.landmarks[chosen],
            self.blendshapes[chosen],
            self.template,
            self.visible[chosen],
        )

    def mirror(self) -> "AlignedFaces":
        """Return the faces as a mirror shows them: pictures flipped, left and right names exchanged.

        The templates are not quite symmetric, so a mirrored face lies up to 3 % of the crop off its own.
        """
        landmarks = self.landmarks[:, LANDMARK_MIRROR].copy()
        landmarks[..., 0] = self.size - 1 - landmarks[..., 0]
        images = np.ascontiguousarray(self.images[:, :, ::-1])
        shapes = self.blendshapes[:, BLENDSHAPE_MIRROR].copy()
        return AlignedFaces(images, landmarks, shapes, self.template, self.visible)

    @classmethod
    def concat(cls, parts: Sequence["AlignedFaces"]) -> "AlignedFaces":
        """Join faces of one template and one size; ValueError when they differ or nothing is given."""
        if len({(part.template, part.size) for part in parts}) != 1:
            kinds = sorted({f"{part.template} {part.size} px" for part in parts})
            raise ValueError(f"faces of one template and size can be joined, got {kinds or 'nothing'}")
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
            np.concatenate([part.blendshapes for part in parts]),
            parts[0].template,
            np.concatenate([part.visible for part in parts]),
        )
