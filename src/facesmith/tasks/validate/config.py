"""Settings of the tasks that judge swaps."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import Component, PathSetting
from facesmith.tasks.profiles.config import Consent, Similarity, needs


class ValidateTaskConfig(Component):
    """Settings of `ValidateTask`."""

    source: str | list[str]
    target: str | list[str] | None
    profile: PathSetting
    reference: str | list[str] | None
    output: PathSetting
    max_frames: int | None = Field(ge=1)
    min_similarity: Similarity
    max_judge_distance: float | None = Field(ge=0)
    max_shift: float | None = Field(ge=0)
    max_misses: float | None = Field(ge=0, le=1)
    max_jitter: float | None = Field(ge=0)
    min_sharpness: float | None = Field(ge=0)
    face_sets: PathSetting
    backend: Literal["pyav", "decord"]

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        return needs(config, source="<what was swapped>", output="<folder of the report>")


class CompareTaskConfig(Component):
    """Settings of `CompareTask`."""

    model: PathSetting | list[PathSetting]
    source: str | list[str]
    output: PathSetting
    profile: PathSetting | None
    reference: PathSetting | None
    source_photo: PathSetting | None
    consent: Consent | None
    converter: PathSetting | None
    raw_length: float = Field(gt=0)
    frames: int = Field(ge=1)
    quality: int = Field(ge=1, le=100)
    face_sets: PathSetting
    profiles: PathSetting
    backend: Literal["pyav", "decord"]

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        return needs(config, model="[a.onnx,b.onnx]", source="<scenes>", output="<picture>")
