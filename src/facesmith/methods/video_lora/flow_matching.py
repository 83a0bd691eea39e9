"""Flow matching: the noise levels that are trained on, and the loss."""

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers.training_utils import compute_density_for_timestep_sampling
from torch import Tensor

from facesmith.training.distributed import all_reduce_mean

TIMESTEPS = 1000  # Wan counts noise in thousandths

Density = Literal["uniform", "logit_normal"]


def sample_noise_levels(count: int, shift: float, density: Density, device: torch.device) -> Tensor:
    """Draw noise levels from torch's global generator.

    Args:
        count: N, how many.
        shift: Of `shift_noise_levels`.
        density: Distribution before the shift; diffusers' own.
        device: Where the levels are needed.

    Returns:
        (N,) noise levels in 0..1.
    """
    return shift_noise_levels(compute_density_for_timestep_sampling(density, count, 0.0, 1.0, device=device), shift)


def fixed_noise_levels(count: int, shift: float) -> Tensor:
    """Return noise levels that are comparable from run to run: the middles of equal parts of 0..1, shifted.

    Args:
        count: How many.
        shift: Of `shift_noise_levels`.

    Returns:
        (count,) in 0..1.
    """
    return shift_noise_levels((torch.arange(count) + 0.5) / count, shift)


def shift_noise_levels(levels: Tensor, shift: float) -> Tensor:
    """Shift noise levels towards more noise, as the sampler's schedule is shifted.

    diffusers does this inside its schedulers' `set_timesteps` only, for the levels of a schedule.

    Args:
        levels: Noise levels in 0..1.
        shift: 1 leaves them as they are, more moves them towards 1.
    """
    return shift * levels / (1 + (shift - 1) * levels)


def add_noise(latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """Mix latents and noise.

    diffusers' `scale_noise` does the same for the timesteps of a scheduler's table only.

    Args:
        latents: (N,C,F,h,w).
        noise: (N,C,F,h,w).
        levels: (N,); 0 gives the latents, 1 the noise.
    """
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
    """Compute the mean squared error of velocities, weighted by place and noise level; the weights' mean is 1.

    Where processes share a batch, it is that of the whole batch: the mean of their results is one process's.

    Args:
        velocity: (N,C,F,h,w), the transformer's answer.
        target: (N,C,F,h,w), noise minus latents.
        levels: (N,) noise levels in 0..1.
        heads: (N,1,F,h,w), the share 0..1 of each latent cell that shows a head.
        head_weight: How much more a cell that is all head counts; 0: no more.
        weighting: `min_snr` counts each sample as min(snr, gamma) / (snr + 1) with snr = ((1-s)/s)^2, so that nearly
            clean samples, which teach little, do not outweigh the others (Min-SNR, arXiv 2303.09556, for velocities).
            diffusers' `compute_snr` needs a DDPM's alphas, its weighting for SD3 knows no Min-SNR.
        gamma: Upper bound of the signal-to-noise ratio.
    """
    error = (velocity.float() - target.float()).square()
    if heads is not None and head_weight:
        weights = 1 + head_weight * heads.float()
        error = error * (weights / all_reduce_mean(weights.mean()))
    if weighting == "min_snr":
        levels = levels.float().clamp(1e-4, 1 - 1e-4)
        snr = ((1 - levels) / levels).square()
        weights = snr.clamp(max=gamma) / (snr + 1)
        error = error * (weights / all_reduce_mean(weights.mean())).view(-1, 1, 1, 1, 1)
    return error.mean()


def head_coverage(
    boxes: Sequence[Sequence[float]] | Tensor, size: tuple[int, int, int], factor: tuple[int, int]
) -> Tensor:
    """Compute how much of each latent cell lies inside the head boxes.

    Args:
        boxes: (T,4) left, top, right, bottom in px, NaN where no head is seen.
        size: Latent frames, height and width: F, h, w.
        factor: Frames and pixels per latent cell; the first latent frame is a single frame.

    Returns:
        (1,F,h,w) shares in 0..1.
    """
    frames, height, width = size
    times, side = factor
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    rows, columns = (torch.arange(n, dtype=torch.float32) * side for n in (height, width))

    def overlap(starts: Tensor, low: Tensor, high: Tensor) -> Tensor:
        inside = torch.minimum(starts + side, high[:, None]) - torch.maximum(starts, low[:, None])
        return inside.clamp(0, side) / side

    covered = overlap(rows, boxes[:, 1], boxes[:, 3])[:, :, None] * overlap(columns, boxes[:, 0], boxes[:, 2])[:, None]
    covered = covered.nan_to_num(0.0)
    later = covered[1:].view(frames - 1, times, height, width).mean(1)
    return torch.cat([covered[:1], later])[None]
