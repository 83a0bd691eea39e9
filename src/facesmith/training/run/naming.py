"""What a run is called from outside: an id, a group and a name that its folder and its overrides give."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omegaconf import OmegaConf

_LONGEST_ID: Final = 64
_LONGEST_NAME: Final = 100
# say where things lie and how they are told, not what is trained
_UNTOLD: Final = re.compile(
    r"(experiment|experiment_name|name|tags|monitor|monitor_mode|resume|debug|local|data|hydra)$"
    r"|(paths|logger|callbacks|logging|assets|hydra|media)[./]|logger$|callbacks$"
    r"|data\.(source|sources|target|targets|name|consent|consent_note|progress)$"
)


def sweep_of(folder: Path) -> Path | None:
    """Return the folder of the sweep whose job a run folder is, or None for a run of its own."""
    parent = folder.parent
    return parent if parent.name.endswith("_sweep") or (parent / "multirun.yaml").is_file() else None


def run_id(folder: Path) -> str:
    """Return the W&B id of a run: `<experiment>-<name>-<time>[-<job>]`, from the last parts of its folder.

    The same folder gives the same id, so a resumed run and a retried job go on in the same W&B run. Of at most 64
    letters, digits, `_`, `.` and `-`; a longer one ends in a hash.
    """
    folder = folder.absolute()
    parts = folder.parts[-4 if sweep_of(folder) else -3 :]
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(part for part in parts if part != folder.anchor))
    if len(plain) <= _LONGEST_ID:
        return plain
    return f"{plain[: _LONGEST_ID - 9]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def run_group(folder: Path) -> str:
    """Return the group a run is shown in: its sweep as `<experiment>/<name>/<time>_sweep`, else its experiment."""
    folder = folder.absolute()
    sweep = sweep_of(folder)
    return "/".join(sweep.parts[-3:]) if sweep else folder.parent.parent.name


def run_name(folder: Path, overrides: Sequence[str]) -> str:
    """Return a name to read: whose face it is, the job's number, and the overrides that make this run what it is.

    What every job of a sweep shares is left out, and so is what says where files lie.
    """
    sweep = sweep_of(folder.absolute())
    shared = _shared_overrides(sweep) if sweep else set()
    told = [o for o in overrides if o not in shared and not _UNTOLD.match(o.split("=")[0].lstrip("+~").split("@")[0])]
    head = [sweep.parent.name, folder.name] if sweep else [folder.absolute().parent.name]
    return " ".join([*head, *short_overrides(told)])[:_LONGEST_NAME]


def short_overrides(overrides: Sequence[str]) -> list[str]:
    """Shorten keys to their last part, or to the last two where two keys would look alike."""
    keys = [override.partition("=")[0].lstrip("+") for override in overrides]
    short = short_keys(keys)
    return [
        f"{name}={value}" if equals else override
        for override, name, (_, equals, value) in zip(
            overrides, short, (o.partition("=") for o in overrides), strict=True
        )
    ]


def short_keys(keys: Sequence[str]) -> list[str]:
    """Shorten dotted keys to their last part, or to as many parts as tell them apart."""
    parts = [re.split(r"[./]", key) for key in keys]
    short = []
    for mine in parts:
        count = 1
        while count < len(mine) and any(p[-count:] == mine[-count:] for p in parts if p != mine):
            count += 1
        short.append(".".join(mine[-count:]))
    return short


def _shared_overrides(sweep: Path) -> set[str]:
    record = sweep / "multirun.yaml"
    if not record.is_file():
        return set()
    told = OmegaConf.select(OmegaConf.load(record), "hydra.overrides.task", default=OmegaConf.create([]))
    return set(map(str, OmegaConf.to_container(told, resolve=False)))  # what a file says is not resolved
