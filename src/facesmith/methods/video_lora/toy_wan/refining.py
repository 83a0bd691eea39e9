"""Training the net that refines what the tiny world's codec decodes."""

import math

import torch

from facesmith.methods.video_lora.toy_wan.codec import BlockVideoCodec, cut_blocks
from facesmith.methods.video_lora.toy_wan.dancers import Dances
from facesmith.methods.video_lora.toy_wan.world import clips

_BATCH = 8
_LR = 2e-3
_WARMUP = 0.05
_NOISE = 0.3  # of a latent's spread, at most: drawn latents are never quite right, and grain must not be kept
_POSES = 0.125  # of the clips: pose drawings are decoded too, when somebody looks at them


def refine(codec: BlockVideoCodec, motions: Dances, steps: int, seed: int) -> None:
    """Train the codec's refiner on clips of a pool of motions, encoded and a little disturbed."""
    assert codec.refiner is not None
    codec.refiner.requires_grad_(True)
    spread = codec.spread
    optimizer = torch.optim.AdamW(codec.refiner.parameters(), _LR, weight_decay=0.01, fused=True)
    for step in range(steps):
        random = torch.Generator().manual_seed(seed * 1_000_003 + step + 1)
        rate = min(1.0, (step + 1) / (_WARMUP * steps)) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = _LR * rate
        some = clips(_BATCH, random, motions=motions)
        posed = torch.rand(_BATCH, 1, 1, 1, 1, generator=random) < _POSES
        videos = torch.where(posed, some.dances.poses * 2 - 1, some.videos)
        with torch.no_grad():
            latents = codec.encode(videos).latent_dist.mode()
            level = torch.rand(_BATCH, 1, 1, 1, 1, generator=random) * _NOISE
            latents = latents + level * spread * torch.randn(latents.shape, generator=random)
        loss = (codec.blocks(latents) - cut_blocks(videos)).abs().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    codec.refiner.requires_grad_(False)
