"""Going on with a run: which folder, what it was told before, and what may have changed. Needs no torch."""

import fnmatch
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.training.run.checkpoint_files import newest_good
from facesmith.training.run.saved_command import HYDRA_FOLDER, key_of, primary_config_flags, saved_overrides

AUTO: Final = "auto"
_NAMES_A_CONFIG: Final = re.compile(r"(-cn|--config-name|-cd|--config-dir)(=|$)")

# What may differ from what a run was trained with: all else decides what is learnt.
_FREE: Final = (
    "resume",
    "busy",
    "name",
    "tags",
    "monitor",
    "monitor_mode",
    "objectives",
    "paths.*",
    "assets.*",
    "logging.*",
    "logger",
    "logger.*",
    "provenance.*",
    "data.workers",
    "data.progress",
    "data.face_sets",
    "data.consent_note",
    "data.validation_faces",
    "callbacks.*",
    "trainer.*",
)
_FIXED: Final = (
    "callbacks.average*",
    "trainer.precision",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_*",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)
_SHOWN_AT_MOST = 12


def arguments(given: Sequence[str]) -> list[str]:
    """Turn `resume=<run folder>` on a command line into the whole command the folder's run was started with.

    The folder's own overrides come first, those given now replace or join them, and Hydra is sent to the folder.
    Command lines without it, or with `resume=auto`, stay as they are.

    Raises:
        UserError: the folder is no run's, or a sweep is asked to go on in it.
    """
    wanted = [o.partition("=")[2].strip("'\"") for o in given if re.match(r"\+*resume=", o)]
    if not wanted or wanted[-1] in ("", "null", AUTO):
        return list(given)
    folder = Path(wanted[-1])
    if {"-m", "--multirun"} & set(given):
        raise UserError(f"resume={folder}: names one run; in a sweep resume=auto goes on in each job's own folder")
    if not (folder / HYDRA_FOLDER / "overrides.yaml").is_file():
        raise UserError(f"resume={folder}: is no run's folder; give one such as runs/identity/ada/2026-01-31_12-00-00")
    new = [o for o in given if not re.match(r"\+*(resume|hydra\.run\.dir)=", o)]
    flags = [] if any(_NAMES_A_CONFIG.match(one) for one in new) else primary_config_flags(folder)
    old = saved_overrides(folder, {key_of(one) for one in new})
    place = str(folder).replace("'", "\\'")
    return [*flags, *_merged(old, new), f"resume='{place}'", f"hydra.run.dir='{place}'"]


def command(folder: Path) -> str:
    """Return the command that goes on with a run."""
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    return f"facesmith train {shlex.quote(f'resume={folder}')}"


def run_folder(base: str, time: str, resume: str | None) -> str:
    """Return the folder of a run of `base` (`runs/<experiment>/<name>`): a new one, or with `auto` the one to go on in.

    The newest folder with a checkpoint that is whole is gone on in; a new one is never one that exists.
    """
    if resume == AUTO:
        for folder in sorted(Path(base).glob("[!.]*"), key=lambda path: path.name, reverse=True):
            if folder.is_dir() and newest_good(folder).path is not None:
                return str(folder)
    number, folder = 1, Path(base, time)
    while folder.exists():
        number += 1
        folder = Path(base, f"{time}-{number}")
    return str(folder)


def record_folder(run: str | None, time: str) -> str:
    """Return the folder, inside a run's, for what Hydra records of a start: one each, so that none replaces another."""
    return (
        f"{HYDRA_FOLDER}/resumed_{time}"
        if run and (Path(run) / HYDRA_FOLDER / "overrides.yaml").exists()
        else HYDRA_FOLDER
    )


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the settings that differ and must not, as `dotted.key: old -> new`."""
    before, now = _flat(old), _flat(new)
    keys = [key for key in {**before, **now} if before.get(key, _Absent) != now.get(key, _Absent)]
    return [f"{key}: {_told(before, key)} -> {_told(now, key)}" for key in keys if not _free(key)]


def refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any], run: Path) -> None:
    """Make sure that what a run is going to learn is what it has learnt so far.

    Raises:
        UserError: a setting of model, data or optimisation differs; one line each.
    """
    lines = changed(old, new)
    if lines:
        more = [f"and {len(lines) - _SHOWN_AT_MOST} more"] if len(lines) > _SHOWN_AT_MOST else []
        raise UserError(
            f"resume: {run} was trained with other settings ({'; '.join(lines[:_SHOWN_AT_MOST] + more)}); leave them "
            "as they were, or start a new run without resume= (model.init_from=<checkpoint> starts from its weights)"
        )


class _Absent:
    """Stands where one side has no such key."""


def _free(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, p) for p in _FREE) and not any(fnmatch.fnmatchcase(key, p) for p in _FIXED)


def _told(settings: Mapping[str, Any], key: str) -> str:
    return "nothing" if key not in settings else str(settings[key])


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return flat


def _merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Let new overrides take the place of old ones of the same key, which keep their `+`."""
    kept = {key_of(o): o for o in old}
    rest = []
    for override in new:
        key = key_of(override)
        if override.startswith("-") or key not in kept:
            rest.append(override)
            continue
        prefix = re.match(r"\+*", kept[key])
        kept[key] = override if re.match(r"[+~]", override) else f"{prefix[0] if prefix else ''}{override}"
    return [*kept.values(), *rest]
