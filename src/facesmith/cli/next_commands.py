"""The last lines of a command: what one does next, ready to paste."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from rich.console import Console

from facesmith.files import short_path
from facesmith.training.run.log import print_line

if TYPE_CHECKING:
    from facesmith.models.onnx.export_spec import ExportReport

_AFTER_TASKS: Final = {  # by the task's class; {output} is the first file that it wrote
    "SwapTask": "facesmith provenance verify {output}",
    "GenerateTask": "facesmith provenance verify {output}",
    "EmbedTask": "facesmith infer task=swap model=any_identity.onnx profile={output} source=scene.mp4 "
    "output=swapped.mp4",
    "EnrichTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
    "BlendTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
    "InterpolateTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
}


def print_next(commands: Sequence[str]) -> None:
    """Print command lines under a heading, whole, so that they can be copied.

    Args:
        commands: The most likely first; nothing is printed where there are none.
    """
    console = Console()
    for line in ("Next:", *(f"  {command}" for command in commands)) if commands else ():
        print_line(line, console)


def after_task(target: str, written: Sequence[Path]) -> list[str]:
    """Return what follows a job of infer.

    Args:
        target: Dotted name of its class.
        written: The files it wrote.
    """
    template = _AFTER_TASKS.get(target.rpartition(".")[2])
    return [template.format(output=quote(short_path(written[0])))] if template and written else []


def after_export(report: "ExportReport", to: str) -> list[str]:
    """Return how to use an exported file.

    Args:
        report: Of the export.
        to: The program that reads the file.
    """
    path = short_path(report.path)
    if to == "xseg":
        swap = "facesmith infer task=swap model=ada.onnx 'masks=[box,occlusion]'"
        return [f"{swap} {quote(f'occluder={path}')} source=scene.mp4 output=swapped.mp4"]
    return [f"facesmith infer task=swap {quote(f'model={path}')} source=scene.mp4 output=swapped.mp4"]
