"""Drawing latents with cached conditions, many at a time."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def control_of(steer: Tensor, blank: Tensor, side: int) -> Tensor:
    """Return VACE's control (N,2C+side^2,F,h,w): nothing is kept, everything is drawn anew, steered by the poses.

    steer: (N,C,F,h,w) latents of the pose videos. blank: (1,C,F,h,w), those of an empty one.
    """
    mask = steer.new_ones(len(steer), side * side, *steer.shape[2:])
    return torch.cat([blank.to(steer).expand_as(steer), steer, mask], 1)


def start_noise(shape: torch.Size | tuple[int, ...], seeds: list[int], device: torch.device) -> Tensor:
    """Return (N,C,F,h,w) noise, each clip's from its own seed, as diffusers' pipeline draws it."""
    return torch.cat([torch.randn((1, *shape[1:]), generator=torch.Generator().manual_seed(s)) for s in seeds]).to(
        device
    )


@torch.no_grad()
def sampled(
    transformer: Any,
    scheduler: Any,
    *,
    noise: Tensor,
    control: Tensor,
    text: Tensor,
    face: Mapping[str, Tensor] | None = None,
    negative: Tensor | None = None,
    cfg_scale: float = 1.0,
    vace_scale: float = 1.0,
    steps: int,
) -> Tensor:
    """Draw latents (N,C,F,h,w) from noise.

    text: (N,L,W), what the words are. face: `attention_kwargs` of a `FaceTransformer`. negative: (1,L,W), used where
    cfg_scale is above 1.
    """
    schedule = copy.deepcopy(scheduler)
    schedule.set_timesteps(steps, device=noise.device)
    scale = control.new_full((len(transformer.config.vace_layers),), vace_scale)
    latents = noise
    for moment in schedule.timesteps:

        def velocity(
            rows: Tensor,
            seen: Mapping[str, Tensor] | None = None,
            latents: Tensor = latents,
            moment: Tensor = moment,
        ) -> Tensor:
            found: Tensor = transformer(
                hidden_states=latents.to(control.dtype),
                timestep=moment.expand(len(latents)),
                encoder_hidden_states=rows,
                control_hidden_states=control,
                control_hidden_states_scale=scale,
                attention_kwargs=None if seen is None else dict(seen),
                return_dict=False,
            )[0]
            return found

        flow = velocity(text, face)
        if cfg_scale > 1 and negative is not None:
            away = velocity(negative.expand(len(latents), -1, -1))
            flow = away + cfg_scale * (flow - away)
        latents = schedule.step(flow, moment, latents, return_dict=False)[0]
    return latents


@torch.no_grad()
def decoded(codec: Any, latents: Tensor) -> Tensor:
    """Decode (N,C,F,h,w) latents into videos (N,T,H,W,3) uint8, on the CPU, one after the other."""
    mean, spread = (
        torch.tensor(values, device=latents.device).view(1, -1, 1, 1, 1)
        for values in (codec.config.latents_mean, codec.config.latents_std)
    )
    videos = []
    for one in (latents.float() * spread + mean).unsqueeze(1):
        video = codec.decode(one.to(codec.dtype), return_dict=False)[0].float()
        videos.append(((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).cpu())
    return torch.cat(videos)
