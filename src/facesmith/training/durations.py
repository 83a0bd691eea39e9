"""How long the parts of a training took on this machine before: what is told before they are done again."""

import json
import logging
from pathlib import Path
from typing import Final

import platformdirs

from facesmith.errors import UserError
from facesmith.files import write_text

log = logging.getLogger(__name__)

_MOST: Final = 500  # parts that are remembered


def _file() -> Path:
    return Path(platformdirs.user_state_dir("facesmith")) / "durations.json"


def recall_duration(part: str) -> float | None:
    """Return the seconds that a part took last time; None where it was not done here before.

    Args:
        part: Its name, with all that decides how long it takes.
    """
    return _read().get(part)


def remember_durations(parts: dict[str, float]) -> None:
    """Remember how long parts took.

    Args:
        parts: Seconds by name.
    """
    known = {name: seconds for name, seconds in _read().items() if name not in parts} | parts
    last = dict(list(known.items())[-_MOST:])
    try:
        write_text(_file(), json.dumps({name: round(seconds, 3) for name, seconds in last.items()}, indent=1))
    except UserError as error:
        log.debug("%s; the next estimate is rougher", error)


def _read() -> dict[str, float]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
