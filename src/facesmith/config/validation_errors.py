"""Format the errors of a pydantic validation as one readable line each."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from facesmith.errors import escape_controls

_MESSAGES: Final = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a group of keys",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list: [a, b]",
    "mapping_type": "must be a group of keys",
    "model_type": "must be a group of keys",
    "path_type": "must be a path",
    "string_type": "must be text",
    "no_target": "choose an option of this config group",
}


def format_errors(errors: Iterable[Mapping[str, Any]], schema: type[BaseModel], config: object) -> list[str]:
    """Format each error in one line: dotted key, value, what is allowed, the closest name.

    Args:
        errors: `ValidationError.errors()`.
        schema: The settings class that was validated.
        config: The plain dict that was validated; its keys are offered where a misplaced key fits elsewhere.
    """
    known = dict(_flatten(config))
    return list(dict.fromkeys(_lines(errors, (), schema, known)))


def closest_match(key: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like a key.

    Args:
        key: As it was given.
        names: Those that exist.

    Returns:
        One of them, or None where none is similar.
    """
    usual = [name for name in names if not name.startswith("_")]
    return next(iter(difflib.get_close_matches(key, usual, n=1, cutoff=0.6)), None)


def suggest_key(key: str, keys: Iterable[str]) -> str | None:
    """Return the dotted key that was most likely meant: a similar one, or one elsewhere with the same last part.

    Args:
        key: As it was given.
        keys: Dotted keys that exist.
    """
    keys = [one for one in keys if one != key and not key.startswith(f"{one}.")]
    closest = closest_match(key, keys)
    if closest:
        return closest
    leaf = key.rpartition(".")[2]
    return next((k for k in keys if k.rpartition(".")[2] == leaf), None)


def _lines(
    errors: Iterable[Mapping[str, Any]],
    prefix: tuple[str | int, ...],
    schema: type[BaseModel] | None,
    known: Mapping[str, object],
) -> Iterator[str]:
    for error, loc, others in _of_keys(errors, schema):
        place = (*prefix, *loc)
        context = error.get("ctx") or {}
        if error["type"] == "nested":
            yield from _lines(context["errors"], place, context.get("schema"), known)
        elif error["type"] == "extra_forbidden":
            names = error.get("names") or _names(schema, loc[:-1])
            yield _unknown(place, error.get("input"), names, known)
        elif others and (of_type := [one for one in (error, *others) if one["type"] == "value_error"]):
            yield _wrong(place, of_type[0], {}, ())  # the type fits, the value does not
        elif others:
            yield _fits_no_type(place, [error, *others])
        elif (own := re.match(r"(\w+)[=:]", _message(error))) and own[1] in _names(schema, loc):
            yield f"{_dotted(place)}.{_message(error)}".lstrip(".")  # of a group, about one of its keys
        else:
            yield _wrong(place, error, context, _choices(schema, loc) or _expected(context))


class _KeyError(NamedTuple):
    error: Mapping[str, Any]
    loc: tuple[str | int, ...]
    others: list[Mapping[str, Any]]
    """Why the other types that the same key may have do not fit either."""


def _of_keys(errors: Iterable[Mapping[str, Any]], schema: type[BaseModel] | None) -> Iterator[_KeyError]:
    """Gather the errors of one key, which has one for each type of a union; where one looks deeper, it knows more."""
    unions: dict[tuple[str | int, ...], list[tuple[Mapping[str, Any], tuple[str | int, ...]]]] = {}
    for error in errors:
        loc, union = _without_types(schema, error["loc"])
        if union is None:
            yield _KeyError(error, loc, [])
        else:
            unions.setdefault(union, []).append((error, loc))
    for group in unions.values():
        deepest = max(len(loc) for _, loc in group)
        found = [pair for pair in group if len(pair[1]) == deepest]
        yield _KeyError(*found[0], [error for error, loc in found[1:] if loc == found[0][1]])


def _without_types(
    schema: object, loc: Sequence[str | int]
) -> tuple[tuple[str | int, ...], tuple[str | int, ...] | None]:
    """Return a place without the names of types that pydantic puts behind a key of several, and that key's place."""
    kept: list[str | int] = []
    union: tuple[str | int, ...] | None = None
    found = schema
    for step in loc:
        members = _members(found)
        if len(members) > 1 and str(step).startswith("function-"):  # a validator of several of the types
            union = tuple(kept) if union is None else union
        elif len(members) > 1:
            union = tuple(kept) if union is None else union
            found = next((one for one in members if _is_named(one, str(step))), None)
        elif step == "[key]":
            found = None
        else:
            kept.append(step)
            found = _inside(members[0] if members else None, step)
    return tuple(kept), union


