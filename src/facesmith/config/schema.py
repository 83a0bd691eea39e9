"""What a run, a use and an export are told: the settings of the three entry points.

Composed configs are validated here, before anything heavy is imported.
"""

import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator

from facesmith.config.adapters import AdapterSettings
from facesmith.config.explain import explain
from facesmith.config.settings import (
    AnalyzerConfig,
    CallbackConfig,
    Chosen,
    DataModuleConfig,
    ForeignComponent,
    LogFile,
    LoggerConfig,
    ModuleConfig,
    PathSetting,
    Settings,
    Slug,
    TaskConfig,
)
from facesmith.errors import UserError


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


class ProvenanceConfig(Settings):
    """Whose signature marked pictures and videos carry; null: a chain made on this computer."""

    certificate: PathSetting | None
    key: PathSetting | None

    @model_validator(mode="after")
    def _come_together(self) -> "ProvenanceConfig":
        if (self.certificate is None) != (self.key is None):
            missing = "certificate" if self.certificate is None else "key"
            raise ValueError(f"{missing} is missing: give both certificate and key, or neither")
        return self


class LoggingConfig(Settings):
    """How much the log file and the console say."""

    level: Literal["debug", "info", "warning", "error"]
    file: LogFile | None


class JobConfig(Settings):
    """What every job is told: `conf/machine.yaml`."""

    paths: PathsConfig
    assets: AssetsConfig
    media: MediaConfig
    provenance: ProvenanceConfig
    logging: LoggingConfig


class TrainerConfig(ForeignComponent):
    """Arguments of `lightning.Trainer`; the common ones are typed, the others held against its signature."""

    target_: Literal["lightning.Trainer", "lightning.pytorch.Trainer"] = Field(alias="_target_")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: int | list[int] | Literal["auto"]
    max_epochs: int = Field(ge=1)
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]
    accumulate_grad_batches: int = Field(ge=1)
    gradient_clip_val: float | None = Field(ge=0)
    check_val_every_n_epoch: int = Field(ge=1)
    log_every_n_steps: int = Field(ge=1)


class TrainConfig(JobConfig):
    """One training run."""

    experiment_name: Slug | None
    name: Slug
    seed: int = Field(ge=0)
    resume: PathSetting | None
    busy: Literal["refuse", "wait"]
    monitor: str | None
    monitor_mode: Literal["min", "max"]
    objectives: dict[str, Literal["min", "max"]] | None
    tags: list[str]
    analyzer: Chosen[AnalyzerConfig]
    data: Chosen[DataModuleConfig]
    model: Chosen[ModuleConfig]
    trainer: TrainerConfig
    callbacks: dict[str, Chosen[CallbackConfig] | None]
    logger: dict[str, Chosen[LoggerConfig] | None]

    @model_validator(mode="before")
    @classmethod
    def _has_experiment(cls, config: Any) -> Any:
        if isinstance(config, dict) and config.get("data") is None and config.get("model") is None:
            raise ValueError(f"experiment: choose one of {', '.join(_options('experiment'))}")
        return config


class InferConfig(JobConfig):
    """One use of trained models."""

    task: Chosen[TaskConfig]
    source: str | list[str] | None
    output: PathSetting | None
    analyzer: Chosen[AnalyzerConfig]

    @model_validator(mode="before")
    @classmethod
    def _has_task(cls, config: Any) -> Any:
        if isinstance(config, dict) and config.get("task") is None:
            raise ValueError(f"task: choose one of {', '.join(_options('task'))}")
        return config


class ExportConfig(JobConfig, AdapterSettings):
    """One export of a checkpoint, or of a file that adapters are merged into."""

    ckpt_path: PathSetting
    to: Literal["facesmith", "dfm", "hyperswap", "xseg", "diffusers", "comfyui", "onnx", "onnx_mapper"]
    base: str | None
    output: PathSetting
    size: int | None = Field(ge=64, le=1024)
    profile: PathSetting | None
    precision: Literal["fp32", "fp16"]
    opset: int = Field(ge=16, le=23)


C = TypeVar("C", bound=Settings)


def validate(cfg: DictConfig, schema: type[C]) -> C:
    """Hold a composed config against its settings class.

    Raises:
        UserError: one line a mistake, all of them: dotted key, value, what is allowed, "did you mean".
    """
    dangling: dict[str, str] = {}
    borrowed: set[str] = set()
    plain = _plain(cfg, "", dangling, borrowed)
    try:
        config = schema.model_validate(plain)
    except ValidationError as error:
        lines = explain(error.errors(), schema, plain)
        told = {*dangling, *borrowed}
        lines = [line for line in lines if re.split(r"[:=]", line, maxsplit=1)[0] not in told] or lines
        raise UserError("\n".join(line.removeprefix(": ") for line in lines)) from None
    if dangling:
        raise UserError("\n".join(dangling.values()))
    return config


def _plain(node: DictConfig | ListConfig, path: str, dangling: dict[str, str], borrowed: set[str]) -> Any:
    """Resolve a config to plain values and leave out what nobody gave.

    Notes in `dangling` what refers to nothing, in `borrowed` what takes its value from another key: a mistake
    there is told at that key.
    """
    keys: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    found: dict[Any, Any] = {}
    for key in keys:
        place = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except InterpolationToMissingValueError:
            dangling[place] = f"{place}: refers to a value that nobody gave"
            continue
        except OmegaConfBaseException as error:
            dangling[place] = f"{place}: {' '.join(str(error.msg or error).split())}"
            continue
        if OmegaConf.is_interpolation(node, key):
            borrowed.add(place)
        nested = isinstance(value, DictConfig | ListConfig)
        found[key] = _plain(value, place, dangling, borrowed) if nested else value
    return found if isinstance(node, DictConfig) else list(found.values())


def _options(group: str) -> list[str]:
    """List the options of a config group, as Hydra sees them, or as they lie in the working folder."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    if hydra.is_initialized():
        return hydra.config_loader().get_group_options(group)
    return sorted(path.stem for path in Path("conf", group).glob("*.yaml"))
