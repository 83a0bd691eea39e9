"""Settings of the head pose estimator; imports no torch, so that a mistake in a config is told at once."""

from pydantic import Field

from facesmith.config.settings import ModuleConfig, Settings
from facesmith.faces.face_set.config import ExtractionConfig


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


class OptimizerConfig(Settings):
    """AdamW with a cosine schedule after a linear warm-up."""

    lr: float = Field(gt=0)
    """Learning rate after the warm-up."""
    weight_decay: float = Field(ge=0)
    """Weight decay."""
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps that the warm-up takes."""
    final: float = Field(ge=0, le=1)
    """Share of the learning rate that is left at the last step."""


class HeadPoseModuleConfig(ModuleConfig):
    """Settings of `HeadPoseModule`."""

    channels: list[int] = Field(min_length=1, max_length=4)
    """Of the network's stages; each halves the picture."""
    optimizer: OptimizerConfig
