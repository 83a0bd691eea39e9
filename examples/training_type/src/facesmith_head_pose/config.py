"""Settings of the head pose estimator; imports no torch, so that a mistake in a config is told at once."""

from pydantic import Field

from facesmith.config.settings import ModuleConfig
from facesmith.faces.face_set.config import ExtractionConfig
from facesmith.training.config import OptimizerConfig


class HeadPoseDataModuleConfig(ExtractionConfig):
    """Settings of `HeadPoseDataModule`."""

    source: str | list[str]
    """Photos and videos: a file, a folder, a pattern, or a list of these."""
    size: int = Field(ge=32, le=512, multiple_of=16)
    """Width and height of the crops, in px."""
    holdout: float = Field(gt=0, lt=1)
    """Share of the faces, the last ones, that are validated on and never trained on."""
    batch_size: int = Field(ge=1)
    """Faces per training step."""
    brightness: float = Field(ge=0, lt=1)
    """Largest relative change of a training crop's brightness."""


class HeadPoseModuleConfig(ModuleConfig):
    """Settings of `HeadPoseModule`."""

    channels: list[int] = Field(min_length=1, max_length=4)
    """Of the network's stages; each halves the picture."""
    optimizer: OptimizerConfig
