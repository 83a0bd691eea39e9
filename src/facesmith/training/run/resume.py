"""Resuming a run: which folder, its earlier overrides, and which settings may change. Needs no torch."""

import fnmatch
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.training.run.checkpoint_files import find_newest_checkpoint
from facesmith.training.run.saved_command import (
    HYDRA_FOLDER,
    key_of,
    primary_config_flags,
    refuse_links,
    saved_overrides,
)

AUTO: Final = "auto"
_NAMES_A_CONFIG: Final = re.compile(r"(-cn|--config-name|-cd|--config-dir)(=|$)")

# Settings that may differ from those a run was trained with: all others decide what is learnt.
_CHANGEABLE: Final = (
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
    "data.table",  # in the run's folder, which may be moved
    "data.progress",
    "data.face_sets",
    "data.consent_note",
    "data.validation_faces",
    "callbacks.*",
    "trainer.*",
)
_UNCHANGEABLE: Final = (
    "callbacks.average*",
    "trainer.precision",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_*",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)
_MAX_CHANGES = 12


def expand_resume(given: Sequence[str]) -> list[str]:
    """Expand `resume=<run folder>` into the whole command the folder's run was started with.

    The folder's own overrides come first, those given now replace or join them, and Hydra is sent to the folder.
    Command lines without it, or with `resume=auto`, stay as they are.

    Args:
        given: Arguments of the command line.

    Raises:
        UserError: The folder is not that of a run, or a sweep is asked to resume in it.
    """
    wanted = [o.partition("=")[2].strip("'\"") for o in given if re.match(r"\+*resume=", o)]
    if not wanted or wanted[-1] in ("", "null", AUTO):
        return list(given)
    folder = Path(wanted[-1])
    folder = folder.parent / folder.readlink() if folder.is_symlink() else folder
    if {"-m", "--multirun"} & set(given):
        raise UserError(f"resume={folder}: names one run; in a sweep resume=auto resumes in each job's own folder")
    if not (folder / HYDRA_FOLDER / "overrides.yaml").is_file():
        raise UserError(
            f"resume={folder}: is not the folder of a run; give one such as runs/identity/ada/2026-01-31_12-00-00"
        )
    refuse_links(folder)
    new = [o for o in given if not re.match(r"\+*(resume|hydra\.run\.dir)=", o)]
    flags = [] if any(_NAMES_A_CONFIG.match(one) for one in new) else primary_config_flags(folder)
    old = saved_overrides(folder, {key_of(one) for one in new})
    place = str(folder).replace("'", "\\'")
    return [*flags, *_merge_overrides(old, new), f"resume='{place}'", f"hydra.run.dir='{place}'"]


def resume_command(folder: Path) -> str:
    """Return the command that resumes a run."""
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    return f"facesmith train {shlex.quote(f'resume={folder}')}"


def choose_run_folder(base: str, time: str, resume: str | None) -> str:
    """Return a run's folder: a new one, or with `auto` the newest one that holds a whole checkpoint.

    Args:
        base: Folder of all runs of the name: `runs/<experiment>/<name>`.
        time: Name of a new folder; one that exists gets a number behind it.
        resume: The setting of that name.
    """
    if resume == AUTO:
        for folder in sorted(Path(base).glob("[!.]*"), key=lambda path: path.name, reverse=True):
            if folder.is_dir() and not folder.is_symlink() and find_newest_checkpoint(folder).path is not None:
                return str(folder)
    number, folder = 1, Path(base, time)
    while folder.exists():
        number += 1
        folder = Path(base, f"{time}-{number}")
    return str(folder)


def choose_hydra_subdir(run: str | None, time: str) -> str:
    """Return the folder, inside a run's, for what Hydra records of a start: one per start, so that none is lost.

    Args:
        run: The run's folder.
        time: Of this start.
    """
    resumed = run is not None and (Path(run) / HYDRA_FOLDER / "overrides.yaml").exists()
    return f"{HYDRA_FOLDER}/resumed_{time}" if run and resumed else HYDRA_FOLDER


def find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ and must not, as `dotted.key: old -> new`."""
    before, now = flatten(old), flatten(new)
    keys = [key for key in {**before, **now} if before.get(key, _Absent) != now.get(key, _Absent)]
    return [f"{key}: {_show(before, key)} -> {_show(now, key)}" for key in keys if not _may_change(key)]


def check_unchanged(old: Mapping[str, Any], new: Mapping[str, Any], run: Path) -> None:
    """Refuse to resume a run with settings that change what it learns.

    Args:
        old: Settings the run was trained with, as plain values under today's names.
        new: Those now given.
        run: The run's folder.

    Raises:
        UserError: A setting of model, data or optimisation differs.
    """
    lines = find_changes(old, new)
    if lines:
        more = [f"and {len(lines) - _MAX_CHANGES} more"] if len(lines) > _MAX_CHANGES else []
        raise UserError(
            f"resume: {run} was trained with other settings ({'; '.join(lines[:_MAX_CHANGES] + more)}); leave them "
            "as they were, or start a new run without resume= (model.init_from=<checkpoint> starts from its weights)"
        )


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to one, with dotted keys; lists count as values.

    Args:
        value: The mapping.
        prefix: Dotted key of the mapping.
    """
    if not isinstance(value, Mapping) or not value:
        return {prefix: value} if prefix else {}
    return {
        k: v
        for key, inner in value.items()
        for k, v in flatten(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


class _Absent:
    """Value of a key that one side does not have."""


def _may_change(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, p) for p in _CHANGEABLE) and not any(
        fnmatch.fnmatchcase(key, p) for p in _UNCHANGEABLE
    )


def _show(settings: Mapping[str, Any], key: str) -> str:
    return "nothing" if key not in settings else str(settings[key])


def _merge_overrides(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Replace old overrides by new ones of the same key, which take over their `+`."""
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
