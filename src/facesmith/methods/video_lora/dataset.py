"""Cached clips as items, and how they make a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from facesmith.methods.video_lora.flow import latent_heads
from facesmith.methods.video_lora.texts import padded

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Item:
    """Where the parts of one item lie. latents: of a clip, or of one that the base drew. prior: it is the base's.

    person: number of whose face it shows.
    """

    latents: Path
    clip: Path
    text: Path
    bucket: tuple[int, int, int]
    prior: bool
    person: int


class ClipDataset(Dataset[Batch]):
    """Items of latents, pose latents, words, a face and where heads are; kept in memory once read.

    identities: (P,E), everybody's embedding. text_length: rows of a prompt. factor: frames and px of a latent cell.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        identities: Tensor,
        text_length: int,
        factor: tuple[int, int],
    ) -> None:
        self.items = list(items)
        self._identities = identities
        self._length, self._factor = text_length, factor
        self._read: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Batch:
        if index not in self._read:
            self._read[index] = self._load(self.items[index])
        person = self.items[index].person
        named = {"face": self._identities[person], "person": torch.tensor(person), "index": torch.tensor(index)}
        return {**self._read[index], **named}

    def _load(self, item: Item) -> Batch:
        clip = load_file(item.clip)
        latents = load_file(item.latents)["latents"]
        frames, height, width = latents.shape[1:]
        return {
            "latents": latents,
            "steer": clip["steer"],
            "heads": latent_heads(clip["boxes"], (frames, height, width), self._factor),
            "text": padded(load_file(item.text)["rows"], self._length),
            "own": torch.tensor(not item.prior),
        }


def collated(items: Sequence[Batch]) -> Any:
    """Stack items: latents and steer (N,C,F,h,w), heads (N,1,F,h,w), text (N,L,W), face (N,E), and (N,) of the rest."""
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}
