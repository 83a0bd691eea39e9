"""What stands around an entry point: mistakes told in one line each, exit code 1, no traceback."""

import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facesmith.cli import resolvers  # noqa: F401  # registers them
from facesmith.config.conf_folder import conf_folder
from facesmith.config.explain import nearest, suggest
from facesmith.config.schema import validate
from facesmith.config.settings import Settings
from facesmith.errors import Interrupted, UserError
from facesmith.training.run.lock import FOLDER_LOCK, NAME_LOCK
from facesmith.training.run.log import process_number

_TRACEBACKS = "FACESMITH_TRACEBACKS"  # what the user wants; told to the processes a run starts

C = TypeVar("C", bound=Settings)
R = TypeVar("R")


def entry_point(
    config_name: str,
    schema: type[C],
    aliases: Mapping[str, str] | None = None,
    arguments: Callable[[list[str]], list[str]] = list,
) -> Callable[[Callable[[C], R]], Callable[[], R]]:
    """Make a function of validated settings a command line: compose `conf/<config_name>.yaml`, validate, run.

    User mistakes, in overrides and values alike, are told in one line each on stderr with exit code 1.
    `aliases` give keys a shorter name, also where a config group has it; `arguments` turns the whole command line into
    what Hydra reads. `HYDRA_FULL_ERROR=1` shows tracebacks. An interrupted job says how to go on, and ends with 128
    plus the signal's number.
    In a multirun a job's error is left to the sweeper.
    """

    def decorate(job: Callable[[C], R]) -> Callable[[], R]:
        script = Path(sys.modules[job.__module__].__file__ or "")
        tracebacks = os.environ.setdefault(_TRACEBACKS, os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"

        @functools.wraps(job)
        def task(cfg: DictConfig) -> R:
            try:
                return job(validate(cfg, schema))
            except Exception as error:
                lines = _explain(error)
                if tracebacks or lines is None or HydraConfig.get().mode is RunMode.MULTIRUN:
                    raise
                if process_number() == 0:
                    _discard_if_empty(Path(HydraConfig.get().runtime.output_dir))
                _tell(lines)

        task.check = lambda cfg: validate(cfg, schema)  # type: ignore[attr-defined]  # a sweep asks before it begins

        def run() -> R:
            # OpenMP threads that spin while they wait make steps 12 times slower beside one other busy process
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is loaded
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own traceback
            try:
                folder = conf_folder(config_name, script)
                sys.argv[1:] = arguments([_expand(argument, aliases or {}) for argument in sys.argv[1:]])
                return hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
            except Interrupted as stop:
                if process_number() == 0:
                    print("\n".join(stop.lines), file=sys.stderr)
                sys.exit(stop.code)
            except Exception as error:
                if tracebacks:
                    raise
                refused = any(isinstance(cause, HydraException) for cause in _chain(error))
                lines = (_override_mistakes(folder, config_name, schema) if refused else []) or _explain(error)
                if lines is None:
                    raise
                _tell(lines)

        return run

    return decorate


def _expand(argument: str, aliases: Mapping[str, str]) -> str:
    key, equals, value = argument.partition("=")
    return f"{aliases.get(key, key)}{equals}{value}"


def _tell(lines: list[str]) -> NoReturn:
    process = f" in process {process_number()}" if process_number() else ""
    for line in lines:
        print(f"error{process}: {line}", file=sys.stderr)
    sys.exit(1)


def _discard_if_empty(folder: Path) -> None:
    """Remove a run's folder, and the parents this empties, when only config, logs and record are in it."""
    if (folder / FOLDER_LOCK).with_suffix(".json").exists():
        return  # of another process that began in the same moment
    files = [p for p in folder.rglob("*") if p.is_file() and ".hydra" not in p.parts and p.suffix != ".log"]
    results = [p for p in files if p.name != "run.json"]
    if results or not (folder / ".hydra").is_dir():
        return
    shutil.rmtree(folder)
    for parent in folder.parents[:2]:
        if any(p.name != NAME_LOCK for p in parent.iterdir()):
            break
        (parent / NAME_LOCK).unlink(missing_ok=True)
        parent.rmdir()


def _explain(error: BaseException) -> list[str] | None:
    """Return the lines a person should read, or None when this is a bug and its traceback is wanted.

    What failed while a user's mistake was being dealt with is not told: the mistake came first.
    """
    first = [cause for cause in _chain(error, implicit=True) if isinstance(cause, UserError)]
    for cause in _chain(first[-1] if first else error):
        if isinstance(cause, UserError):
            return str(cause).splitlines()
        if isinstance(cause, HydraException | OmegaConfBaseException):
            return [_flat(cause)]
        if type(cause).__name__ == "MisconfigurationException":
            return [_flat(cause)]
    return None


class _Refused(NamedTuple):
    override: str
    line: str
    key: str | None = None
    options: tuple[str, ...] = ()


def _override_mistakes(folder: Path, config_name: str, schema: type[Settings]) -> list[str]:
    """Compose again, leaving out one refused override after the other, and tell each."""
    arguments = get_args_parser().parse_args()
    overrides = [o for o in arguments.overrides if not o.startswith("hydra")]
    if arguments.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).resolve()}]")
    refused: list[_Refused] = []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        while True:
            try:
                cfg = compose(arguments.config_name or config_name, overrides, return_hydra_config=True)
                break
            except Exception as error:
                bad = _refused(error, overrides)
                if bad is None:
                    return [one.line for one in refused]
                overrides.remove(bad.override)
                refused.append(bad)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.runtime.output_dir = str(folder.parent)
        HydraConfig.instance().set_config(cfg)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        groups = GlobalHydra.instance().config_loader().list_groups("")
        keys = [*_keys(OmegaConf.to_container(own, resolve=False)), *groups]
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


def _chain(error: BaseException | None, implicit: bool = False) -> Iterator[BaseException]:
    """Walk back through causes; with `implicit`, only to what was being dealt with when something else failed."""
    while error is not None:
        yield error
        if implicit:
            error = None if error.__suppress_context__ else error.__context__
        else:
            error = error.__cause__ or error.__context__


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())
