"""`facesmith help <key>`: what a key means, what it takes, and where it stands in which option of a config group."""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from omegaconf import OmegaConf
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from facesmith.annotate.config import AnnotateConfig
from facesmith.config.conf_folder import folders
from facesmith.config.schema import ExportConfig, InferConfig, TrainConfig, TrainerConfig
from facesmith.config.settings import Component, settings_class
from facesmith.config.studio import StudioConfig
from facesmith.config.targets import TargetError
from facesmith.config.validation_errors import suggest_key
from facesmith.errors import UserError
from facesmith.terminal import print_line

_SCHEMAS: Final[Mapping[str, type[BaseModel]]] = {
    "train": TrainConfig,
    "infer": InferConfig,
    "export": ExportConfig,
    "annotate": AnnotateConfig,
    "studio": StudioConfig,
}
_COMPOSED: Final = ("data", "model", "trainer", "callbacks", "logger", "analyzer", "task", "encoder")
"""Groups whose options hold keys of the settings; those of the others set keys of these."""
_HELP: Final = """\
Explain a key, a config group or a command.

  facesmith help data.max_frames     what it means, what it takes, what it is where
  facesmith help max_frames          the same, by the last part of its name
  facesmith help trainer             the options of a config group
  facesmith help train               every key of a command, a line each
"""
_MANY: Final = 12
_GROUP: Final = "a group of keys"


class Key(NamedTuple):
    """A key of the config, as one option of a group holds it."""

    name: str
    command: str
    option: str
    value: str
    takes: str
    meaning: str


def main(given: Sequence[str]) -> int:
    """Explain the key, group or command that is named."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if not given or given[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    name = given[0].rstrip("=").replace("/", ".").lstrip("+")
    if name in _SCHEMAS:
        _print_command(name, console)
        return 0
    keys = collect_keys()
    found = [key for key in keys if key.name == name] or [key for key in keys if key.name.endswith(f".{name}")]
    options = _list_options(given[0].rstrip("="))
    if not found and not options:
        closest = suggest_key(name, {key.name for key in keys})
        raise UserError(f"{given[0]}: no such key" + (f"; did you mean {closest}?" if closest else ""))
    if options:
        _print_group(given[0].rstrip("="), options, console)
        below = sorted({key.name for key in keys if key.name.startswith(f"{name}.")})
        print_line(f"keys: {', '.join(below)}" if below else "", console)
    names = list(dict.fromkeys(key.name for key in found if not (options and key.takes == _GROUP)))
    for one in names[:_MANY]:
        _print_key([key for key in found if key.name == one], console)
    if len(names) > _MANY:
        console.print(f"and {', '.join(names[_MANY:])}")
    return 0


@cache
def collect_keys() -> tuple[Key, ...]:
    """Return every key of every command, once for each option of a config group that holds it."""
    found: list[Key] = []
    for command, schema in _SCHEMAS.items():
        values = _read(_conf() / f"{command}.yaml")
        machine = _read(_conf() / "machine.yaml")
        found += _of_settings(schema, {**machine, **values}, "", command, "")
    for group in _COMPOSED:
        for path in sorted((_conf() / group).rglob("*.yaml")):
            folder = path.parent.relative_to(_conf())
            command = "infer" if group in ("task", "encoder") else "train"
            found += _of_mapping(_read(path), _package(path, folder), command, f"{folder}={path.stem}")
    return tuple(dict.fromkeys(found))


def describe_type(annotation: object, metadata: Sequence[object] = ()) -> str:
    """Describe in words what a field takes: `whole number >= 1`, `a | b`, `path or null`.

    Args:
        annotation: Of the field.
        metadata: Its bounds.
    """
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return describe_type(inner, [*metadata, *more])
    if get_origin(annotation) in (Union, UnionType):
        members = [one for one in get_args(annotation) if one is not NoneType]
        text = " or ".join(dict.fromkeys(describe_type(one, metadata) for one in members))
        return f"{text} or null" if NoneType in get_args(annotation) else text
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of: {describe_type(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"group of: {describe_type(get_args(annotation)[-1])}"
    names = {bool: "true | false", int: "whole number", float: "number", str: "text", Path: "path"}
    plain = names.get(annotation) if isinstance(annotation, type) else None
    if plain is None:
        return _GROUP if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "any value"
    bounds = " and ".join(filter(None, map(_describe_bound, metadata)))
    return f"{plain} {bounds}".rstrip()


def _describe_bound(bound: object) -> str:
    if isinstance(bound, Ge):
        return f">= {bound.ge}"
    if isinstance(bound, Gt):
        return f"> {bound.gt}"
    if isinstance(bound, Le):
        return f"<= {bound.le}"
    if isinstance(bound, Lt):
        return f"< {bound.lt}"
    inner = getattr(bound, "metadata", None)  # pydantic's Field within Annotated
    return " and ".join(filter(None, map(_describe_bound, inner))) if isinstance(inner, list) else ""


def field_docs(settings: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a settings class and of the classes it is built on, read from the source.

    Args:
        settings: The class.
    """
    found: dict[str, str] = {}
    for one in reversed(settings.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            found |= _own_docs(one)
    return found


@cache
def _own_docs(settings: type[BaseModel]) -> dict[str, str]:
    tree = _parse(settings.__module__)
    body = next((n.body for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == settings.__name__), [])
    found = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(following, ast.Expr):
            value = following.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[node.target.id] = inspect.cleandoc(value.value).replace("\n", " ")
    return found


@cache
def _parse(module: str) -> ast.Module:
    file = importlib.import_module(module).__file__
    return ast.parse(Path(file).read_text(encoding="utf-8")) if file else ast.Module([], [])


def _conf() -> Path:
    return folders("conf")[-1]


def _read(path: Path) -> dict[str, Any]:
    read = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(key): value for key, value in read.items() if key != "defaults"} if isinstance(read, dict) else {}


