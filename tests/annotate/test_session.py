"""Strokes are saved for the face they were painted on, in whatever order the browser sends them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import cv2
import numpy as np
import pytest

from facesmith.annotate.canvas import OPACITY, PAINT
from facesmith.annotate.masks import STATES, MaskStore
from facesmith.annotate.session import Session, View


def stroke(canvas: dict[str, Any] | None, x: int, value: int = 0) -> dict[str, Any]:
    """Return what the browser sends after a stroke on a canvas."""
    assert canvas is not None
    paint, number = (layer.copy() for layer in canvas["layers"])
    colour = (*PAINT, round(255 * OPACITY)) if value else (0, 0, 0, 0)
    cv2.line(paint, (x, 200), (x, 300), colour, 20)
    return {**canvas, "layers": [paint, number]}


@pytest.fixture
def session(store: MaskStore) -> Session:
    return Session(store)


def state(view: View, row: int) -> str:
    return STATES[view.states[row]]


def test_session_stroke_saves_only_its_pixels(session: Session) -> None:
    canvas = session.show(onion=False).canvas
    view = session.autosave(stroke(canvas, 250), onion=False)
    assert view is not None
    assert view.canvas is None  # the editor goes on as it is
    assert view.message.startswith("saved")
    assert state(view, 0) == "painted"
    changed = session.store.mask(0) != session.store.hull(0)
    assert changed[210:290, 245:255].all()
    changed[185:315, 235:265] = False
    assert not changed.any()


def test_session_view_saves_nothing(session: Session) -> None:
    canvas = session.show(onion=False).canvas
    loaded = session.autosave(canvas, onion=False)
    assert loaded is not None
    assert (loaded.canvas, loaded.counts["hull"]) == (None, len(session.store))
    half_loaded = [{**canvas, "layers": layers} for layers in ([], canvas["layers"][:1], canvas["layers"][1:])]
    for sent in (None, *half_loaded):
        assert session.autosave(sent, onion=False) is None
    assert session.act(canvas, False, "next").counts["hull"] == len(session.store)


def test_session_late_stroke_is_saved_for_its_own_frame(session: Session) -> None:
    first = session.show(onion=False).canvas
    session.act(first, False, "next")
    assert session.store.current == 1
    session.autosave(stroke(first, 250), onion=False)
    assert [session.store.state(i) for i in (0, 1)] == ["painted", "hull"]


def test_session_go_to_saves_unsent_stroke(session: Session) -> None:
    first = session.show(onion=False).canvas
    drawn = stroke(first, 250)
    second = session.act(drawn, False, "next").canvas
    assert session.store.state(0) == "painted"
    assert session.autosave(drawn, onion=False) is None  # sent once more by the browser
    session.act(second, False, "undo")
    assert session.store.state(0) == "hull"


def test_session_frame_changed_in_other_window_is_reloaded(session: Session) -> None:
    mine = session.show(onion=False).canvas
    theirs = session.show(onion=False).canvas
    session.autosave(stroke(theirs, 200), onion=False)
    view = session.autosave(stroke(mine, 300), onion=False)
    assert view is not None
    assert view.failed
    assert "another window" in view.message
    assert view.canvas is not None
    assert session.autosave(stroke(view.canvas, 300), onion=False) is not None


def test_session_buttons(session: Session) -> None:
    view = session.show(onion=False)
    view = session.act(stroke(view.canvas, 250), False, "keep")
    assert view.row == 1
    view = session.go_to(view.canvas, False, 4)
    view = session.act(view.canvas, False, "keep")  # right as it is
    assert [state(view, row) for row in (0, 4)] == ["painted", "painted"]
    view = session.act(session.go_to(view.canvas, False, 2).canvas, False, "interpolate")
    assert "3 frames filled" in view.message
    view = session.act(view.canvas, False, "untouched")
    assert view.row == 5
    view = session.act(view.canvas, False, "undo")
    assert (view.row, state(view, 2)) == (1, "hull")
    view = session.act(view.canvas, False, "redo")
    assert state(view, 2) == "interpolated"
    view = session.act(view.canvas, False, "hull")
    assert state(view, 1) == "hull"
    view = session.act(view.canvas, False, "predict")
    assert view.failed
    assert "occluder: none was given" in view.message


def test_session_onion_skin_outlines_both_neighbours(session: Session) -> None:
    view = session.show(onion=False)
    view = session.act(view.canvas, False, "keep")
    view = session.go_to(view.canvas, False, 2)
    view = session.act(view.canvas, False, "keep")
    plain = session.go_to(view.canvas, False, 1)
    skinned = session.go_to(plain.canvas, True, 1)
    assert plain.canvas is not None
    assert skinned.canvas is not None
    assert (plain.canvas["background"] != skinned.canvas["background"]).any()
    assert np.array_equal(plain.canvas["background"], session.store.faces.crop(1))


def test_session_disk_full_keeps_stroke_until_next_click(
    session: Session, no_file_above: Callable[[int], AbstractContextManager[None]]
) -> None:
    drawn = stroke(session.show(onion=False).canvas, 250)
    with no_file_above(100):
        views = session.autosave(drawn, False), session.act(drawn, False, "next")
    for view in views:
        assert view is not None
        assert (view.failed, view.canvas, view.row) == (True, None, 0)
        assert "cannot be written" in view.message
        assert "\n" not in view.message
    assert session.act(drawn, False, "next").row == 1
    assert session.store.state(0) == "painted"
