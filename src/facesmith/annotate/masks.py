"""A mask as it lies on disk: a PNG that says itself where it comes from."""

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

from facesmith.annotate.interpolation import Mask, Painted, between
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import CROPS, FaceSet
from facesmith.files import write_bytes, write_text
from facesmith.methods.occluder.labels import MASK_SUFFIX, PaintedMasks, face_mask

State = Literal["hull", "predicted", "interpolated", "painted"]
"""Where a mask comes from: the landmarks' outline, an occluder, painted frames around it, a person."""

_NOTE: Final = "facesmith:state"


@dataclass(frozen=True)
class Kept:
    """The bytes of a mask's PNG, one bit a pixel, and where the mask comes from, which the PNG says too."""

    png: bytes
    state: State

    @classmethod
    def of(cls, mask: Mask, state: State) -> Self:
        """Pack a mask (S,S) uint8; above 127 is face."""
        note = PngImagePlugin.PngInfo()
        note.add_text(_NOTE, state)
        file = io.BytesIO()
        Image.fromarray(mask > 127).save(file, "PNG", pnginfo=note)
        return cls(file.getvalue(), state)

    @classmethod
    def read(cls, path: Path, mask: Mask) -> Self:
        """Take the mask (S,S) uint8 that was read from a file; a file that says nothing was painted elsewhere."""
        with Image.open(path) as picture:
            said = picture.info.get(_NOTE)
        known: dict[object, State] = {state: state for state in get_args(State)}
        return cls.of(mask, known.get(said, "painted"))

    def mask(self) -> Mask:
        """Return the mask (S,S) uint8, 0 or 255."""
        with Image.open(io.BytesIO(self.png)) as picture:
            return np.asarray(picture.convert("L"))


Predict = Callable[[int], Mask]

STATES: Final[tuple[State, ...]] = ("painted", "interpolated", "predicted", "hull")

_NOTES: Final = "annotate.json"
_LOCK: Final = ".annotate.lock"
_HALF_WRITTEN: Final = f".*.tmp{MASK_SUFFIX}"  # what a killed process leaves of an atomic write
_STEPS: Final = 200  # that can be undone


class _Change(NamedTuple):
    row: int
    before: Kept | None
    after: Kept | None


