"""Settings of the loggers."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.settings import LoggerConfig, PathSetting


class CsvLogConfig(LoggerConfig):
    """Settings of `CsvLog`."""

    folder: PathSetting
    """Of the run."""
    flush_seconds: float = Field(ge=0)
    """Seconds between two writes."""


class WandbRunLoggerConfig(LoggerConfig):
    """Settings of `WandbRunLogger`."""

    project: str
    """Of W&B, where the run is listed."""
    entity: str | None
    """Team or user of W&B; null: the key's own."""
    run: PathSetting
    """The run's folder, from which what is null below follows."""
    overrides: list[str]
    """Of the command line, for the run's name."""
    id: str | None = Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)
    """null: from the run's folder, so that a resumed run keeps it."""
    name: str | None
    """null: whose face it is, and the overrides that make this run what it is."""
    group: str | None
    """null: the sweep this job belongs to, otherwise the experiment."""
    job_type: str | None
    """null: `sweep` or `train`."""
    tags: list[str]
    """Labels of the run."""
    notes: str | None
    """Free text about the run."""
    save_dir: PathSetting
    """Folder shared by all runs; `wandb/` is made inside it."""
    offline: bool | None
    """null: online when a key is set, offline otherwise."""
    media: bool
    """Whether pictures of the person may be uploaded."""
    artifacts: Literal["none", "references", "files"]
    """What becomes of checkpoints and exports: nothing, path with size and hash, or the files themselves."""

    @model_validator(mode="after")
    def _check_upload_consent(self) -> "WandbRunLoggerConfig":
        if self.artifacts == "files" and not self.media:
            raise ValueError("artifacts=files: models hold pictures of the person; set media=true too, or references")
        return self
