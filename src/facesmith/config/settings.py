"""The base of every settings class, the kinds of component, and how a `_target_` in a config finds its settings."""

import functools
import importlib
import inspect
import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import with_info_before_validator_function

from facesmith.config.signatures import signature
from facesmith.config.targets import TargetError, foreign_packages, is_own, locate


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"nobody is called {path.parts[0]} on this machine; write the whole path") from None


def _not_empty(value: object) -> object:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str) and not one.strip():
            raise ValueError("is empty, which would be the working folder; write . for that, or null for none")
    return value


PathSetting = Annotated[Path, Field(strict=False), BeforeValidator(_not_empty), AfterValidator(_expand_home)]
SourceSetting = Annotated[str | list[str], BeforeValidator(_not_empty)]
"""A file, a folder, a pattern or `asset:<name>`, or a list of these."""
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]


def _iso_date(text: str) -> str:
    if re.fullmatch(r"\d{4}-?\d\d-?\d\d", text) is None:
        raise ValueError("must be a date, such as 2027-12-31")
    date.fromisoformat(text)
    return text


def _not_over(text: str) -> str:
    if date.fromisoformat(text) < date.today():
        raise ValueError("this date has passed: renew the consent, or remove the person with facesmith purge")
    return text


IsoDate = Annotated[str, AfterValidator(_iso_date)]
ExpiryDate = Annotated[IsoDate, AfterValidator(_not_over)]

FROM_FILE: Final = "facesmith_from_file"
"""Key of the validation context: true where settings come from a file and not from the person at the command line."""


class Settings(BaseModel):
    """Validated settings: unknown keys are errors, types are strict, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)


class Component(Settings):
    """Settings of a class that takes plain keyword arguments.

    `_target_: facesmith.<package>.<file>.<X>` finds its settings by one rule: the class `<X>Config` in
    `facesmith.<package>.config`. A plug-in's package takes the place of `facesmith`.
    """

    target_: str = Field(alias="_target_")
    """Dotted name of the class."""

    def arguments(self) -> dict[str, Any]:
        """Return the fields by name, nested settings as they are, without the target."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "target_"}

    def build(self, **more: Any) -> Any:
        """Import the target and call it with these settings as keyword arguments; `more` wins."""
        return locate(self.target_)(**{**self.arguments(), **more})


class WholeComponent(Component):
    """Settings of a class that takes them whole."""

    def build(self, **more: Any) -> Any:
        """Import the target and call it with this object and `more` as keyword arguments."""
        return locate(self.target_)(self, **more)


class ModuleConfig(WholeComponent):
    """Settings of a LightningModule, which takes them whole."""

    def metric_names(self) -> frozenset[str] | None:
        """Return the metrics of a validation, without prefix, that `monitor` may name; None: not known."""
        return None

    def without_pretrained_weights(self) -> "ModuleConfig":
        """Return settings that fetch no weights: a checkpoint brings its own."""
        return self


class DataModuleConfig(WholeComponent):
    """Settings of a LightningDataModule, which takes them whole."""

    def check_sources(self) -> None:
        """Refuse what the names of the media show to be wrong, before anything heavy is imported.

        Raises:
            UserError: One line that names the key and the mend.
        """


class GeneratorConfig(Component):
    """Settings of a network that draws a face."""


class LossConfig(Component):
    """Settings of a loss."""


class AnalyzerConfig(Component):
    """Settings of a face analyzer: detection, landmarks and identity embedding."""


class EncoderConfig(Component):
    """Settings of an encoder of face crops."""


class CallbackConfig(Component):
    """Settings of a Lightning callback."""


class LoggerConfig(Component):
    """Settings of a Lightning logger."""


class TaskConfig(Component):
    """Settings of a job of infer."""

    def check_sources(self) -> None:
        """Refuse what the names of sources and output show to be wrong, before anything heavy is imported.

        Raises:
            UserError: One line that names the key and the mend.
        """


