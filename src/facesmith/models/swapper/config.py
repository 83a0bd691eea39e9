"""Settings of the swapper networks."""

from typing import Annotated, Literal

from pydantic import Field

from facesmith.config.settings import GeneratorConfig

# a file of a stranger must not ask for more memory than any network of this kind has
Width = Annotated[int, Field(ge=1, le=2048)]


class AadConfig(GeneratorConfig):
    """Settings of `Aad`."""

    size: int = Field(ge=32, le=1024)
    """Side of the crop in px."""
    embedding_size: int = Field(ge=1, le=4096)
    """Numbers in the recogniser's embedding."""
    encoder_channels: list[Width] = Field(min_length=2, max_length=8)
    """One a stride-2 level, fine to coarse."""
    decoder_channels: list[Width] = Field(min_length=2, max_length=8)
    """One a level, coarse to fine."""
    convolutions: int = Field(ge=1, le=4)
    """In each decoder stage."""
    unshuffle: Literal[1, 2]
    """2 folds 2x2 pixels into channels at both ends, a quarter of the finest work."""
    finest_skip: int = Field(ge=1, le=1024)
    """Finest resolution in px whose attributes reach the decoder."""
    checkpointing: bool
    """Trade a second decoder pass for memory while training."""


class MeshWarpConfig(GeneratorConfig):
    """Settings of `MeshWarp`."""

    size: int = Field(ge=64, le=1024, multiple_of=64)
    """Side in px of the crops it is meant for."""
    pictures: int = Field(ge=1, le=64)
    """Pictures of the person that it holds, mirror images among them."""
    picture_size: int = Field(ge=64, le=1024, multiple_of=64)
    """Their side in px."""
    sharpness: float = Field(gt=0)
    """How decidedly the picture that fits best is preferred: 1 / temperature, of differences in halves of the crop."""
    mixed: int = Field(ge=1, le=8)
    """Pictures that are mixed for eyes, for mouth and for the rest."""
    proportions: float = Field(ge=0, le=1)
    """Share of the person's own proportions of the face; the rest is the target's, as its outline always is."""
    channels: list[Width] = Field(min_length=3, max_length=3)
    """Of the network that learns the light, at 32, 16 and 8 px."""
