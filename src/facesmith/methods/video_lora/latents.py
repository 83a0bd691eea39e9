"""Latents: encoded from videos, sampled from noise with cached conditions, decoded into videos."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def encode_video(vae: Any, frames: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """Encode a video as the transformer sees it.

    Args:
        vae: Of the base.
        frames: (T,H,W,3) RGB, 0..255; T is one more than a multiple of 4.

    Returns:
        (C,F,h,w) float32 latents of unit scale.
    """
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
    with torch.no_grad():
        latents: Tensor = vae.encode(video).latent_dist.mode()
    mean, std = _statistics(vae, latents.device)
    normalized: Tensor = ((latents.float() - mean) / std)[0]
    return normalized


@torch.no_grad()
def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents, one clip after the other.

    Args:
        vae: Of the base.
        latents: (N,C,F,h,w) of unit scale.

    Returns:
        (N,T,H,W,3) RGB uint8 on the CPU.
    """
    mean, std = _statistics(vae, latents.device)
    videos = []
    for one in (latents.float() * std + mean).unsqueeze(1):
        video = vae.decode(one.to(vae.dtype), return_dict=False)[0].float()
        videos.append(((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).cpu())
    return torch.cat(videos)


def _statistics(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (1,C,1,1,1) of the VAE's latents."""
    mean, std = (
        torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


def vace_control(poses: Tensor, blank: Tensor, spatial_compression: int, references: Tensor | None = None) -> Tensor:
    """Build VACE's control for a video that is generated whole and follows poses.

    Args:
        poses: (N,C,F,h,w) latents of the pose videos.
        blank: (1,C,F,h,w) latents of an empty video.
        spatial_compression: Pixels of a latent cell's side.
        references: (N,C,R,h,w) latents of photos of who is to be seen, each a video of one frame; None: no photos.

    Returns:
        (N, 2C + spatial_compression^2, R + F, h, w): what is kept (the photos, nothing of the video), poses, and the
        mask of what is generated.
    """
    mask = poses.new_ones(len(poses), spatial_compression**2, *poses.shape[2:])
    control = torch.cat([blank.to(poses).expand_as(poses), poses, mask], 1)
    return control if references is None else add_references(control, references)


def add_references(control: Tensor, references: Tensor) -> Tensor:
    """Put photos in front of VACE's control: kept, not driven, not generated.

    Args:
        control: (N,_,F,h,w) of a video.
        references: (N,C,R,h,w) latents of photos.

    Returns:
        (N,_,R+F,h,w).
    """
    rest = references.new_zeros(len(references), control.shape[1] - references.shape[1], *references.shape[2:])
    return torch.cat([torch.cat([references, rest], 1).to(control), control], 2)


def initial_noise(shape: Sequence[int], seeds: list[int], device: torch.device) -> Tensor:
    """Draw each clip's noise from its own seed, as diffusers' pipeline does.

    Args:
        shape: Of latents, (_,C,F,h,w).
        seeds: One for each of N clips.
        device: Where the noise is needed; it is drawn on the CPU.

    Returns:
        (N,C,F,h,w) float32.
    """
    clips = [torch.randn((1, *shape[1:]), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(clips).to(device)


@torch.no_grad()
def sample_latents(
    transformer: Any,
    scheduler: Any,
    *,
    noise: Tensor,
    control: Tensor,
    text: Tensor,
    face: Mapping[str, Tensor] | None = None,
    negative: Tensor | None = None,
    cfg_scale: float = 1.0,
    steps: int,
    photos: int = 0,
    vace_scale: float = 1.0,
) -> Tensor:
    """Sample latents from noise, many clips at a time.

    Args:
        transformer: Of the base, with or without adapter.
        scheduler: Of the base; it is copied.
        noise: (N,C,F,h,w) from `initial_noise`.
        control: (N,_,F,h,w) from `vace_control`, in the transformer's type.
        text: (N,L,W) encoded prompts.
        face: `attention_kwargs` of a `FaceTransformer`.
        negative: (1,L,W) encoded negative prompt, used where `cfg_scale` is above 1.
        cfg_scale: Classifier-free guidance scale.
        steps: Of the sampler.
        photos: Reference photos in front of noise and control; they are dropped from the result.
        vace_scale: How closely the poses are followed.

    Returns:
        (N,C,F,h,w) float32.
    """
    schedule = copy.deepcopy(scheduler)
    schedule.set_timesteps(steps, device=noise.device)
    scale = control.new_full((len(transformer.config.vace_layers),), vace_scale)
    latents = noise

    def velocity(timestep: Tensor, rows: Tensor, face: Mapping[str, Tensor] | None = None) -> Tensor:
        found: Tensor = transformer(
            hidden_states=latents.to(control.dtype),
            timestep=timestep.expand(len(latents)),
            encoder_hidden_states=rows,
            control_hidden_states=control,
            control_hidden_states_scale=scale,
            attention_kwargs=None if face is None else dict(face),
            return_dict=False,
        )[0]
        return found

    for timestep in schedule.timesteps:
        flow = velocity(timestep, text, face)
        if cfg_scale > 1 and negative is not None:
            unconditional = velocity(timestep, negative.expand(len(latents), -1, -1))
            flow = unconditional + cfg_scale * (flow - unconditional)
        latents = schedule.step(flow, timestep, latents, return_dict=False)[0]
    return latents[:, :, photos:]
