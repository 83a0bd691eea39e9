"""The tiny world as training batches, and the shapes that its pipeline has."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanVACEPipeline, WanVACETransformer3DModel
from torch import Tensor
from torch.nn import functional

from facesmith.methods.video_lora.toy_wan import text
from facesmith.methods.video_lora.toy_wan.codec import SIDE, TIMES, BlockVideoCodec
from facesmith.methods.video_lora.toy_wan.dancers import (
    BODIES,
    STAGES,
    Dances,
    choices,
    dances,
    people,
    portraits,
    prompt,
    rendered,
)

CHANNELS: Final = 24
REFINER: Final = 128  # channels of the codec's net
TEXT_LENGTH: Final = 16
FACE_TOKENS: Final = 4
SHIFT: Final = 3.0
STEPS: Final = 8  # of the sampler
_TEXT_SEED: Final = 0


@dataclass(frozen=True)
class Clips:
    """N clips: motions, videos (N,3,T,S,S) in -1..1, who dances (N,3,3), and the prompt of each, by number."""

    dances: Dances
    videos: Tensor
    who: Tensor
    stages: Tensor
    bodies: Tensor

    @property
    def prompts(self) -> list[str]:
        """Say what each clip shows."""
        return [prompt(int(s), int(b)) for s, b in zip(self.stages, self.bodies, strict=True)]


def clips(count: int, random: torch.Generator, who: Tensor | None = None, motions: Dances | None = None) -> Clips:
    """Draw N clips of anybody, or of `who`, (3,3); to motions out of a pool where one is given."""
    motions = dances(count, random) if motions is None else motions.chosen(choices(count, len(motions), random))
    motions = motions.mirrored(torch.rand(count, generator=random) < 0.5)
    shown = people(count, random)
    if who is not None:
        shown = who.expand(count, -1, -1)
    stages, bodies = choices(count, len(STAGES), random), choices(count, len(BODIES), random)
    return Clips(motions, rendered(motions.layers, shown, stages, bodies), shown, stages, bodies)


def fitted_codec(whitening: float, seed: int, clips_fitted: int = 400) -> BlockVideoCodec:
    """Fit the codec to clips and to a third as many pose drawings; its refiner is untrained."""
    some = clips(clips_fitted, torch.Generator().manual_seed(seed))
    poses = some.dances.poses[: clips_fitted // 3] * 2 - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BlockVideoCodec.fitted([some.videos, poses], CHANNELS, whitening, REFINER)


def pipeline(codec: BlockVideoCodec) -> Any:
    """Build the pipeline, its transformer untrained: 2.8 million parameters."""
    transformer = WanVACETransformer3DModel(  # type: ignore[no-untyped-call]
        patch_size=(1, 2, 2),
        num_attention_heads=6,
        attention_head_dim=24,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=text.WIDTH,
        freq_dim=64,
        ffn_dim=432,
        num_layers=6,
        vace_layers=[0, 3],
        vace_in_channels=2 * CHANNELS + SIDE * SIDE,
        rope_max_seq_len=64,
    )
    return WanVACEPipeline(  # type: ignore[no-untyped-call]
        tokenizer=text.tokenizer(TEXT_LENGTH),
        text_encoder=text.text_encoder(_TEXT_SEED),
        vae=codec,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),  # type: ignore[no-untyped-call]
    )


class Tables:
    """What a batch of clips turns into for the transformer: latents, control, text, weights."""

    def __init__(self, pipe: Any) -> None:
        self.codec: BlockVideoCodec = pipe.vae
        self.spread = self.codec.spread
        self.blank = self.latents(torch.zeros(1, 3, 1 + 2 * TIMES, 64, 64))
        with torch.no_grad():
            written = [prompt(stage, body) for stage in range(len(STAGES)) for body in range(len(BODIES))]
            self.text = pipe.encode_prompt(written, None, False, max_sequence_length=TEXT_LENGTH)[0]
            self.empty = pipe.encode_prompt("", None, False, max_sequence_length=TEXT_LENGTH)[0]

    def latents(self, videos: Tensor) -> Tensor:
        """Encode (N,3,T,S,S) into what the transformer sees."""
        found: Tensor = self.codec.encode(videos).latent_dist.mode() / self.spread
        return found

    def videos(self, latents: Tensor) -> Tensor:
        """Decode what the transformer gives."""
        shown: Tensor = self.codec.decode(latents * self.spread).sample
        return shown

    def control(self, poses: Tensor) -> Tensor:
        """Give VACE's control of (N,3,T,S,S) pose drawings in 0..1: nothing kept, all drawn anew."""
        steered = self.latents(poses * 2 - 1)
        mask = torch.ones(len(poses), SIDE * SIDE, *steered.shape[2:])
        return torch.cat([self.blank.expand_as(steered), steered, mask], 1)

    def texts(self, some: Clips, empty: Tensor) -> Tensor:
        """Give (N,L,W) embeddings of the prompts, or of no prompt where `empty` (N,) is true."""
        found = self.text[some.stages * len(BODIES) + some.bodies]
        return torch.where(empty.view(-1, 1, 1), self.empty, found)

    def heads(self, motions: Dances) -> Tensor:
        """Give (N,1,F,H,W): how much of each latent cell is head."""
        cover = functional.avg_pool2d(motions.layers[:, :4].sum(1), SIDE)
        count, frames, rows, columns = cover.shape
        later = cover[:, 1:].view(count, (frames - 1) // TIMES, TIMES, rows, columns).mean(2)
        return torch.cat([cover[:, :1], later], 1)[:, None]


def portrait_embeddings(who: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Give (N,768), L2-normalised: the faces at 16x16 px, what the world's face encoder gives."""
    return pixels_embedding(portraits(who, random))


def pixels_embedding(pictures: Tensor) -> Tensor:
    """Give (N,768), L2-normalised, of pictures (N,3,H,W) in 0..1."""
    small = functional.interpolate(pictures, (16, 16), mode="area") - 0.5
    return functional.normalize(small.flatten(1), dim=1)
