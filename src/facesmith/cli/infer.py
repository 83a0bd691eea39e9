"""The inference job: build the task the config names and run it."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from facesmith import assets
from facesmith.cli.next_commands import after_task, print_next
from facesmith.config.schema import InferConfig
from facesmith.config.settings import Component, EngineConfig, TaskConfig
from facesmith.config.signatures import signature
from facesmith.errors import UserError, explain_errors
from facesmith.faces.analyzers.native_log import ignore_profiling_ticks
from facesmith.media.provenance import set_signing_key
from facesmith.models.onnx.providers import use_device
from facesmith.progress import waiting
from facesmith.tasks.batch import Engine
from facesmith.training.run.log import log_run, silence_libraries

_SPREAD: Final = "task=swap, mask, validate, evaluate, embed or enrich"


def infer(config: InferConfig) -> list[Path]:
    """Run the task.

    Args:
        config: The task and what it reads and writes.

    Returns:
        The files it wrote.

    Raises:
        UserError: A model, a source or an output is not what the task needs.
    """
    ignore_profiling_ticks()
    engine = build_engine(config.engine, partial(set_up_process, config))
    task_config = _share_cores(config, engine)
    with log_run(config), explain_errors(config):
        set_up_process(config)
        with waiting("loading models"):
            task = _build(task_config, analyzer=config.analyzer.build, engine=engine)
        written: list[Path] = task.run()
    print_next(after_task(config.task, written or []))
    return written


def set_up_process(config: InferConfig) -> None:
    """Set what holds for a whole process: this one, or a worker of an engine.

    Args:
        config: Where weights and the signing key are, and where ONNX files run.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    set_signing_key(config.provenance.certificate, config.provenance.key)
    use_device(config.device)


def build_engine(config: EngineConfig, set_up: Callable[[], None]) -> Engine:
    """Build an engine.

    Args:
        config: Its settings.
        set_up: Sets what holds for a whole process; a worker of an engine calls it before it loads its models.

    Raises:
        UserError: A library that it needs is not installed.
    """
    engine: Engine = _build(config, set_up=set_up)
    return engine


def _build(component: Component, **offered: object) -> Any:
    """Build a component with those of the arguments that its constructor takes."""
    takes = signature(component.target_).parameters
    return component.build(**{name: value for name, value in offered.items() if name in takes})


def _share_cores(config: InferConfig, engine: Engine) -> TaskConfig:
    """Return the task's settings: on an engine of several workers each has the threads of its share of the cores.

    Raises:
        UserError: The task runs on one machine only.
    """
    task = config.task
    if engine.threads is None:
        return task
    if "engine" not in signature(task.target_).parameters:
        name = type(task).__name__.removesuffix("TaskConfig").lower()
        raise UserError(f"engine: task={name} runs on one machine; omit engine, or choose {_SPREAD}")
    given = getattr(task, "workers", engine.threads)
    return task.model_copy(update={"workers": engine.threads}) if given is None else task


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["infer", *sys.argv[1:]]))
