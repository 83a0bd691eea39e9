"""Training items as tensors in memory, fetched a batch at a time."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facesmith.faces.pseudo_labels.training_items import KINDS, TrainingItems

PICTURES: Final = ("target", "truth")
MASKS: Final = ("hull", "alpha")


class SwapperDataset(Dataset[dict[str, Tensor]]):
    """Items of one person or several, as bytes; a batch is one indexing operation a tensor.

    `items` are of one size; `sources` are (E,) embeddings, L2-normalised, one a person; `people` says whose each
    element of `items` is. `roles` are numbers the items carry along, one array an element of `items`; None for 0.
    """

    def __init__(
        self,
        items: Sequence[TrainingItems],
        sources: Sequence[NDArray[np.float32]],
        people: Sequence[int],
        roles: Sequence[NDArray[np.int64]] | None = None,
    ) -> None:
        def joined(name: str) -> Tensor:
            arrays = np.concatenate([getattr(part, name) for part in items])
            return torch.from_numpy(arrays if arrays.ndim < 4 else np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)))

        self.tensors = {name: joined(name) for name in (*PICTURES, "canonical", "labels")}
        self.tensors |= {name: joined(name)[:, None] for name in MASKS}
        self.kinds = np.concatenate([part.kind for part in items])
        self.tensors["kind"] = torch.tensor([KINDS.index(kind) for kind in self.kinds.tolist()])
        person = np.repeat(np.array(people), [len(part) for part in items])
        self.tensors["person"] = torch.from_numpy(person)
        role = np.concatenate(roles) if roles is not None else np.zeros(len(person), np.int64)
        self.tensors["role"] = torch.from_numpy(role)
        self.sources = torch.from_numpy(np.stack(sources))

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor[0] for name, tensor in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Give a batch: pictures (N,3,S,S) and masks (N,1,S,S) uint8, canonical (N,2,S,S) half, the rest as it is."""
        rows = torch.tensor(indices)
        batch = {name: tensor[rows] for name, tensor in self.tensors.items()}
        batch["source"] = self.sources[batch["person"]]
        return batch


def unchanged(batch: Any) -> Any:
    """Collate what is a batch already."""
    return batch


def as_floats(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn bytes into pictures -1..1 and masks 0..1, and half-precision coordinates into float32, on any device."""
    floats = {name: batch[name].float().div_(127.5).sub_(1) for name in PICTURES}
    floats |= {name: batch[name].float().div_(255) for name in MASKS}
    return {**batch, **floats, "canonical": batch["canonical"].float()}
