"""A fixed linear video codec that stands where Wan's VAE stands."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

SIDE = 8  # px a latent cell
TIMES = 4  # frames a latent frame; the first stands for one


class LinearVideoCodec(ModelMixin, ConfigMixin):
    """Principal components of blocks of 4 frames by 8x8 px, with the interface of diffusers' video autoencoders.

    Latents are (N, z_dim, 1 + (T-1)/4, H/8, W/8). A diffusers pipeline folder that names this class loads once
    `facesmith.video_lora.tiny.codec` is imported.
    """

    config_name: Any = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 24,
        temperal_downsample: Sequence[bool] = (False, True, True),
        latents_mean: Sequence[float] = (),
        latents_std: Sequence[float] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.temperal_downsample = list(temperal_downsample)
        size = 3 * TIMES * SIDE * SIDE
        self.basis = nn.Parameter(torch.zeros(size, z_dim), requires_grad=False)
        self.middle = nn.Parameter(torch.zeros(size), requires_grad=False)

    def encode(self, video: Tensor, return_dict: bool = True) -> Any:
        """Encode (N,3,T,H,W) in -1..1, T = 4n+1, into a distribution without spread."""
        latents = ((_blocks(video) - self.middle) @ self.basis).permute(0, 4, 1, 2, 3)
        narrow = torch.full_like(latents, -30.0)
        found = DiagonalGaussianDistribution(torch.cat([latents, narrow], 1).contiguous(), deterministic=True)
        return AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    def decode(self, latents: Tensor, return_dict: bool = True) -> Any:
        """Decode latents into (N,3,T,H,W) in -1..1."""
        video = _video(latents.permute(0, 2, 3, 4, 1) @ self.basis.T + self.middle).clamp(-1, 1)
        return DecoderOutput(sample=video) if return_dict else (video,)

    @classmethod
    def fitted(cls, videos: Sequence[Tensor], z_dim: int, whitening: float) -> Self:
        """Fit to videos (N,3,T,H,W).

        whitening: 0 leaves components as strong as they are in pixels, 1 makes all equally strong to the transformer.
        """
        blocks = torch.cat([_blocks(video).flatten(0, 3) for video in videos])
        middle = blocks.mean(0)
        values, vectors = torch.linalg.eigh((blocks - middle).T @ (blocks - middle) / len(blocks))
        spread = values.flip(0)[:z_dim].clamp_min(1e-8).sqrt()
        scale = spread**whitening * spread.pow(2 - 2 * whitening).mean().sqrt()
        codec = cls(z_dim=z_dim, latents_mean=[0.0] * z_dim, latents_std=[round(float(s), 6) for s in scale])
        codec.basis.data.copy_(vectors.flip(1)[:, :z_dim])
        codec.middle.data.copy_(middle)
        return codec


def _blocks(video: Tensor) -> Tensor:
    """Cut (N,3,T,H,W) into (N,F,H/8,W/8,768); the first frame fills a block alone."""
    video = torch.cat([video[:, :, :1].expand(-1, -1, TIMES, -1, -1), video[:, :, 1:]], 2)
    count, _, frames, height, width = video.shape
    cut = video.view(count, 3, frames // TIMES, TIMES, height // SIDE, SIDE, width // SIDE, SIDE)
    return cut.permute(0, 2, 4, 6, 3, 1, 5, 7).flatten(4)


def _video(blocks: Tensor) -> Tensor:
    count, frames, rows, columns, _ = blocks.shape
    cut = blocks.view(count, frames, rows, columns, TIMES, 3, SIDE, SIDE).permute(0, 5, 1, 4, 2, 6, 3, 7)
    video = cut.reshape(count, 3, frames * TIMES, rows * SIDE, columns * SIDE)
    return torch.cat([video[:, :, :TIMES].mean(2, keepdim=True), video[:, :, TIMES:]], 2)
