"""Settings of the loggers."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.settings import LoggerConfig, PathSetting


class CsvLogConfig(LoggerConfig):
    """Settings of the CSV logger."""

    folder: PathSetting
    flush_seconds: float = Field(ge=0)


class WandbRunLoggerConfig(LoggerConfig):
    """Settings of the W&B logger: online when a key is set, offline otherwise."""

    project: str
    entity: str | None
    run: PathSetting
    overrides: list[str]
    id: str | None = Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)
    name: str | None
    group: str | None
    job_type: str | None
    tags: list[str]
    notes: str | None
    save_dir: PathSetting
    offline: bool | None
    media: bool
    artifacts: Literal["none", "references", "files"]

    @model_validator(mode="after")
    def _models_show_the_person(self) -> "WandbRunLoggerConfig":
        if self.artifacts == "files" and not self.media:
            raise ValueError("artifacts=files: models hold pictures of the person; set media=true too, or references")
        return self
