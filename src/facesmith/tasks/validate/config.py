"""Settings of the tasks that judge swaps."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting, TaskConfig
from facesmith.tasks.profiles.config import Similarity, needs


class ValidateTaskConfig(TaskConfig):
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
