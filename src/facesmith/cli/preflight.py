"""What can be known to be wrong before torch is imported: paths, folders, room on the disk, the monitored metric."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hydra.core.hydra_config import HydraConfig

from facesmith.assets.catalog import ASSETS
from facesmith.config.schema import ExportConfig, InferConfig, JobConfig, TrainConfig
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError, escape_controls
from facesmith.files import require_writable

_MEDIA_KEYS: Final = ("source", "targets", "target", "faces", "videos", "poses")
"""Keys of data and tasks that name media, or folders of them."""
_FILE_KEYS: Final = (
    *("base", "init_from", "model", "profile", "occluder", "masks", "adapter", "ckpt_path"),
    *("converter", "enhancer", "source_photo", "reference", "embedding", "arcface", "pairs"),
)
_KEYS_OF_SIGNING: Final = ("certificate", "key")
"""Keys that name files or folders that must exist, where their values are paths."""
_BETTER: Final = {
    "min": re.compile(r"loss(_q\d+)?|judge_distance|miss_rate|rejected_\w+|false_occlusion|flicker|unsteadiness"),
    "max": re.compile(
        r"likeness|projection|faces_found|pose_agreement|identity_similarity|(judge_)?accepted|passed|ssim|mask_iou\w*"
        r"|boundary_iou|iou_\w+|occluded_(recall|precision)\w*"
    ),
}
"""Names of metrics, without stage, that are better smaller or larger beyond doubt."""
_STAGES: Final = ("val", "val_holdout", "before", "before_holdout", "base", "base_holdout")
_LEAST_ROOM: Final = 200_000_000  # bytes


def check_training(config: TrainConfig) -> None:
    """Refuse a training that cannot succeed; a few milliseconds.

    Args:
        config: The validated settings.

    Raises:
        UserError: One line for each mistake.
    """
    lines = [*_missing_media(config.data, "data"), *_missing_files(config.data, "data")]
    lines += [*_missing_files(config.model, "model"), *_missing_assets(config)]
    folders = {"paths.runs": config.paths.runs, "paths.face_sets": config.paths.face_sets}
    lines += [line for key, folder in folders.items() for line in _unwritable(key, folder)]
    lines += _unwritable_log(config)
    lines += _missing_files(config.provenance, "provenance")
    lines += _wrong_directions(config)
    asked = _is_overridden("monitor", "objectives", "callbacks")
    lines += _unknown_metrics(config) if asked else ()
    _refuse(lines)
    _refuse([] if asked else [*_unknown_metrics(config)])  # to know them takes .8 s of imports
    config.data.check_sources()


def check_inference(config: InferConfig) -> None:
    """Refuse a job of infer whose files are missing or whose output cannot be written.

    Args:
        config: The validated settings.

    Raises:
        UserError: One line for each mistake.
    """
    lines = [*_missing_media(config, ""), *_missing_media(config.task, "task"), *_missing_files(config.task, "task")]
    for number, entry in enumerate(getattr(config.task, "cast", None) or ()):
        lines += _missing_files(entry, f"task.cast.{number}")
    lines += _missing_files(config.provenance, "provenance")
    if config.output is not None:
        lines += [*_unwritable("output", config.output.parent), *_is_source(config.source, config.output)]
    lines += _unwritable_log(config)
    _refuse([line.removeprefix("task.") for line in dict.fromkeys(lines)])
    config.task.check_sources()


def check_export(config: ExportConfig) -> None:
    """Refuse an export whose checkpoint is missing or whose folder cannot be written.

    Args:
        config: The validated settings.

    Raises:
        UserError: One line for each mistake.
    """
    _refuse([*_missing_files(config, ""), *_unwritable("output", config.output), *_unwritable_log(config)])


def find_missing(named: str) -> str | None:
    """Explain why a path, pattern or `asset:<name>` names nothing; None where it names something.

    Args:
        named: As the user typed it.
    """
    if not named.strip():
        return "is empty; name a file or a folder"
    if named.startswith("asset:"):
        name = named.removeprefix("asset:")
        closest = closest_match(name, ASSETS)
        mend = f"did you mean asset:{closest}?" if closest else "`facesmith assets` lists them"
        return None if name in ASSETS else f"there is no such asset; {mend}"
    if re.match(r"[a-z]+://", named):
        return "is an address; download it first, and name the file"
    try:
        path = Path(named).expanduser()
        if path.exists() or _has_match(path):
            return None
        return f"there is no such file or folder; {_suggest(path)}"
    except (OSError, RuntimeError, ValueError) as error:
        return f"cannot be a path ({getattr(error, 'strerror', None) or error})"


def _refuse(lines: Sequence[str]) -> None:
    if lines:
        raise UserError("\n".join(dict.fromkeys(lines)))


def _missing_media(settings: object, prefix: str) -> Iterator[str]:
    for key in _MEDIA_KEYS:
        made = key == "poses" and getattr(settings, "make_poses", False)
        if made or key in getattr(settings, "written", ()):
            continue
        named = getattr(settings, key, None)
        if named in ([], {}):
            yield f"{prefix}.{key}: the list is empty; name a file or a folder".lstrip(".")
        for one in _paths(named):
            why = find_missing(one)
            if why:
                yield f"{prefix}.{key}={escape_controls(one)}: {why}".lstrip(".")


def _missing_files(settings: object, prefix: str) -> Iterator[str]:
    for key in (*_FILE_KEYS, *_KEYS_OF_SIGNING):
        value = getattr(settings, key, None)
        for one in value if isinstance(value, list) else [value]:
            why = find_missing(str(one)) if isinstance(one, Path) else None
            if why:
                yield f"{prefix}.{key}={escape_controls(one)}: {why}".lstrip(".")


def _missing_assets(config: JobConfig) -> Iterator[str]:
    folder = config.assets.dir
    if folder is not None and not folder.expanduser().is_dir():
        yield f"assets.dir={folder}: is not a directory; name the folder that holds the assets, or null"


def _paths(value: object) -> Iterator[str]:
    """Yield the paths of a setting: one, a list of them, or several people's by name."""
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _paths(inner)
    elif isinstance(value, Iterable):
        yield from (str(one) for one in value if isinstance(one, str | Path))


