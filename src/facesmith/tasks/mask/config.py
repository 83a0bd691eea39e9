"""Settings of the mask task."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from facesmith.config.settings import PathSetting, TaskConfig


class MaskTaskConfig(TaskConfig):
    """Settings of the mask task; source and output are the flat keys of infer.yaml."""

    occluder: PathSetting
    source: str | list[str]
    output: PathSetting
    select: str | int
    template: Literal["arcface_128", "arcface_112_v1", "arcface_112_v2", "dfl_whole_face", "ffhq_512"]
    without_face: Literal["skip", "error"]
    smoothing: float = Field(ge=0, le=2)
    smoothing_order: int = Field(ge=0, le=5)
    max_gap: float = Field(ge=0, le=5)
    detect_every: int = Field(ge=1, le=32)
    backend: Literal["pyav", "decord"]
    crf: int = Field(ge=0, le=51)
    workers: int | None = Field(ge=1)

    @field_validator("select")
    @classmethod
    def _select_is_known(cls, select: str | int) -> str | int:
        if select not in ("largest", "all") and (isinstance(select, str) or select < 0):
            raise ValueError("choose one of largest, all, or a number from the left: 0, 1, ...")
        return select

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        needs = {
            "occluder": "<xseg .onnx>",
            "source": "<image, video or folder>",
            "output": "<file or folder>",
        }
        if isinstance(config, dict):
            missing = [f"{key}={what}" for key, what in needs.items() if config.get(key) in (None, "", [], "???")]
            if missing:
                raise ValueError(f"mask needs {' '.join(missing)}")
        return config
