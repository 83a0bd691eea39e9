"""The first line of a command: what it is going to do, with what, and how long the last one took."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from facesmith.config.schema import InferConfig, TrainConfig
from facesmith.files import short_path
from facesmith.progress import format_duration
from facesmith.training.run.log import get_rank

log = logging.getLogger(__name__)

_MOST_COUNTED: Final = 10_000  # files of a folder


def announce_training(config: TrainConfig) -> None:
    """Log who is trained on what, for how long, and where the results go.

    Args:
        config: The validated settings.
    """
    if get_rank():
        return
    epochs = config.trainer.max_epochs
    media = getattr(config.data, "source", None) or getattr(config.data, "target", None)
    media = media or getattr(config.data, "faces", None)
    what = f"{config.experiment_name or 'training'}: {config.name}"
    what += f" from {_describe(media)}" if media else ""
    how_long = f"{epochs} epochs" if epochs != 1 else "1 epoch"
    line = f"{what}, {how_long}" if epochs else f"{what}, made and measured without training (trainer.max_epochs=0)"
    if config.paths.run is not None:
        line += f"; results: {short_path(config.paths.run)}"
    took = _last_duration(config)
    log.info("%s%s", line, f"; the last such run took {format_duration(took)}" if took else "")


def announce_inference(config: InferConfig) -> None:
    """Log what task runs on what.

    Args:
        config: The validated settings.
    """
    task = type(config.task).__name__.removesuffix("Config").removesuffix("Task").lower()
    source = config.source if config.source is not None else getattr(config.task, "source", None)
    line = f"{task}: {_describe(source)}" if source else task
    log.info("%s%s", line, f" -> {short_path(config.output)}" if config.output is not None else "")


def _describe(media: object) -> str:
    """Name media as the user did, with the number of files of a folder."""
    if isinstance(media, Mapping):
        return f"the photos of {len(media)} people"
    if isinstance(media, list):
        return f"{media[0]} and {len(media) - 1} more" if len(media) > 1 else _describe(media[0])
    path = Path(str(media)).expanduser()
    if not path.is_dir():
        return str(media)
    count = 0
    for _, _, files in os.walk(path):  # which passes over folders that cannot be read
        count += len(files)
        if count > _MOST_COUNTED:
            return f"{media} (more than {_MOST_COUNTED} files)"
    return f"{media} ({count} {'file' if count == 1 else 'files'})"


def _last_duration(config: TrainConfig) -> float | None:
    """Return the seconds that the newest completed run of this experiment took, when it trained for as long."""
    folder = config.paths.runs / (config.experiment_name or "unnamed")
    try:
        found = [path for path in folder.glob("*/*/run.json") if not path.parent.is_symlink()]
        records = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:3]
        for path in records:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            done, seconds = record.get("epochs", 0), float(record.get("seconds", 0))
            if record.get("status") == "completed" and seconds and done == config.trainer.max_epochs:
                return seconds
    except (OSError, ValueError, TypeError):
        return None
    return None
