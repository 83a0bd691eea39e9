"""A small video codec that replaces Wan's VAE."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn
from torch.nn import functional

SIDE = 8  # px a latent cell
TIMES = 4  # frames per latent frame; the first is a single frame


class Refiner(nn.Module):
    """Guesses what the components miss of a block, from the latents around it; untrained, it adds nothing.

    Args:
        channels: Of a latent.
        width: Of the hidden layers.
        size: Numbers of a block.
    """

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, size, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        layers: list[nn.Module] = []
        for taken in (3 * channels, width, width):
            layers += [nn.Conv2d(taken, width, 3, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers, last).requires_grad_(False)

    def forward(self, latents: Tensor) -> Tensor:
        """Turn (N,C,F,h,w) latents of unit variance into (N,size,F,h,w)."""
        times = functional.pad(latents.transpose(1, 2), (0, 0, 0, 0, 0, 0, 1, 1))
        context = torch.cat([times[:, :-2], times[:, 1:-1], times[:, 2:]], 2)  # a latent frame and those beside it
        found: Tensor = self.layers(context.flatten(0, 1))
        return found.view(*context.shape[:2], *found.shape[1:]).transpose(1, 2)


class BlockVideoCodec(ModelMixin, ConfigMixin):
    """Principal components of blocks of 4 frames by 8x8 px, with the interface of diffusers' video autoencoders.

    Latents are (N, z_dim, 1 + (T-1)/4, H/8, W/8). Encoding is linear; to what decodes linearly, a small net of
    `refiner_width` channels adds what the components cannot hold, looking at neighbouring cells (0: no net). A
    diffusers pipeline folder that names this class loads once this module is imported.

    Args:
        z_dim: Channels of a latent.
        refiner_width: Channels of the net.
        temperal_downsample: As diffusers spells it: which of the halvings in space are halvings in time too.
        latents_mean: Of each channel.
        latents_std: Of each channel.
    """

    config_name: Any = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 24,
        refiner_width: int = 0,
        temperal_downsample: Sequence[bool] = (False, True, True),
        latents_mean: Sequence[float] = (),
        latents_std: Sequence[float] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.temperal_downsample = list(temperal_downsample)
        size = 3 * TIMES * SIDE * SIDE
        self.basis = nn.Parameter(torch.zeros(size, z_dim), requires_grad=False)
        self.middle = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.refiner = Refiner(z_dim, refiner_width, size) if refiner_width else None

    @property
    def spread(self) -> Tensor:
        """The latents' standard deviations, (1,z_dim,1,1,1)."""
        config: Any = self.config
        return torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)

    def encode(self, video: Tensor, return_dict: bool = True) -> Any:
        """Encode videos into a distribution of no width.

        Args:
            video: (N,3,T,H,W) in -1..1, T = 4n+1.
            return_dict: As of diffusers' autoencoders.
        """
        latents = ((cut_blocks(video) - self.middle) @ self.basis).permute(0, 4, 1, 2, 3)
        narrow = torch.full_like(latents, -30.0)
        found = DiagonalGaussianDistribution(torch.cat([latents, narrow], 1).contiguous(), deterministic=True)
        return AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    def decode(self, latents: Tensor, return_dict: bool = True) -> Any:
        """Decode latents into videos (N,3,T,H,W) in -1..1.

        Args:
            latents: (N,z_dim,F,H/8,W/8).
            return_dict: As of diffusers' autoencoders.
        """
        video = _join_blocks(self.decode_blocks(latents)).clamp(-1, 1)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def decode_blocks(self, latents: Tensor) -> Tensor:
        """Decode latents into blocks (N,F,H/8,W/8,768), not yet clamped."""
        blocks = latents.permute(0, 2, 3, 4, 1) @ self.basis.T + self.middle
        if self.refiner is None:
            return blocks
        added: Tensor = self.refiner(latents / self.spread.to(latents))
        return blocks + added.permute(0, 2, 3, 4, 1)

    @classmethod
    def fit(cls, videos: Sequence[Tensor], z_dim: int, whitening: float, refiner_width: int) -> Self:
        """Fit the components to videos; the refiner still adds nothing.

        Args:
            videos: (N,3,T,H,W) in -1..1 each.
            z_dim: Components that are kept.
            whitening: 0 leaves components as strong as they are in pixels, 1 makes all equally strong to the
                transformer.
            refiner_width: Channels of the net.
        """
        blocks = torch.cat([cut_blocks(video).flatten(0, 3) for video in videos])
        middle = blocks.mean(0)
        values, vectors = torch.linalg.eigh((blocks - middle).T @ (blocks - middle) / len(blocks))
        spread = values.flip(0)[:z_dim].clamp_min(1e-8).sqrt()
        scale = spread**whitening * spread.pow(2 - 2 * whitening).mean().sqrt()
        codec = cls(z_dim, refiner_width, latents_mean=[0.0] * z_dim, latents_std=[round(float(s), 6) for s in scale])
        codec.basis.data.copy_(vectors.flip(1)[:, :z_dim])
        codec.middle.data.copy_(middle)
        return codec


def cut_blocks(video: Tensor) -> Tensor:
    """Cut videos (N,3,T,H,W) into blocks (N,F,H/8,W/8,768); the first frame fills a block alone."""
    video = torch.cat([video[:, :, :1].expand(-1, -1, TIMES, -1, -1), video[:, :, 1:]], 2)
    count, _, frames, height, width = video.shape
    cut = video.view(count, 3, frames // TIMES, TIMES, height // SIDE, SIDE, width // SIDE, SIDE)
    return cut.permute(0, 2, 4, 6, 3, 1, 5, 7).flatten(4)


def _join_blocks(blocks: Tensor) -> Tensor:
    count, frames, rows, columns, _ = blocks.shape
    cut = blocks.view(count, frames, rows, columns, TIMES, 3, SIDE, SIDE).permute(0, 5, 1, 4, 2, 6, 3, 7)
    video = cut.reshape(count, 3, frames * TIMES, rows * SIDE, columns * SIDE)
    return torch.cat([video[:, :, :TIMES].mean(2, keepdim=True), video[:, :, TIMES:]], 2)
