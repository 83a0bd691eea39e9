"""Settings of the analyzers."""

from typing import Annotated

from pydantic import Field

from facesmith.config.settings import AnalyzerConfig


class MediaPipeAnalyzerConfig(AnalyzerConfig):
    """Settings of `MediaPipeAnalyzer`."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096)]] = Field(min_length=1)
    """Longest sides in px at which faces are looked for, in turn until some are found."""
    min_score: float = Field(ge=0.0, le=1.0)
    """Detector's score below which a face does not count."""


class InsightFaceAnalyzerConfig(AnalyzerConfig):
    """Settings of `InsightFaceAnalyzer`."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096, multiple_of=32)]] = Field(min_length=1)
    """Sides in px, multiples of 32, at which faces are looked for, in turn until some are found."""
    min_score: float = Field(ge=0.0, le=1.0)
    """Detector's score below which a face does not count."""
