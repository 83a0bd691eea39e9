"""What the page's buttons do, and what it then shows; knows of no page."""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesmith.annotate.canvas import Canvases, ChangedElsewhereError, cut_out, outlined
from facesmith.annotate.masks import STATES, Desk, State
from facesmith.errors import UserError

Sent = dict[str, Any] | None
Tell = Callable[[int, int], None]

ONION: Final = ((255, 214, 0), (255, 120, 220))
"""The colours (RGB) of the outlines of the kept masks before and after."""


class View(NamedTuple):
    """What is to be seen. canvas: of the editor, None to leave it as it is. states: of all faces, as in `STATES`.

    Until a new canvas has come back once, the editor is loading it, and a stroke would be lost.
    """

    canvas: dict[str, Any] | None
    at: int
    name: str
    states: list[int]
    counts: dict[State, int]
    cut_out: NDArray[np.uint8]
    note: str
    failed: bool


class Session:
    """One person at a desk.

    Every action first keeps what was painted, so that no stroke is lost between two clicks. What cannot be kept is
    told, and stays on the editor.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._canvases = Canvases()
        self._said = ("", False)
        self._actions: dict[str, Callable[[int, Tell], str]] = {
            "previous": lambda row, tell: self._go(row - 1),
            "next": lambda row, tell: self._go(row + 1),
            "untouched": lambda row, tell: self._go(desk.next_untouched(row)),
            "keep": self._as_it_is,
            "interpolate": self._between,
            "undo": lambda row, tell: self._back(desk.undo(), "undone", "nothing to undo"),
            "redo": lambda row, tell: self._back(desk.redo(), "done again", "nothing to do again"),
            "hull": lambda row, tell: self._again(row, "hull"),
            "predict": lambda row, tell: self._again(row, "predicted"),
        }

    def show(self, onion: bool) -> View:
        """Open, or open again, where one left off."""
        return self._view(onion, f"{len(self.desk)} faces; masks are kept in {self.desk.folder}")

    def turn(self, sent: Sent, onion: bool, row: int) -> View:
        """Turn to a face by its number."""
        return self._after(sent, onion, lambda at: self._go(row))

    def act(self, sent: Sent, onion: bool, action: str, tell: Tell = lambda done, of: None) -> View:
        """Do what a button says. tell: is given how much of how much is done, where it takes long."""
        return self._after(sent, onion, lambda at: self._actions[action](at, tell))

    def autosave(self, sent: Sent, onion: bool) -> View | None:
        """Keep what was painted; the editor stays as it is. None when there is nothing to say: it loads a canvas."""
        try:
            row = self._keep(sent)
        except ChangedElsewhereError as error:
            return self._view(onion, str(error), failed=True)
        except UserError as error:
            return self._failure(error)
        if row is None:
            return self._seen(None, *self._said) if self._canvases.is_newest(sent) else None
        return self._seen(None, _saved())

    def _after(self, sent: Sent, onion: bool, action: Callable[[int], str]) -> View:
        row = self._canvases.row(sent)
        try:
            kept = self._keep(sent)
            note = action(self.desk.at if row is None else row)
        except ChangedElsewhereError as error:
            return self._view(onion, str(error), failed=True)
        except UserError as error:
            return self._failure(error)
        return self._view(onion, note or ("" if kept is None else _saved()))

    def _keep(self, sent: Sent) -> int | None:
        drawn = self._canvases.take(sent)
        if drawn is None:
            return None
        self.desk.paint(drawn.row, drawn.mask)
        self._canvases.kept(sent, drawn.mask)
        return drawn.row

    def _go(self, row: int) -> str:
        self.desk.go(row)
        return ""

    def _as_it_is(self, row: int, tell: Tell) -> str:
        if self.desk.state(row) != "painted":
            self.desk.paint(row, self.desk.mask(row))
        self.desk.go(row + 1)
        return f"frame {row + 1} kept as it is"

    def _between(self, row: int, tell: Tell) -> str:
        filled = self.desk.interpolate(row, tell)
        return f"{len(filled)} frames filled; look at them, and correct what is wrong"

    def _back(self, row: int | None, done: str, nothing: str) -> str:
        if row is None:
            return nothing
        self.desk.go(row)
        return f"{done}, on frame {row + 1}"

    def _again(self, row: int, start: State) -> str:
        self.desk.begin_again(row, start)
        return f"frame {row + 1} starts again"

    def _failure(self, error: UserError) -> View:
        return self._seen(None, " ".join(str(error).split()), failed=True)

    def _view(self, onion: bool, note: str, failed: bool = False) -> View:
        at, desk = self.desk.at, self.desk
        picture = desk.faces.crop(at)
        if onion:
            near = (
                next((i for i in range(at - 1, -1, -1) if desk.is_kept(i)), None),
                next((i for i in range(at + 1, len(desk)) if desk.is_kept(i)), None),
            )
            drawn = [(desk.mask(i), colour) for i, colour in zip(near, ONION, strict=True) if i is not None]
            picture = outlined(picture, drawn)
        return self._seen(self._canvases.show(at, picture, desk.mask(at)), note, failed)

    def _seen(self, canvas: dict[str, Any] | None, note: str, failed: bool = False) -> View:
        self._said = (note, failed)
        desk, at = self.desk, self.desk.at
        states = [STATES.index(desk.state(row)) for row in range(len(desk))]
        seen = cut_out(desk.faces.crop(at), desk.mask(at))
        return View(canvas, at, desk.name(at), states, desk.counts(), seen, note, failed)


def _saved() -> str:
    return f"saved {time.strftime('%H:%M:%S')}"
