"""Flow matching: what is asked of the transformer, and how much each answer counts."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

TIMESTEPS = 1000  # Wan counts noise in thousandths


def shifted(uniform: Tensor, shift: float) -> Tensor:
    """Bend uniform noise levels 0..1 towards more noise, as the sampler's schedule is bent."""
    return shift * uniform / (1 + (shift - 1) * uniform)


def draw_levels(count: int, shift: float, density: Literal["uniform", "logit_normal"], device: torch.device) -> Tensor:
    """Draw (N,) noise levels in 0..1 from torch's global generator."""
    if density == "logit_normal":
        return shifted(torch.sigmoid(torch.randn(count, device=device)), shift)
    return shifted(torch.rand(count, device=device), shift)


def quantile_levels(count: int, shift: float) -> Tensor:
    """Return (count,) fixed noise levels, the middles of equal parts: comparable from run to run."""
    return shifted((torch.arange(count) + 0.5) / count, shift)


def noised(latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """Mix (N,C,F,H,W) latents and noise at (N,) levels, 0 the latents and 1 the noise."""
    mix = levels.view(-1, 1, 1, 1, 1).to(latents)
    return (1 - mix) * latents + mix * noise


def flow_loss(
    velocity: Tensor,
    target: Tensor,
    levels: Tensor,
    *,
    heads: Tensor | None = None,
    head_weight: float = 0.0,
    weighting: Literal["none", "min_snr"] = "none",
    gamma: float = 5.0,
) -> Tensor:
    """Mean squared error of (N,C,F,H,W) velocities, weighed by place and noise level; the weights' mean is 1.

    heads: (N,1,F,H,W), the share 0..1 of each latent cell that shows a head, counted 1 + head_weight times as much.
    min_snr: each sample counts as min(snr, gamma) / (snr + 1) with snr = ((1-s)/s)^2, so that nearly clean ones, which
    teach little, do not drown the others.
    """
    error = (velocity.float() - target.float()).square()
    if heads is not None and head_weight:
        weights = 1 + head_weight * heads.float()
        error = error * (weights / weights.mean())
    if weighting == "min_snr":
        levels = levels.float().clamp(1e-4, 1 - 1e-4)
        snr = ((1 - levels) / levels).square()
        weights = snr.clamp(max=gamma) / (snr + 1)
        error = error * (weights / weights.mean()).view(-1, 1, 1, 1, 1)
    return error.mean()


def latent_heads(
    boxes: Sequence[Sequence[float]] | Tensor, size: tuple[int, int, int], factor: tuple[int, int]
) -> Tensor:
    """Return (1,F,H,W): how much of each latent cell lies inside a frame's head box.

    boxes: (T,4) left, top, right, bottom in px, NaN where no head is seen. size: latent frames, height and width.
    factor: frames and pixels per latent cell; the first latent frame stands for one frame.
    """
    frames, height, width = size
    times, side = factor
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    rows, columns = (torch.arange(n, dtype=torch.float32) * side for n in (height, width))

    def overlap(starts: Tensor, low: Tensor, high: Tensor) -> Tensor:
        inside = torch.minimum(starts + side, high[:, None]) - torch.maximum(starts, low[:, None])
        return inside.clamp(0, side) / side

    shown = overlap(rows, boxes[:, 1], boxes[:, 3])[:, :, None] * overlap(columns, boxes[:, 0], boxes[:, 2])[:, None]
    shown = shown.nan_to_num(0.0)
    later = shown[1:].view(frames - 1, times, height, width).mean(1)
    return torch.cat([shown[:1], later])[None]
