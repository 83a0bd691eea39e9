"""Procedural dancers: the whole world that the tiny base knows.

A clip shows one dancer of 64 px on a flat dark stage for 9 frames. A person is three colours, hair, skin and beard.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

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
        """Give (N,T,4) head boxes: left, top, right, bottom in px."""
        return torch.cat([self.heads - HEAD, self.heads + HEAD], -1)

    def __len__(self) -> int:
        return len(self.layers)

    def chosen(self, rows: Tensor) -> "Dances":
        """Give those of the (M,) numbers."""
        return Dances(_floats(self.layers[rows]), _floats(self.poses[rows]), self.heads[rows])

    def small(self) -> "Dances":
        """Give the same as bytes: what a pool of them is kept as."""
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
