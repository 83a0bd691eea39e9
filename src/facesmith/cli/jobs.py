"""The commands that Hydra starts, each a function of validated settings; what is heavy is imported when it runs."""

import re
from collections.abc import Sequence

from facesmith.cli.announcement import announce_inference, announce_training
from facesmith.cli.launch import hydra_command
from facesmith.cli.preflight import check_export, check_inference, check_training
from facesmith.cli.sweep_files import expand_sweep
from facesmith.cli.typed_values import take_trainer_arguments
from facesmith.config.schema import ExportConfig, InferConfig, TrainConfig
from facesmith.progress import waiting
from facesmith.training.run import resume


def _train_arguments(given: Sequence[str]) -> list[str]:
    return take_trainer_arguments(resume.expand_resume(expand_sweep(given)))


def infer_arguments(given: Sequence[str]) -> list[str]:
    """Add the prefix `task.` to keys of the chosen task: `masks=[box]` becomes `task.masks=[box]`."""
    # Keys of its own, and the config group of task=embed; that of task=swap encodes videos.
    own = "|".join((*InferConfig.model_fields, *(() if "task=swap" in given else ("encoder",))))
    return [re.sub(rf"^(?!(?:{own}|hydra)\b)(\w+=)", r"task.\1", argument) for argument in given]


@hydra_command("train", TrainConfig, arguments=_train_arguments, preflight=check_training)
def train(config: TrainConfig) -> float | list[float] | None:
    """Train, and return what a sweep judges by."""
    announce_training(config)
    with waiting("loading PyTorch and Lightning"):
        from facesmith.cli.train import train

    return train(config)


@hydra_command("infer", InferConfig, arguments=infer_arguments, preflight=check_inference)
def infer(config: InferConfig) -> None:
    """Run the task."""
    announce_inference(config)
    with waiting("loading what the task needs"):
        from facesmith.cli.infer import infer

    infer(config)


@hydra_command("export", ExportConfig, preflight=check_export)
def export(config: ExportConfig) -> None:
    """Write the file and check that it computes what the checkpoint does."""
    with waiting("loading PyTorch"):
        from facesmith.cli.export import export
        from facesmith.cli.next_commands import after_export, print_next

    report = export(config)
    print_next(after_export(report, config.to) if report is not None else [])
