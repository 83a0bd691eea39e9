"""Procedural dancers: all that the toy base knows.

A clip shows one dancer of 64 px on a flat dark stage for 9 frames. A person is three colours: hair, skin and beard.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

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
    """N motions of T frames: what is where, and its pose drawing.

    Attributes:
        layers: (N,5,T,S,S), the shares of hair, skin, beard, eyes and body in a pixel, disjoint.
        poses: (N,3,T,S,S) in 0..1, coloured limbs and a ring for the head.
        heads: (N,T,2), x and y of the head's middle in px.
    """

    layers: Tensor
    poses: Tensor
    heads: Tensor

    def boxes(self) -> Tensor:
        """Return (N,T,4) head boxes: left, top, right, bottom in px."""
        return torch.cat([self.heads - HEAD, self.heads + HEAD], -1)

    def __len__(self) -> int:
        return len(self.layers)

    def select(self, rows: Tensor) -> "Dances":
        """Return M motions by their numbers (M,)."""
        return Dances(_to_floats(self.layers[rows]), _to_floats(self.poses[rows]), self.heads[rows])

    def to_bytes(self) -> "Dances":
        """Return the same as bytes, as a pool keeps them."""
        return Dances(_to_bytes(self.layers), _to_bytes(self.poses), self.heads)

    def mirror(self, which: Tensor) -> "Dances":
        """Mirror the motions for which `which` (N,) is true."""

        def flip(values: Tensor) -> Tensor:
            return torch.where(which.view(-1, 1, 1, 1, 1), values.flip(-1), values)

        heads = self.heads.clone()
        heads[which, :, 0] = SIZE - 1 - heads[which, :, 0]
        return Dances(flip(self.layers), flip(self.poses), heads)


@dataclass(frozen=True)
class Clips:
    """N clips.

    Attributes:
        dances: The motions.
        videos: (N,3,T,S,S) in -1..1.
        who: (N,3,3), the colours of who dances.
        stages: (N,), numbers of `STAGES`.
        bodies: (N,), numbers of `BODIES`.
    """

    dances: Dances
    videos: Tensor
    who: Tensor
    stages: Tensor
    bodies: Tensor

    @property
    def prompts(self) -> list[str]:
        """Prompts that describe each clip, except the face."""
        return [describe_clip(int(s), int(b)) for s, b in zip(self.stages, self.bodies, strict=True)]


def sample_clips(
    count: int, random: torch.Generator, who: Tensor | None = None, motions: Dances | None = None
) -> Clips:
    """Draw random clips.

    Args:
        count: N, how many.
        random: Decides everything.
        who: (3,3), who dances; None: anybody.
        motions: Pool to choose from; None: new ones.
    """
    motions = (
        sample_dances(count, random) if motions is None else motions.select(sample_choices(count, len(motions), random))
    )
    motions = motions.mirror(torch.rand(count, generator=random) < 0.5)
    shown = sample_people(count, random)
    if who is not None:
        shown = who.expand(count, -1, -1)
    stages, bodies = sample_choices(count, len(STAGES), random), sample_choices(count, len(BODIES), random)
    return Clips(motions, render_clips(motions.layers, shown, stages, bodies), shown, stages, bodies)


def sample_people(count: int, random: torch.Generator) -> Tensor:
    """Draw random people.

    Args:
        count: N, how many.
        random: Decides everything.

    Returns:
        (N,3,3), the colours of hair, skin and beard, RGB 0..1.
    """
    return torch.rand(count, 3, 3, generator=random) * 0.94 + 0.03


def sample_choices(count: int, options: int, random: torch.Generator) -> Tensor:
    """Draw random whole numbers (N,) below `options`."""
    return torch.randint(0, options, (count,), generator=random)


def sample_dances(count: int, random: torch.Generator) -> Dances:
    """Draw random motions: slow, sinusoidal, arms and legs each in their own time.

    Args:
        count: How many.
        random: Decides everything.
    """

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

    def split_clips(values: Tensor) -> Tensor:
        return values.view(count, FRAMES, *values.shape[1:]).transpose(1, 2).contiguous()

    return Dances(split_clips(layers), split_clips(pose), head)


def sample_dance_pool(count: int, random: torch.Generator) -> Dances:
    """Draw many random motions, a few at a time, kept as bytes: 0.3 MB each.

    Args:
        count: How many.
        random: Decides everything.
    """
    parts = [sample_dances(min(50, count - start), random).to_bytes() for start in range(0, count, 50)]
    return Dances(*(torch.cat([getattr(part, name) for part in parts]) for name in ("layers", "poses", "heads")))


def head_layers(middles: Tensor, radius: float) -> Tensor:
    """Draw heads.

    Args:
        middles: (N,2), x and y in px.
        radius: In px.

    Returns:
        (N,4,S,S) shares 0..1 of hair, skin, beard and eyes.
    """
    x, y = middles[:, 0, None, None], middles[:, 1, None, None]
    across, down = (_COLUMNS - x) / radius, (_ROWS - y) / radius
    inside = ((1 - torch.hypot(across, down)) * radius + 0.5).clamp(0, 1)
    hair = ((-0.3 - down) * radius + 0.5).clamp(0, 1)
    beard = ((down - 0.4) * radius + 0.5).clamp(0, 1)
    eyes = ((0.15 - torch.hypot(across.abs() - 0.38, down - 0.02)) * radius + 0.5).clamp(0, 1)
    skin = (1 - hair - beard).clamp(0, 1)
    return torch.stack([hair, skin * (1 - eyes), beard, skin * eyes], 1) * inside[:, None]


def render_clips(layers: Tensor, who: Tensor, stages: Tensor, bodies: Tensor) -> Tensor:
    """Colour layers.

    Args:
        layers: (N,5,T,S,S) of `Dances`.
        who: (N,3,3) people.
        stages: (N,) numbers of `STAGES`.
        bodies: (N,) numbers of `BODIES`.

    Returns:
        (N,3,T,S,S) RGB in -1..1.
    """
    ground = torch.tensor(list(STAGES.values()))[stages]
    clothes = torch.tensor(list(BODIES.values()))[bodies][:, None, None].expand(-1, 1, 3)
    colours = torch.cat([who, torch.full_like(clothes, EYE), clothes], 1)
    bare = (1 - layers.sum(1, keepdim=True)).clamp(0, 1)
    return (torch.einsum("nlthw,nlc->ncthw", layers, colours) + bare * ground[:, :, None, None, None]) * 2 - 1


def render_portraits(who: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Draw people's faces on grey.

    Args:
        who: (N,3,3) people.
        random: Moves each a little off the middle; None: none is moved.

    Returns:
        (N,3,S,S) RGB in 0..1.
    """
    middles = torch.full((len(who), 2), SIZE / 2)
    if random is not None:
        middles = middles + torch.rand(len(who), 2, generator=random) * 4 - 2
    parts = head_layers(middles, 28.0)
    colours = torch.cat([who, torch.full((len(who), 1, 3), EYE)], 1)
    return torch.einsum("nlhw,nlc->nchw", parts, colours) + 0.5 * (1 - parts.sum(1, keepdim=True))


def describe_clip(stage: int, body: int) -> str:
    """Return the prompt that describes a clip, except the face.

    Args:
        stage: Number of `STAGES`.
        body: Number of `BODIES`.
    """
    return f"a person in {list(BODIES)[body]} dancing on a {list(STAGES)[stage]} stage"


def embed_people(who: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Embed people: their portraits at 16x16 px.

    Args:
        who: (N,3,3) people.
        random: Of `render_portraits`.

    Returns:
        (N,768), L2-normalised.
    """
    return embed_pixels(render_portraits(who, random))


def embed_pixels(pictures: Tensor) -> Tensor:
    """Return the embeddings (N,768) of pictures (N,3,H,W) in 0..1, L2-normalised: 16x16 px."""
    small = functional.interpolate(pictures, (16, 16), mode="area") - 0.5
    return functional.normalize(small.flatten(1), dim=1)


def _to_bytes(shares: Tensor) -> Tensor:
    return (shares * 255).round().to(torch.uint8)


def _to_floats(shares: Tensor) -> Tensor:
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
