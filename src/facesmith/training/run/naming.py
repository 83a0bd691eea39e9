"""Names of a run in W&B and in tables: id, group and name, from its folder and its overrides."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omegaconf import OmegaConf

_MAX_ID: Final = 64
_MAX_NAME: Final = 100
# keys of paths and logging, which do not affect training
_UNNAMED: Final = re.compile(
    r"(experiment|experiment_name|name|tags|monitor|monitor_mode|resume|debug|local|data|hydra)$"
    r"|(paths|logger|callbacks|logging|assets|hydra|media)[./]|logger$|callbacks$"
    r"|data\.(source|sources|target|targets|name|consent|consent_note|progress)$"
)


def find_sweep_folder(folder: Path) -> Path | None:
    """Return the folder of the sweep that a run's folder is a job of, or None for a run of its own."""
    parent = folder.parent
    return parent if parent.name.endswith("_sweep") or (parent / "multirun.yaml").is_file() else None


def run_id(folder: Path) -> str:
    """Return the W&B id of a run: `<experiment>-<name>-<time>[-<job>]`, from the last parts of its folder.

    The same folder gives the same id, so a resumed run and a retried job continue the same W&B run. Of at most 64
    letters, digits, `_`, `.` and `-`; a longer one ends in a hash.
    """
    folder = folder.absolute()
    parts = folder.parts[-4 if find_sweep_folder(folder) else -3 :]
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(part for part in parts if part != folder.anchor))
    if len(plain) <= _MAX_ID:
        return plain
    return f"{plain[: _MAX_ID - 9]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def run_group(folder: Path) -> str:
    """Return the group a run is shown in: its sweep as `<experiment>/<name>/<time>_sweep`, else its experiment."""
    folder = folder.absolute()
    sweep = find_sweep_folder(folder)
    return "/".join(sweep.parts[-3:]) if sweep else folder.parent.parent.name


def run_name(folder: Path, overrides: Sequence[str]) -> str:
    """Return a readable name: identity, job number, and the overrides that distinguish this run.

    Overrides shared by every job of a sweep, and overrides of paths, are omitted.

    Args:
        folder: Of the run.
        overrides: Of its command line.
    """
    sweep = find_sweep_folder(folder.absolute())
    shared = _shared_overrides(sweep) if sweep else set()
    own = [o for o in overrides if o not in shared and not _UNNAMED.match(o.split("=")[0].lstrip("+~").split("@")[0])]
    head = [sweep.parent.name, folder.name] if sweep else [folder.absolute().parent.name]
    return " ".join([*head, *shorten_overrides(own)])[:_MAX_NAME]


def shorten_overrides(overrides: Sequence[str]) -> list[str]:
    """Shorten keys to their last part, or to the last two where two keys would look alike."""
    keys = [override.partition("=")[0].lstrip("+") for override in overrides]
    short = shorten_keys(keys)
    return [
        f"{name}={value}" if equals else override
        for override, name, (_, equals, value) in zip(
            overrides, short, (o.partition("=") for o in overrides), strict=True
        )
    ]


def shorten_keys(keys: Sequence[str]) -> list[str]:
    """Shorten dotted keys to their last part, or to as many parts as make them distinct."""
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
    overrides = OmegaConf.select(OmegaConf.load(record), "hydra.overrides.task", default=OmegaConf.create([]))
    plain = OmegaConf.to_container(overrides, resolve=False)  # interpolations in a file are not resolved
    return set(map(str, plain)) if isinstance(plain, list) else set()
