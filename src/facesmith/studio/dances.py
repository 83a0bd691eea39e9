"""Dances: the command that generates them, and a sheet of the results."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.studio.project import VIDEOS, Project
from facesmith.studio.runs import draw_medium
from facesmith.studio.words import argument

USUAL: Final[Mapping[str, Any]] = {
    "model": "",
    "source": "",
    "prompt": "",
    "face_scale": 1.0,
    "lora_scale": 1.0,
    "vace_scale": 1.0,
    "cfg_scale": 5.0,
    "seeds": "42",
    "steps": 50,
    "num_frames": 65,
    "output": "dances",
}
FIELDS: Final = tuple(USUAL)
_WHOLE: Final = ("steps", "num_frames")
_MOST: Final = 24


def dance_words(project: Project, fields: Mapping[str, Any]) -> list[str]:
    """Return the command's words that generate dances.

    Args:
        project: It runs in.
        fields: By the names of `USUAL`; what is missing is as usual.

    Raises:
        UserError: A field is unknown or cannot be used.
    """
    unknown = set(fields) - set(USUAL)
    if unknown:
        raise UserError(f"{min(unknown)}: no such field; choose of {', '.join(FIELDS)}")
    given = {**USUAL, **{name: value for name, value in fields.items() if value is not None}}
    model = project.existing(str(given["model"]), "model")
    source = project.existing(str(given["source"]), "source")
    output = project.short(project.resolve(str(given["output"]), "output"))
    words = ["infer", "task=generate", argument("model", model), argument("source", source)]
    words.append(argument("output", output))
    if str(given["prompt"]).strip():
        words.append(argument("task.prompt", str(given["prompt"]).strip()))
    for name in ("face_scale", "lora_scale", "vace_scale", "cfg_scale", *_WHOLE):
        if float(given[name]) != float(USUAL[name]):
            words.append(f"task.{name}={int(given[name]) if name in _WHOLE else float(given[name])}")
    seeds = str(given["seeds"]).replace(",", " ").split()
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        raise UserError(f"seeds={str(given['seeds'])[:40]}: write whole numbers, such as 42 43 44")
    if seeds != ["42"]:
        words.append(f"task.seeds=[{','.join(seeds)}]")
    return [*words, *project.path_arguments()]


def draw_dances(project: Project, folder: str) -> str:
    """Draw the newest dances of a folder, side by side.

    Args:
        project: It.
        folder: Of the results.

    Raises:
        UserError: It lies elsewhere.
    """
    root = project.resolve(folder, "output")
    films = [path for path in root.rglob("*") if path.suffix.lower() in VIDEOS] if root.is_dir() else []
    films.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    if not films:
        return f'<div class="empty">No dance lies in {escape(folder)} yet.</div>'
    shown = "".join(draw_medium(project, path, str(path.relative_to(root))) for path in films[:_MOST])
    return f'<div class="renders">{shown}</div>'
