"""Faces with things in front of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.methods.occluder.occlusion import FAMILIES, NONE, Occlude

NAMES: Final = (NONE, *FAMILIES)  # a batch carries the position in this tuple


@dataclass(frozen=True)
class Labelled:
    """Faces with the mask (N,S,S) uint8 of each, 255 where it is face, before anything is laid over them."""

    faces: AlignedFaces
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.faces)


class OccludedFaces(Dataset[dict[str, Tensor]]):
    """Training: every access covers the face anew. Keys are pairs (row, number of the draw)."""

    def __init__(self, labelled: Labelled, occlude: Occlude, seed: int) -> None:
        self.labelled, self.occlude, self.seed = labelled, occlude, seed

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Tensor]:
        row, number = draw
        return covered(self.labelled, row, self.occlude, np.random.default_rng([self.seed, 1, number]))


class CheckedFaces(Dataset[dict[str, Tensor]]):
    """Validation: `each` faces, every one untouched and under each family in turn, always the same way."""

    def __init__(self, labelled: Labelled, occlude: dict[str, Occlude], each: int, seed: int) -> None:
        rows = np.linspace(0, len(labelled) - 1, each).round().astype(int)
        self.items = [
            covered(labelled, int(row), occlude[name], np.random.default_rng([seed, number, NAMES.index(name)]))
            for number, row in enumerate(rows)
            for name in occlude
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.items[index]


class Stretch(Dataset[dict[str, Tensor]]):
    """Faces as they follow each other in a video, untouched: picture, hull, points (478,2) px and track."""

    def __init__(self, labelled: Labelled, tracks: NDArray[np.int32]) -> None:
        self.labelled, self.tracks = labelled, tracks

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        faces, hull = self.labelled.faces, torch.from_numpy(self.labelled.masks[row])[None]
        return {
            "picture": torch.from_numpy(np.ascontiguousarray(faces.images[row].transpose(2, 0, 1))),
            "mask": hull,
            "hull": hull,
            "points": torch.from_numpy(faces.landmarks[row, :, :2].copy()),
            "track": torch.tensor(int(self.tracks[row])),
        }


def covered(labelled: Labelled, row: int, occlude: Occlude, rng: np.random.Generator) -> dict[str, Tensor]:
    """Cover one face: picture (3,S,S) uint8 RGB, mask and hull (1,S,S) uint8, family () int64."""
    faces = labelled.faces
    done = occlude(faces.images[row], faces.landmarks[row], rng)
    hull = labelled.masks[row]
    return {
        "picture": torch.from_numpy(np.ascontiguousarray(done.picture.transpose(2, 0, 1))),
        "mask": torch.from_numpy(np.rint(hull * done.visible).astype(np.uint8))[None],
        "hull": torch.from_numpy(hull)[None],
        "family": torch.tensor(NAMES.index(done.family)),
    }


def as_floats(batch: dict[str, Tensor], names: Sequence[str] = ("picture", "mask", "hull")) -> dict[str, Tensor]:
    """Turn bytes into 0..1, on any device."""
    return {**batch, **{name: batch[name].float().div_(255) for name in names}}
