"""Datasets of faces with masks: covered anew for training, always alike for validation, as a video for flicker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.occlusion import UNOCCLUDED, RandomOcclusion

FAMILY_NAMES: Final = (UNOCCLUDED, *FAMILIES)
"""Names of families; a batch carries positions in this tuple."""


@dataclass(frozen=True)
class LabelledFaces:
    """Aligned faces and their masks, before anything is drawn over them."""

    faces: AlignedFaces
    masks: NDArray[np.uint8]
    """(N,S,S) uint8, 255 where the face is visible."""

    def __len__(self) -> int:
        return len(self.faces)


class OccludedFaces(Dataset[dict[str, Tensor]]):
    """Training faces, covered anew at every access.

    Args:
        labelled: The faces.
        occlusion: What covers them.
        seed: Of everything random; an item is a function of the seed and its key alone.
    """

    def __init__(self, labelled: LabelledFaces, occlusion: RandomOcclusion, seed: int) -> None:
        self.labelled, self.occlusion, self.seed = labelled, occlusion, seed

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Tensor]:
        row, number = draw  # which face, and the number of this access in the whole training
        return occlude_face(self.labelled, row, self.occlusion, np.random.default_rng([self.seed, 1, number]))


class ValidationFaces(Dataset[dict[str, Tensor]]):
    """Validation faces, each untouched and under every family in turn, the same at every access.

    Args:
        labelled: The faces.
        occlusions: What covers them, by the name of the family.
        count: How many faces are used, evenly spread.
        seed: Of everything random.
    """

    def __init__(
        self, labelled: LabelledFaces, occlusions: Mapping[str, RandomOcclusion], count: int, seed: int
    ) -> None:
        rows = np.linspace(0, len(labelled) - 1, count).round().astype(int)
        self.items = [
            occlude_face(labelled, int(row), occlusion, np.random.default_rng([seed, number, FAMILY_NAMES.index(name)]))
            for number, row in enumerate(rows)
            for name, occlusion in occlusions.items()
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.items[index]


class ConsecutiveFaces(Dataset[dict[str, Tensor]]):
    """Untouched faces in the order of a video, for flicker.

    Items hold `picture`, `mask`, `hull` and `points` like those of `occlude_face`, and `track` ().

    Args:
        labelled: The faces.
        tracks: Number of the track of each face, (N,); consecutive faces of one track are consecutive frames.
    """

    def __init__(self, labelled: LabelledFaces, tracks: NDArray[np.int32]) -> None:
        self.labelled, self.tracks = labelled, tracks

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        faces, hull = self.labelled.faces, torch.from_numpy(self.labelled.masks[row])[None]
        return {
            "picture": torch.from_numpy(np.ascontiguousarray(faces.images[row].transpose(2, 0, 1))),
            "mask": hull,
            "hull": hull,
            "points": torch.from_numpy(faces.landmarks[row].copy()),
            "track": torch.tensor(int(self.tracks[row])),
        }


def occlude_face(
    labelled: LabelledFaces, row: int, occlusion: RandomOcclusion, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Draw a random occlusion over one face.

    Args:
        labelled: Faces and masks.
        row: Number of the face.
        occlusion: Draws the occlusion.
        rng: Random numbers.

    Returns:
        `picture` (3,S,S) RGB uint8; `mask` and `hull` (1,S,S) uint8, 255 where the face is visible with and without
        what covers it; `points` (478,3) px; `family` () int64, a position in `FAMILY_NAMES`.
    """
    faces = labelled.faces
    occluded = occlusion(faces.images[row], faces.landmarks[row], rng)
    hull = labelled.masks[row]
    return {
        "picture": torch.from_numpy(np.ascontiguousarray(occluded.picture.transpose(2, 0, 1))),
        "mask": torch.from_numpy(np.rint(hull * occluded.visible).astype(np.uint8))[None],
        "hull": torch.from_numpy(hull)[None],
        "points": torch.from_numpy(faces.landmarks[row].astype(np.float32)),
        "family": torch.tensor(FAMILY_NAMES.index(occluded.family)),
    }


def bytes_to_floats(batch: dict[str, Tensor], names: Sequence[str] = ("picture", "mask", "hull")) -> dict[str, Tensor]:
    """Convert uint8 tensors of a batch to float32 in 0..1, on their device.

    Args:
        batch: Tensors by name.
        names: Names of the tensors to convert.
    """
    return {**batch, **{name: batch[name].float().div_(255) for name in names}}
