"""`ToyWanDataModule`: media of procedural people, as a user would bring them: photos, dances, poses, prompts."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.files import write_text
from facesmith.media.images import write_image
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.data import VideoLoraDataModule
from facesmith.methods.video_lora.toy_wan.config import ToyWanDataModuleConfig
from facesmith.methods.video_lora.toy_wan.world import render_portraits, sample_clips, sample_people

FPS = 8.0
_PEOPLE_SEED = 4242  # none of these people was in the base's training set
_CRF = 4


class ToyWanDataModule(VideoLoraDataModule):
    """Writes photos and dances of procedural people, then reads them like anybody's.

    Args:
        config: Of the data.
    """

    config: ToyWanDataModuleConfig

    def __init__(self, config: ToyWanDataModuleConfig) -> None:
        names = [f"dancer_{number:03d}" for number in config.people]
        folder = config.media / f"{'_'.join(names)}_{config.photos}_{config.clips}"
        faces = {name: str(folder / "faces" / name) for name in names}
        complete = config.model_copy(
            update={
                "faces": faces if len(names) > 1 else faces[names[0]],
                "videos": folder / "videos",
                "poses": folder / "poses",
            }
        )
        super().__init__(complete)
        self.media, self.names = folder, names

    def prepare_data(self) -> None:
        """Write the media, once; then encode them."""
        if not (self.media / "about.json").exists():
            for name, number in zip(self.names, self.config.people, strict=True):
                stem = f"{name}_" if len(self.names) > 1 else ""
                write_media(self.media, name, stem, demo_person(number), self.config.photos, self.config.clips, number)
            write_text(self.media / "about.json", json.dumps({"people": self.config.people}) + "\n")
        super().prepare_data()


def demo_person(number: int) -> Tensor:
    """Return (3,3), the colours of a person the base has never seen."""
    return sample_people(1, torch.Generator().manual_seed(_PEOPLE_SEED + number))[0]


def write_media(folder: Path, name: str, prefix: str, who: Tensor, photos: int, count: int, seed: int) -> None:
    """Write portraits, and dances with poses and prompts.

    Args:
        folder: Where they go.
        name: Of the person.
        prefix: Of the dances' names.
        who: (3,3), the person's colours.
        photos: How many.
        count: Of dances.
        seed: Of both.
    """
    random = torch.Generator().manual_seed(10_000 + seed)
    for number in range(photos):
        portrait = _to_bytes(render_portraits(who[None], random))[0]
        write_image(folder / "faces" / name / f"photo_{number:02d}.png", portrait, mark=None)
    some = sample_clips(count, random, who)
    videos, poses = _to_bytes((some.videos + 1) / 2), _to_bytes(some.dances.poses)
    for number, prompt in enumerate(some.prompts):
        stem = f"{prefix}dance_{number:03d}"
        _write_video(folder / "videos" / f"{stem}.mp4", videos[number])
        _write_video(folder / "poses" / f"{stem}_pose.mp4", poses[number])
        write_text(folder / "videos" / f"{stem}.txt", prompt + "\n")


def _write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    with VideoWriter(path, mark=None, fps=FPS, crf=_CRF) as writer:
        for frame in frames:
            writer.write(frame)


def _to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Turn (N,3,...,H,W) in 0..1 into (N,...,H,W,3) uint8."""
    pixels: NDArray[np.uint8] = pictures.movedim(1, -1).mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
