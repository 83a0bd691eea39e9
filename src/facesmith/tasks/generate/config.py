"""Settings of the generate task."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting, TaskConfig


class GenerateTaskConfig(TaskConfig):
    """Settings of the generate task; model, source and output are the flat keys of infer.yaml."""

    model: PathSetting
    source: str | list[str]
    output: PathSetting
    base: str | None
    embedding: PathSetting | None
    prompt: str | None
    negative_prompt: str | None
    height: int | None = Field(ge=16)
    width: int | None = Field(ge=16)
    num_frames: int = Field(ge=1)
    fps: float | None = Field(gt=0)
    face_scale: float = Field(ge=0)
    lora_scale: float = Field(ge=0)
    vace_scale: float = Field(ge=0)
    cfg_scale: float = Field(ge=1)
    steps: int = Field(ge=1)
    seeds: list[int] = Field(min_length=1)
    scheduler: Literal["base", "unipc", "euler", "dpm"]
    offload: Literal["none", "model", "group", "sequential", "disk"]
    base_storage: Literal["as_computed", "float8", "int8", "nf4"]
    crf: int = Field(ge=0, le=51)
    resume: bool

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        needs = {
            "model": "<exports/ of a run, or .ckpt>",
            "source": "<pose video or folder>",
            "output": "<.mp4 or folder>",
        }
        if isinstance(config, dict):
            missing = [f"{key}={what}" for key, what in needs.items() if config.get(key) in (None, "", [])]
            if missing:
                raise ValueError(f"generate needs {' '.join(missing)}")
        return config
