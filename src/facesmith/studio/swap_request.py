"""What the controls of a swap ask for, with paths of the project alone, and the command that does the same."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import yaml

from facesmith.errors import UserError
from facesmith.studio.project import Project
from facesmith.studio.words import argument

Entry = Mapping[str, object]

_WORDS: Final = ("largest", "all")
PATHS: Final = ("model", "profile", "adapter", "occluder", "enhancer", "converter", "source_photo")
"""Keys of a cast's entry that name files."""


@dataclass(frozen=True, kw_only=True)
class SwapRequest:
    """What is swapped, and how.

    Attributes:
        model: The swapper's file; "" where there is a cast.
        target: A picture or a film.
        position: 0..1 along a film, of the one frame.
        select: largest, all, a number from the left, from 0, or a profile or photo of the person who is replaced.
        profile: An identity profile, for models that take any.
        cast: Several models, each with its own target, as `task.cast` takes them; in place of `model` and `select`.
        masks: Of `task.masks`.
        mask_blur: Of the box, 0..1.
        regions: Of the mask `region`.
        blend: linear, poisson or multiband.
        colour_match: Of the skin.
        pixel_boost: px, or 0 for the model's own.
        adapter: A folder of swap_lora, or "".
        adapter_scale: 0..2.
        occluder: An .onnx or asset, "" for none.
        enhancer: A face restoration model, "" for none.
        enhancer_blend: 0..1.
    """

    model: str = ""
    target: str = ""
    position: float = 0.3
    select: str = "largest"
    profile: str = ""
    cast: tuple[Entry, ...] = ()
    masks: tuple[str, ...] = ("box", "occlusion")
    mask_blur: float = 0.3
    regions: tuple[str, ...] = ("mouth",)
    blend: str = "linear"
    colour_match: bool = False
    pixel_boost: int = 0
    adapter: str = ""
    adapter_scale: float = 1.0
    occluder: str = "asset:occluder_general.onnx"
    enhancer: str = ""
    enhancer_blend: float = 0.8

    def settings(self) -> dict[str, Any]:
        """Return the keys of `task=swap` that say the same."""
        alone = not self.cast
        place = int(self.select) if self.select.isdecimal() else self.select
        named = alone and isinstance(place, str) and place not in _WORDS
        return {
            "model": self.model if alone else None,
            "cast": None if alone else [dict(entry) for entry in self.cast],
            "select": ("reference" if named else place) if alone else "largest",
            "reference": self.select if named else None,
            "profile": (self.profile or None) if alone else None,
            "masks": list(self.masks),
            "mask_blur": self.mask_blur,
            "regions": list(self.regions),
            "blend": self.blend,
            "colour_match": self.colour_match,
            "pixel_boost": self.pixel_boost or None,
            "adapter": (self.adapter or None) if alone else None,
            "adapter_scale": self.adapter_scale,
            "occluder": self.occluder or None,
            "enhancer": self.enhancer or None,
            "enhancer_blend": self.enhancer_blend,
        }

    def words(self) -> list[str]:
        """Return the arguments of `facesmith infer` that swap like this."""
        usual, own = {**SwapRequest().settings(), "model": None}, self.settings()
        unused = {"regions"} if "region" not in self.masks else set()
        given = {key: value for key, value in own.items() if value != usual[key] and key not in unused}
        return ["infer", "task=swap", *(argument(key, value) for key, value in given.items())]


FIELDS: Final = tuple(field.name for field in fields(SwapRequest))


def read_request(project: Project, given: Mapping[str, Any]) -> SwapRequest:
    """Return what the controls ask for.

    Args:
        project: It.
        given: By the names of `SwapRequest`; a cast also as text, an entry a line.

    Raises:
        UserError: A file is missing or lies elsewhere, or a field is unknown.
    """
    unknown = set(given) - set(FIELDS)
    if unknown:
        raise UserError(f"{min(unknown)}: no such field; choose of {', '.join(FIELDS)}")
    values = {name: value for name, value in given.items() if value is not None}
    cast = values.get("cast") or ()
    entries = read_cast(cast) if isinstance(cast, str) else list(cast)
    values["cast"] = tuple(_check_entry(project, number, entry) for number, entry in enumerate(entries))
    if not entries:
        values["model"] = project.existing(values.get("model", ""), "model")
    values["target"] = project.existing(values.get("target", ""), "target")
    values["select"] = str(_check_choice(project, values.get("select", "largest"), "faces"))
    for name in ("profile", "adapter", "occluder", "enhancer"):
        if values.get(name):
            values[name] = project.existing(values[name], name)
    for name in ("masks", "regions"):
        if name in values:
            values[name] = tuple(values[name])
    return SwapRequest(**values)


def read_cast(text: str) -> list[Any]:
    """Return the entries of a cast.

    Args:
        text: One a line, such as `{model: ada.onnx, target: 0}`.

    Raises:
        UserError: A line is none.
    """
    entries: list[Any] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        try:
            entries.append(yaml.safe_load(line.removeprefix("- ")))
        except yaml.YAMLError:
            entries.append(None)
        if not isinstance(entries[-1], dict):
            raise UserError(f"cast: {line[:80]}: write one entry a line, such as {{model: ada.onnx, target: 0}}")
    return entries


def add_to_cast(text: str, request: SwapRequest) -> str:
    """Return a cast with one more entry: the model and the faces that are chosen.

    Args:
        text: Of the cast.
        request: What is chosen.
    """
    entry: dict[str, object] = {"model": request.model}
    entry["target"] = int(request.select) if request.select.isdecimal() else request.select
    entry |= {name: value for name in ("profile", "adapter") if (value := getattr(request, name))}
    line = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()
    return "\n".join([*filter(None, text.strip().splitlines()), line])


def _check_entry(project: Project, number: int, entry: object) -> Entry:
    if not isinstance(entry, Mapping) or not {"model", "target"} <= set(entry):
        raise UserError(f"cast.{number}: needs model and target, such as {{model: ada.onnx, target: 0}}")
    paths = {key: project.existing(str(entry[key]), f"cast.{number}.{key}") for key in PATHS if entry.get(key)}
    return {**entry, **paths, "target": _check_choice(project, entry["target"], f"cast.{number}.target")}


def _check_choice(project: Project, choice: object, key: str) -> object:
    """Return whose faces are swapped: a word, a number, or the path of a profile or a photo."""
    if isinstance(choice, int) or choice in _WORDS or str(choice).isdecimal():
        return choice
    if not project.resolve(str(choice), key).is_file():
        raise UserError(
            f"{key}={str(choice)[:80]}: choose {', '.join(_WORDS)}, a number from the left: 0, 1, ..., or a profile or "
            "photo of the person"
        )
    return project.existing(str(choice), key)
