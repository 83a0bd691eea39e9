"""Faces that a person has left out of a face set by hand: kept beside the set, and honoured by whoever reads it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from facesmith.errors import UserError
from facesmith.files import write_private_text

LEFT_OUT: Final = "left_out.json"
"""In the folder of a person's face sets: the crops of the faces that are left out, of all their sets."""


def read_left_out(folder: Path) -> frozenset[str]:
    """Return the crops, by file name, of the faces that were left out by hand in any of a person's face sets.

    A crop is named by its medium's content, the frame and the face: the same face has the same name in every set.

    Args:
        folder: Of one of the person's face sets.

    Raises:
        UserError: The file cannot be read.
    """
    path = folder.parent / LEFT_OUT
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it, and leave faces out again") from None
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise UserError(f"{path}: is no list of crops; remove it, and leave faces out again")
    return frozenset(named)


def write_left_out(folder: Path, crops: Iterable[str], own: Iterable[str]) -> None:
    """Keep which faces of a set are left out; those of the person's other sets stay so. None removes the file.

    Args:
        folder: Of a finished face set.
        crops: File names of the crops of the set's faces that are left out.
        own: Those of all its faces.
    """
    path = folder.parent / LEFT_OUT
    named = sorted((read_left_out(folder) - set(own)) | set(crops))
    if named:
        write_private_text(path, json.dumps(named, indent=1))
    else:
        path.unlink(missing_ok=True)


def digest_left_out(crops: Iterable[str]) -> str:
    """Return a short hash of what is left out, "" where nothing is: what is made from the set depends on it.

    Args:
        crops: File names of their crops.
    """
    named = sorted(crops)
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:12] if named else ""


def parse_numbers(words: Sequence[str], most: int) -> list[int]:
    """Read numbers and ranges of faces: `12 37 40-44`, or `all`.

    Args:
        words: As typed.
        most: The highest number there is; the lowest is 1.

    Raises:
        UserError: A word is no number, or there is no such face.
    """
    found: list[int] = []
    for word in (part for one in words for part in one.split(",") if part):
        first, dash, last = word.partition("-")
        if word == "all":
            found += range(1, most + 1)
        elif not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"{word}: is no number of a face; give numbers of the sheet, such as 12 37 40-44")
        else:
            low, high = int(first), int(last) if dash else int(first)
            if not 1 <= low <= high <= most:
                raise UserError(f"{word}: there is no such face; they are numbered 1 to {most}")
            found += range(low, high + 1)
    return list(dict.fromkeys(found))
