"""Settings of the occluder slice."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from facesmith.config.settings import (
    Chosen,
    Component,
    LossConfig,
    ModuleConfig,
    PathSetting,
    Settings,
)
from facesmith.faces.face_set.config import ExtractionConfig

Family = Literal[
    "hand",
    "held",
    "food",
    "cloth",
    "hair",
    "glasses",
    "sunglasses",
    "microphone",
    "shape",
    "foliage",
    "instrument",
]


class OcclusionsConfig(Settings):
    """How faces are covered: `facesmith.methods.occluder.occlusion.Occlude`."""

    families: dict[Family, float]
    clear: float = Field(ge=0, le=1)
    several: float = Field(ge=0, le=1)
    motion: float = Field(ge=0, le=1)
    soft: float = Field(ge=0, le=1)

    @field_validator("families")
    @classmethod
    def _some(cls, families: dict[Family, float]) -> dict[Family, float]:
        if min(families.values(), default=0) < 0 or sum(families.values()) <= 0:
            raise ValueError("weights must not be negative, and one at least must be above 0")
        return families


class AugmentMasksConfig(Component):
    """Settings of `AugmentMasks`."""

    degrees: float = Field(ge=0, le=180)
    scale: list[float] = Field(min_length=2, max_length=2)
    shear: float = Field(ge=0, lt=45)
    shift: float = Field(ge=0, lt=1)
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)
    saturation: float = Field(ge=0, le=1)
    hue: float = Field(ge=0, le=0.5)
    gamma: float = Field(ge=1)
    grey: float = Field(ge=0, le=1)
    sharp: float = Field(ge=0, le=1)
    blur: float = Field(ge=0, le=1)
    noise: float = Field(ge=0, le=1)
    jpeg: float = Field(ge=0, le=1)


class OccluderDataModuleConfig(ExtractionConfig):
    """Settings of `OccluderDataModule`."""

    source: str | list[str]
    masks: PathSetting | None
    people: Literal["one", "many"]
    without_face: Literal["skip", "error"]
    holdout: float = Field(gt=0, lt=1)
    forehead: float = Field(ge=0, le=1)
    size: int = Field(ge=32, le=1024, multiple_of=32)
    batch_size: int = Field(ge=1)
    repeats: int = Field(ge=1)
    workers: int = Field(ge=0)
    validation_each: int = Field(ge=1)
    occlusions: OcclusionsConfig
    augment: Chosen[AugmentMasksConfig] | None


class OptimizerConfig(Settings):
    """AdamW, and a cosine after a linear warm-up, counted in optimiser steps."""

    lr: float = Field(gt=0)
    encoder: float = Field(ge=0, le=1)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    final: float = Field(ge=0, le=1)


class MaskLossConfig(LossConfig):
    """Settings of `MaskLoss`."""

    bce: float = Field(ge=0)
    dice: float = Field(ge=0)

    @model_validator(mode="after")
    def _some(self) -> "MaskLossConfig":
        if not self.bce + self.dice > 0:
            raise ValueError("bce and dice are both 0: nothing would be learnt")
        return self


class OccluderModuleConfig(ModuleConfig):
    """Settings of `OccluderModule`."""

    architecture: str
    encoder: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")  # never a hub's name or a folder: a file may say it
    encoder_weights: str | None
    decoder_channels: list[int] | None
    detail: int | None = Field(ge=1)
    export_size: int = Field(ge=32, le=1024, multiple_of=32)
    loss: Chosen[LossConfig]
    optimizer: OptimizerConfig
    init_from: PathSetting | None

    def without_pretrained_weights(self) -> "OccluderModuleConfig":
        """Return the same settings, the encoder from scratch."""
        return self.model_copy(update={"encoder_weights": None})
