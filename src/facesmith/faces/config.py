"""Settings of the analyzers."""

from typing import Annotated

from pydantic import Field

from facesmith.settings import Component


class MediaPipeAnalyzerConfig(Component):
    """detector_sizes: longest sides in px at which faces are looked for, in turn until some are found."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096)]] = Field(min_length=1)
    min_score: float = Field(ge=0.0, le=1.0)


class InsightFaceAnalyzerConfig(Component):
    """detector_sizes: sides in px, multiples of 32, at which faces are looked for, in turn until found."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096, multiple_of=32)]] = Field(min_length=1)
    min_score: float = Field(ge=0.0, le=1.0)
