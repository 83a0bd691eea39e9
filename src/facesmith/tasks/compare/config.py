"""Settings of the comparison of swappers."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting, TaskConfig
from facesmith.tasks.profiles.config import Consent, needs


class CompareTaskConfig(TaskConfig):
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