def _of_mapping(values: Mapping[str, Any], prefix: str, command: str, option: str) -> Iterator[Key]:
    """Yield the keys of an option: of the class that it names, or of those that its parts name."""
    target = values.get("_target_")
    if isinstance(target, str):
        try:
            settings = TrainerConfig if prefix == "trainer" else settings_class(target, Component)
        except TargetError:
            return
        yield from _of_settings(settings, values, prefix, command, option)
        return
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _of_mapping(value, f"{prefix}.{key}".lstrip("."), command, option)


def _of_settings(
    settings: type[BaseModel], values: Mapping[str, Any], prefix: str, command: str, option: str
) -> Iterator[Key]:
    docs = field_docs(settings)
    for name, field in settings.model_fields.items():
        if name in ("target_", "partial_"):
            continue
        key, value = f"{prefix}.{name}".lstrip("."), values.get(name)
        inner = next((one for one in (field.annotation, *get_args(field.annotation)) if _is_settings(one)), None)
        if isinstance(value, Mapping) and "_target_" in value:
            yield from _of_mapping(value, key, command, option)
        elif inner is not None and isinstance(value, Mapping):
            yield from _of_settings(inner, value, key, command, option)
        else:
            takes = describe_type(field.annotation, field.metadata)
            yield Key(key, command, option, _show(value), takes, docs.get(name, ""))
    target = str(values.get("_target_", ""))
    for name in values:
        if name not in settings.model_fields and not name.startswith("_"):
            key = f"{prefix}.{name}"
            yield Key(key, command, option, _show(values[name]), "any value", f"Argument of {target}.")


def _is_settings(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and not issubclass(annotation, Component)


def _show(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    text = str(value)
    return "to be given" if text == "???" else text


def _package(path: Path, folder: Path) -> str:
    """Return below which key Hydra puts a file: that of its folder, or the one that its first line names."""
    named = re.match(r"# @package (\S+)", path.read_text(encoding="utf-8"))
    if named is None or named[1] == "_group_":
        return ".".join(folder.parts)
    return "" if named[1] == "_global_" else named[1]


def _list_options(group: str) -> list[Path]:
    return sorted((_conf() / group.replace(".", "/")).glob("*.yaml"))


def _print_key(keys: Sequence[Key], console: Console) -> None:
    first = keys[0]
    console.print(f"[bold]{first.name}[/bold]  {_escape(first.takes)}")
    if first.meaning:
        console.print(f"  {_escape(first.meaning)}")
    for key in keys:
        where = key.option or f"facesmith {key.command}"
        console.print(f"  [dim]{_escape(where)}:[/dim] {_escape(key.value)}")


def _print_group(group: str, options: Sequence[Path], console: Console) -> None:
    console.print(f"[bold]{group}=[/bold]")
    grid = _make_grid()
    for path in options:
        comments = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        summary = next((line for line in comments if not line.startswith("@package")), "")
        grid.add_row(f"  {path.stem}", _escape(summary))
    console.print(grid)


def _print_command(command: str, console: Console) -> None:
    names: dict[str, Key] = {}
    for key in collect_keys():
        if key.command == command:
            names.setdefault(key.name, key)
    grid = _make_grid()
    for name, key in sorted(names.items(), key=lambda pair: (pair[0].count(".") > 0, pair[0])):
        grid.add_row(name, _escape(key.meaning.partition(". ")[0].rstrip(".") or key.takes))
    console.print(grid)


def _make_grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    return grid


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
