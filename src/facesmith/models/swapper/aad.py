"""The identity-conditioned swapper: a U-Net reads the target, an AAD decoder rebuilds it as somebody else."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from facesmith.models.swapper.generator import SwapGenerator, SwapOutput

_ENCODER_SLOPE = 0.1
_DECODER_SLOPE = 0.2


class AttributeModulation(nn.Module):
    """Blends modulations by the embedding and by the target's attributes, with a gate learnt per pixel.

    The adaptive attentional denormalisation of FaceShifter (Li et al. 2019): features are instance-normalised, the
    embedding scales and shifts them per channel, the attributes per pixel, and the gate chooses. Where
    `attribute_channels` is 0 only the embedding is used.

    Args:
        channels: Channels of the features.
        attribute_channels: Channels of the attributes; 0 for none.
        embedding_size: Length of an embedding.
    """

    def __init__(self, channels: int, attribute_channels: int, embedding_size: int) -> None:
        super().__init__()
        self.normalise = nn.InstanceNorm2d(channels)
        self.identity = nn.Linear(embedding_size, 2 * channels)
        self.attributes = nn.Conv2d(attribute_channels, 2 * channels, 1) if attribute_channels else None
        self.gate = nn.Conv2d(channels, 1, 1) if attribute_channels else None
        for layer in (self.identity, self.attributes):
            if layer is not None:
                assert layer.bias is not None
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, source: Tensor, attributes: Tensor) -> Tensor:
        """Modulate features.

        Args:
            features: (N,C,h,w).
            source: The person, (N,E).
            attributes: Of the target, (N,A,h,w).

        Returns:
            (N,C,h,w).
        """
        features = self.normalise(features)
        scale, shift = self.identity(source)[:, :, None, None].chunk(2, 1)
        as_source = (1 + scale) * features + shift
        if self.attributes is None or self.gate is None:
            return as_source
        scale, shift = self.attributes(attributes).chunk(2, 1)
        as_target = (1 + scale) * features + shift
        return torch.lerp(as_target, as_source, torch.sigmoid(self.gate(features)))


class AadBlock(nn.Module):
    """A residual stage of the decoder: modulate, activate, convolve, `convolutions` times.

    Args:
        channels: Input channels.
        out_channels: Output channels.
        attribute_channels: Channels of the attributes; 0 for none.
        embedding_size: Length of an embedding.
        convolutions: Number of modulations and convolutions.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        attribute_channels: int,
        embedding_size: int,
        convolutions: int,
    ) -> None:
        super().__init__()
        widths = [channels] * convolutions + [out_channels]
        self.modulations = nn.ModuleList(
            AttributeModulation(channels, attribute_channels, embedding_size) for _ in range(convolutions)
        )
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()

    def forward(self, features: Tensor, source: Tensor, attributes: Tensor) -> Tensor:
        """Modulate and convolve, beside a shortcut.

        Args:
            features: (N,channels,h,w).
            source: The person, (N,E).
            attributes: Of the target, (N,A,h,w).

        Returns:
            (N,out_channels,h,w).
        """
        hidden = features
        for modulate, convolve in zip(self.modulations, self.convolutions, strict=True):
            hidden = convolve(F.leaky_relu(modulate(hidden, source, attributes), _DECODER_SLOPE))
        return hidden + self.shortcut(features)


def _encode(channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(_ENCODER_SLOPE, inplace=True),
    )


class AttributeEncoder(nn.Module):
    """A U-Net that turns the target into attribute maps from the coarsest resolution to the finest.

    Args:
        in_channels: Channels of the input.
        channels: Channels of each resolution, from fine to coarse.
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = _encode(in_channels, channels[0], 3, 1)
        self.down = nn.ModuleList(_encode(a, b, 4, 2) for a, b in pairwise(channels))
        self.channels = [channels[-1]]
        ups = []
        for skip in reversed(channels[:-1]):
            ups.append(_encode(self.channels[-1], skip, 3, 1))
            self.channels.append(2 * skip)
        self.up = nn.ModuleList(ups)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return the attribute maps of `picture` (N,in,s,s), coarse to fine, of `self.channels` channels each."""
        skips = [self.stem(picture)]
        for down in self.down:
            skips.append(down(skips[-1]))
        attributes = [skips.pop()]
        for up in self.up:
            grown = up(F.interpolate(attributes[-1], scale_factor=2.0, mode="nearest"))
            attributes.append(torch.cat([grown, skips.pop()], 1))
        return attributes