def _has_match(pattern: Path) -> bool:
    if not any(character in str(pattern) for character in "*?["):
        return False
    root = Path(pattern.anchor)
    return next(iter(root.glob(str(pattern.relative_to(root)))), None) is not None


def _suggest(path: Path) -> str:
    """Name the file that was probably meant, or the first folder on the way that does not exist."""
    parent = path.parent
    if not parent.is_dir():
        missing = next(one for one in (*reversed(path.parents), path) if not one.exists())
        return f"{missing} does not exist" if missing != path else "check the path"
    names = [child.name for child in parent.iterdir() if not child.name.startswith(".")]
    closest = closest_match(path.name, names)
    return f"did you mean {parent / closest}?" if closest else "check the path"


def _unwritable(key: str, folder: Path) -> Iterator[str]:
    try:
        require_writable(folder, key, _LEAST_ROOM)
    except UserError as error:
        yield str(error)


def _is_source(source: object, output: Path) -> Iterator[str]:
    """Refuse an output that is a source itself."""
    for one in _paths(source):
        path = Path(one).expanduser()
        if path.is_file() and output.is_file() and path.samefile(output):
            yield f"output={output}: is the source itself; choose another place"


def _unwritable_log(config: JobConfig) -> Iterator[str]:
    file = config.logging.file
    if file is not None and _is_overridden("logging"):
        yield from _unwritable("logging.file", Path(file).parent)


def _unknown_metrics(config: TrainConfig) -> Iterator[str]:
    """Name metrics that are asked for and no validation measures; callbacks of `conf/` know theirs."""
    watching = {
        key: str(monitor)
        for name, callback in config.callbacks.items()
        if (monitor := callback.arguments().get("monitor") if callback else None)
        and _is_overridden(key := f"callbacks.{name}.monitor")
    }
    names = config.model.metric_names()
    if names is None:
        return
    wanted = dict.fromkeys(config.objectives or {}, "objectives")
    if config.monitor:
        wanted[config.monitor] = "monitor"
    wanted |= {metric: key for key, metric in watching.items()}
    known = {f"{stage}/{name}" for stage in _STAGES for name in names}
    for metric, key in wanted.items():
        if metric not in known and not metric.startswith("train/loss"):
            closest = f"val/{metric}" if metric in names else closest_match(metric, known)
            choices = ", ".join(sorted(f"val/{name}" for name in names))
            mend = f"did you mean {closest}?" if closest else f"choose one of {choices}"
            yield f"{key}={metric}: no such metric is measured; {mend}"


def _wrong_directions(config: TrainConfig) -> Iterator[str]:
    """Name metrics of which the worst would be kept, such as a loss where the experiment's own metric is a likeness."""
    asked = [(f"objectives: {metric}: ", metric, mode) for metric, mode in (config.objectives or {}).items()]
    if config.monitor:
        asked.append(("monitor_mode=", config.monitor, config.monitor_mode))
    for key, metric, mode in asked:
        right = next((one for one, names in _BETTER.items() if names.fullmatch(metric.rpartition("/")[2])), mode)
        if right != mode:
            sense = {"min": "smaller", "max": "larger"}[right]
            yield f"{key}{mode}: {metric} is better {sense}; write {key}{right}"


def _is_overridden(*keys: str) -> bool:
    if not HydraConfig.initialized():
        return True
    given = [one.partition("=")[0].lstrip("+~") for one in HydraConfig.get().overrides.task]
    return any(one == key or one.startswith(f"{key}.") for one in given for key in keys)
