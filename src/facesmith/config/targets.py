"""The classes that a `_target_` may name, and their import.

A `_target_` is a class, never a function: of facesmith, of an installed plug-in, or of the few packages of Lightning,
torch and torchmetrics in `FOREIGN`. Files (checkpoints, adapters) may name classes of the first two only.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

GROUP: Final = "facesmith.methods"
"""Entry points of this group name packages that add training types; their classes count as facesmith's own."""

TRAINERS: Final = ("lightning.Trainer", "lightning.pytorch.Trainer")

# below which package a class may be named -> below which packages it may be defined
FOREIGN: Final[Mapping[str, tuple[str, ...]]] = {
    "lightning.pytorch.callbacks": ("lightning.pytorch.callbacks",),
    "lightning.pytorch.loggers": ("lightning.pytorch.loggers",),
    "lightning.pytorch.strategies": ("lightning.pytorch.strategies",),
    "lightning.pytorch.plugins": ("lightning.pytorch.plugins", "lightning.fabric.plugins"),
    "lightning.pytorch.profilers": ("lightning.pytorch.profilers",),
    "torch.optim": ("torch.optim",),
    "torch.nn": ("torch.nn",),
    "torchmetrics": ("torchmetrics",),
}
_ALLOWED: Final = (
    "facesmith, installed plug-ins, lightning.Trainer, "
    "lightning.pytorch.{callbacks,loggers,strategies,plugins,profilers}, torch.optim, torch.nn and torchmetrics"
)


_DEEPEST: Final = 20  # parts of a dotted name


class TargetError(LookupError):
    """A `_target_` names nothing, or nothing that may be named; the message begins with the name."""


@cache
def plugin_packages() -> tuple[str, ...]:
    """Return the dotted names of the packages that installed plug-ins register under `GROUP`."""
    return tuple(sorted({point.module for point in entry_points(group=GROUP)}))


def plugin_conf_folders() -> list[Path]:
    """Return the `conf` folders of the plug-ins' packages; no plug-in is imported for it."""
    found = []
    for package in plugin_packages():
        spec = importlib.util.find_spec(package)
        places = spec.submodule_search_locations if spec else None
        found += [folder for place in places or () if (folder := Path(place, "conf")).is_dir()]
    return found


def is_own(target: str) -> bool:
    """Return whether a dotted name lies below facesmith or a plug-in's package, with no private part below it."""
    return any(
        _below(target, (package,)) and _is_public(target.removeprefix(f"{package}."))
        for package in ("facesmith", *plugin_packages())
    )


def foreign_packages(target: str) -> tuple[str, ...]:
    """Return the packages that may define a class of this name.

    Raises:
        TargetError: The name lies outside all packages whose classes may be named, or is private.
    """
    if target in TRAINERS:
        return ("lightning.pytorch.trainer",)
    if _is_public(target):
        for package, definers in FOREIGN.items():
            if _below(target, (package,)):
                return definers
    raise TargetError(f"{target} may not be named; allowed are classes of {_ALLOWED}")


def locate(target: str) -> type[Any]:
    """Import the class that a `_target_` names.

    Args:
        target: Dotted name. Classes of facesmith and of plug-ins go by the module that defines them; others also by
            the package that exports them.

    Returns:
        The class.

    Raises:
        TargetError: There is no such class, it is no class, or it is defined elsewhere.
    """
    own = is_own(target)
    definers = () if own else foreign_packages(target)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise TargetError(f"{target} does not exist") from None
    if not isinstance(found, type):
        raise TargetError(f"{target} is not a class")
    if found.__module__ != module if own else not _below(found.__module__, definers):
        raise TargetError(f"{target} is defined in {found.__module__}; name it there, if it may be named")
    return found


def _is_public(name: str) -> bool:
    parts = name.split(".")
    return len(parts) <= _DEEPEST and all(
        part.isascii() and part.isidentifier() and not part.startswith("_") for part in parts
    )


def _below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)
