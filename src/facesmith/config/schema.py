"""Settings of the commands train, infer and export, and the validation of composed configs.

Composed configs are validated here, before anything heavy is imported.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from omegaconf import DictConfig
from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from facesmith.config.adapters import AdapterSettings
from facesmith.config.conf_folder import folders
from facesmith.config.file_settings import LogFile, ProfileFile, require_checkpoint
from facesmith.config.references import make_plain
from facesmith.config.settings import (
    AnalyzerConfig,
    CallbackConfig,
    Chosen,
    DataModuleConfig,
    EngineConfig,
    ForeignComponent,
    LoggerConfig,
    ModuleConfig,
    PathSetting,
    Settings,
    Slug,
    SourceSetting,
    TaskConfig,
)
from facesmith.config.validation_errors import format_errors
from facesmith.errors import UserError


class PathsConfig(Settings):
    """Folders of results."""

    runs: PathSetting
    """Folder of runs: `<runs>/<experiment>/<name>/<time>`."""
    face_sets: PathSetting
    """Folder of face sets."""
    profiles: PathSetting
    """Folder of identity profiles."""
    run: PathSetting | None
    """Folder of this run; null outside a training."""


class AssetsConfig(Settings):
    """A folder of weights and demo media the user keeps, asked before every other source."""

    dir: PathSetting | None
    """The folder; null for none."""


class MediaConfig(Settings):
    """Settings of video reading."""

    backend: Literal["pyav", "decord"]
    """Library that reads videos; pyav knows the exact times of all frames."""


class ProvenanceConfig(Settings):
    """Certificate and key that sign pictures and videos; null: a chain created on this computer."""

    certificate: PathSetting | None
    """PEM file of a certificate chain."""
    key: PathSetting | None
    """PEM file of its private key."""

    @model_validator(mode="after")
    def _come_together(self) -> "ProvenanceConfig":
        if (self.certificate is None) != (self.key is None):
            missing = "certificate" if self.certificate is None else "key"
            raise ValueError(f"{missing} is missing: give both certificate and key, or neither")
        return self


class LoggingConfig(Settings):
    """Level and file of logging."""

    level: Literal["debug", "info", "warning", "error"]
    """The least severe messages that the log file and the console show."""
    file: LogFile | None
    """The log file, .log or .txt; null for none."""


class JobConfig(Settings):
    """Settings of every command: `conf/machine.yaml`."""

    paths: PathsConfig
    assets: AssetsConfig
    media: MediaConfig
    provenance: ProvenanceConfig
    logging: LoggingConfig


_LARGEST: Final = 2**53  # of whole numbers
_TIMES: Final = ("days", "hours", "minutes", "seconds")
_STRATEGIES: Final = ("auto", "ddp", "fsdp", "deepspeed", "single_", "xla", "model_parallel")


def _check_strategy(given: object) -> object:
    if isinstance(given, str) and not given.startswith(_STRATEGIES):
        raise ValueError("must be auto, ddp, fsdp, deepspeed, or a class of lightning.pytorch.strategies")
    return given


def _check_share(given: float) -> float:
    if given > 1:
        raise ValueError("must be a whole number of batches, or a share of them up to 1.0")
    return given


_Batches = (
    Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_check_share)]
)


def _check_time(given: object) -> object:
    if isinstance(given, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", given) is None:
        raise ValueError("must be days:hours:minutes:seconds, such as 00:02:30:00")
    numbers = isinstance(given, dict) and all(
        key in _TIMES and isinstance(value, int | float) and value >= 0 for key, value in given.items()
    )
    if not (given is None or isinstance(given, str) or numbers):
        raise ValueError(f"must be days:hours:minutes:seconds, such as 00:02:30:00, or numbers of {', '.join(_TIMES)}")
    return given


def _refuse(instead: str) -> TypeAdapter[Any]:
    """Return what refuses an argument that is set by other keys."""

    def refuse(given: object) -> object:
        raise ValueError(f"is not taken; {instead}")

    return TypeAdapter(Annotated[object, AfterValidator(refuse)])


_TRAINER_ARGUMENTS: Final[dict[str, TypeAdapter[Any]]] = {
    **dict.fromkeys(
        ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches"),
        TypeAdapter(_Batches | None),
    ),
    "val_check_interval": TypeAdapter(_Batches | str | None),
    "strategy": TypeAdapter(Annotated[object, AfterValidator(_check_strategy)]),
    "max_time": TypeAdapter(Annotated[object, AfterValidator(_check_time)]),
    **dict.fromkeys(("min_epochs", "min_steps"), TypeAdapter(Annotated[int, Field(ge=0)] | None)),
    "callbacks": _refuse("write +callbacks.<name>._target_=<class>, or callbacks.<name>=null"),
    "logger": _refuse("write logger=csv, or logger=none"),
    "default_root_dir": _refuse("write paths.runs=<folder>"),
    "enable_checkpointing": _refuse("write callbacks.best=null callbacks.last=null callbacks.checkpoint=null"),
    "plugins": TypeAdapter(list[dict[str, object]] | None),
    "profiler": TypeAdapter(Literal["simple", "advanced", "pytorch", "xla"] | dict[str, object] | None),
    "num_nodes": TypeAdapter(Annotated[int, Field(ge=1)]),
    "reload_dataloaders_every_n_epochs": TypeAdapter(Annotated[int, Field(ge=0)]),
    "gradient_clip_algorithm": TypeAdapter(Literal["norm", "value"] | None),
    "deterministic": TypeAdapter(bool | Literal["warn"] | None),
    "fast_dev_run": TypeAdapter(bool | Annotated[int, Field(ge=0)]),
    **dict.fromkeys(("num_sanity_val_steps", "max_steps"), TypeAdapter(Annotated[int, Field(ge=-1)])),
    **dict.fromkeys(
        (
            "enable_model_summary",
            "detect_anomaly",
            "sync_batchnorm",
            "use_distributed_sampler",
            "benchmark",
            "barebones",
        ),
        TypeAdapter(bool | None),
    ),
}
_ANYTHING: Final[TypeAdapter[Any]] = TypeAdapter(object)


class TrainerConfig(ForeignComponent):
    """Arguments of `lightning.Trainer`; the common ones are typed, the others checked against its signature."""

    target_: Literal["lightning.Trainer", "lightning.pytorch.Trainer"] = Field(alias="_target_")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    """Kind of device; `auto` takes the best there is."""
    devices: int | list[int] | Literal["auto"]
    """How many devices, or their numbers."""
    max_epochs: int = Field(ge=0, le=1_000_000_000)
    """Passes over the training data; 0 validates and exports what is known without training."""
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]
    """`auto` is a half precision where the device is fast at it, else 32-true."""
    accumulate_grad_batches: int = Field(ge=1)
    """Batches whose gradients are summed before an optimiser step."""
    gradient_clip_val: float | None = Field(ge=0)
    """Largest norm of the gradient; null for no clipping."""
    check_val_every_n_epoch: int = Field(ge=1)
    """Epochs between validations."""
    log_every_n_steps: int = Field(ge=1)
    """Steps between logged rows."""

    @model_validator(mode="wrap")
    @classmethod
    def _check_further_arguments(cls, values: Any, handler: ModelWrapValidatorHandler["TrainerConfig"]) -> Any:
        """Hold Lightning's arguments that the presets do not list against the values it takes, beside all others."""
        errors: list[Mapping[str, Any]] = []
        for name, value in values.items() if isinstance(values, Mapping) else ():
            try:
                _TRAINER_ARGUMENTS.get(name, _ANYTHING).validate_python(value, strict=True)
            except ValidationError as error:
                of_type = sorted(error.errors(), key=lambda one: one["type"].endswith("_type"))
                errors.append({**of_type[0], "loc": (name,)})  # of a union, that of the type which was given
        try:
            checked = handler(values)
        except ValidationError as error:
            errors = [*error.errors(), *errors]
        if errors:
            raise PydanticCustomError("nested", "wrong arguments", {"errors": errors, "schema": cls})
        return checked

    @field_validator("devices")
    @classmethod
    def _require_a_device(cls, devices: int | list[int] | str) -> int | list[int] | str:
        if devices in (0, []) or (isinstance(devices, int) and devices < -1):
            raise ValueError("a training needs a device: 1, a list of their numbers, or auto")
        if isinstance(devices, list) and len(set(devices)) < len(devices):
            raise ValueError("names a device twice")
        return devices


