"""The base of every settings class, and how a `_target_` in a config finds its own."""

import functools
import importlib
import inspect
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from facesmith.config.signatures import UnknownTargetError, signature

PathSetting = Annotated[Path, Field(strict=False)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]


def _iso_date(text: str) -> str:
    date.fromisoformat(text)
    return text


def _not_over(text: str) -> str:
    if date.fromisoformat(text) < date.today():
        raise ValueError("this day is over: ask again, or remove the person with python -m facesmith.purge")
    return text


IsoDate = Annotated[str, AfterValidator(_iso_date)]
ExpiryDate = Annotated[IsoDate, AfterValidator(_not_over)]

FOREIGN = ("lightning.", "torch.", "torchmetrics.")


class Settings(BaseModel):
    """Validated settings: unknown keys are errors, types are strict, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Component(Settings):
    """Settings of a class that takes plain keyword arguments.

    `_target_: facesmith.<package>.<file>.<X>` finds its settings by one rule: the class `<X>Config` in
    `facesmith.<package>.config`.
    """

    target_: str = Field(alias="_target_")

    def arguments(self) -> dict[str, Any]:
        """Return the fields by name, nested settings as they are, without the target."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "target_"}

    def build(self, **more: Any) -> Any:
        """Import the target and call it with these settings as keyword arguments; `more` wins."""
        return locate(self.target_)(**{**self.arguments(), **more})


class SliceComponent(Component):
    """Settings of a LightningModule or LightningDataModule, which takes them whole."""

    def build(self, **more: Any) -> Any:
        """Import the target and call it with this object and `more` as keyword arguments."""
        return locate(self.target_)(self, **more)


class ForeignComponent(Component):
    """Arguments of a class of Lightning, torch or torchmetrics, held against its signature.

    With `_partial_: true`, `build` returns a partial, and arguments still to come may be missing.
    """

    model_config = ConfigDict(extra="allow")

    partial_: bool = Field(default=False, alias="_partial_")

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments, declared and undeclared alike."""
        own = {name: value for name, value in super().arguments().items() if name != "partial_"}
        return {**own, **(self.model_extra or {})}

    def build(self, **more: Any) -> Any:
        """Import the target and call it, or bind it when it is partial."""
        target = locate(self.target_)
        if self.partial_:
            return functools.partial(target, **{**self.arguments(), **more})
        return target(**{**self.arguments(), **more})

    @model_validator(mode="after")
    def _fits_signature(self) -> "ForeignComponent":
        try:
            parameters = signature(self.target_).parameters
        except UnknownTargetError:
            raise PydanticCustomError(
                "unknown_target", "no class of this name: {target}", {"target": self.target_}
            ) from None
        given = self.arguments()
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        named = [n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        unknown = [] if open_ended else [name for name in given if name not in named]
        missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in given]
        if self.partial_:
            missing = []
        if unknown or missing:
            raise PydanticCustomError(
                "nested",
                "wrong arguments",
                {
                    "errors": [
                        {"type": "extra_forbidden", "loc": (n,), "input": given[n], "names": named} for n in unknown
                    ]
                    + [{"type": "missing", "loc": (n,), "input": None} for n in missing]
                },
            )
        return self


def settings_class(target: str) -> type[Component]:
    """Find the settings class of a `_target_`.

    Raises:
        LookupError: the target lies outside `facesmith.`, `lightning.`, `torch.`, `torchmetrics.`, or its
            settings class does not exist.
    """
    if target.startswith(FOREIGN):
        return ForeignComponent
    if not target.startswith("facesmith."):
        raise LookupError(f"{target} lies outside facesmith, lightning, torch and torchmetrics")
    module, _, name = target.rpartition(".")
    config = f"{module.rpartition('.')[0]}.config"
    try:
        found = getattr(importlib.import_module(config), f"{name}Config")
    except (ImportError, AttributeError):
        raise LookupError(f"{target} has no settings: {config}.{name}Config does not exist") from None
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise LookupError(f"{config}.{name}Config is not a Component")
    return found


def locate(target: str) -> Any:
    """Import the object at a dotted path."""
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _resolve(value: object) -> object:
    if isinstance(value, Component) or not isinstance(value, Mapping):
        return value
    target = value.get("_target_")
    if not isinstance(target, str):
        raise PydanticCustomError("no_target", "needs a _target_: choose an option of its config group")
    try:
        found = settings_class(target)
    except LookupError as error:
        raise PydanticCustomError("unknown_target", "{why}", {"why": str(error)}) from None
    try:
        return found.model_validate(value)
    except ValidationError as error:
        raise PydanticCustomError("nested", "invalid", {"errors": error.errors(), "schema": found}) from None


AnyComponent = Annotated[SerializeAsAny[Component], BeforeValidator(_resolve)]
