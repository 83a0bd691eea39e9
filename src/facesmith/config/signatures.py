"""Read the signature of a class from its source, without importing it.

Importing Lightning or torch takes ten seconds; a misspelt trainer key should be an error after one. Only a class
whose constructor its source does not show (a dataclass, `__new__`, a metaclass, an alias) is imported.
"""

import ast
import importlib.util
import inspect
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from facesmith.config.targets import TargetError, foreign_packages, is_own, locate

_Definition = ast.ClassDef | ast.FunctionDef


class _UnclearError(Exception):
    """The source does not show it; the class must be imported."""


def signature(target: str) -> inspect.Signature:
    """Return the call signature of the class at a dotted path, without `self`.

    Re-exports (`from x import y`, `from x import *`) and inherited constructors are followed; annotations are left
    out and defaults are only marked as present.

    Raises:
        TargetError: The path names no class, or one that may not be named.
    """
    definers = () if is_own(target) else foreign_packages(target)
    try:
        place = _locate(target)
        if place is None:
            raise TargetError(f"{target} does not exist")
        module, node = place
        if not isinstance(node, ast.ClassDef):
            raise TargetError(f"{target} is not a class")
        if definers and not any(f"{module}.".startswith(f"{package}.") for package in definers):
            raise TargetError(f"{target} is defined in {module}; name it there, if it may be named")
        found = _constructor(module, node)
        if found is not None:
            return found
    except _UnclearError:
        pass
    return inspect.signature(locate(target))


def _constructor(module: str, node: ast.ClassDef) -> inspect.Signature | None:
    """Return the signature of the first `__init__` in the order of inheritance; None where there is none."""
    if node.decorator_list or node.keywords:
        raise _UnclearError
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}  # of overloads the last
    if "__init__" in methods:
        return _signature(methods["__init__"].args, skip_first=True)
    if "__new__" in methods:
        raise _UnclearError
    for base in node.bases:
        if isinstance(base, ast.Subscript):
            base = base.value  # Base[T]
        if not isinstance(base, ast.Name | ast.Attribute):
            raise _UnclearError
        if ast.unparse(base) in ("object", "ABC", "Protocol", "Generic"):
            continue
        parent = _locate(f"{module}.{ast.unparse(base)}")
        if parent is None or not isinstance(parent[1], ast.ClassDef):
            raise _UnclearError
        found = _constructor(parent[0], parent[1])
        if found is not None:
            return found
    return None


def _signature(arguments: ast.arguments, skip_first: bool) -> inspect.Signature:
    parameter, kinds = inspect.Parameter, inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    found = [
        parameter(
            argument.arg,
            kinds.POSITIONAL_OR_KEYWORD,
            default=... if index >= first_default else parameter.empty,
        )
        for index, argument in enumerate(positional)
    ][1 if skip_first else 0 :]
    if arguments.vararg:
        found.append(parameter(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    found += [
        parameter(argument.arg, kinds.KEYWORD_ONLY, default=parameter.empty if default is None else ...)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        found.append(parameter(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(found)


def _locate(target: str, depth: int = 0) -> tuple[str, _Definition] | None:
    """Return the module that defines the target, and its node, following re-exports; None where nothing does."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if _source(module) is None:
            continue
        node = _member(module, parts[cut], depth)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and cut == len(parts) - 1:
            return module, node
        if isinstance(node, str) and depth < 12:
            return _locate(".".join([node, *parts[cut + 1 :]]), depth + 1)
        break
    return None


def _member(module: str, name: str, depth: int) -> _Definition | str | None:
    """Find a module's definition of a name, or the dotted path that an import takes it from."""
    starred = []
    tree = _source(module)
    for node in _statements(tree.body) if tree else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            raise _UnclearError
        if isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return f"{source}.{alias.name}"
                if alias.name == "*":
                    starred.append(source)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return alias.name
    if depth < 12 and not name.startswith("_"):
        for source in starred:
            if _member(source, name, depth + 1) is not None:
                return f"{source}.{name}"
    return None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a module's statements, those below `if` and `try` too."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        if isinstance(node, ast.Try):
            yield from _statements([*node.body, *node.orelse])


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the dotted path of the module that an import names."""
    if not node.level:
        return node.module or ""
    package = module if _is_package(module) else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


@lru_cache(maxsize=256)
def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    for candidate in (folder / "__init__.py", folder.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _is_package(module: str) -> bool:
    file = _file(module)
    return file is not None and file.name == "__init__.py"


@lru_cache(maxsize=64)
def _source(module: str) -> ast.Module | None:
    file = _file(module)
    return None if file is None else ast.parse(file.read_text(encoding="utf-8"))