class TrainConfig(JobConfig):
    """One training run."""

    experiment_name: Slug | None
    """Names the folder of runs."""
    name: Slug
    """Of the identity or scene; names the run's folder: lower-case letters, digits, - and _."""
    seed: int = Field(ge=0, lt=2**32)
    """Of all random numbers."""
    resume: PathSetting | None
    """A run's folder to continue, or `auto`: the newest run of this experiment and name."""
    busy: Literal["refuse", "wait"]
    """What to do while another run of this name is running."""
    monitor: Annotated[str, Field(min_length=1)] | None
    """Metric that chooses the best checkpoint and that a sweep optimises."""
    monitor_mode: Literal["min", "max"]
    """Whether the metric is better smaller or larger."""
    objectives: dict[str, Literal["min", "max"]] | None
    """Metrics of a sweep with several objectives; null for `monitor` alone."""
    tags: list[str]
    """Labels for W&B."""
    analyzer: Chosen[AnalyzerConfig]
    """Face detector, landmarks and recogniser; an option of the config group."""
    data: Chosen[DataModuleConfig]
    """Media, their extraction and augmentation; set by the experiment."""
    model: Chosen[ModuleConfig]
    """The network, its losses and its optimiser; set by the experiment."""
    trainer: TrainerConfig
    """Arguments of Lightning's Trainer; an option of the config group suits the hardware."""
    callbacks: dict[str, Chosen[CallbackConfig] | None]
    """What happens besides the steps: renders, checkpoints, exports; ~callbacks.<name> removes one."""
    logger: dict[str, Chosen[LoggerConfig] | None]
    """Where metrics go; an option of the config group."""

    @model_validator(mode="before")
    @classmethod
    def _has_experiment(cls, config: object) -> object:
        if isinstance(config, dict) and config.get("data") is None and config.get("model") is None:
            raise ValueError(f"experiment: choose one of {', '.join(_options('experiment'))}")
        return config


