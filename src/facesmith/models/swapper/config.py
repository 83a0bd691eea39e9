"""Settings of the swapper networks."""

from typing import Literal

from pydantic import Field

from facesmith.config.settings import GeneratorConfig


class AadConfig(GeneratorConfig):
    """Settings of `Aad`."""

    size: int = Field(ge=32, le=1024)
    embedding_size: int = Field(ge=1)
    encoder_channels: list[int] = Field(min_length=2)
    decoder_channels: list[int] = Field(min_length=2)
    convolutions: int = Field(ge=1, le=4)
    unshuffle: Literal[1, 2]
    finest_skip: int = Field(ge=1)
    checkpointing: bool


class TextureWarpConfig(GeneratorConfig):
    """Settings of `TextureWarp`."""

    size: int = Field(ge=64, le=1024, multiple_of=64)
    textures: int = Field(ge=1, le=64)
    texture_size: int = Field(ge=64, le=1024)
    channels: list[int] = Field(min_length=4, max_length=4)
    blocks: int = Field(ge=1)
