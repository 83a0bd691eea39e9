"""Read the signature of a class from its source, without importing it.

Importing Lightning or torch costs ten seconds; a misspelt trainer key should be told in one.
"""

import ast
import importlib.util
import inspect
from functools import lru_cache
from pathlib import Path


class UnknownTargetError(LookupError):
    """No class or function stands at this dotted path."""


def signature(target: str) -> inspect.Signature:
    """Return the call signature of the class or function at a dotted path, `self` left out.

    Re-exports (`from x import y`) and inherited constructors are followed; annotations are left out and
    defaults are only marked as present.

    Raises:
        UnknownTargetError: nothing stands there, or its source cannot be read.
    """
    module, node = _locate(target)
    if isinstance(node, ast.FunctionDef):
        return _signature(node.args, skip_first=False)
    return _constructor(module, node)


def _constructor(module: str, node: ast.ClassDef) -> inspect.Signature:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _signature(item.args, skip_first=True)
    for base in node.bases:
        if isinstance(base, ast.Name | ast.Attribute):
            try:
                parent_module, parent = _locate(f"{module}.{ast.unparse(base)}")
            except UnknownTargetError:
                continue
            if isinstance(parent, ast.ClassDef):
                return _constructor(parent_module, parent)
    return inspect.Signature()


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


def _locate(target: str, depth: int = 0) -> tuple[str, ast.ClassDef | ast.FunctionDef]:
    """Return the module that defines the target, and its node, following re-exports."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        source = _source(module)
        if source is None:
            continue
        node = _member(source, parts[cut])
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and cut == len(parts) - 1:
            return module, node
        if isinstance(node, str) and depth < 12:
            path, dots = node.lstrip("."), len(node) - len(node.lstrip("."))
            if dots:
                package = module if _is_package(module) else module.rpartition(".")[0]
                for _ in range(dots - 1):
                    package = package.rpartition(".")[0]
                path = f"{package}.{path}"
            return _locate(".".join([path, *parts[cut + 1 :]]), depth + 1)
        break
    raise UnknownTargetError(target)


def _member(tree: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | str | None:
    """Find a top-level definition, or the dotted path a top-level import takes it from."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return "." * node.level + (f"{node.module}." if node.module else "") + alias.name
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return alias.name
    return None


@lru_cache(maxsize=256)
def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
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
