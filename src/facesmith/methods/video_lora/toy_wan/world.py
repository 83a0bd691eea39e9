"""Procedural dancers: the whole world that the tiny base knows.

A clip shows one dancer of 64 px on a flat dark stage for 9 frames. A person is three colours, hair, skin and beard.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanVACEPipeline, WanVACETransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from facesmith.methods.video_lora.toy_wan.codec import SIDE, TIMES, BlockVideoCodec

SIZE: Final = 64
FRAMES: Final = 9
HEAD: Final = 12.0  # px, radius
STAGES: Final = {
    "black": (0.04, 0.04, 0.05),
    "navy": (0.05, 0.07, 0.22),
    "maroon": (0.22, 0.05, 0.07),
    "forest": (0.05, 0.19, 0.08),
    "plum": (0.18, 0.06, 0.20),
    "umber": (0.20, 0.13, 0.05),
}
BODIES: Final = {"white": 0.95, "silver": 0.78, "grey": 0.62}
LIMB_COLOURS: Final = ((1.0, 0.35, 0.35), (0.35, 1.0, 0.35), (0.35, 0.35, 1.0))
EYE: Final = 0.08

_ROWS, _COLUMNS = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")


@dataclass(frozen=True)
class Dances:
    """N motions of T frames: what is where, and how it is steered.

    layers: (N,5,T,S,S), the shares of hair, skin, beard, eyes and body in a pixel, disjoint. poses: (N,3,T,S,S) in
    0..1, coloured limbs and a ring for the head. heads: (N,T,2), x and y of its middle in px.
    """

    layers: Tensor
    poses: Tensor
    heads: Tensor

    def boxes(self) -> Tensor:
        """Return (N,T,4) head boxes: left, top, right, bottom in px."""
        return torch.cat([self.heads - HEAD, self.heads + HEAD], -1)

    def __len__(self) -> int:
        return len(self.layers)

    def chosen(self, rows: Tensor) -> "Dances":
        """Return those of the (M,) numbers."""
        return Dances(_floats(self.layers[rows]), _floats(self.poses[rows]), self.heads[rows])

    def small(self) -> "Dances":
        """Return the same as bytes: what a pool of them is kept as."""
        return Dances(_bytes(self.layers), _bytes(self.poses), self.heads)

    def mirrored(self, which: Tensor) -> "Dances":
        """Mirror those of (N,) that are true."""

        def flip(values: Tensor) -> Tensor:
            return torch.where(which.view(-1, 1, 1, 1, 1), values.flip(-1), values)

        heads = self.heads.clone()
        heads[which, :, 0] = SIZE - 1 - heads[which, :, 0]
        return Dances(flip(self.layers), flip(self.poses), heads)


def people(count: int, random: torch.Generator) -> Tensor:
    """Draw (N,3,3) people: the colours of hair, skin and beard, RGB 0..1."""
    return torch.rand(count, 3, 3, generator=random) * 0.94 + 0.03


def choices(count: int, options: int, random: torch.Generator) -> Tensor:
    """Draw (N,) whole numbers below `options`."""
    return torch.randint(0, options, (count,), generator=random)


def dances(count: int, random: torch.Generator) -> Dances:
    """Draw N motions: slow, sinusoidal, arms and legs each in their own time."""

    def between(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=random) * (high - low) + low

    phase, speed, middle = between(0, 2 * math.pi, count, 6), between(0.2, 0.42, count, 1), between(26, 38, count, 1)
    time = speed * torch.arange(FRAMES).float()
    wave = [torch.sin(time + phase[:, k, None]) for k in range(6)]
    head = torch.stack([middle + 4 * wave[0], 17 + 2 * torch.sin(2 * time + phase[:, 1, None])], -1)
    neck = torch.stack([middle + 2 * wave[0], torch.full_like(time, 30.0)], -1)
    hip = torch.stack([middle.expand_as(time), torch.full_like(time, 46.0)], -1)
    limbs: list[tuple[Tensor, Tensor, float]] = []
    for side, shoulder in ((-1, 2), (1, 3)):
        upper = 1.0 + 0.8 * wave[shoulder]
        elbow = neck + 9 * torch.stack([side * torch.sin(upper), torch.cos(upper)], -1)
        lower = upper + 0.9 * torch.sin(1.3 * time + phase[:, 4, None])
        hand = elbow + 8 * torch.stack([side * torch.sin(lower), torch.cos(lower)], -1)
        foot = hip + torch.stack([side * (5 + 3 * wave[5]), torch.full_like(time, 16.0)], -1)
        limbs += [(neck, elbow, 2.4), (elbow, hand, 2.4), (hip, foot, 2.6)]
    limbs.append((neck, hip, 3.6))

    flat = head.reshape(-1, 2)
    body, pose = torch.zeros(len(flat), SIZE, SIZE), torch.zeros(len(flat), 3, SIZE, SIZE)
    for number, (start, end, width) in enumerate(limbs):
        body = torch.maximum(body, _segment(start.reshape(-1, 2), end.reshape(-1, 2), width))
        bone = _segment(start.reshape(-1, 2), end.reshape(-1, 2), 1.3)[:, None]
        pose = pose + bone * (torch.tensor(LIMB_COLOURS[number % 3]).view(1, 3, 1, 1) - pose)
    parts = head_layers(flat, HEAD)
    ring = (1.8 - (_distance(flat) - HEAD).abs()).clamp(0, 1)[:, None]
    pose = pose + ring * (1 - pose)
    layers = torch.cat([parts, (body * (1 - parts.sum(1)))[:, None]], 1)

    def clips(values: Tensor) -> Tensor:
        return values.view(count, FRAMES, *values.shape[1:]).transpose(1, 2).contiguous()

    return Dances(clips(layers), clips(pose), head)


def pool(count: int, random: torch.Generator) -> Dances:
    """Draw many motions, a few at a time, kept as bytes: 0.3 MB each."""
    parts = [dances(min(50, count - start), random).small() for start in range(0, count, 50)]
    return Dances(*(torch.cat([getattr(part, name) for part in parts]) for name in ("layers", "poses", "heads")))


def head_layers(middles: Tensor, radius: float) -> Tensor:
    """Draw (N,4,S,S), hair, skin, beard and eyes of heads around (N,2) middles."""
    x, y = middles[:, 0, None, None], middles[:, 1, None, None]
    across, down = (_COLUMNS - x) / radius, (_ROWS - y) / radius
    inside = ((1 - torch.hypot(across, down)) * radius + 0.5).clamp(0, 1)
    hair = ((-0.3 - down) * radius + 0.5).clamp(0, 1)
    beard = ((down - 0.4) * radius + 0.5).clamp(0, 1)
    eyes = ((0.15 - torch.hypot(across.abs() - 0.38, down - 0.02)) * radius + 0.5).clamp(0, 1)
    skin = (1 - hair - beard).clamp(0, 1)
    return torch.stack([hair, skin * (1 - eyes), beard, skin * eyes], 1) * inside[:, None]


def rendered(layers: Tensor, who: Tensor, stages: Tensor, bodies: Tensor) -> Tensor:
    """Colour (N,5,T,S,S) layers: (N,3,T,S,S) RGB in -1..1.

    who: (N,3,3) people. stages, bodies: (N,) numbers of `STAGES` and `BODIES`.
    """
    ground = torch.tensor(list(STAGES.values()))[stages]
    clothes = torch.tensor(list(BODIES.values()))[bodies][:, None, None].expand(-1, 1, 3)
    colours = torch.cat([who, torch.full_like(clothes, EYE), clothes], 1)
    bare = (1 - layers.sum(1, keepdim=True)).clamp(0, 1)
    return (torch.einsum("nlthw,nlc->ncthw", layers, colours) + bare * ground[:, :, None, None, None]) * 2 - 1


def portraits(who: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Draw (N,3,S,S) pictures in 0..1 of people's faces on grey; with `random` a little off the middle."""
    middles = torch.full((len(who), 2), SIZE / 2)
    if random is not None:
        middles = middles + torch.rand(len(who), 2, generator=random) * 4 - 2
    parts = head_layers(middles, 28.0)
    colours = torch.cat([who, torch.full((len(who), 1, 3), EYE)], 1)
    return torch.einsum("nlhw,nlc->nchw", parts, colours) + 0.5 * (1 - parts.sum(1, keepdim=True))


