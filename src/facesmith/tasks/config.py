"""Settings of the tasks of infer.py."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config import Component, PathSetting


class SwapTaskConfig(Component):
    """Settings of the swap task; model, source and output are the flat keys of infer.yaml."""

    model: PathSetting
    source: str | list[str]
    output: PathSetting
    profile: PathSetting | None
    select: Literal["largest", "all"]
    backend: Literal["pyav", "decord"]
    quality: int = Field(ge=1, le=100)
    workers: int | None = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        needs = {
            "model": "<.onnx or .ckpt>",
            "source": "<image, video or folder>",
            "output": "<file or folder>",
        }
        if isinstance(config, dict):
            missing = [f"{key}={what}" for key, what in needs.items() if config.get(key) in (None, "", [])]
            if missing:
                raise ValueError(f"swap needs {' '.join(missing)}")
        return config