class Aad(SwapGenerator):
    """Swap any face for the one an embedding describes; for pretraining on many people and as the base of adapters.

    Args:
        size: Side of the crop in px.
        embedding_size: Numbers in the recogniser's embedding.
        encoder_channels: One a stride-2 level, fine to coarse.
        decoder_channels: One a level, coarse to fine.
        convolutions: In each decoder stage.
        unshuffle: 2 folds 2x2 pixels into channels at both ends (a quarter of the finest work), 1 does not.
        finest_skip: Finest resolution in px whose attributes reach the decoder; finer than size / 4 leaks the target's
            identity into the face.
        checkpointing: Trade a second decoder pass for memory while training.

    Raises:
        ValueError: Channels do not fit each other, or the size cannot be halved so often.
    """

    template = "arcface_128"
    adaptable = ("convolutions", "face", "mask")
    """What the decoder draws with, not what it knows of identity and target."""

    def __init__(
        self,
        size: int,
        embedding_size: int,
        encoder_channels: Sequence[int],
        decoder_channels: Sequence[int],
        convolutions: int,
        unshuffle: int,
        finest_skip: int,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        levels = len(encoder_channels)
        if len(decoder_channels) != levels:
            raise ValueError(f"decoder_channels: {len(decoder_channels)} widths for {levels} levels")
        coarsest, rest = divmod(size, unshuffle << (levels - 1))
        if rest or coarsest < 2:
            raise ValueError(f"size: {size} px cannot be halved {levels - 1} times after unshuffling by {unshuffle}")
        self.size, self.unshuffle, self.checkpointing = size, unshuffle, checkpointing
        self.embedding_size = embedding_size
        self.encoder = AttributeEncoder(3 * unshuffle**2, encoder_channels)
        self.enter = nn.Conv2d(encoder_channels[-1], decoder_channels[0], 3, padding=1)
        widths = [*decoder_channels, decoder_channels[-1]]
        self.blocks = nn.ModuleList(
            AadBlock(
                widths[level],
                widths[level + 1],
                self.encoder.channels[level] if coarsest << level <= finest_skip else 0,
                embedding_size,
                convolutions,
            )
            for level in range(levels)
        )
        self.face = nn.Conv2d(widths[-1], 3 * unshuffle**2, 3, padding=1)
        self.mask = nn.Conv2d(self.encoder.channels[-1], unshuffle**2, 3, padding=1)

    def forward(self, target: Tensor, source: Tensor | None = None) -> SwapOutput:
        """Swap targets.

        Args:
            target: (N,3,S,S) RGB -1..1.
            source: (N,E) embeddings, L2-normalised.

        Raises:
            ValueError: There is no source: this generator has no identity of its own.
        """
        if source is None:
            raise ValueError("source: Aad needs an embedding for every target")
        attributes = self.encoder(F.pixel_unshuffle(target, self.unshuffle))
        hidden = self.enter(attributes[0])
        for level, block in enumerate(self.blocks):
            if level:
                hidden = F.interpolate(hidden, scale_factor=2.0, mode="nearest")
            if self.checkpointing and self.training and torch.is_grad_enabled():
                hidden = checkpoint(block, hidden, source, attributes[level], use_reentrant=False)
            else:
                hidden = block(hidden, source, attributes[level])
        face = torch.tanh(F.pixel_shuffle(self.face(hidden), self.unshuffle))
        mask = torch.sigmoid(F.pixel_shuffle(self.mask(attributes[-1]), self.unshuffle))
        return SwapOutput(face, mask, {})
