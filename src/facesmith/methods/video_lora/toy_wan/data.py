"""Media of a procedural person, as a user would bring them: photos, dances, pose videos, prompts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.files import write_text
from facesmith.media.images import write_image
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.data import VideoLoraDataModule
from facesmith.methods.video_lora.toy_wan.config import DancersDataModuleConfig
from facesmith.methods.video_lora.toy_wan.world import clips, people, portraits

FPS = 8.0
_PEOPLE_SEED = 4242  # nobody of these was seen when the base was trained
_CRF = 4


class DancersDataModule(VideoLoraDataModule):
    """People of the tiny world, by number: writes their photos and dances, then reads them like anybody's."""

    def __init__(self, config: DancersDataModuleConfig) -> None:
        names = [f"dancer_{number:03d}" for number in config.people]
        folder = config.media / f"{'_'.join(names)}_{config.photos}_{config.clips}"
        faces = {name: str(folder / "faces" / name) for name in names}
        found = config.model_copy(
            update={
                "faces": faces if len(names) > 1 else faces[names[0]],
                "videos": folder / "videos",
                "poses": folder / "poses",
            }
        )
        super().__init__(found)
        self.media, self.names = folder, names

    def prepare_data(self) -> None:
        """Write the media, once; then encode them."""
        if not (self.media / "about.json").exists():
            for name, number in zip(self.names, self.config.people, strict=True):
                stem = f"{name}_" if len(self.names) > 1 else ""
                write_media(self.media, name, stem, person(number), self.config.photos, self.config.clips, number)
            write_text(self.media / "about.json", json.dumps({"people": self.config.people}) + "\n")
        super().prepare_data()


def person(number: int) -> Tensor:
    """Return (3,3): the colours of a person the base never saw."""
    return people(1, torch.Generator().manual_seed(_PEOPLE_SEED + number))[0]


def write_media(folder: Path, name: str, prefix: str, who: Tensor, photos: int, count: int, seed: int) -> None:
    """Write `photos` portraits and `count` dances with poses and prompts; prefix: of the dances' names."""
    random = torch.Generator().manual_seed(10_000 + seed)
    for number in range(photos):
        portrait = _bytes(portraits(who[None], random))[0]
        write_image(folder / "faces" / name / f"photo_{number:02d}.png", portrait, mark=None)
    some = clips(count, random, who)
    videos, poses = _bytes((some.videos + 1) / 2), _bytes(some.dances.poses)
    for number, prompt in enumerate(some.prompts):
        stem = f"{prefix}dance_{number:03d}"
        _write_video(folder / "videos" / f"{stem}.mp4", videos[number])
        _write_video(folder / "poses" / f"{stem}_pose.mp4", poses[number])
        write_text(folder / "videos" / f"{stem}.txt", prompt + "\n")


def _write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    with VideoWriter(path, mark=None, fps=FPS, crf=_CRF) as writer:
        for frame in frames:
            writer.write(frame)


def _bytes(pictures: Tensor) -> Any:
    """Turn (N,3,...,H,W) in 0..1 into (N,...,H,W,3) uint8."""
    return pictures.movedim(1, -1).mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