def prompt(stage: int, body: int) -> str:
    """Say what a clip shows, but for the face."""
    return f"a person in {list(BODIES)[body]} dancing on a {list(STAGES)[stage]} stage"


def _bytes(shares: Tensor) -> Tensor:
    return (shares * 255).round().to(torch.uint8)


def _floats(shares: Tensor) -> Tensor:
    return shares.float() / 255 if shares.dtype == torch.uint8 else shares


def _distance(middles: Tensor) -> Tensor:
    return torch.hypot(_COLUMNS - middles[:, 0, None, None], _ROWS - middles[:, 1, None, None])


def _segment(start: Tensor, end: Tensor, width: float) -> Tensor:
    """Draw (N,S,S) soft lines between (N,2) points."""
    along = end - start
    x, y = _COLUMNS - start[:, 0, None, None], _ROWS - start[:, 1, None, None]
    dx, dy = along[:, 0, None, None], along[:, 1, None, None]
    part = ((x * dx + y * dy) / (along.square().sum(-1)[:, None, None] + 1e-6)).clamp(0, 1)
    return (width + 0.5 - torch.hypot(x - part * dx, y - part * dy)).clamp(0, 1)


WIDTH: Final = 64
_WORDS: Final = (
    "a",
    "an",
    "the",
    "person",
    "man",
    "woman",
    "dancing",
    "dance",
    "dancer",
    "on",
    "in",
    "of",
    "stage",
    "studio",
    "face",
    "blurry",
    "distorted",
)


