"""What a drawn video is measured by."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.faces.face import Analyzer
from facesmith.media.sampling import evenly_spaced
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.flow_matching import flow_loss, noised, quantile_levels
from facesmith.methods.video_lora.identities import References
from facesmith.methods.video_lora.poses import PoseLandmarker, agreement
from facesmith.methods.video_lora.sampling import decoded, sampled, start_noise

Frames = NDArray[np.uint8]


class JudgesVideos(Protocol):
    """Something that finds heads and compares drawn videos with what was wanted; frames are (T,H,W,3) RGB uint8."""

    def boxes(self, frames: Frames, poses: Frames) -> NDArray[np.float32]:
        """Return (T,4) head boxes, left, top, right, bottom in px, NaN where none is seen."""
        ...

    def figures(self, frames: Frames, truth: Frames, poses: Frames, references: References) -> dict[str, float]:
        """Return figures by name, `likeness` among them: what of the person and of the dance is in drawn frames."""
        ...

    def close(self) -> None:
        """Return native sessions back."""
        ...


def flicker(frames: Frames) -> float:
    """Mean absolute second difference along time, in levels of 255: 0 for anything that moves evenly."""
    if len(frames) < 3:
        return 0.0
    levels = frames.astype(np.int16)
    return float(np.abs(levels[2:] - 2 * levels[1:-1] + levels[:-2]).mean())


class FaceJudge:
    """Judges real people with the analyzer's recogniser; the photos must have been read by the same.

    every: how many frames apart faces are looked for; boxes in between are interpolated.
    """

    def __init__(self, *, analyzer: Callable[[], Analyzer], every: int) -> None:
        self._make, self._every = analyzer, every
        self._found: Analyzer | None = None

    @property
    def _analyzer(self) -> Analyzer:
        if self._found is None:
            self._found = self._make()
        return self._found

    def boxes(self, frames: Frames, poses: Frames) -> NDArray[np.float32]:
        """Find the largest face every few frames and interpolate in between."""
        at = np.arange(0, len(frames), self._every)
        seen = [(int(t), self._analyzer.detect(frames[t])) for t in at]
        found = {t: max(each, key=lambda d: d.side).box for t, each in seen if each}
        boxes = np.full((len(frames), 4), np.nan, np.float32)
        if found:
            times = np.array(sorted(found))
            known = np.stack([found[int(t)] for t in times])
            near = np.abs(np.arange(len(frames))[:, None] - times).min(1) < self._every
            for side in range(4):
                boxes[near, side] = np.interp(np.flatnonzero(near), times, known[:, side])
        return boxes

    def figures(self, frames: Frames, truth: Frames, poses: Frames, references: References) -> dict[str, float]:
        """Return mean similarity of the faces that are found, the share of frames with one, and of limbs in place."""
        wanted = references.recognised
        faces = [self._analyzer(frame) for frame in frames[:: self._every]]
        likeness = [max(float(face.embedding @ wanted) for face in each) for each in faces if each]
        found = len(likeness) / len(faces)
        return {
            "likeness": float(np.mean(likeness)) if likeness else 0.0,
            "faces_found": found,
            "pose_agreement": agreement(_points(frames[:: self._every]), _points(truth[:: self._every])),
        }

    def close(self) -> None:
        """Return the native sessions back."""
        if self._found is not None:
            self._found.close()
            self._found = None


def _points(frames: Frames) -> list[NDArray[np.float32] | None]:
    with closing(PoseLandmarker()) as landmarker:
        return [landmarker(frame, 100 * number) for number, frame in enumerate(frames)]


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
        """Return the flow loss of a clip with its face tokens at noise levels that never change, and their mean.

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
        at = evenly_spaced(len(truth), _SHOWN, ends=True)
        rows = [np.concatenate(list(video[at]), 1) for video in (poses, truth, *videos)]
        self._rows.append(np.concatenate(rows, 0))

    def take(self) -> dict[str, float]:
        """Return the means of all figures since the last time."""
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
        """Return frames of the clips drawn last: poses, truth, then one row a face scale."""
        return self._last

    def taken_videos(self) -> list[tuple[str, Frames]]:
        """Give name and frames, reference, poses and drawing side by side of videos drawn since the last time."""
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
