"""A swapper for one person: it moves the person's own pictures onto the target's face."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.models.swapper.colour import ColourTransfer, from_opponent, opponent
from facesmith.models.swapper.generator import SwapGenerator, SwapOutput
from facesmith.models.swapper.layers import conv_block, pixel_centres, resize, shrink

REGIONS = 3  # eyes with brows, mouth, the rest
_TRUNK = 64  # px the network looks at, whatever the crop's size
_CLAMP = 6.0
_STEEPNESS = 8.0  # of the ramp over the mask's logits where skin begins


class TextureWarp(SwapGenerator):
    """K pictures of the person in canonical coordinates, mixed per region, warped, lit and masked.

    The identity is baked in: `source` is ignored. A trunk on the target at 64 px predicts which pictures to
    mix for eyes, mouth and the rest, where each pixel lies in the canonical picture, the mask, an additive
    light at 4x4 and a contrast. The mix is made before it is sampled: three channels are sampled, not 3K.
    Crops of any square size that is a multiple of 64 are accepted, whatever the training size was.

    The pictures are buffers (`set_textures`), so a checkpoint holds recognisable pictures of the person.

    Args:
        size: Side in px of the crops it is meant for, a multiple of 64.
        textures: Count of pictures, K.
        texture_size: Side of the pictures in px.
        channels: Of the encoder's four levels (32, 16, 8, 4 px).
        blocks: Residual blocks at 4 px.

    Raises:
        ValueError: `size` is no multiple of 64.
    """

    template = "arcface_128"
    size_step = _TRUNK  # px: it runs at any multiple of it
    adaptable = ("up", "squeeze", "mix", "pose", "light", "contrast", "geometry")
    """What flow, mix, colour and mask are made by, not what is seen before."""
    embedding_size: int | None = None
    textures: Tensor
    regions: Tensor
    core: Tensor
    spread: Tensor

    def __init__(self, size: int, textures: int, texture_size: int, channels: Sequence[int], blocks: int) -> None:
        super().__init__()
        if size % _TRUNK:
            raise ValueError(f"size must be a multiple of {_TRUNK}, got {size}")
        self.size, self.count = size, textures
        self.register_buffer("textures", torch.zeros(textures, 3, texture_size, texture_size))
        self.register_buffer("regions", torch.zeros(1, REGIONS, texture_size, texture_size))
        self.register_buffer("core", torch.zeros(1, 1, texture_size, texture_size))
        self.register_buffer("spread", torch.ones(1, 3, 1, 1))  # deviation of the skin, in opponent colours
        self.colour = ColourTransfer()
        self.stem = conv_block(12 + 2, channels[0])  # and where each pixel lies: a turned face moves with it
        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList([conv_block(a, b, stride=2) for a, b in pairs])
        self.bottom = nn.Sequential(*[_Residual(channels[-1]) for _ in range(blocks)])
        self.up = nn.ModuleList([conv_block(b + a, a) for a, b in reversed(pairs)])
        # at 32 px a residual block would cost as much as all others together
        self.refine = nn.ModuleList([*(_Residual(a) for a, _ in reversed(pairs[1:])), nn.Identity()])
        self.geometry = _small(nn.Conv2d(channels[0], 3 * 4, 3, padding=1))  # flow x, y and mask, at 64 px
        self.light = _small(nn.Conv2d(channels[-1], 3, 3, padding=1))
        self.contrast = nn.Linear(channels[-1], 3)
        nn.init.zeros_(self.contrast.weight)
        nn.init.zeros_(self.contrast.bias)
        self.squeeze = nn.Sequential(nn.Conv2d(channels[-1], 32, 1), nn.LeakyReLU(0.1))
        self.mix = nn.Linear(32 * 16, REGIONS * textures)
        self.pose = nn.Linear(32 * 16, 6)  # the face's place as a whole; the decoder adds what is local
        nn.init.zeros_(self.pose.weight)
        nn.init.zeros_(self.pose.bias)

    @torch.no_grad()
    def set_textures(self, textures: Tensor, regions: Tensor, core: Tensor) -> None:
        """Store the person's pictures, in opponent colours with zero mean and unit deviation on the skin.

        Args:
            textures: (K,S,S,3) uint8 RGB.
            regions: (2,S,S) 0..1, eyes and mouth.
            core: (S,S) 0..1, skin.

        Raises:
            ValueError: Count or size are not those the network was made for.
        """
        if textures.shape[:3] != (self.count, *self.textures.shape[-2:]):
            wanted = (self.count, *self.textures.shape[-2:])
            raise ValueError(f"textures must be {(*wanted, 3)}, got {tuple(textures.shape)}")
        pictures = opponent(textures.permute(0, 3, 1, 2).float() / 127.5 - 1)
        weight = core[None, None] / core.sum()
        mean = (pictures * weight).sum((2, 3), keepdim=True)
        deviation = ((pictures - mean) ** 2 * weight).sum((2, 3), keepdim=True).sqrt().clamp_min(1e-3)
        self.textures.copy_(((pictures - mean) / deviation).clamp(-_CLAMP, _CLAMP))
        rest = (1 - regions.sum(0, keepdim=True)).clamp_min(0)
        whole = torch.cat([regions, rest])
        self.regions.copy_((whole / whole.sum(0, keepdim=True))[None])
        self.core.copy_(core[None, None])
        self.spread.copy_(deviation.mean(0, keepdim=True))

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap targets.

        Args:
            target: (N,3,S,S) RGB -1..1, S a multiple of 64.
            source: Not read.

        Returns:
            Face and mask, and in aux: flow (N,2,S,S), place in the canonical picture -1..1; mix (N,3,K), logits a
            region; contrast (N,3), natural log; light (N,3,S,S) and sampled (N,3,S,S), opponent colours, the latter
            before contrast and light.
        """
        size = int(target.shape[-1])
        seen = shrink(target, _TRUNK)
        places = pixel_centres(_TRUNK // 2, target)[None].expand(target.shape[0], -1, -1, -1)
        hidden = self.stem(torch.cat([F.pixel_unshuffle(seen, 2), places], 1))
        skips = []
        for layer in self.down:
            skips.append(hidden)
            hidden = layer(hidden)
        hidden = self.bottom(hidden)
        contrast, light = self.contrast(hidden.mean((2, 3))), self.light(hidden)
        summary = self.squeeze(hidden).flatten(1)
        mix = self.mix(summary).view(-1, REGIONS, self.count)
        pose = self.pose(summary).view(-1, 2, 3)
        for layer, refine in zip(self.up, self.refine, strict=True):
            large = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
            hidden = refine(layer(torch.cat([large, skips.pop()], 1)))
        geometry = F.pixel_shuffle(self.geometry(hidden), 2)
        picture = self._mixed(mix)
        coarse = _placed(geometry, pose)
        seen_face = _sample_at(picture, coarse)
        with torch.no_grad():
            # colour and light of the target's skin: measured, not learnt, hence valid for unseen targets
            # a ramp, not a step: a step turns the last bit of a float into another colour, and no two runtimes agree
            skin = _sample_at(self.core, coarse) * (geometry[:, 2:] * _STEEPNESS + 0.5).clamp(0, 1)
            stretch, offset = self.colour(opponent(seen), seen_face, skin, self.spread)
        rows = _cubic_rows(int(light.shape[-1]), size, target)
        light = rows @ light @ rows.T + resize(offset, size, "bilinear")
        contrast = contrast + stretch
        if size == _TRUNK:
            flow, sampled = coarse, seen_face
        else:
            geometry = resize(geometry, size, "bilinear")
            flow = _placed(geometry, pose)
            sampled = _sample_at(picture, flow)
        face = from_opponent(sampled * contrast.exp()[:, :, None, None] + light)
        mask = torch.sigmoid(geometry[:, 2:])
        aux = {"flow": flow, "mix": mix, "contrast": contrast, "light": light, "sampled": sampled}
        return SwapOutput(face if self.training else face.clamp(-1, 1), mask, aux)

    def _mixed(self, mix: Tensor) -> Tensor:
        parts = torch.softmax(mix, 2) @ self.textures.reshape(self.count, -1)
        side = self.textures.shape[-1]
        return (parts.view(-1, REGIONS, 3, side, side) * self.regions[:, :, None]).sum(1)


def _sample_at(picture: Tensor, places: Tensor) -> Tensor:
    picture = picture.expand(places.shape[0], -1, -1, -1)
    picture = shrink(picture, int(places.shape[-1]))
    grid = places.permute(0, 2, 3, 1)
    if grid.requires_grad:
        # torch's backward reads outside of memory at NaN coordinates; the loss still sees them
        grid = grid.nan_to_num(nan=0.0, posinf=2.0, neginf=-2.0)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _placed(geometry: Tensor, pose: Tensor) -> Tensor:
    """Return places in the canonical picture: the pixel's own, moved as a whole and then each on its own."""
    grid = pixel_centres(int(geometry.shape[-1]), geometry)[None]
    moved = (pose[:, :, :2] @ grid.flatten(2)).view(-1, 2, *grid.shape[-2:]) + pose[:, :, 2:, None]
    return grid + moved + geometry[:, :2]


def _cubic_rows(cells: int, size: int, like: Tensor) -> Tensor:
    """Return the matrix (size, cells) of a bicubic enlargement: two products are cheaper than the operator."""
    unit = torch.eye(cells, dtype=like.dtype, device=like.device)[None, None]
    return F.interpolate(unit, size=(size, cells), mode="bicubic", align_corners=False)[0, 0]


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_block(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(self.first(features))


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