def tokenizer(length: int) -> Any:
    """Return a tokenizer of whole words, `length` tokens at most."""
    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys([*_WORDS, *STAGES, *BODIES])]
    model = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    model.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    make: Any = PreTrainedTokenizerFast  # untyped in some releases
    return make(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    )


def text_encoder(seed: int) -> Any:
    """Return a random encoder, small and fixed: what it makes of words differs, and that is all that is needed."""
    torch.manual_seed(seed)
    config = UMT5Config(vocab_size=64, d_model=WIDTH, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    encoder: Any = UMT5EncoderModel(config)
    return encoder.eval().requires_grad_(False)


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
        text_dim=WIDTH,
        freq_dim=64,
        ffn_dim=432,
        num_layers=6,
        vace_layers=[0, 3],
        vace_in_channels=2 * CHANNELS + SIDE * SIDE,
        rope_max_seq_len=64,
    )
    return WanVACEPipeline(  # type: ignore[no-untyped-call]
        tokenizer=tokenizer(TEXT_LENGTH),
        text_encoder=text_encoder(_TEXT_SEED),
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
        """Return VACE's control of (N,3,T,S,S) pose drawings in 0..1: nothing kept, all drawn anew."""
        steered = self.latents(poses * 2 - 1)
        mask = torch.ones(len(poses), SIDE * SIDE, *steered.shape[2:])
        return torch.cat([self.blank.expand_as(steered), steered, mask], 1)

    def texts(self, some: Clips, empty: Tensor) -> Tensor:
        """Return (N,L,W) embeddings of the prompts, or of no prompt where `empty` (N,) is true."""
        found = self.text[some.stages * len(BODIES) + some.bodies]
        return torch.where(empty.view(-1, 1, 1), self.empty, found)

    def heads(self, motions: Dances) -> Tensor:
        """Return (N,1,F,H,W): how much of each latent cell is head."""
        cover = functional.avg_pool2d(motions.layers[:, :4].sum(1), SIDE)
        count, frames, rows, columns = cover.shape
        later = cover[:, 1:].view(count, (frames - 1) // TIMES, TIMES, rows, columns).mean(2)
        return torch.cat([cover[:, :1], later], 1)[:, None]


def portrait_embeddings(who: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Return (N,768), L2-normalised: the faces at 16x16 px, what the world's face encoder gives."""
    return pixels_embedding(portraits(who, random))


def pixels_embedding(pictures: Tensor) -> Tensor:
    """Return (N,768), L2-normalised, of pictures (N,3,H,W) in 0..1."""
    small = functional.interpolate(pictures, (16, 16), mode="area") - 0.5
    return functional.normalize(small.flatten(1), dim=1)
