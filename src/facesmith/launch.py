"""What stands around an entry point: mistakes told in one line each, exit code 1, no traceback."""

import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facesmith.config import Settings, validate
from facesmith.config_errors import nearest, suggest
from facesmith.errors import UserError

Main = Callable[[], Any]


def one_line_errors(schema: type[Settings]) -> Callable[[Main], Main]:
    """Wrap a `hydra.main` function: user mistakes become one line each on stderr and exit code 1.

    Overrides that Hydra refuses are told together with all that validation against `schema` finds.
    `HYDRA_FULL_ERROR=1` shows tracebacks.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run() -> Any:
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                return main()
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own traceback
            try:
                return main()
            except Exception as error:
                lines = _explain(error, main, schema)
                if lines is None:
                    raise
                _discard_empty_run()
                for line in lines:
                    print(f"error: {line}", file=sys.stderr)
                sys.exit(1)
            finally:
                os.environ.pop("HYDRA_FULL_ERROR", None)

        return run

    return decorate


def _discard_empty_run() -> None:
    """Remove the folder Hydra made for this run when nothing but its config and empty logs is in it."""
    if not HydraConfig.initialized():
        return
    folder = Path(HydraConfig.get().runtime.output_dir)
    results = [p for p in folder.rglob("*") if p.is_file() and ".hydra" not in p.parts and p.suffix != ".log"]
    if not results and (folder / ".hydra").is_dir():
        shutil.rmtree(folder)


def _explain(error: Exception, main: Main, schema: type[Settings]) -> list[str] | None:
    """Give the lines a person should read, or None when this is a bug and its traceback is wanted."""
    for cause in _chain(error):
        if isinstance(cause, UserError):
            return str(cause).splitlines()
        if isinstance(cause, HydraException):
            return _override_mistakes(main, schema) or [_flat(cause)]
        if isinstance(cause, OmegaConfBaseException) or type(cause).__name__ == "MisconfigurationException":
            return [_flat(cause)]
    return None


class _Refused(NamedTuple):
    override: str
    line: str
    key: str | None = None
    options: tuple[str, ...] = ()


def _override_mistakes(main: Main, schema: type[Settings]) -> list[str]:
    """Compose again, leaving out one refused override after the other, and tell each."""
    arguments = get_args_parser().parse_args()
    entry = Path(sys.modules[main.__module__].__file__ or "").resolve()
    overrides = [o for o in arguments.overrides if not o.startswith("hydra")]
    if arguments.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).resolve()}]")
    refused: list[_Refused] = []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(entry.parent / "conf"), version_base="1.3"):
        while True:
            try:
                cfg = compose(arguments.config_name or entry.stem, overrides, return_hydra_config=True)
                break
            except Exception as error:
                bad = _refused(error, overrides)
                if bad is None:
                    return [one.line for one in refused]
                overrides.remove(bad.override)
                refused.append(bad)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(entry.parent)
        HydraConfig.instance().set_config(cfg)
        own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        keys = _keys(OmegaConf.to_container(own, resolve=False))
        lines = [_with_suggestion(one, keys) for one in refused]
        try:
            validate(own, schema)
        except UserError as error:
            lines += [line for line in str(error).splitlines() if line not in lines]
    return lines


def _refused(error: Exception, overrides: list[str]) -> _Refused | None:
    """Say which override Hydra refused, and why; None when it was not an override."""
    for cause in _chain(error):
        text = str(cause)
        if isinstance(cause, MissingConfigException):
            group, _, option = (cause.missing_cfg_file or "").rpartition("/")
            for override in overrides:
                if override.split("=")[0].lstrip("+").split("@")[0] == group:
                    return _Refused(override, f"{override}: no such option", option, tuple(cause.options or ()))
        if not isinstance(cause, HydraException):
            continue
        for quoted in re.findall(r"'([^']+)'", text):
            if quoted in overrides:
                return _Refused(quoted, f"{quoted}: {_flat(cause)}")
            for override in overrides:
                if override.split("=")[0].lstrip("+~").split("@")[0] == quoted:
                    return _Refused(override, f"{quoted}: no such key", quoted)
    return None


def _with_suggestion(refused: _Refused, keys: list[str]) -> str:
    line, key = refused.line, refused.key
    if refused.options:
        line += f"; choose one of {', '.join(refused.options)}"
    near = None if key is None else nearest(key, refused.options) if refused.options else suggest(key, keys)
    return f"{line}; did you mean {near}?" if near else line


def _keys(value: Any, prefix: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [prefix]
    inner = [k for key, v in value.items() for k in _keys(v, f"{prefix}.{key}" if prefix else str(key))]
    return [*([prefix] if prefix else []), *inner]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())
