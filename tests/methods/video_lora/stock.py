"""Videos of diffusers' own pipeline, and a module with clips to memorise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanVACEPipeline
from numpy.typing import NDArray
from PIL import Image

from facesmith.config.schema import TrainConfig


def generate_with_diffusers(base: Path, poses: NDArray[np.uint8], prompt: str, negative: str) -> NDArray[np.uint8]:
    """Return 9 frames (T,64,64,3) RGB of the stock pipeline: 2 steps, cfg 2, seed 42."""
    pipe = WanVACEPipeline.from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    frames = pipe(
        prompt=prompt,
        negative_prompt=negative,
        video=[Image.fromarray(frame) for frame in poses],
        height=64,
        width=64,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=2.0,
        max_sequence_length=16,
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).frames[0]
    whole: NDArray[np.uint8] = np.rint(frames * 255).astype(np.uint8)
    return whole


def load_two_clips(config: TrainConfig) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return the module of a training and the first two clips of its first batch."""
    data: Any = config.data.build()
    data.prepare_data()
    data.setup("fit")
    module: Any = config.model.build()
    module.configure_model()
    batch = next(iter(data.train_dataloader()))
    return module, data.on_after_batch_transfer({name: value[:2] for name, value in batch.items()}, 0)


def memorise(
    module: Any, batch: dict[str, torch.Tensor], noise: torch.Tensor, weights: Sequence[torch.Tensor], steps: int
) -> list[float]:
    """Train weights on one batch of two clips and one draw of noise; return the loss of each step."""
    levels = torch.tensor([0.5, 0.8])
    noisy = (1 - levels.view(-1, 1, 1, 1, 1)) * batch["latents"] + levels.view(-1, 1, 1, 1, 1) * noise
    optimizer = torch.optim.AdamW(weights, 3e-3)
    losses = []
    for _ in range(steps):
        velocity = module.velocity(noisy, levels, module.conditioning(batch, 1.0), batch["control"])
        loss = (velocity - (noise - batch["latents"])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
