"""Settings stored in files: checkpoints, adapters, run records. Nothing in a file is executed."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

import facesmith
from facesmith.config.renamed import find_removed, upgrade
from facesmith.config.settings import FROM_FILE, Component, settings_class
from facesmith.config.targets import TargetError
from facesmith.config.validation_errors import format_errors
from facesmith.errors import UserError

log = logging.getLogger(__name__)

C = TypeVar("C", bound=Component)


def read_settings(saved: object, kind: type[C], origin: str, *, version: object = None) -> C:
    """Validate component settings that a file holds.

    They may name classes of facesmith and of installed plug-ins alone, at every depth, and of the kinds that are
    expected where they stand. Names of earlier versions are mapped to today's, with one line of warning.

    Args:
        saved: What the file holds: plain values with a `_target_`.
        kind: What is expected, such as `ModuleConfig`.
        origin: The file, as an error names it: `model=ada.ckpt`.
        version: The facesmith that wrote it, for errors; None where that is not known.

    Returns:
        Validated settings; their class has not been imported.

    Raises:
        UserError: They are no settings of this kind, or name what a file may not name; one line.
    """
    try:
        plain = upgrade_settings(saved, origin)
        if not isinstance(plain, Mapping):
            raise UserError(f"{origin}: holds no settings; give a file that facesmith wrote")
        for place, text in _texts(plain, ""):
            if "${" in text:
                shortened, found_in = _in_a_line(text, 60), _in_a_line(place, 120)
                raise UserError(
                    f"{origin}: {found_in} holds an interpolation ({shortened}); a file may hold values alone"
                )
        found = settings_class(plain.get("_target_"), kind, from_file=True)
        return found.model_validate(plain, context={FROM_FILE: True})
    except TargetError as error:
        why = str(error)
    except ValidationError as error:
        # one is looked at: a strange file may have thousands
        lines = format_errors(error.errors(include_url=False)[:1], found, plain)
        more = len(lines) - 1 + error.error_count() - 1
        why = f"{lines[0]} (and {more} more)" if more else lines[0]
    except RecursionError:
        why = "they contain themselves"
    by = f" of facesmith {_in_a_line(version, 20)}" if version else ""
    raise UserError(
        f"{origin}: its settings{by} do not fit facesmith {facesmith.__version__}: {_in_a_line(why, 400)}; train it "
        "again, or install the plug-in it was trained with"
    )


def upgrade_settings(saved: Any, origin: object) -> Any:
    """Return saved settings under the names of this version, and log one line where names have changed.

    Args:
        saved: Plain values as a file holds them.
        origin: The file, for the line.

    Raises:
        UserError: They name a network that this version does not have.
    """
    why = find_removed(saved)
    if why is not None:
        raise UserError(f"{origin}: {why}")
    plain = upgrade(saved)
    if plain != saved:
        log.info("%s: was saved under names of an earlier version; they are read as today's", origin)
    return plain


def _in_a_line(text: object, length: int) -> str:
    return " ".join(str(text).split())[:length]


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text in plain values, keys included, with its dotted place."""
    if isinstance(value, str):
        yield place or "a value", value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"a key of {place or 'the settings'}", str(key)
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}.{number}")
