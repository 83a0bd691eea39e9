"""Settings of the video_lora slice."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.settings import (
    AnalyzerConfig,
    Chosen,
    Component,
    DataModuleConfig,
    EncoderConfig,
    ExpiryDate,
    ModuleConfig,
    PathSetting,
    Settings,
    Slug,
)


class PriorConfig(Settings):
    """Clips drawn by the base itself, shown without face tokens: what keeps `face_scale` true."""

    clips: int = Field(ge=1)
    share: float = Field(gt=0, lt=1)
    steps: int = Field(ge=1)
    cfg_scale: float = Field(ge=1)


class ReaderConfig(Component):
    """Settings of what reads face embeddings out of photos."""


class JudgeConfig(Component):
    """Settings of what measures the person in generated videos."""


class VideoLoraDataModuleConfig(DataModuleConfig):
    """Settings of `VideoLoraDataModule`: photos of a person, or of several by name; dances, and their poses."""

    consent: Literal["self", "written", "licensed", "public_domain", "synthetic"]
    consent_note: str | None
    expires: ExpiryDate | None
    name: Slug
    base: str
    faces: str | list[str] | dict[Slug, str | list[str]]
    videos: PathSetting
    poses: PathSetting | None
    make_poses: bool
    unpaired: Literal["leave_out", "refuse"]
    prompt: str
    negative_prompt: str
    num_frames: int = Field(ge=1)
    min_frames: int = Field(ge=1)
    stride: int | None = Field(ge=1)
    height: int = Field(ge=16)
    width: int = Field(ge=16)
    other_shapes: bool
    fps: float | None = Field(gt=0)
    holdout: float | list[str]
    validation_clips: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    repeats: int = Field(ge=1)
    workers: int = Field(ge=0)
    single_face: float = Field(ge=0, le=1)
    text_length: int = Field(ge=2, le=4096)
    face_tokens: int = Field(ge=1, le=256)
    prior: PriorConfig | None
    reader: Chosen[ReaderConfig]
    judge: Chosen[JudgeConfig]
    cache: PathSetting
    table: PathSetting
    progress: bool

    @model_validator(mode="after")
    def _lengths(self) -> "VideoLoraDataModuleConfig":
        for key in ("num_frames", "min_frames"):
            frames = getattr(self, key)
            if frames % 4 != 1:
                raise ValueError(
                    f"{key}={frames}: must be one more than a multiple of 4, such as {frames // 4 * 4 + 1}"
                )
        if self.min_frames > self.num_frames:
            raise ValueError(f"min_frames={self.min_frames}: must not be above num_frames={self.num_frames}")
        if isinstance(self.holdout, float) and not 0 <= self.holdout < 1:
            raise ValueError(f"holdout={self.holdout}: must be at least 0 and below 1, or a list of videos' names")
        if self.face_tokens >= self.text_length:
            raise ValueError(f"face_tokens={self.face_tokens}: must leave room for words in text_length")
        return self


class LoraSettings(Settings):
    """The adapter of the transformer."""

    rank: int = Field(ge=1, le=1024)
    alpha: int | None = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    targets: list[str] = Field(min_length=1)
    vace_blocks: bool


class MapperSettings(Settings):
    """The mapper of face embeddings to tokens."""

    embedding_size: int = Field(ge=1)
    widths: list[int]
    tokens: int = Field(ge=1, le=256)
    dropout: float = Field(ge=0, lt=1)
    token_norm: float = Field(gt=0)


class FlowSettings(Settings):
    """What the steps are judged by."""

    shift: float = Field(gt=0)
    density: Literal["uniform", "logit_normal"]
    weighting: Literal["none", "min_snr"]
    gamma: float = Field(gt=0)
    head_weight: float = Field(ge=0)
    token_dropout: float = Field(ge=0, le=1)
    prior_target: Literal["clip", "base"]


class OptimizerSettings(Settings):
    """AdamW and a cosine after a linear warm-up, counted in optimiser steps."""

    kind: Literal["adamw", "adamw_8bit"]
    lr: float = Field(gt=0)
    mapper_lr: float = Field(gt=0)
    betas: list[float] = Field(min_length=2, max_length=2)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    final: float = Field(ge=0, le=1)


class ValidationSettings(Settings):
    """What is drawn and measured at each validation."""

    quantiles: int = Field(ge=1)
    videos: int = Field(ge=0)
    steps: int = Field(ge=1)
    cfg_scale: float = Field(ge=1)
    face_scales: list[float]
    seed: int = Field(ge=0)


class VideoLoraModuleConfig(ModuleConfig):
    """Settings of `VideoLoraModule`."""

    base: str
    base_dtype: Literal["auto", "float32", "bfloat16", "float16"]
    base_storage: Literal["as_computed", "float8", "int8", "nf4"]
    offload: Literal["none", "activations"]
    gradient_checkpointing: bool
    injection: Literal["tail", "decoupled"]
    lora: LoraSettings
    mapper: MapperSettings
    loss: FlowSettings
    optimizer: OptimizerSettings
    validation: ValidationSettings


class DetectedFacesConfig(ReaderConfig):
    """Settings of `DetectedFaces`."""

    encoder: Chosen[EncoderConfig] | None
    analyzer: Chosen[AnalyzerConfig]
    min_similarity: float = Field(ge=-1, le=1)


class FaceJudgeConfig(JudgeConfig):
    """Settings of `FaceJudge`."""

    analyzer: Chosen[AnalyzerConfig]
    every: int = Field(ge=1)
