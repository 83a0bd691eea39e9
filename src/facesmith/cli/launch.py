"""Run a command through Hydra: mistakes are reported in one line each, with exit code 1 and no traceback."""

import functools
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import facesmith
from facesmith.cli import resolvers  # noqa: F401  # registers them
from facesmith.cli.mistakes import explain_error, is_refused, override_mistakes
from facesmith.cli.typed_values import as_typed
from facesmith.config.conf_folder import conf_folder
from facesmith.config.schema import validate
from facesmith.config.settings import Settings
from facesmith.errors import Interrupted, UserError
from facesmith.terminal import print_error
from facesmith.training.run.latest import relink_latest
from facesmith.training.run.lock import FOLDER_LOCK, NAME_LOCK
from facesmith.training.run.log import get_rank

_PACKAGE = Path(facesmith.__file__).parent
_MULTIRUN = ("-m", "--multirun")
_SINGLE = ("analyzer", "data", "engine", "experiment", "model", "model/generator", "task", "trainer")
"""Config groups of whose options two would contradict each other."""
_TRACEBACKS = "FACESMITH_TRACEBACKS"  # set by the user; passed on to the processes a run starts

C = TypeVar("C", bound=Settings)


def hydra_command(
    config_name: str,
    schema: type[C],
    arguments: Callable[[Sequence[str]], Sequence[str]] = list,
    preflight: Callable[[C], None] = lambda config: None,
) -> Callable[[Callable[[C], object]], Callable[[Sequence[str]], int]]:
    """Make a function of validated settings a command: compose `conf/<config_name>.yaml`, validate, run.

    User mistakes, in overrides and values alike, are reported in one line each on stderr with exit code 1.
    `HYDRA_FULL_ERROR=1` shows tracebacks. An interrupted job prints how to resume it, and exits with 128 plus the
    signal's number. In a multirun a job's error is left to the sweeper.

    Args:
        config_name: The primary config.
        schema: The settings class it is validated as.
        arguments: Turns what the user typed into what Hydra reads.
        preflight: Refuses what is known to fail before anything heavy is imported.

    Returns:
        A decorator; the command takes the arguments that follow its name and returns the exit code.
    """

    def decorate(job: Callable[[C], object]) -> Callable[[Sequence[str]], int]:
        @functools.wraps(job)
        def command(argv: Sequence[str]) -> int:
            # OpenMP threads that spin while they wait make steps 12 times slower beside one other busy process
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is loaded
            tracebacks = os.environ.setdefault(_TRACEBACKS, os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own traceback
            name = _name_of_command(argv)
            try:
                folder = conf_folder(config_name)
                completing = {"-sc", "--shell-completion"} & set(argv)
                expanded = list(argv if completing else _flags_last(arguments(as_typed(argv))))
                _check_overrides(_read_flags(expanded), folder)

                def check(cfg: DictConfig) -> C:
                    config = validate(cfg, schema)
                    preflight(config)
                    return config

                task = _task(job, check, [*name, *expanded], tracebacks)
                with _command_line([name[0], *expanded]):
                    hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)(task)()
            except Interrupted as stop:
                if get_rank() == 0:
                    print_error("\n".join(stop.lines))
                return int(stop.code)
            except Exception as error:
                if tracebacks:
                    raise
                of_values = is_refused(error) or _is_early(error) or isinstance(error, OmegaConfBaseException)
                lines = (
                    (_mistakes(folder, config_name, expanded, check) if of_values else [])
                    or explain_error(error)
                    or _explain_folder(error)
                )
                if lines is None:
                    raise
                _exit_with(lines)
            return 0

        return command

    return decorate


def _task(
    job: Callable[[C], object], check: Callable[[DictConfig], C], command_line: list[str], tracebacks: bool
) -> Callable[[DictConfig], object]:
    """Return what Hydra runs, once or for each job of a sweep, also in processes of its own."""

    @functools.wraps(job)
    def task(cfg: DictConfig) -> object:
        try:
            # Lightning starts the further processes of a run with the words it finds here
            with _command_line(command_line):
                return job(check(cfg))
        except Exception as error:
            lines = explain_error(error)
            if tracebacks or lines is None or HydraConfig.get().mode is RunMode.MULTIRUN:
                raise
            if get_rank() == 0:
                _discard_if_empty(Path(HydraConfig.get().runtime.output_dir))
            _exit_with(lines)

    task.check = check  # type: ignore[attr-defined]  # a sweep asks before it begins
    return task


def _is_early(error: BaseException) -> bool:
    """Return whether Hydra failed to set up logging, which it does before the values are checked."""
    return any(frame.name == "configure_log" for frame in traceback.extract_tb(error.__traceback__))