def _members(annotation: object) -> list[object]:
    """Return the types an annotation allows, None left out."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [found for one in get_args(annotation) if one is not NoneType for found in _members(one)]
    return [annotation]


def _is_named(annotation: object, name: str) -> bool:
    """Return whether pydantic calls a member of a union so: str, list[str], dict[...], literal['auto'], a class."""
    kind = get_origin(annotation) or annotation
    return name.partition("[")[0].lower().endswith(str(getattr(kind, "__name__", kind)).lower())


def _inside(annotation: object, step: str | int) -> object:
    """Return what an annotation says of one of its fields or items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _annotation(annotation, step)
    inner = get_args(annotation)
    return inner[-1] if inner and get_origin(annotation) is not Literal else None


def _fits_no_type(place: Sequence[str | int], errors: Sequence[Mapping[str, Any]]) -> str:
    key, value = _dotted(place), errors[0].get("input")
    wanted = [_message(error) for error in errors]
    text = ", or ".join(dict.fromkeys(one.removeprefix("must be ") for one in wanted))
    return f"{key}{_shown(value)}: must be {text}"


def _message(error: Mapping[str, Any]) -> str:
    context = error.get("ctx") or {}
    if error["type"] in ("too_short", "string_too_short"):
        least = context.get("min_length", 1)
        return "must not be empty" if least == 1 else f"must hold at least {least}"
    if error["type"] in ("too_long", "string_too_long"):
        return f"must hold at most {context.get('max_length')}"
    if error["type"] == "literal_error":
        return " or ".join(_expected(context))
    return _MESSAGES.get(error["type"]) or str(error.get("msg", "")).removeprefix("Value error, ").replace(
        "Input should", "must"
    )


def _expected(context: Mapping[str, Any]) -> list[str]:
    """Return the values that pydantic says a Literal allows."""
    return re.findall(r"'([^']*)'", str(context.get("expected", "")))


def _unknown(place: Sequence[str | int], value: object, names: Sequence[str], known: Mapping[str, object]) -> str:
    key = _dotted(place)
    meant = closest_match(str(place[-1]), names)
    full = _dotted((*place[:-1], meant)) if meant else suggest_key(key, (k for k in known if k != key))
    line = f"{key}: no such key"
    if full:
        return f"{line}; did you mean {full}?"
    return f"{line}; expected one of: {', '.join(sorted(names))}" if names else line


def _wrong(
    place: Sequence[str | int], error: Mapping[str, Any], context: Mapping[str, Any], choices: Sequence[str]
) -> str:
    key, value, kind = _dotted(place), error.get("input"), error["type"]
    if kind == "missing" or value is None:
        return f"{key}: required; " + (f"choose one of {', '.join(choices)}" if choices else f"give {key}=...")
    if kind == "literal_error":
        meant = closest_match(str(value), choices)
        line = f"{key}{_shown(value)}: choose one of {', '.join(choices)}"
        return f"{line}; did you mean {meant}?" if meant else line
    if kind == "string_pattern_mismatch" and "a-z" in str(context.get("pattern")):
        return f"{key}={escape_controls(value)}: must be lower-case letters, digits, - and _, such as ada or scene_2"
    message = _message(error)
    return f"{key}{_shown(value)}: {message}"


def _shown(value: object) -> str:
    """Return a short value as it is typed after its key; nothing for a long one."""
    if isinstance(value, bool):
        return f"={str(value).lower()}"
    if isinstance(value, list) and len(value) <= 6:
        return f"=[{','.join(_shown(one)[1:] or '...' for one in value)}]"
    return f"={escape_controls(value)}" if isinstance(value, str | int | float) else ""


def _names(schema: type[BaseModel] | None, path: Sequence[str | int]) -> list[str]:
    """Return the field names of the settings class at this path."""
    for step in _fields(path):
        schema = _model_in(_annotation(schema, step))
    return [field.alias or name for name, field in schema.model_fields.items()] if schema else []


def _choices(schema: type[BaseModel] | None, path: Sequence[str | int]) -> list[str]:
    """Return the values allowed by a Literal field, or a list of them; nothing for other fields."""
    path = _fields(path)
    for step in path[:-1]:
        schema = _model_in(_annotation(schema, step))
    annotation = _annotation(schema, path[-1]) if path else None
    inner = (annotation, *get_args(annotation))
    return [str(value) for found in inner if get_origin(found) is Literal for value in get_args(found)]


def _fields(path: Sequence[str | int]) -> list[str]:
    """Return a path without the numbers of list items: what a list holds is found in the list's own annotation."""
    return [step for step in path if isinstance(step, str)]


def _annotation(schema: type[BaseModel] | None, step: str | int) -> object:
    fields = schema.model_fields if schema else {}
    field = fields.get(str(step)) or next((one for one in fields.values() if one.alias == step), None)
    return field.annotation if field else None


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found), None)


def _dotted(place: Iterable[str | int]) -> str:
    return ".".join(str(step) for step in place)


def _flatten(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
