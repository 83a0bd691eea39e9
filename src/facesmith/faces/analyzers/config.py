"""Settings of the analyzers, and of what an extraction keeps and smooths."""

from typing import Annotated

from pydantic import Field

from facesmith.config.settings import AnalyzerConfig, Settings


class MediaPipeAnalyzerConfig(AnalyzerConfig):
    """detector_sizes: longest sides in px at which faces are looked for, in turn until some are found."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096)]] = Field(min_length=1)
    min_score: float = Field(ge=0.0, le=1.0)


class InsightFaceAnalyzerConfig(AnalyzerConfig):
    """detector_sizes: sides in px, multiples of 32, at which faces are looked for, in turn until found."""

    detector_sizes: list[Annotated[int, Field(ge=64, le=4096, multiple_of=32)]] = Field(min_length=1)
    min_score: float = Field(ge=0.0, le=1.0)


class SelectionConfig(Settings):
    """Limits a face must keep to: `facesmith.faces.face_set.selection.Selection`."""

    min_score: float = Field(ge=0, le=1)
    min_size: float = Field(ge=0)
    min_sharpness: float = Field(ge=0)
    max_yaw: float = Field(ge=0, le=90)
    max_pitch: float = Field(ge=0, le=90)
    min_similarity: float = Field(ge=-1, le=1)


class SmoothingConfig(Settings):
    """Smoothing of landmarks along time: `facesmith.faces.tracking.smoothing.Smoothing`."""

    window_seconds: float = Field(ge=0)
    polyorder: int = Field(ge=0, le=5)