def _explain_folder(error: BaseException) -> list[str] | None:
    """Explain that Hydra could not make the run's folder, which it does before the job; None for anything else."""
    frames = traceback.extract_tb(error.__traceback__)
    started = any(Path(frame.filename).is_relative_to(_PACKAGE) for frame in frames if frame.name == "task")
    if not isinstance(error, OSError) or started or not any(frame.name == "run_job" for frame in frames):
        return None
    return [f"{error.filename}: this folder cannot be made ({error.strerror}); choose another with paths.runs=<folder>"]


def _name_of_command(argv: Sequence[str]) -> list[str]:
    """Return the words before the arguments: `train.py`, or `facesmith train`."""
    typed = list(sys.argv)
    return typed[: len(typed) - len(argv)] if argv and typed[-len(argv) :] == list(argv) else typed[:2]


@contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = words
    try:
        yield
    finally:
        sys.argv = before


def _flags_last(argv: Sequence[str]) -> list[str]:
    """Move the flag of a multirun behind the overrides, which argparse else takes on one side of it alone."""
    return [*(word for word in argv if word not in _MULTIRUN), *(word for word in argv if word in _MULTIRUN)]


def _read_flags(argv: Sequence[str]) -> list[str]:
    """Return the overrides, and refuse in one line the flags that Hydra would refuse with a page of its own."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}; write key=value, --help lists the keys")

    vars(parser)["error"] = refuse  # argparse offers no other way to keep it from printing and exiting
    return list(parser.parse_args(list(argv)).overrides)


def _check_overrides(overrides: Sequence[str], folder: Path) -> None:
    """Refuse what Hydra answers with a traceback, or takes for the working folder.

    Raises:
        UserError: A config group is taken out or set to null or a number, a key is missing, or the run's folder is
            empty.
    """
    for argument in overrides:
        if "\0" in argument:
            raise UserError(f"{argument}: holds a NUL character, which no name and no path can")
        group, equals, value = argument.lstrip("+").partition("=")
        removed = group.removeprefix("~") if group.startswith("~") else ""
        if removed and (folder / removed).is_dir():
            raise UserError(f"{argument}: a config group stays; choose one of {_list_options(folder / removed)}")
        if re.match(r"[+~]*[\w$.]", argument) is None:
            raise UserError(f"{argument}: names no key; write key=value")
        if not equals and not argument.startswith("~"):
            raise UserError(f"{argument}: has no value; write key=value, --help lists the keys")
        if group == "hydra.run.dir" and not value.strip("'\""):
            raise UserError(f"{argument}: is empty, which would be the working folder; name a folder, or . for that")
        is_group = re.fullmatch(r"[a-z][a-z_/]*", group) is not None and (folder / group).is_dir()
        if is_group and re.fullmatch(r"null|true|false|[-+.\d][-+.\deE_]*", value, re.IGNORECASE):
            raise UserError(f"{argument}: is a config group; choose one of {_list_options(folder / group)}")
        if is_group and (".." in Path(value).parts or Path(value).is_absolute()):
            raise UserError(f"{argument}: no such option; choose one of {_list_options(folder / group)}")
        if is_group and group in _SINGLE and value.startswith("[") and "," in value:
            raise UserError(f"{argument}: takes one option; choose one of {_list_options(folder / group)}")


def _list_options(group: Path) -> str:
    return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))


def _mistakes(folder: Path, config_name: str, argv: Sequence[str], check: Callable[[DictConfig], object]) -> list[str]:
    parsed = get_args_parser().parse_args(list(argv))
    overrides = [override for override in parsed.overrides if not override.startswith("hydra")]
    if parsed.multirun:
        overrides = [_first_of_sweep(override) for override in overrides]
    search = Path(parsed.config_dir) if parsed.config_dir else None
    return override_mistakes(folder, parsed.config_name or config_name, overrides, check, search)


def _first_of_sweep(override: str) -> str:
    """Return an override with the first of its values; as it is where it cannot be read or holds one only."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        first = next(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else None
    except (HydraException, ValueError, StopIteration):
        return override
    return override if first is None else f"{override.partition('=')[0]}={first}"


def _exit_with(lines: Sequence[str]) -> NoReturn:
    process = f" in process {get_rank()}" if get_rank() else ""
    for line in lines:
        print_error(f"error{process}: {line}")
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
    relink_latest(folder.parent)
    for parent in folder.parents[:2]:
        links = [p for p in parent.iterdir() if p.is_symlink() and not p.exists()]
        if any(p.name != NAME_LOCK and p not in links for p in parent.iterdir()):
            break
        for link in links:
            link.unlink()
        (parent / NAME_LOCK).unlink(missing_ok=True)
        parent.rmdir()