class WholeTaskConfig(TaskConfig, WholeComponent):
    """Settings of a job of infer that takes them whole."""


class EngineConfig(Component):
    """Settings of what works on the files of a task: this process, or a cluster."""


def require_keys(config: object, task: str = "", **keys: str) -> object:
    """Return a task's raw settings unchanged when every one of some keys is given.

    Args:
        config: The raw settings.
        task: Name of the task, for the message.
        **keys: What each key takes, for the message.

    Raises:
        ValueError: A key is missing, None or empty.
    """
    if isinstance(config, dict):
        missing = [f"{key}={value}" for key, value in keys.items() if config.get(key) in (None, "", [], "???")]
        if missing:
            raise ValueError(f"{task} needs {' '.join(missing)}".lstrip())
    return config


class ForeignComponent(Component):
    """Arguments of a class of Lightning, torch or torchmetrics, checked against its signature.

    Arguments may be components themselves, such as `trainer.profiler`. With `_partial_: true`, `build` returns a
    partial, and arguments still to come may be missing.
    """

    model_config = ConfigDict(extra="allow")

    partial_: bool = Field(default=False, alias="_partial_")
    """Bind the arguments instead of calling the class."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments, declared and undeclared alike."""
        own = {name: value for name, value in super().arguments().items() if name != "partial_"}
        return {**own, **(self.model_extra or {})}

    def build(self, **more: Any) -> Any:
        """Import the target and call it, or bind it when it is partial."""
        target: Any = locate(self.target_)
        arguments = {**{name: _build(value) for name, value in self.arguments().items()}, **more}
        return functools.partial(target, **arguments) if self.partial_ else target(**arguments)

    @model_validator(mode="before")
    @classmethod
    def _resolve_arguments(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, Mapping):
            return values
        errors: list[dict[str, Any]] = []
        found: dict[Any, Any] = {}
        for key, value in values.items():
            try:
                found[key] = value if key in ("_target_", "target_") else _resolve_nested(value, info)
            except PydanticCustomError as error:
                errors.append(
                    {"type": error.type, "loc": (key,), "input": value, "msg": str(error), "ctx": error.context}
                )
        if errors:
            raise PydanticCustomError("nested", "wrong arguments", {"errors": errors})
        return found

    @model_validator(mode="after")
    def _fits_signature(self) -> "ForeignComponent":
        try:
            parameters = signature(self.target_).parameters
        except TargetError as error:
            raise PydanticCustomError("unknown_target", "{why}", {"why": str(error)}) from None
        given = self.arguments()
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        named = [n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        unbounded = [name for name, value in given.items() if isinstance(value, float) and not math.isfinite(value)]
        unknown = [name for name in given if name.startswith("_") or not (open_ended or name in named)]
        missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in given]
        if self.partial_:
            missing = []
        is_callback = isinstance(self, CallbackConfig)
        wrong = [error for name, value in given.items() for error in (_check_value(name, value) if is_callback else ())]
        if unknown or missing or unbounded or wrong:
            raise PydanticCustomError(
                "nested",
                "wrong arguments",
                {
                    "errors": [
                        {"type": "extra_forbidden", "loc": (n,), "input": given[n], "names": named} for n in unknown
                    ]
                    + [{"type": "missing", "loc": (n,), "input": None} for n in missing]
                    + [{"type": "finite_number", "loc": (n,), "input": given[n]} for n in unbounded]
                    + wrong
                },
            )
        return self


_VALUES: Final[Mapping[str, TypeAdapter[Any]]] = {
    "mode": TypeAdapter(Literal["min", "max"]),
    "save_top_k": TypeAdapter(Annotated[int, Field(ge=-1)]),
    "patience": TypeAdapter(Annotated[int, Field(ge=0)]),
    "logging_interval": TypeAdapter(Literal["step", "epoch"] | None),
}
"""What arguments of Lightning's callbacks take, which their signatures do not tell."""


