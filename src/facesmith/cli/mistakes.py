"""Mistakes on a command line, each in one line with its mend."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facesmith.cli.composition import open_config
from facesmith.config.signatures import signature
from facesmith.config.targets import TargetError, is_own
from facesmith.config.validation_errors import closest_match, suggest_key
from facesmith.errors import UserError, explain_barred_path


def explain_error(error: BaseException) -> list[str] | None:
    """Return the lines a person should read, or None when this is a bug and its traceback is wanted.

    Errors raised while a user's mistake was being handled are omitted: the mistake came first.
    """
    first = [cause for cause in _chain(error, implicit=True) if isinstance(cause, UserError)]
    for cause in _chain(first[-1] if first else error):
        if isinstance(cause, UserError):
            return str(cause).splitlines()
        if isinstance(cause, OverrideParseException):
            return [f"{cause.override}: cannot be read; write key=value, with quotes around unusual characters"]
        if isinstance(cause, MissingConfigException) and cause.options:
            group, _, option = (cause.missing_cfg_file or "").rpartition("/")
            return [f"{group}={option}: no such option; choose one of {', '.join(cause.options)}"]
        if isinstance(cause, HydraException | OmegaConfBaseException):
            return [_flat(cause)]
        if type(cause).__name__ == "MisconfigurationException":
            return [_flat(cause)]
    barred = explain_barred_path(error)
    return None if barred is None else [barred]


def is_refused(error: BaseException) -> bool:
    """Return whether Hydra refused an override, so that `override_mistakes` can name each."""
    return any(isinstance(cause, HydraException) for cause in _chain(error))


def override_mistakes(
    folder: Path,
    config_name: str,
    overrides: Sequence[str],
    check: Callable[[DictConfig], object],
    search: Path | None = None,
) -> list[str]:
    """Compose again, leaving out one refused override after the other, and explain each.

    Args:
        folder: Where the primary config lies.
        config_name: The primary config.
        overrides: Those of the command line, Hydra's own excepted.
        check: Validates the remaining config; its mistakes are reported too.
        search: One more folder of configs, as `--config-dir` names it.

    Returns:
        One line a mistake; none when the cause is no override.
    """
    left = [*overrides, *([f"hydra.searchpath=[file://{search.resolve()}]"] if search else [])]
    refused: list[_Refused] = []
    GlobalHydra.instance().clear()
    while True:
        try:
            with open_config(config_name, left, conf=folder) as cfg:
                return [*_explain_refused(refused, cfg), *_values(cfg, check)]
        except (HydraException, OmegaConfBaseException) as error:
            bad = _refused(error, left)
            if bad is None:
                return [one.line for one in refused]
            left.remove(bad.override)
            refused.append(bad)


def _values(cfg: DictConfig, check: Callable[[DictConfig], object]) -> list[str]:
    try:
        check(cfg)
    except UserError as error:
        return str(error).splitlines()
    return []


def _explain_refused(refused: Sequence["_Refused"], cfg: DictConfig) -> list[str]:
    keys = [*_keys(OmegaConf.to_container(cfg, resolve=False)), *GlobalHydra.instance().config_loader().list_groups("")]
    return [_explain_addition(one, cfg) or _with_suggestion(one, keys) for one in refused]


def _explain_addition(refused: "_Refused", cfg: DictConfig) -> str | None:
    """Explain the `+` that an override lacks or has too many; None where it is not about that."""
    key, _, value = refused.override.lstrip("+").partition("=")
    if refused.override.startswith("+") and OmegaConf.select(cfg, key, default=None) is not None:
        return f"{key}: is there already; write {key}={value}, without +"
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(cfg, parent, default=None) if parent else None
    target = OmegaConf.select(node, "_target_", default=None) if isinstance(node, DictConfig) else None
    if not isinstance(target, str) or is_own(target):
        return None
    try:
        known = leaf in signature(target).parameters
    except TargetError:
        return None
    return f"{key}: is no key of the preset, but an argument of {target}; write +{key}={value}" if known else None


class _Refused(NamedTuple):
    override: str
    line: str
    key: str | None = None
    options: tuple[str, ...] = ()


def _refused(error: Exception, overrides: list[str]) -> _Refused | None:
    """Find the override that Hydra refused, and why; None when it was not an override."""
    for cause in _chain(error):
        text = str(cause)
        if isinstance(cause, MissingConfigException):
            group, _, option = (cause.missing_cfg_file or "").rpartition("/")
            of_group = [one for one in overrides if one.split("=")[0].lstrip("+").split("@")[0] == group]
            if of_group:
                override = next((one for one in of_group if one.endswith(f"={option}")), of_group[0])
                return _Refused(override, f"{override}: no such option", option, tuple(cause.options or ()))
        if not isinstance(cause, HydraException):
            continue
        merged = text.removeprefix("Error merging override ")
        if merged in overrides:
            return _Refused(merged, f"{merged}: {_reword(cause)}")
        for quoted in re.findall(r"'([^']+)'", text):
            if quoted in overrides:
                return _Refused(quoted, f"{quoted}: {_reword(cause)}")
            for override in overrides:
                if override.split("=")[0].lstrip("+~").split("@")[0] == quoted:
                    return _Refused(override, f"{quoted}: no such key", quoted)
    return None


def _with_suggestion(refused: _Refused, keys: list[str]) -> str:
    line, key = refused.line, refused.key
    keys = [one for one in keys if key is None or not key.startswith(f"{one}.")]
    if refused.options:
        line += f"; choose one of {', '.join(refused.options)}"
    closest = (
        None if key is None else closest_match(key, refused.options) if refused.options else suggest_key(key, keys)
    )
    return f"{line}; did you mean {closest}?" if closest else line


def _keys(value: object, prefix: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [prefix]
    inner = [k for key, v in value.items() for k in _keys(v, f"{prefix}.{key}" if prefix else str(key))]
    return [*([prefix] if prefix else []), *inner]


def _chain(error: BaseException | None, implicit: bool = False) -> Iterator[BaseException]:
    """Walk back through causes; with `implicit`, only to what was being dealt with when something else failed."""
    while error is not None:
        yield error
        if implicit:
            error = None if error.__suppress_context__ else error.__context__
        else:
            error = error.__cause__ or error.__context__


def _reword(error: HydraException) -> str:
    """Return what Hydra says of an override, in words that name the mend."""
    text = _flat(error)
    if found := re.search(r"Error while evaluating '(.+?)':", text):
        return f"{found[1]} cannot be evaluated; write 1,2 or choice(1,2), range(1,4), interval(1,4)"
    if text.startswith("Ambiguous value"):
        return "a comma means many runs; add -m, or give one value"
    if text.startswith("Error merging override"):
        return "this value does not fit the key"
    return text


def _flat(error: BaseException) -> str:
    text = str(error).partition("\n    full_key:")[0]
    return re.sub(r"^\w+ raised while resolving interpolation: ", "", " ".join(text.split()))
