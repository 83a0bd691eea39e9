"""One painting session: what the page's buttons do and what it then shows; independent of the page itself."""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesmith.annotate.canvas import CanvasRegistry, ChangedElsewhereError, cut_out, draw_outlines
from facesmith.annotate.masks import STATES, MaskStore, State
from facesmith.errors import UserError

EditorValue = dict[str, Any] | None
ReportProgress = Callable[[int, int], None]

ONION: Final = ((255, 214, 0), (255, 120, 220))
"""Colours (RGB) of the outlines of the saved masks before and after."""


class View(NamedTuple):
    """Content of the page.

    Until a new canvas has come back once, the editor is loading it, and a stroke would be lost.
    """

    canvas: dict[str, Any] | None
    """Value of the editor; None to leave it as it is."""
    row: int
    """Number of the current face."""
    name: str
    """Of the current face."""
    states: list[int]
    """Of all faces, as positions in `STATES`."""
    counts: dict[State, int]
    """Number of faces in each state."""
    cut_out: NDArray[np.uint8]
    """The current face within its mask, (S,S,3) RGB uint8."""
    message: str
    """For the status line."""
    failed: bool
    """Whether the message is an error."""
    key: str
    """Of the face set."""


class Session:
    """One person who paints masks.

    Every action first saves what was painted, so that no stroke is lost between two clicks. What cannot be saved is
    reported, and stays on the editor.

    Args:
        store: The masks.
    """

    def __init__(self, store: MaskStore) -> None:
        self.store = store
        self._canvases = CanvasRegistry()
        self._message = ("", False)
        self._actions: dict[str, Callable[[int, ReportProgress], str]] = {
            "previous": lambda row, report: self._go_to(row - 1),
            "next": lambda row, report: self._go_to(row + 1),
            "untouched": lambda row, report: self._go_to(store.next_unsaved(row)),
            "keep": self._accept,
            "interpolate": self._interpolate,
            "undo": lambda row, report: self._report_step(store.undo(), "undone", "nothing to undo"),
            "redo": lambda row, report: self._report_step(store.redo(), "redone", "nothing to redo"),
            "hull": lambda row, report: self._reset(row, "hull"),
            "predict": lambda row, report: self._reset(row, "predicted"),
        }

    def show(self, onion: bool) -> View:
        """Show the current face, when the page is opened or reloaded.

        Args:
            onion: Draw the outlines of the neighbouring masks.
        """
        return self._view(onion, f"{len(self.store)} faces; masks are kept in {self.store.folder}")

    def go_to(self, sent: EditorValue, onion: bool, row: int) -> View:
        """Save the edit and go to a face by its number.

        Args:
            sent: The editor's value.
            onion: Draw the outlines of the neighbouring masks.
            row: Number of the face.
        """
        return self._save_then(sent, onion, lambda at: self._go_to(row))

    def act(self, sent: EditorValue, onion: bool, action: str, report: ReportProgress = lambda done, of: None) -> View:
        """Save the edit and run the command of a button.

        Args:
            sent: The editor's value.
            onion: Draw the outlines of the neighbouring masks.
            action: Name of the button.
            report: Is called with the number of frames done and of all, where it takes long.
        """
        return self._save_then(sent, onion, lambda at: self._actions[action](at, report))

    def autosave(self, sent: EditorValue, onion: bool) -> View | None:
        """Save the painted mask without changing the editor.

        Args:
            sent: The editor's value.
            onion: Draw the outlines of the neighbouring masks.

        Returns:
            What changed on the page; None while the editor is loading a canvas.
        """
        try:
            row = self._save_edit(sent)
        except ChangedElsewhereError as error:
            return self._view(onion, str(error), failed=True)
        except UserError as error:
            return self._failure(error)
        if row is None:
            return self._build_view(None, *self._message) if self._canvases.is_newest(sent) else None
        return self._build_view(None, _saved_message())

    def _save_then(self, sent: EditorValue, onion: bool, action: Callable[[int], str]) -> View:
        row = self._canvases.row(sent)
        try:
            saved = self._save_edit(sent)
            message = action(self.store.current if row is None else row)
        except ChangedElsewhereError as error:
            return self._view(onion, str(error), failed=True)
        except UserError as error:
            return self._failure(error)
        return self._view(onion, message or ("" if saved is None else _saved_message()))

    def _save_edit(self, sent: EditorValue) -> int | None:
        edit = self._canvases.read_edit(sent)
        if edit is None:
            return None
        self.store.paint(edit.row, edit.mask)
        self._canvases.mark_saved(sent, edit.mask)
        return edit.row

    def _go_to(self, row: int) -> str:
        self.store.go_to(row)
        return ""

    def _accept(self, row: int, report: ReportProgress) -> str:
        if self.store.state(row) != "painted":
            self.store.paint(row, self.store.mask(row))
        self.store.go_to(row + 1)
        return f"frame {row + 1} saved as it is"

    def _interpolate(self, row: int, report: ReportProgress) -> str:
        filled = self.store.interpolate(row, report)
        return f"{len(filled)} frames filled; check and correct them"

    def _report_step(self, row: int | None, done: str, nothing: str) -> str:
        if row is None:
            return nothing
        self.store.go_to(row)
        return f"{done}, on frame {row + 1}"

    def _reset(self, row: int, start: State) -> str:
        self.store.reset(row, start)
        return f"frame {row + 1} was reset"

    def _failure(self, error: UserError) -> View:
        return self._build_view(None, " ".join(str(error).split()), failed=True)

    def _view(self, onion: bool, message: str, failed: bool = False) -> View:
        row, store = self.store.current, self.store
        picture = store.faces.crop(row)
        if onion:
            near = (
                next((i for i in range(row - 1, -1, -1) if store.is_saved(i)), None),
                next((i for i in range(row + 1, len(store)) if store.is_saved(i)), None),
            )
            drawn = [(store.mask(i), colour) for i, colour in zip(near, ONION, strict=True) if i is not None]
            picture = draw_outlines(picture, drawn)
        return self._build_view(self._canvases.show(row, picture, store.mask(row)), message, failed)

    def _build_view(self, canvas: dict[str, Any] | None, message: str, failed: bool = False) -> View:
        self._message = (message, failed)
        store, row = self.store, self.store.current
        states = [STATES.index(store.state(i)) for i in range(len(store))]
        masked = cut_out(store.faces.crop(row), store.mask(row))
        counts, key = store.count_states(), store.faces.key
        return View(canvas, row, store.name(row), states, counts, masked, message, failed, key)


def _saved_message() -> str:
    return f"saved {time.strftime('%H:%M:%S')}"
