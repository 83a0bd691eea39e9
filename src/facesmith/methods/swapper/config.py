"""Settings of the swapper slice."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.settings import (
    Chosen,
    Component,
    GeneratorConfig,
    LossConfig,
    ModuleConfig,
    PathSetting,
    Settings,
)
from facesmith.faces.face_set.config import ExtractionConfig


class PseudoTruthConfig(Settings):
    """How much pseudo ground truth is made: `facesmith.faces.pseudo_labels.pseudo_truth.build`."""

    textures: int = Field(ge=1, le=64)
    frames: int = Field(ge=1)
    donors: int = Field(ge=1, le=16)
    variants: int = Field(ge=0)


class AugmentConfig(Component):
    """Settings of `Augment`."""

    size: int | None = Field(ge=32)
    degrees: float = Field(ge=0, le=90)
    scale: float = Field(ge=0, lt=1)
    shift: float = Field(ge=0, lt=1)
    elastic: float = Field(ge=0, lt=1)
    colour: float = Field(ge=0, le=2)
    grey: float = Field(ge=0, le=1)
    relight: float = Field(ge=0, le=1)
    camera: float = Field(ge=0, le=1)


class FacesDataConfig(ExtractionConfig):
    """What every training on a person's faces and on scenes is told."""

    min_faces: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    shares: dict[Literal["P", "V", "R", "I"], float]
    workers: int = Field(ge=0)
    augment: Chosen[AugmentConfig] | None
    validation_faces: int = Field(ge=1)
    pseudo_truth: PseudoTruthConfig


class _DataConfig(FacesDataConfig):
    holdout: float | list[str]
    holdout_frames: float = Field(ge=0, lt=1)
    train_size: int = Field(ge=32)
    size: int = Field(ge=32, le=1024)

    @model_validator(mode="after")
    def _bounds(self) -> "_DataConfig":
        if isinstance(self.holdout, float) and not 0 <= self.holdout < 1:
            raise ValueError(f"holdout={self.holdout}: must be at least 0 and below 1, or a list of file stems")
        if self.train_size > self.size:
            raise ValueError(f"train_size={self.train_size}: must not be above size={self.size}")
        return self


class SwapperDataModuleConfig(_DataConfig):
    """Settings of `SwapperDataModule`: one person, and the scenes to put that person into."""

    source: str | list[str]
    targets: str | list[str] | None


class PretrainDataModuleConfig(_DataConfig):
    """Settings of `PretrainDataModule`: a folder of people, one subfolder each."""

    source: PathSetting
    targets: str | list[str] | None
    scenes_per_person: int = Field(ge=1)


class OptimizerConfig(Settings):
    """AdamW, and a cosine after a linear warm-up, counted in optimiser steps."""

    lr: float = Field(gt=0)
    betas: list[float] = Field(min_length=2, max_length=2)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    final: float = Field(ge=0, le=1)


class SwapperModuleConfig(ModuleConfig):
    """Settings of `SwapperModule`."""

    generator: Chosen[GeneratorConfig]
    loss: Chosen[LossConfig]
    optimizer: OptimizerConfig
    init_from: PathSetting | None
    train_size: int = Field(ge=32)
    gradient_checkpointing: bool
    compile: bool


class AadLossConfig(LossConfig):
    """Settings of `AadLoss`."""

    l1: float = Field(ge=0)
    ssim: float = Field(ge=0)
    mask: float = Field(ge=0)
    background: float = Field(ge=0, le=1)
    identity: float = Field(ge=0)
    identity_from: float = Field(ge=0, le=1)
    identity_share: float = Field(gt=0, le=1)
    embedder: str
    adversarial: float = Field(ge=0)
    adversarial_from: float = Field(ge=0, le=1)
    matching: float = Field(ge=0)
    discriminator_channels: int = Field(ge=4)
    ramp: float = Field(ge=0, le=1)


class TextureWarpLossConfig(LossConfig):
    """Settings of `TextureWarpLoss`."""

    flow: float = Field(ge=0)
    detail: float = Field(ge=0)
    mask: float = Field(ge=0)
    light: float = Field(ge=0)
    contrast: float = Field(ge=0)
    mix: float = Field(ge=0)
    mix_detail: float = Field(ge=0)
    texture_size: int = Field(ge=64, le=1024)