class Desk:
    """Masks of a face set's crops, painted by one person at a time.

    folder: where masks lie, `<crop>.png`, as `PaintedMasks` reads them; made when missing. forehead: as of `face_mask`.
    predict: gives the mask (512,512) uint8 of a face by its number, where an occluder is at hand: what nobody painted
    then starts from it instead of the hull. Every change is written at once and whole. A context manager: it holds the
    folder's lock.

    Raises:
        UserError: somebody else paints in this folder, it cannot be written, or it holds masks that are damaged, of
            another size or of other faces.
    """

    def __init__(self, faces: FaceSet, folder: Path, forehead: float, predict: Predict | None = None) -> None:
        self.faces, self.folder = faces, folder
        self.start: State = "hull" if predict is None else "predicted"
        self._forehead = forehead
        self._predicted = None if predict is None else lru_cache(maxsize=64)(predict)
        self._rows = {self.name(row): row for row in range(len(self))}
        self._done: deque[list[_Change]] = deque(maxlen=_STEPS)
        self._undone: list[list[_Change]] = []
        with ExitStack() as opened:
            opened.callback(self._locked().release)
            self._kept = self._found()
            self.at = self._left_at()
            self._lock = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.faces)

    def close(self) -> None:
        """Let somebody else paint."""
        self._lock.close()

    def name(self, row: int) -> str:
        """Return the name of a face: its crop's, without the ending."""
        return Path(self.faces.crop_name(row)).stem

    def path(self, row: int) -> Path:
        """Say where a face's mask lies, or would."""
        return self.folder / f"{self.name(row)}{MASK_SUFFIX}"

    @property
    def crops(self) -> Path:
        """Say where the pictures of the faces lie."""
        return self.faces.path.absolute() / CROPS

    def crop_path(self, row: int) -> Path:
        """Say where a face's picture lies."""
        return self.crops / self.faces.crop_name(row)

    def state(self, row: int) -> State:
        """Say where a face's mask comes from."""
        kept = self._kept.get(row)
        return self.start if kept is None else kept.state

    def is_kept(self, row: int) -> bool:
        """Tell whether a face's mask lies in the folder, and trains."""
        return row in self._kept

    def mask(self, row: int) -> Mask:
        """Return a face's mask (512,512) uint8 0 or 255: the kept one, else what it starts from."""
        kept = self._kept.get(row)
        if kept is not None:
            return kept.mask()
        return self.hull(row) if self._predicted is None else self._predicted(row)

    def hull(self, row: int) -> Mask:
        """Return the outline (512,512) uint8 0 or 255 of a face's landmarks."""
        outline = face_mask(self.faces.landmarks[row], self.faces.crop_size, self._forehead)
        return np.where(outline > 0.5, 255, 0).astype(np.uint8)

    def paint(self, row: int, mask: Mask) -> None:
        """Keep a mask (512,512) uint8 as painted by a person; what was there before is replaced."""
        self._change([(row, Kept.of(mask, "painted"))])

    def paint_all(self, masks: Iterable[tuple[int, Mask]]) -> None:
        """Keep masks as painted, in one step that can be undone."""
        self._change((row, Kept.of(mask, "painted")) for row, mask in masks)

    def begin_again(self, row: int, start: State) -> None:
        """Put a face back to its hull, or to what the occluder sees.

        Raises:
            UserError: it is to be predicted, but there is no occluder.
        """
        if start == self.start:
            self._change([(row, None)])
        elif self._predicted is not None:
            self._change([(row, Kept.of(self.hull(row), "hull"))])
        else:
            raise UserError("occluder: none was given; start with occluder=<run, checkpoint or .onnx>")

    def interpolate(self, row: int, tell: Callable[[int, int], None] = lambda done, of: None) -> list[int]:
        """Fill the frames between painted ones around `row` that nobody painted; give those that were filled.

        Only frames of one shot are bridged. Painted frames stay as they are. tell: is given how many of how many frames
        are done.

        Raises:
            UserError: there is no painted frame before and after it in the same shot.
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

        def masks() -> Iterable[tuple[int, Kept]]:
            for first, rows, last in gaps:
                ends = [Painted(self.mask(i), self.hull(i), self.faces.landmarks[i]) for i in (first, last)]
                for i in rows:
                    mask = between(ends[0], ends[1], self.hull(i), self.faces.landmarks[i], self._share(first, i, last))
                    tell(filled.index(i) + 1, len(filled))
                    yield i, Kept.of(mask, "interpolated")

        self._change(masks())
        return filled

    def undo(self) -> int | None:
        """Take the last change back, on whichever face it was; give that face, None when there is nothing left."""
        return self._replayed(self._done, self._undone, lambda change: change.before)

    def redo(self) -> int | None:
        """Make the change again that was last undone; give its face, None when there is none."""
        return self._replayed(self._undone, self._done, lambda change: change.after)

    def go(self, row: int) -> int:
        """Turn to a face, kept for the next time; the last or first where there is none further."""
        at = min(max(row, 0), len(self) - 1)
        notes = json.dumps({"at": self.name(at), "face_set": self.faces.key})
        self._write(self.folder / _NOTES, lambda path: write_text(path, notes))
        self.at = at
        return at

    def next_untouched(self, row: int) -> int:
        """Find the next face without a kept mask, after the last one from the first again; `row` when all have one."""
        order = [*range(row + 1, len(self)), *range(row)]
        return next((i for i in order if not self.is_kept(i)), row)

    def counts(self) -> dict[State, int]:
        """Count faces by state."""
        states = [self.state(i) for i in range(len(self))]
        return {state: states.count(state) for state in STATES}

    def _share(self, first: int, row: int, last: int) -> float:
        times = self.faces.times[[first, row, last]].astype(np.float64)
        start, at, end = times if np.isfinite(times).all() and times[2] > times[0] else (first, row, last)
        return float((at - start) / (end - start))

    def _change(self, masks: Iterable[tuple[int, Kept | None]]) -> None:
        """Write masks one after the other; those that were written can be undone, whatever comes after."""
        step: list[_Change] = []
        try:
            for row, after in masks:
                before = self._kept.get(row)
                self._put(row, after)
                step.append(_Change(row, before, after))
        finally:
            if step:
                self._done.append(step)
                self._undone.clear()

    def _replayed(
        self,
        given: "deque[list[_Change]] | list[list[_Change]]",
        taken: "deque[list[_Change]] | list[list[_Change]]",
        wanted: Callable[[_Change], Kept | None],
    ) -> int | None:
        if not given:
            return None
        for change in given[-1]:
            self._put(change.row, wanted(change))
        step = given.pop()
        taken.append(step)
        return step[0].row

    def _put(self, row: int, kept: Kept | None) -> None:
        """Make the folder hold a mask, or none; memory follows the disk, never goes before it."""
        if kept is None:
            self._write(self.path(row), lambda path: path.unlink(missing_ok=True))
            self._kept.pop(row, None)
        else:
            self._write(self.path(row), lambda path: write_bytes(path, kept.png))
            self._kept[row] = kept

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        try:
            write(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); what was there last is whole") from error

    def _locked(self) -> filelock.FileLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / _LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"masks={self.folder}: somebody is painting here already; close that page, or choose another folder"
            ) from None
        except OSError as error:
            raise UserError(
                f"masks={self.folder}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        return lock

    def _found(self) -> dict[int, Kept]:
        """Read what lies in the folder; what is wrong with a mask is told before anything is painted."""
        for rest in self.folder.glob(_HALF_WRITTEN):
            rest.unlink()
        painted = PaintedMasks(self.folder, self.faces)
        checked = ((row, painted.get(row)) for row in range(len(self)))
        return {row: Kept.read(self.path(row), mask) for row, mask in checked if mask is not None}

    def _left_at(self) -> int:
        try:
            notes = json.loads((self.folder / _NOTES).read_text(encoding="utf-8"))
            return self._rows.get(notes["at"], 0)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{self.folder / _NOTES}: is damaged; remove it: the masks themselves stay") from None
