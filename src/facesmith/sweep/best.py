"""What to type to have the winner again, and to have more of it."""

import shlex
from pathlib import Path

from facesmith.sweep.runs import Run
from facesmith.training.run.record import RunRecord
from facesmith.training.run.resume import command

_FLAGS = {"-cd": "-cd", "--config-dir": "-cd", "-cn": "-cn", "--config-name": "-cn"}


def rerun_command(record: RunRecord) -> str:
    """Give the one command that trains a run of a sweep again, on its own and in a new folder."""
    flags = _config_flags(record.command)
    alone = ["hydra.mode=RUN"] if flags else []  # a sweep's own file says that it is one
    return shlex.join(["python", "train.py", *flags, *record.overrides, *alone])


def continue_command(run: Run) -> str:
    """Give the command that goes on training a run in its own folder, for as many epochs again."""
    epochs = 2 * (run.planned_epochs or 1)
    return f"{command(Path(run.folder).resolve())} trainer.max_epochs={epochs}"


def _config_flags(arguments: list[str]) -> list[str]:
    """Take the choice of the primary config, however it was written, from a command line."""
    flags: list[str] = []
    for position, argument in enumerate(arguments[1:], 1):
        name, equals, value = argument.partition("=")
        if name in _FLAGS:
            flags += [_FLAGS[name], value if equals else arguments[position + 1]]
    return flags