def _check_value(name: str, value: object) -> list[Mapping[str, Any]]:
    """Return what is wrong with an argument of a callback."""
    if name not in _VALUES:
        return []
    try:
        _VALUES[name].validate_python(value, strict=True)
    except ValidationError as error:
        return [{**found, "loc": (name,)} for found in error.errors()]
    return []


class ForeignCallbackConfig(CallbackConfig, ForeignComponent):
    """Arguments of one of Lightning's callbacks."""


class ForeignLoggerConfig(LoggerConfig, ForeignComponent):
    """Arguments of one of Lightning's loggers."""


_KINDS: Final = {
    "lightning.pytorch.callbacks.": ForeignCallbackConfig,
    "lightning.pytorch.loggers.": ForeignLoggerConfig,
}

C = TypeVar("C", bound=Component)


def settings_class(target: object, kind: type[C], *, from_file: bool = False) -> type[C]:
    """Find the settings class of a `_target_`; its class itself is not imported.

    Args:
        target: Dotted name of a class, as a config or a file holds it.
        kind: What is expected there, such as `GeneratorConfig`.
        from_file: Whether the target was read from a file, which may name only facesmith's and plug-ins' classes.

    Returns:
        A subclass of `kind`.

    Raises:
        TargetError: The name is none, may not be named here, has no settings class, or is of another kind.
    """
    if not isinstance(target, str):
        raise TargetError("_target_ must be the dotted name of one class")
    if is_own(target):
        found = _own_settings(target)
    elif from_file:
        raise TargetError(f"{target} may not be named by a file, only classes of facesmith and of installed plug-ins")
    else:
        foreign_packages(target)
        found = next((of for prefix, of in _KINDS.items() if target.startswith(prefix)), ForeignComponent)
    if not issubclass(found, kind):
        what = kind.__name__.removesuffix("Config").lower()
        raise TargetError(f"{target} is no {what}: its settings are no {kind.__name__}")
    return found


def _own_settings(target: str) -> type[Component]:
    module, _, name = target.rpartition(".")
    config = f"{module.rpartition('.')[0]}.config"
    try:
        found = getattr(importlib.import_module(config), f"{name}Config")
    except (ImportError, AttributeError):
        raise TargetError(f"{target} has no settings: {config}.{name}Config does not exist") from None
    if not (isinstance(found, type) and issubclass(found, Component)) or found.__module__ != config:
        raise TargetError(f"{target} has no settings: {config}.{name}Config is not a Component defined there")
    return found


class _Resolve:
    """Turn a mapping with a `_target_` into the settings of that target, of the annotated kind."""

    def __get_pydantic_core_schema__(self, source: type[Component], handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_info_before_validator_function(lambda value, info: _resolve(value, source, info), handler(source))


Chosen = Annotated[SerializeAsAny[C], _Resolve()]
"""A field whose `_target_` chooses the class: `Chosen[GeneratorConfig]` takes the settings of any generator."""


def _resolve(value: object, kind: type[Component], info: ValidationInfo) -> object:
    if isinstance(value, Component) or not isinstance(value, Mapping):
        return value
    if value.get("_target_") is None:
        raise PydanticCustomError("no_target", "needs a _target_: choose an option of its config group")
    from_file = bool((info.context or {}).get(FROM_FILE))
    try:
        found = settings_class(value["_target_"], kind, from_file=from_file)
    except TargetError as error:
        raise PydanticCustomError("unknown_target", "{why}", {"why": str(error)}) from None
    try:
        return found.model_validate(value, context=info.context)
    except ValidationError as error:
        raise PydanticCustomError("nested", "invalid", {"errors": error.errors(), "schema": found}) from None


def _resolve_nested(value: object, info: ValidationInfo) -> object:
    if isinstance(value, list):
        return [_resolve_nested(one, info) for one in value]
    if isinstance(value, Mapping) and "_target_" in value:
        return _resolve(value, Component, info)
    return value


def _build(value: object) -> object:
    if isinstance(value, list):
        return [_build(one) for one in value]
    return value.build() if isinstance(value, Component) else value