class InferConfig(JobConfig):
    """One use of trained models."""

    task: Chosen[TaskConfig]
    """The job; an option of the config group."""
    source: SourceSetting | None
    """An image, a video, a folder, a pattern, or a list of them."""
    output: PathSetting | None
    """A file for one source, else a folder."""
    device: Literal["auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino", "rocm"]
    """Where ONNX files run; auto is the fastest that onnxruntime has."""
    analyzer: Chosen[AnalyzerConfig]
    """Face detector, landmarks and recogniser; an option of the config group."""
    engine: Chosen[EngineConfig]
    """Where files are worked on, this machine or a cluster; an option of the config group."""

    @model_validator(mode="before")
    @classmethod
    def _has_task(cls, config: object) -> object:
        if isinstance(config, dict) and config.get("task") is None:
            raise ValueError(f"task: choose one of {', '.join(_options('task'))}")
        return config


class ExportConfig(JobConfig, AdapterSettings):
    """One export of a checkpoint, or of a file that adapters are merged into."""

    ckpt_path: PathSetting
    """Checkpoint to export, or an .onnx or .dfm that adapters are merged into."""
    to: Literal["facesmith", "dfm", "hyperswap", "xseg", "diffusers", "comfyui", "onnx", "onnx_mapper"]
    """The program that reads the file."""
    base: str | None
    """Wan-VACE pipeline, for video_lora; null for the one it was trained on."""
    output: PathSetting
    """Folder to write into."""
    size: int | None = Field(ge=64, le=1024)
    """Width and height of the crops in px; null for the model's own."""
    profile: ProfileFile | None
    """Identity profile to bake in, for a model that takes a source."""
    precision: Literal["fp32", "fp16"]
    """Of the stored weights."""
    opset: int = Field(ge=16, le=23)
    """ONNX operator set."""

    @model_validator(mode="after")
    def _check_source(self) -> "ExportConfig":
        """Of a trained swapper or occluder; what video_lora writes may be a folder or a LoRA besides."""
        if self.to in ("facesmith", "dfm", "hyperswap", "xseg") and self.ckpt_path.suffix not in (".onnx", ".dfm"):
            try:
                require_checkpoint(self.ckpt_path)
            except ValueError as error:
                raise ValueError(f"ckpt_path={self.ckpt_path}: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_output(self) -> "ExportConfig":
        if self.output.suffix.lower() in (".safetensors", ".onnx", ".dfm", ".ckpt") and not self.output.is_dir():
            raise ValueError(
                f"output={self.output}: is the folder, the file in it gets its name from the model; "
                f"give output={self.output.parent}"
            )
        return self


C = TypeVar("C", bound=Settings)


def validate(cfg: DictConfig, schema: type[C]) -> C:
    """Validate a composed config.

    Args:
        cfg: The config without Hydra's own keys.
        schema: Its settings class, such as `TrainConfig`.

    Returns:
        The settings.

    Raises:
        UserError: One line for each mistake, all at once: dotted key, value, what is allowed, "did you mean".
    """
    plain = make_plain(cfg)
    huge = list(_huge_numbers(plain.values, ""))
    try:
        config = schema.model_validate(plain.values)
    except ValidationError as error:
        lines = [line.removeprefix(": ") for line in format_errors(error.errors(), schema, plain.values)]
        own = [line for line in lines if not plain.lies_elsewhere(line)]
        raise UserError("\n".join([*own, *plain.explain(own), *huge] or lines)) from None
    wrong = [*(plain.explain() or plain.unset.values()), *huge]
    if wrong:
        raise UserError("\n".join(wrong))
    return config


def _huge_numbers(value: object, place: str) -> Iterator[str]:
    """Name whole numbers that no count can be: libraries would overflow long after the start."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _huge_numbers(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _huge_numbers(inner, place)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        yield f"{place}={value}: is too large a number; the largest is {_LARGEST}"


def _options(group: str) -> list[str]:
    """List the options of a config group, as Hydra sees them, or as they lie in the working folder."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    if hydra.is_initialized():
        return hydra.config_loader().get_group_options(group)
    return sorted({path.stem for folder in folders("conf") for path in (folder / group).glob("*.yaml")})
