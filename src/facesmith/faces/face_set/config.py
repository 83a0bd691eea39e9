"""Settings of an extraction: which faces of the media are kept, and how their landmarks are smoothed."""

from typing import Literal

from pydantic import Field

from facesmith.config.consent import ConsentConfig
from facesmith.config.settings import AnalyzerConfig, Chosen, DataModuleConfig, PathSetting, Settings, Slug


class SelectionConfig(Settings):
    """Limits a face must keep to."""

    min_score: float = Field(ge=0, le=1)
    """Detector's score."""
    min_size: float = Field(ge=0)
    """Shorter side of the face box in px of the source."""
    min_sharpness: float = Field(ge=0)
    """Variance of the Laplacian of the 8-bit grey face at its own resolution."""
    max_yaw: float = Field(ge=0, le=90)
    """Degrees that the head may be turned to either side."""
    max_pitch: float = Field(ge=0, le=90)
    """Degrees that the head may be turned up or down."""
    min_similarity: float = Field(ge=-1, le=1)
    """Cosine of the embedding to the person's mean; its scale is the embedder's."""


class SmoothingConfig(Settings):
    """Smoothing of landmarks along time.

    The window is a time and not a number of frames on purpose: where frames are sampled so sparsely that fewer than
    polyorder + 2 of them fall into it, what looks like jitter is the person moving, and nothing is changed.
    """

    window_seconds: float = Field(ge=0)
    """Length in seconds of the fitted stretch of time; 0 switches smoothing off."""
    polyorder: int = Field(ge=0, le=5)
    """Degree of the fitted polynomial."""


class ExtractionConfig(DataModuleConfig, ConsentConfig):
    """Settings shared by all data modules that extract faces, without the media and their folder."""

    name: Slug
    """Identity that the run learns; its face sets lie in a folder of this name."""
    max_frames: int = Field(ge=1)
    """How many pictures are analysed, evenly spread over all media."""
    selection: SelectionConfig
    """Limits a face must keep to."""
    smoothing: SmoothingConfig
    """Smoothing of landmarks along time."""
    analyzer: Chosen[AnalyzerConfig]
    """Finds the faces; an option of the config group analyzer."""
    media_backend: Literal["pyav", "decord"]
    """Reader of videos."""
    face_sets: PathSetting
    """Folder in which face sets are kept."""
    progress: bool
    """Show a progress bar."""
