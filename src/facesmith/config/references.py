"""Composed configs as plain values, and what to say of `${...}` that lead nowhere."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from facesmith.config.validation_errors import suggest_key

_TO_ITSELF: Final = "refers to itself"


class Dangling(NamedTuple):
    """A reference that leads nowhere.

    Attributes:
        line: Says so.
        keys: It refers to these.
        has_no_group: Whether there is not even the group of keys that one of them should be in.
    """

    line: str
    keys: list[str]
    has_no_group: bool


@dataclass
class PlainConfig:
    """A config without missing values and without references.

    Attributes:
        values: Plain dicts, lists and values.
        borrowed: Places that take their value from another key: a mistake there is reported at that key.
        dangling: Places whose reference leads nowhere.
        unset: Places that refer to a key which has no value, and a line that says so.
    """

    values: dict[str, Any] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)
    dangling: dict[str, "Dangling"] = field(default_factory=dict)
    unset: dict[str, str] = field(default_factory=dict)

    def lies_elsewhere(self, line: str) -> bool:
        """Return whether a line is about a place, or a key below one, whose mistake is another key's.

        Args:
            line: Begins with a dotted key.
        """
        return _is_below(_key_of(line), (*self.borrowed, *self.dangling, *self.unset))

    def explain(self, lines: Sequence[str] = ()) -> list[str]:
        """Return a line for each dangling reference, but for those that fail because another key is wrong.

        Args:
            lines: What is wrong elsewhere; each begins with a dotted key.
        """
        wrong = {*self.dangling, *map(_key_of, lines)}
        found = [
            one.line
            for place, one in self.dangling.items()
            if not any(_is_below(key, wrong - {place}) for key in one.keys) and not (lines and one.has_no_group)
        ]
        circles = [one.line for one in self.dangling.values() if one.line.endswith(_TO_ITSELF)]
        return found or circles


def make_plain(cfg: DictConfig) -> PlainConfig:
    """Resolve a config to plain values, without missing ones.

    Args:
        cfg: As Hydra composed it.
    """
    plain = PlainConfig()
    failed: dict[str, OmegaConfBaseException] = {}
    plain.values = _resolve(cfg, "", plain, failed)
    text = _unresolved(cfg)
    raw = {place: str(OmegaConf.select(text, place)) for place in failed}
    known = list(_keys(OmegaConf.to_container(cfg, resolve=False), "")) if failed else []
    for place, error in failed.items():
        line = f"{place}={raw[place]}: {_explain(error, raw[place], known)}"
        keys = _named(raw[place])
        groups = [OmegaConf.select(text, key.rpartition(".")[0] or key, default=None) for key in keys if "." in key]
        plain.dangling[place] = Dangling(line, keys, any(not isinstance(group, DictConfig) for group in groups))
    return plain


def _resolve(
    node: DictConfig | ListConfig, path: str, plain: PlainConfig, failed: dict[str, OmegaConfBaseException]
) -> Any:
    keys: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    found: dict[Any, Any] = {}
    for key in keys:
        place = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except InterpolationToMissingValueError:
            plain.unset[place] = f"{place}: refers to a value that is not set"
            continue
        except OmegaConfBaseException as error:
            failed[place] = error
            continue
        if OmegaConf.is_interpolation(node, key):
            plain.borrowed.add(place)
        nested = isinstance(value, DictConfig | ListConfig)
        found[key] = _resolve(value, place, plain, failed) if nested else value
    return found if isinstance(node, DictConfig) else list(found.values())


def _unresolved(cfg: DictConfig) -> DictConfig:
    """Return a config whose references are plain text."""
    escaped = _escape(OmegaConf.to_container(cfg, resolve=False))
    made = OmegaConf.create(escaped)
    assert isinstance(made, DictConfig)
    return made


def _escape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escape(inner) for inner in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value


def _named(raw: str) -> list[str]:
    """Return the keys that a text refers to."""
    return re.findall(r"\$\{\s*([\w.]+)\s*\}", raw)


def _keys(value: object, prefix: str) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _keys(inner, f"{prefix}.{key}".lstrip("."))
    if prefix:
        yield prefix


def _explain(error: OmegaConfBaseException, raw: str, known: Iterable[str]) -> str:
    text = str(error.msg or error).partition("\n")[0]
    if " is not a container" in text:
        return f"there is no key {', '.join(_named(raw))}"
    if found := re.fullmatch(r"Interpolation key '(.+)' not found", text):
        closest = suggest_key(found[1], known)
        return f"there is no key {found[1]}" + (f"; did you mean ${{{closest}}}?" if closest else "")
    if found := re.fullmatch(r"Unsupported interpolation type (.+)", text):
        return f"nothing is called {found[1]}; ${{oc.env:NAME}} reads an environment variable, ${{key}} another key"
    if text.startswith("Recursive interpolation"):
        return _TO_ITSELF
    if found := re.fullmatch(r"\w+ raised while resolving interpolation: (.+)", text):
        return found[1].strip("\"'")
    return f"cannot be read; ${{key}} takes the value of another key, '\\{raw}' is text" if "${" in raw else text


def _key_of(line: str) -> str:
    return re.split(r"[:=]", line, maxsplit=1)[0]


def _is_below(key: str, places: Iterable[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)
