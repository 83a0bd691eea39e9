"""One validation: losses at fixed noise levels, generated clips, their metrics, and pictures of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.media.sampling import evenly_spaced
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.config import PHOTO_SUFFIXES, VACE_SUFFIX
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.evaluation import VideoEvaluator, flicker
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.flow_matching import add_noise, fixed_noise_levels, flow_loss
from facesmith.methods.video_lora.latents import add_references, decode_latents, initial_noise, sample_latents

Frames = NDArray[np.uint8]

_FRAMES_SHOWN = 5  # of each video in the overview


@dataclass(frozen=True)
class ValidationClip:
    """A held-out clip as it was filmed.

    Attributes:
        name: Of the clip.
        frames: (T,H,W,3) RGB uint8 of the dance.
        poses: (T,H,W,3) RGB uint8 of its pose video.
        person: Who dances.
    """

    name: str
    frames: Frames
    poses: Frames
    person: FaceEmbeddings


class FaceModel(Protocol):
    """What is validated: an adapted transformer; its methods are those of `VideoLoraModule`."""

    transformer: Any

    def conditioning(self, batch: Batch, face_scale: Tensor | float) -> dict[str, Any]:
        """Build the transformer's arguments, see `VideoLoraModule.conditioning`."""
        ...

    def velocity(self, noisy: Tensor, levels: Tensor, conditioning: dict[str, Any], control: Tensor) -> Tensor:
        """Predict noise minus latents, (N,C,F,h,w), see `VideoLoraModule.velocity`."""
        ...


