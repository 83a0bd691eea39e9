"""The work on one face set's masks: what is on the desk, what is done, and where one left off."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self

import filelock
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facesmith.annotate.between import Painted, between
from facesmith.atomic import replacing, write_text
from facesmith.errors import UserError
from facesmith.faces.face_set import FaceSet
from facesmith.occluder.hull import face_mask
from facesmith.occluder.painted import SUFFIX, PaintedMasks

Mask = NDArray[np.uint8]
State = Literal["outline", "painted", "interpolated", "predicted"]
Predict = Callable[[NDArray[np.uint8]], Mask]

_NOTES: Final = "annotate.json"
_LOCK: Final = ".annotate.lock"


class Desk:
    """Masks of a face set's crops, painted by one person at a time.

    folder: where masks lie, `<crop>.png`, as `PaintedMasks` reads them; made when missing. forehead: as of `face_mask`.
    predict: turns a crop (512,512,3) uint8 RGB into a mask (512,512) uint8, where an occluder is at hand. Everything is
    written at once and whole. A context manager: it holds the folder's lock.

    Raises:
        UserError: somebody else paints in this folder, it cannot be written, or it holds masks of other faces.
    """

    def __init__(self, faces: FaceSet, folder: Path, forehead: float, predict: Predict | None = None) -> None:
        self.faces, self.folder, self.predict = faces, folder, predict
        self._forehead = forehead
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(folder / _LOCK, timeout=0)
            self._lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"masks={folder}: somebody is painting here already; close that page, or choose another folder"
            ) from None
        except OSError as error:
            raise UserError(f"masks={folder}: cannot be written ({error.strerror}); choose another folder") from None
        self._painted = PaintedMasks(folder, faces)
        self._states: dict[str, State] = {}
        self.at = 0
        self._recall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.faces)

    def close(self) -> None:
        """Let somebody else paint."""
        self._lock.release()

    def name(self, row: int) -> str:
        """Give the name of a face: its crop's, without the ending."""
        return Path(self.faces.crop_name(row)).stem

    def path(self, row: int) -> Path:
        """Say where a face's mask lies, or would."""
        return self.folder / f"{self.name(row)}{SUFFIX}"

    def state(self, row: int) -> State:
        """Say where a face's mask comes from; a mask without a note was painted elsewhere."""
        return self._states.get(self.name(row), "painted") if self.path(row).exists() else "outline"

    def mask(self, row: int) -> Mask:
        """Give a face's mask (512,512) uint8: what was saved, else the outline of its landmarks."""
        saved = PaintedMasks(self.folder, self.faces).get(row) if self.path(row).exists() else None
        if saved is not None:
            return saved
        return self.outline(row)

    def outline(self, row: int) -> Mask:
        """Give the outline (512,512) uint8 of a face's landmarks."""
        outline = face_mask(self.faces.landmarks[row], self.faces.crop_size, self._forehead)
        return np.where(outline > 0.5, 255, 0).astype(np.uint8)

    def save(self, row: int, mask: Mask, state: State = "painted") -> None:
        """Keep a mask (512,512) uint8; what was there before is replaced."""
        with replacing(self.path(row)) as temporary:
            Image.fromarray(np.where(mask > 127, 255, 0).astype(np.uint8)).save(temporary, "PNG")
        self._states[self.name(row)] = state
        self._note()

    def forget(self, row: int) -> None:
        """Go back to the landmarks' outline."""
        self.path(row).unlink(missing_ok=True)
        self._states.pop(self.name(row), None)
        self._note()

    def go(self, row: int) -> int:
        """Turn to a face, kept for the next time; the last or first where there is none further."""
        self.at = min(max(row, 0), len(self) - 1)
        self._note()
        return self.at

    def interpolate(self, row: int) -> list[int]:
        """Fill the frames between painted ones around `row` that nobody painted; give those that were filled.

        Only frames of one shot are bridged. Painted frames stay as they are.

        Raises:
            UserError: there is no painted frame before and after it in the same shot.
        """
        track = int(self.faces.tracks[row])
        shot = [i for i in range(len(self)) if int(self.faces.tracks[i]) == track]
        painted = [i for i in shot if self.state(i) == "painted"]
        pairs = [(a, b) for a, b in pairwise(painted) if a <= row <= b]
        if not pairs:
            raise UserError(
                f"{self.name(row)}: is not between two painted frames of one shot; paint one before and one after it"
            )
        filled = []
        for first, last in pairs:
            ends = [Painted(self.mask(i), self.outline(i), self.faces.landmarks[i]) for i in (first, last)]
            start, length = self._moment(first), self._moment(last) - self._moment(first)
            for i in (one for one in shot if first < one < last):
                share = (self._moment(i) - start) / length if length else 0.5
                mask = between(ends[0], ends[1], self.outline(i), self.faces.landmarks[i], share)
                self.save(i, mask, "interpolated")
                filled.append(i)
        return filled

    def suggest(self, row: int) -> Mask:
        """Give what the occluder makes of a face (512,512) uint8.

        Raises:
            UserError: there is no occluder.
        """
        if self.predict is None:
            raise UserError("occluder: none was given; start with occluder=<checkpoint of experiment=occluder>")
        return self.predict(self.faces.crop(row))

    def counts(self) -> dict[State, int]:
        """Count faces by state."""
        states = [self.state(i) for i in range(len(self))]
        return {state: states.count(state) for state in ("painted", "interpolated", "predicted", "outline")}

    def _moment(self, row: int) -> float:
        time = float(self.faces.times[row])
        return time if np.isfinite(time) else float(row)

    def _recall(self) -> None:
        try:
            notes = json.loads((self.folder / _NOTES).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            raise UserError(f"{self.folder / _NOTES}: is damaged; remove it: the masks themselves stay") from None
        self._states = notes["states"]
        names = {self.name(i): i for i in range(len(self))}
        self.at = names.get(notes["at"], 0)

    def _note(self) -> None:
        notes = {"at": self.name(self.at), "face_set": self.faces.key, "states": self._states}
        write_text(self.folder / _NOTES, json.dumps(notes, indent=1))
