"""The masks of a face set: saved as PNG files, interpolated between painted frames, undone and redone."""

import io
import json
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self, get_args

import filelock
import numpy as np
from PIL import Image, PngImagePlugin

from facesmith.annotate.interpolation import Keyframe, Mask, interpolate_mask
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import CROPS, FaceSet
from facesmith.files import write_bytes, write_text
from facesmith.methods.occluder.labels import MASK_SUFFIX, PaintedMasks, face_mask

State = Literal["hull", "predicted", "interpolated", "painted"]
"""Origin of a mask: the landmarks' outline, an occluder, the painted frames around it, a person."""

_STATE_KEY: Final = "facesmith:state"


@dataclass(frozen=True)
class SavedMask:
    """A mask as a PNG file of one bit per pixel, and its origin, which the file states in its text."""

    png: bytes
    state: State

    @classmethod
    def encode(cls, mask: Mask, state: State) -> Self:
        """Encode a mask (S,S) uint8; values above 127 are visible face.

        Args:
            mask: (S,S) uint8; values above 127 are visible face.
            state: Origin of the mask.
        """
        note = PngImagePlugin.PngInfo()
        note.add_text(_STATE_KEY, state)
        file = io.BytesIO()
        Image.fromarray(mask > 127).save(file, "PNG", pnginfo=note)
        return cls(file.getvalue(), state)

    @classmethod
    def load(cls, path: Path, mask: Mask) -> Self:
        """Encode a mask that was read from a file.

        Args:
            path: The file, whose text states the origin; without it the mask counts as painted.
            mask: Its content, (S,S) uint8.
        """
        with Image.open(path) as picture:
            stated = picture.info.get(_STATE_KEY)
        known: dict[object, State] = {state: state for state in get_args(State)}
        return cls.encode(mask, known.get(stated, "painted"))

    def decode(self) -> Mask:
        """Return the mask, (S,S) uint8, 0 or 255."""
        with Image.open(io.BytesIO(self.png)) as picture:
            return np.asarray(picture.convert("L"))


PredictMask = Callable[[int], Mask]

MASKS: Final = "masks"
"""Folder of the masks, beside the face sets of a person."""
STATES: Final[tuple[State, ...]] = ("painted", "interpolated", "predicted", "hull")

_POSITION_FILE: Final = "annotate.json"
_LOCK: Final = ".annotate.lock"
_TEMPORARY_FILES: Final = f".*.tmp{MASK_SUFFIX}"  # left by a process that was killed while it wrote
_UNDO_STEPS: Final = 200


class _Change(NamedTuple):
    row: int
    before: SavedMask | None
    after: SavedMask | None


