"""The last lines of a command: what one does next, ready to paste."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from facesmith.config.settings import Component
from facesmith.files import read_json_object, short_path
from facesmith.terminal import make_console, print_line

if TYPE_CHECKING:
    from facesmith.models.onnx.export_spec import ExportReport

# By the task's class: {output} is the first file that it wrote, {swapped} is named like the task's output, the others
# are its settings.
_AFTER_TASKS: Final = {
    "SwapTask": "facesmith provenance verify {output}",
    "GenerateTask": "facesmith provenance verify {output}",
    "CompareTask": "facesmith infer task=swap model={model} source=scene.mp4 output=swapped.mp4",
    "MaskTask": "facesmith infer task=swap model=ada.onnx source={source} output={swapped}",
    "ValidateTask": "facesmith provenance verify {source}",
    "EmbedTask": "facesmith infer task=swap model=any_identity.onnx profile={output} source=scene.mp4 "
    "output=swapped.mp4",
    "EnrichTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
    "BlendTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
    "InterpolateTask": "facesmith infer task=validate task.profile={output} source=swapped.mp4 output=report",
}
_PROFILE_TASKS: Final = ("EmbedTask", "BlendTask", "InterpolateTask")
_GENERATE: Final = (
    "facesmith infer task=generate model=runs/video_lora/both/latest/exports task.embedding={output} source=poses/ "
    "output=generated"
)
_ONLY_FOR_VIDEOS: Final = ("clip:", "dinov3:", "portrait_pixels_")
"""Beginnings of the names of encoders whose profiles no swapper reads."""


def print_next(commands: Sequence[str]) -> None:
    """Print command lines under a heading, so that they can be copied.

    Args:
        commands: The most likely first; nothing is printed where there are none.
    """
    console = make_console()
    for line in ("Next:", *(f"  {command}" for command in commands)) if commands else ():
        print_line(line, console)


def after_task(task: Component, written: Sequence[Path]) -> list[str]:
    """Return what follows a job of infer.

    Args:
        task: Its settings.
        written: The files it wrote.
    """
    name = task.target_.rpartition(".")[2]
    if name == "EvaluateTask":
        return _after_evaluation(task)
    template = _AFTER_TASKS.get(name)
    if not template or not written:
        return []
    if name in _PROFILE_TASKS and str(read_json_object(written[0]).get("embedder")).startswith(_ONLY_FOR_VIDEOS):
        template = _GENERATE
    given = {name: getattr(task, name, None) for name in ("model", "source")} | {"output": list(written)}
    given["swapped"] = Path("swapped").with_suffix(Path(str(getattr(task, "output", None) or "")).suffix)  # or a folder
    first = {name: value[0] if isinstance(value, list) else value for name, value in given.items()}
    return [template.format(**{name: quote(_as_typed(value)) for name, value in first.items()})]


def _after_evaluation(task: Component) -> list[str]:
    """Return how to hold other swaps of the same pairs against those that were evaluated, if none were yet."""
    given = task.arguments()
    if given["against"] is not None:
        return []
    kept = {key: given[key] for key in ("targets", "sources", "pairs") if given[key] is not None}
    kept |= {"one_person": "true"} if given["one_person"] else {}
    kept |= {"names": given["names"]} if given["pairs"] is None else {}
    words = {"swaps": "other_swaps", **kept, "against": given["swaps"], "output": f"{given['output']}_against"}
    return [f"facesmith infer task=evaluate {' '.join(quote(f'{key}={_as_typed(words[key])}') for key in words)}"]


def _as_typed(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_as_typed, value))}]"
    return short_path(value) if isinstance(value, Path) else str(value)


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
