"""What a run, a use and an export are told: the settings of the three entry points.

Composed configs are validated here, before anything heavy is imported.
"""

import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator

from facesmith.config_errors import explain
from facesmith.errors import UserError
from facesmith.settings import (
    AnyComponent,
    Component,
    ForeignComponent,
    PathSetting,
    Settings,
    SliceComponent,
    Slug,
)

__all__ = [
    "AnyComponent",
    "AssetsConfig",
    "Component",
    "ExportConfig",
    "ForeignComponent",
    "InferConfig",
    "MediaConfig",
    "PathSetting",
    "PathsConfig",
    "Settings",
    "SliceComponent",
    "Slug",
    "TrainConfig",
    "TrainerConfig",
    "WandbRunLoggerConfig",
    "validate",
]


class PathsConfig(Settings):
    """Where results go."""

    runs: PathSetting
    face_sets: PathSetting
    profiles: PathSetting
    run: PathSetting | None


class AssetsConfig(Settings):
    """A folder of weights and demo media the user keeps, asked before every other source."""

    dir: PathSetting | None


class MediaConfig(Settings):
    """How video is read."""

    backend: Literal["pyav", "decord"]


class LoggingConfig(Settings):
    """How much the log file and the console say."""

    level: Literal["debug", "info", "warning", "error"]


class TrainerConfig(ForeignComponent):
    """Arguments of `lightning.Trainer`; the common ones are typed, the others held against its signature."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: int | list[int] | Literal["auto"]
    max_epochs: int = Field(ge=1)
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]
    accumulate_grad_batches: int = Field(ge=1)
    gradient_clip_val: float | None = Field(ge=0)
    check_val_every_n_epoch: int = Field(ge=1)
    log_every_n_steps: int = Field(ge=1)


class WandbRunLoggerConfig(Component):
    """Settings of the W&B logger: online when a key is set, offline otherwise."""

    project: str
    entity: str | None
    name: str | None
    group: str | None
    tags: list[str]
    notes: str | None
    save_dir: PathSetting
    offline: bool | None
    media: bool


class TrainConfig(Settings):
    """One training run."""

    experiment_name: Slug | None
    name: Slug
    seed: int = Field(ge=0)
    monitor: str | None
    tags: list[str]
    paths: PathsConfig
    assets: AssetsConfig
    media: MediaConfig
    logging: LoggingConfig
    analyzer: AnyComponent
    data: AnyComponent
    model: AnyComponent
    trainer: TrainerConfig
    callbacks: dict[str, AnyComponent | None]
    logger: dict[str, AnyComponent | None]

    @model_validator(mode="before")
    @classmethod
    def _has_experiment(cls, config: Any) -> Any:
        if isinstance(config, dict) and config.get("data") is None and config.get("model") is None:
            raise ValueError(f"experiment: choose one of {', '.join(_options('experiment'))}")
        return config


class InferConfig(Settings):
    """One use of trained models."""

    task: AnyComponent
    model: str | None
    source: str | list[str] | None
    output: PathSetting | None
    paths: PathsConfig
    assets: AssetsConfig
    media: MediaConfig
    logging: LoggingConfig
    analyzer: AnyComponent

    @model_validator(mode="before")
    @classmethod
    def _has_task(cls, config: Any) -> Any:
        if isinstance(config, dict) and config.get("task") is None:
            raise ValueError(f"task: choose one of {', '.join(_options('task'))}")
        return config


class ExportConfig(Settings):
    """One export of a checkpoint."""

    ckpt_path: PathSetting
    to: Literal["facesmith"]
    output: PathSetting
    precision: Literal["fp32"]
    opset: int = Field(ge=16, le=23)
    paths: PathsConfig
    logging: LoggingConfig


C = TypeVar("C", bound=Settings)


def validate(cfg: DictConfig, schema: type[C]) -> C:
    """Hold a composed config against its settings class.

    Raises:
        UserError: one line a mistake, all of them: dotted key, value, what is allowed, "did you mean".
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from None
    try:
        return schema.model_validate(_without_missing(plain))
    except ValidationError as error:
        lines = explain(error.errors(), schema, plain)
        raise UserError("\n".join(line.removeprefix(": ") for line in lines)) from None


def _without_missing(value: Any) -> Any:
    """Drop mandatory values nobody gave, so that they are told as missing with all else."""
    if isinstance(value, dict):
        return {key: _without_missing(inner) for key, inner in value.items() if inner != "???"}
    return [_without_missing(inner) for inner in value] if isinstance(value, list) else value


def _options(group: str) -> list[str]:
    """List the options of a config group, as Hydra sees them, or as they lie in the working folder."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    if hydra.is_initialized():
        return hydra.config_loader().get_group_options(group)
    return sorted(path.stem for path in Path("conf", group).glob("*.yaml"))


def _folder_name(value: object) -> str:
    """Make any text safe as a folder name; what is wrong with it is told by validation."""
    return re.sub(r"[^a-z0-9_-]+", "-", str(value).lower()).strip("-") or "unnamed"


OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)
OmegaConf.register_new_resolver("str_upper", lambda value: str(value).upper(), replace=True)
