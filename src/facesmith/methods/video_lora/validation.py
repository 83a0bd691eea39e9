"""What validation measures and shows: the loss at fixed noise levels, drawn videos, and what a judge says of them."""

from collections import defaultdict
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.flow import flow_loss, noised, quantile_levels
from facesmith.methods.video_lora.judging import flicker
from facesmith.methods.video_lora.sampling import decoded, sampled, start_noise

Frames = NDArray[np.uint8]
_SHOWN = 5  # frames of a video in the still picture


class Validation:
    """Gathers figures and pictures of one validation after the other. settings: of `ValidationSettings`."""

    def __init__(self, base: Base, settings: dict[str, Any], shift: float) -> None:
        self._base, self._settings = base, settings
        self._levels = quantile_levels(settings["quantiles"], shift)
        self._figures: dict[str, list[float]] = defaultdict(list)
        self._videos: list[tuple[str, Frames]] = []
        self._rows: list[Frames] = []
        self._last: Frames = np.zeros((8, 8, 3), np.uint8)

    @torch.no_grad()
    def losses(self, module: Any, batch: Batch) -> dict[str, float]:
        """Give the flow loss of a clip with its face tokens at noise levels that never change, and their mean.

        `loss_q0` is that at the least noise.
        """
        latents, told = batch["latents"], module.told(batch, 1.0)
        found = []
        for number, level in enumerate(self._levels):
            noise = start_noise(latents.shape, [number], latents.device)
            levels = level.expand(len(latents)).to(latents.device)
            mixed = noised(latents, noise, levels)
            velocity = module._velocity(mixed, levels, told, batch["control"])
            found.append(float(flow_loss(velocity, noise - latents, levels)))
        return {"loss": float(np.mean(found)), **{f"loss_q{number}": one for number, one in enumerate(found)}}

    def add(self, figures: dict[str, float]) -> None:
        """Keep figures of one clip."""
        for name, value in figures.items():
            self._figures[name].append(value)

    @torch.no_grad()
    def draw(self, module: Any, batch: Batch, data: Any) -> None:
        """Draw the clip at every face scale, judge what comes out, and keep it to be shown."""
        settings, number = self._settings, int(batch["index"])
        truth, poses = data.frames(number)
        photos = data.dancer(number)
        scales = settings["face_scales"]
        videos = self._drawn(module, batch, data.negative, scales)
        for scale, frames in zip(scales, videos, strict=True):
            mark = "" if scale == 1 else f"_face_scale_{scale:g}"
            figures = data.judge.figures(frames, truth, poses, photos)
            self.add({f"{name}{mark}": value for name, value in figures.items()})
            if scale == 1:
                self.add({"flicker": flicker(frames)})
        reference = _beside(photos.picture.numpy(), truth.shape[1])
        still = np.broadcast_to(reference, (len(truth), *reference.shape))
        name = data.validated[number].name
        self._videos.append((name, np.concatenate([still, poses, videos[-1]], 2)))
        at = np.linspace(0, len(truth) - 1, min(_SHOWN, len(truth))).round().astype(int)
        rows = [np.concatenate(list(video[at]), 1) for video in (poses, truth, *videos)]
        self._rows.append(np.concatenate(rows, 0))

    def take(self) -> dict[str, float]:
        """Give the means of all figures since the last time."""
        figures = {name: float(np.mean(values)) for name, values in self._figures.items()}
        self._figures.clear()
        if self._rows:
            width = max(row.shape[1] for row in self._rows)
            self._last = np.concatenate(
                [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in self._rows], 0
            )
            self._rows = []
        return figures

    def picture(self) -> Frames:
        """Give frames of the clips drawn last: poses, truth, then one row a face scale."""
        return self._last

    def taken_videos(self) -> list[tuple[str, Frames]]:
        """Give name and frames, reference, poses and drawing side by side, of the videos drawn since the last time."""
        videos, self._videos = self._videos, []
        return videos

    def _drawn(self, module: Any, batch: Batch, negative: Tensor, scales: list[float]) -> list[Frames]:
        settings, dtype = self._settings, module.transformer.dtype
        told = module.told(
            {name: batch[name].expand(len(scales), *batch[name].shape[1:]) for name in ("text", "face")},
            torch.tensor(scales),
        )
        text: Tensor = told["encoder_hidden_states"]
        shape = batch["latents"].shape
        latents = sampled(
            module.transformer,
            self._base.scheduler(),
            noise=start_noise(shape, [settings["seed"]] * len(scales), batch["latents"].device),
            control=batch["control"].to(dtype).expand(len(scales), -1, -1, -1, -1),
            text=text.to(dtype),
            face=told.get("attention_kwargs"),
            negative=negative[None].to(text.device, dtype),
            cfg_scale=settings["cfg_scale"],
            steps=settings["steps"],
        )
        codec = self._base.codec().to(latents.device)
        return list(decoded(codec, latents).numpy())


def _beside(picture: Frames, height: int) -> Frames:
    """Scale a picture to stand beside frames of a height."""
    width = max(2, round(picture.shape[1] * height / picture.shape[0] / 2) * 2)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