class Validation:
    """Collects metrics and pictures of one validation after the other.

    Args:
        base: Whose sampler and VAE generate.
        quantiles: Noise levels at which the loss is measured.
        shift: Of the noise levels.
        steps: Of the sampler.
        cfg_scale: Classifier-free guidance scale.
        face_scales: Scales of the face tokens, one generated video each.
        vace_scale: How closely one more video follows the poses; None: no such video.
        references: Reference photos of two more videos, with face tokens and without; 0: no such videos.
        seed: Of the initial noise.
    """

    def __init__(
        self,
        base: Base,
        *,
        quantiles: int,
        shift: float,
        steps: int,
        cfg_scale: float,
        face_scales: Sequence[float],
        vace_scale: float | None,
        references: int,
        seed: int,
    ) -> None:
        self._base, self._levels = base, fixed_noise_levels(quantiles, shift)
        self._steps, self._cfg_scale, self._seed = steps, cfg_scale, seed
        self._face_scales, self._vace_scale, self._references = list(face_scales), vace_scale, references
        self._metrics: dict[str, list[float]] = defaultdict(list)
        self._videos: list[tuple[str, Frames]] = []
        self._rows: list[Frames] = []
        self._overview: Frames = np.zeros((8, 8, 3), np.uint8)

    @torch.no_grad()
    def add_losses(self, model: FaceModel, batch: Batch) -> None:
        """Add the flow loss of a clip with its face tokens, at noise and noise levels that never change.

        `loss_q0` is that at the least noise, `loss` their mean.

        Args:
            model: What is validated.
            batch: Of one clip.
        """
        latents, conditioning = batch["latents"], model.conditioning(batch, 1.0)
        losses = []
        for number, level in enumerate(self._levels):
            noise = initial_noise(latents.shape, [number], latents.device)
            levels = level.expand(len(latents)).to(latents.device)
            velocity = model.velocity(add_noise(latents, noise, levels), levels, conditioning, batch["control"])
            losses.append(float(flow_loss(velocity, noise - latents, levels)))
        self._add({"loss": float(np.mean(losses)), **{f"loss_q{number}": loss for number, loss in enumerate(losses)}})

    @torch.no_grad()
    def add_videos(
        self, model: FaceModel, batch: Batch, clip: ValidationClip, negative: Tensor, evaluator: VideoEvaluator
    ) -> None:
        """Generate a clip at every face scale, with looser poses and with photos; add the metrics, and keep it.

        Args:
            model: What is validated.
            batch: Of the clip.
            clip: As it was filmed.
            negative: (L,W) encoded negative prompt.
            evaluator: Computes the metrics.
        """
        videos = self._generate(model, batch, negative, self._face_scales, None)
        suffixes = ["" if scale == 1 else f"_face_scale_{scale:g}" for scale in self._face_scales]
        shown = videos[-1]
        if self._vace_scale is not None:
            videos += self._generate(model, batch, negative, [1.0], None, self._vace_scale)
            suffixes.append(VACE_SUFFIX.format(self._vace_scale))
        if self._references and "references" in batch:
            photos = batch["references"][:, :, : self._references]
            videos += self._generate(model, batch, negative, [1.0, 0.0], photos)
            suffixes += PHOTO_SUFFIXES
        for suffix, frames in zip(suffixes, videos, strict=True):
            metrics = evaluator.evaluate(frames, clip.frames, clip.poses, clip.person)
            self._add({f"{name}{suffix}": value for name, value in metrics.items()})
            if not suffix:
                self._add({"flicker": flicker(frames)})
        reference = _scale_to_height(clip.person.picture.numpy(), clip.frames.shape[1])
        still = np.broadcast_to(reference, (len(clip.frames), *reference.shape))
        self._videos.append((clip.name, np.concatenate([still, clip.poses, shown], 2)))
        at = evenly_spaced(len(clip.frames), _FRAMES_SHOWN, ends=True)
        rows = [np.concatenate(list(video[at]), 1) for video in (clip.poses, clip.frames, *videos)]
        self._rows.append(np.concatenate(rows, 0))

    def pop_metrics(self) -> dict[str, float]:
        """Return the means of all metrics since the last call, and make an overview of the clips."""
        metrics = {name: float(np.mean(values)) for name, values in self._metrics.items()}
        self._metrics.clear()
        if self._rows:
            width = max(row.shape[1] for row in self._rows)
            padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in self._rows]
            self._overview, self._rows = np.concatenate(padded, 0), []
        return metrics

    def pop_videos(self) -> list[tuple[str, Frames]]:
        """Return name and frames (T,H,W,3) of the videos since the last call: reference, poses, generated."""
        videos, self._videos = self._videos, []
        return videos

    def overview(self) -> Frames:
        """Return some frames (H,W,3) RGB uint8 of the last clips: poses, truth, then one row for each video."""
        return self._overview

    def _add(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics[name].append(value)

    def _generate(
        self,
        model: FaceModel,
        batch: Batch,
        negative: Tensor,
        scales: Sequence[float],
        photos: Tensor | None,
        vace_scale: float = 1.0,
    ) -> list[Frames]:
        """Generate a clip once for each scale of the face tokens, behind photos (1,C,R,h,w) where they are given."""
        count, dtype = len(scales), model.transformer.dtype
        control, shape = batch["control"], list(batch["latents"].shape)
        if photos is not None:
            control = add_references(control, photos)
            shape[2] += photos.shape[2]
        conditioning = model.conditioning(
            {name: batch[name].expand(count, *batch[name].shape[1:]) for name in ("text", "face")},
            torch.tensor(scales),
        )
        text: Tensor = conditioning["encoder_hidden_states"]
        latents = sample_latents(
            model.transformer,
            self._base.load_scheduler(),
            noise=initial_noise(shape, [self._seed] * count, batch["latents"].device),
            control=control.to(dtype).expand(count, -1, -1, -1, -1),
            text=text.to(dtype),
            face=conditioning.get("attention_kwargs"),
            negative=negative[None].to(text.device, dtype),
            cfg_scale=self._cfg_scale,
            steps=self._steps,
            photos=0 if photos is None else photos.shape[2],
            vace_scale=vace_scale,
        )
        vae = self._base.load_vae().to(latents.device)
        return list(decode_latents(vae, latents).numpy())


def _scale_to_height(picture: Frames, height: int) -> Frames:
    width = max(2, round(picture.shape[1] * height / picture.shape[0] / 2) * 2)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