class MaskStore:
    """Masks of a face set's crops, painted by one person at a time.

    Every change is written at once, each file whole or not at all. A context manager: it holds the folder's lock.

    Args:
        faces: The face set.
        folder: Holds `<crop>.png`, as `PaintedMasks` reads them; it is made when missing.
        forehead: Extension of the hull, see `face_mask`.
        predict: Returns the mask (512,512) uint8 that an occluder predicts of a face, by the number of the face: the
            starting point of unpainted faces in place of the hull. None for the hull.

    Raises:
        UserError: Another session uses the folder, it cannot be written, or it holds masks that are damaged, of
            another size or of other faces.
    """

    def __init__(self, faces: FaceSet, folder: Path, forehead: float, predict: PredictMask | None = None) -> None:
        self.faces, self.folder = faces, folder
        self.initial_state: State = "hull" if predict is None else "predicted"
        self._forehead = forehead
        self._predicted = None if predict is None else lru_cache(maxsize=64)(predict)
        self._rows = {self.name(row): row for row in range(len(self))}
        self._done: deque[list[_Change]] = deque(maxlen=_UNDO_STEPS)
        self._undone: list[list[_Change]] = []
        with ExitStack() as opened:
            opened.callback(self._acquire_lock().release)
            self._saved = self._load_saved()
            self.current = self._last_position()
            self._lock = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.faces)

    def close(self) -> None:
        """Release the folder's lock."""
        self._lock.close()

    def name(self, row: int) -> str:
        """Return the name of a face: that of its crop file, without the suffix."""
        return Path(self.faces.crop_name(row)).stem

    def path(self, row: int) -> Path:
        """Return the path of a face's mask file, which may not exist."""
        return self.folder / f"{self.name(row)}{MASK_SUFFIX}"

    @property
    def crops(self) -> Path:
        """Folder of the faces' crops."""
        return self.faces.path.absolute() / CROPS

    def crop_path(self, row: int) -> Path:
        """Return the path of a face's crop."""
        return self.crops / self.faces.crop_name(row)

    def state(self, row: int) -> State:
        """Return the origin of a face's mask."""
        kept = self._saved.get(row)
        return self.initial_state if kept is None else kept.state

    def is_saved(self, row: int) -> bool:
        """Return whether a face's mask is saved in the folder, and so used in training."""
        return row in self._saved

    def mask(self, row: int) -> Mask:
        """Return a face's mask, (512,512) uint8, 0 or 255: the saved one, else its starting point."""
        kept = self._saved.get(row)
        if kept is not None:
            return kept.decode()
        return self.hull(row) if self._predicted is None else self._predicted(row)

    def hull(self, row: int) -> Mask:
        """Return the outline of a face's landmarks, (512,512) uint8, 0 or 255."""
        outline = face_mask(self.faces.landmarks[row], self.faces.crop_size, self._forehead)
        return np.where(outline > 0.5, 255, 0).astype(np.uint8)

    def paint(self, row: int, mask: Mask) -> None:
        """Save a mask as painted by a person; it replaces the previous one.

        Args:
            row: Number of the face.
            mask: (512,512) uint8.
        """
        self._apply([(row, SavedMask.encode(mask, "painted"))])

    def paint_many(self, masks: Iterable[tuple[int, Mask]]) -> None:
        """Save masks (512,512) uint8 by the numbers of their faces as painted, in one step of undo."""
        self._apply((row, SavedMask.encode(mask, "painted")) for row, mask in masks)

    def reset(self, row: int, start: State) -> None:
        """Reset a face to its hull or to the occluder's prediction.

        Args:
            row: Number of the face.
            start: `hull` or `predicted`.

        Raises:
            UserError: A prediction is asked for, but there is no occluder.
        """
        if start == self.initial_state:
            self._apply([(row, None)])
        elif self._predicted is not None:
            self._apply([(row, SavedMask.encode(self.hull(row), "hull"))])
        else:
            raise UserError("occluder: none was given; start with occluder=<run, checkpoint or .onnx>")

    def interpolate(self, row: int, report: Callable[[int, int], None] = lambda done, of: None) -> list[int]:
        """Fill the unpainted frames between the painted ones around a frame; painted frames stay as they are.

        Args:
            row: Number of the frame; only frames of its shot are filled.
            report: Is called with the number of frames done and the number of all.

        Returns:
            Numbers of the frames that were filled.

        Raises:
            UserError: There is no painted frame before it, or none after it, in the same shot.
        """
        track = int(self.faces.tracks[row])
        shot = [i for i in range(len(self)) if int(self.faces.tracks[i]) == track]
        painted = [i for i in shot if self.state(i) == "painted"]
        gaps = [(a, [i for i in shot if a < i < b], b) for a, b in pairwise(painted) if a <= row <= b]
        gaps = [gap for gap in gaps if gap[1]]
        if not gaps:
            raise UserError(
                f"{self.name(row)}: is not between two painted frames of one shot; paint one before and one after it"
            )
        filled = [i for _, rows, _ in gaps for i in rows]

        def masks() -> Iterable[tuple[int, SavedMask]]:
            for first, rows, last in gaps:
                ends = [Keyframe(self.mask(i), self.hull(i), self.faces.landmarks[i]) for i in (first, last)]
                for i in rows:
                    mask = interpolate_mask(
                        ends[0], ends[1], self.hull(i), self.faces.landmarks[i], self._share(first, i, last)
                    )
                    report(filled.index(i) + 1, len(filled))
                    yield i, SavedMask.encode(mask, "interpolated")

        self._apply(masks())
        return filled

    def undo(self) -> int | None:
        """Undo the last change, on whichever face it was; return that face, None when there is nothing to undo."""
        return self._replay(self._done, self._undone, lambda change: change.before)

    def redo(self) -> int | None:
        """Redo the change that was last undone; return its face, None when there is nothing to redo."""
        return self._replay(self._undone, self._done, lambda change: change.after)

    def go_to(self, row: int) -> int:
        """Make a face the current one, also for the next session; numbers out of range go to the first or last.

        Returns:
            The number of the face that is current now.
        """
        at = min(max(row, 0), len(self) - 1)
        notes = json.dumps({"at": self.name(at), "face_set": self.faces.key})
        self._write(self.folder / _POSITION_FILE, lambda path: write_text(path, notes))
        self.current = at
        return at

    def next_unsaved(self, row: int) -> int:
        """Return the next face without a saved mask, from the first again after the last; `row` when all have one."""
        order = [*range(row + 1, len(self)), *range(row)]
        return next((i for i in order if not self.is_saved(i)), row)

    def count_states(self) -> dict[State, int]:
        """Count faces by state."""
        states = [self.state(i) for i in range(len(self))]
        return {state: states.count(state) for state in STATES}

    def _share(self, first: int, row: int, last: int) -> float:
        times = self.faces.times[[first, row, last]].astype(np.float64)
        start, at, end = times if np.isfinite(times).all() and times[2] > times[0] else (first, row, last)
        return float((at - start) / (end - start))

    def _apply(self, masks: Iterable[tuple[int, SavedMask | None]]) -> None:
        """Write masks one after the other; those that were written can be undone, even if a later one fails."""
        step: list[_Change] = []
        try:
            for row, after in masks:
                before = self._saved.get(row)
                self._save(row, after)
                step.append(_Change(row, before, after))
        finally:
            if step:
                self._done.append(step)
                self._undone.clear()

    def _replay(
        self,
        given: "deque[list[_Change]] | list[list[_Change]]",
        taken: "deque[list[_Change]] | list[list[_Change]]",
        wanted: Callable[[_Change], SavedMask | None],
    ) -> int | None:
        if not given:
            return None
        for change in given[-1]:
            self._save(change.row, wanted(change))
        step = given.pop()
        taken.append(step)
        return step[0].row

    def _save(self, row: int, kept: SavedMask | None) -> None:
        """Write or delete a mask; memory is updated after the disk, never before it."""
        if kept is None:
            self._write(self.path(row), lambda path: path.unlink(missing_ok=True))
            self._saved.pop(row, None)
        else:
            self._write(self.path(row), lambda path: write_bytes(path, kept.png))
            self._saved[row] = kept

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        try:
            write(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); the last version is intact") from error

    def _acquire_lock(self) -> filelock.FileLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / _LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"masks={self.folder}: is in use by another session; close that page, or choose another folder"
            ) from None
        except OSError as error:
            raise UserError(
                f"masks={self.folder}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        return lock

    def _load_saved(self) -> dict[int, SavedMask]:
        """Load all masks of the folder; a damaged one is refused before anything is painted."""
        for leftover in self.folder.glob(_TEMPORARY_FILES):
            leftover.unlink()
        painted = PaintedMasks(self.folder, self.faces)
        checked = ((row, painted.get(row)) for row in range(len(self)))
        return {row: SavedMask.load(self.path(row), mask) for row, mask in checked if mask is not None}

    def _last_position(self) -> int:
        try:
            notes = json.loads((self.folder / _POSITION_FILE).read_text(encoding="utf-8"))
            return self._rows.get(notes["at"], 0)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.folder / _POSITION_FILE}: is damaged; remove it: the masks themselves are not affected"
            ) from None
