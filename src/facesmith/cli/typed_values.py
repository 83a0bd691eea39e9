"""Arguments as people type them, in Hydra's grammar: file names with any character, names that look like numbers."""

import re
from collections.abc import Sequence
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from facesmith.config.signatures import signature
from facesmith.config.targets import TRAINERS

TEXT_KEYS: Final = frozenset(
    {
        *("source", "sources", "target", "targets", "swaps", "against", "gallery", "faces", "poses", "reference"),
        *(
            "output",
            "model",
            "adapter",
            "occluder",
            "base",
            "init_from",
            "profile",
            "profiles",
            "ckpt_path",
            "embedding",
        ),
        *(
            "enhancer",
            "converter",
            "source_photo",
            "pairs",
            "per_image",
            "export_to",
            "import_from",
            "path",
            "save_dir",
        ),
        *("name", "experiment_name", "expires", "consent_note", "notes", "entity", "project", "prompt", "dir", "runs"),
        *("negative_prompt", "face_sets", "certificate", "key", "file", "table", "cache", "folder", "group"),
        *("monitor", "wandb_project", "data.identity", "data.videos", "data.masks"),
    }
)
"""Keys, or last parts of keys, whose values are names, paths or other text, whatever they look like."""
_OF_NUMBERS: Final = frozenset({"shares"})
"""Groups that hold numbers, whatever their keys are called."""
_NEVER_NUMBERS: Final = frozenset({"resume", "masks", "tags"})
"""Of these only what Hydra cannot read is quoted: they are text or something else."""
_OVERRIDE: Final = re.compile(r"(?P<key>\+{0,2}[A-Za-z_][\w./@:-]*)=(?P<value>.*)", re.DOTALL)


def as_typed(given: Sequence[str]) -> list[str]:
    """Quote what Hydra's grammar would refuse or misread, and let the trainer take any argument of Lightning's.

    `source=my clip (1).mp4`, `name=2024`, `source=a, b.mp4` and `output=~/it's.png` mean what they say. A comma sweeps
    only where the command line asks for many runs; lists, quotes and interpolations stay Hydra's.

    Args:
        given: The arguments of a command.
    """
    sweeps = bool({"-m", "--multirun"} & set(given))
    return [_as_typed(argument, sweeps) for argument in given]


def take_trainer_arguments(given: Sequence[str]) -> list[str]:
    """Put `++` before arguments of Lightning's Trainer, which the presets in `conf/trainer` may not list.

    Args:
        given: The arguments of a command.
    """
    return [_take_trainer_argument(argument) for argument in given]


def _take_trainer_argument(argument: str) -> str:
    found = re.match(r"trainer\.([a-z]\w*)=", argument)
    known = found and found[1] in signature(TRAINERS[0]).parameters
    return f"++{argument}" if known else argument


def _as_typed(argument: str, sweeps: bool) -> str:
    found = _OVERRIDE.fullmatch(argument)
    if not found or found["key"].startswith("hydra"):
        return argument
    key, value = found["key"], found["value"]
    plain = key.lstrip("+")
    *above, last = re.split(r"[./@]", plain)
    names = {plain, last}
    is_text = bool(names & TEXT_KEYS) and not _OF_NUMBERS & set(above)
    parsed = _parse(argument)
    if parsed is None:
        may_be_text = is_text or names & _NEVER_NUMBERS
        return f"{key}={_quote_items(value) or _quote(value)}" if may_be_text else argument
    if not is_text or not value:
        return argument
    if parsed.is_sweep_override():
        return argument if sweeps else f"{key}={_quote(value)}"
    read = parsed.value()
    misread = isinstance(read, str) and read != value and value[0] not in "'\"" and "\\" not in value
    if isinstance(read, bool | int | float) or misread:
        return f"{key}={_quote(value)}"
    return argument


def _parse(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _quote(text: str) -> str:
    quoted: str = QuotedString(text=text, quote=Quote.single).with_quotes()
    return quoted


def _quote_items(value: str) -> str | None:
    """Quote each item of a list that Hydra cannot read, `[a (1).jpg,b.jpg]`; None where it is no list."""
    if not (value.startswith("[") and value.endswith("]")):
        return None
    items = [item.strip() for item in value[1:-1].split(",")]
    quoted = [item if item[:1] in ("'", '"') else _quote(item) for item in items if item]
    made = f"[{','.join(quoted)}]"
    return made if _parse(f"key={made}") else None
