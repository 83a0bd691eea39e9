"""The painter's page: its commands and keys, and its layout."""

import json
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import gradio as gr

from facesmith.annotate.canvas import LAYERS, css_paint
from facesmith.annotate.masks import STATES
from facesmith.annotate.session import EditorValue, Session, View
from facesmith.faces.face_set.face_set import FaceSet


class Command(NamedTuple):
    """A command of the page, by button and by key."""

    name: str
    """Of its button, and id of it in the page."""
    keys: tuple[str, ...]
    """As browsers call them, with `Ctrl+` before those that are pressed with it."""
    description: str
    """For people."""


COMMANDS: Final = (
    Command("previous", ("ArrowLeft", "a"), "previous frame"),
    Command("next", ("ArrowRight", "d"), "next frame"),
    Command("untouched", ("n",), "next frame not yet checked"),
    Command("keep", ("Enter", "s"), "accept this mask, next frame"),
    Command("brush", ("b",), "brush: paint visible face"),
    Command("eraser", ("e",), "eraser: remove what covers it"),
    Command("smaller", ("[",), "smaller brush"),
    Command("larger", ("]",), "larger brush"),
    Command("undo", ("Ctrl+z",), "undo"),
    Command("redo", ("Ctrl+y", "Ctrl+Z"), "redo"),
    Command("interpolate", ("i",), "fill the frames between painted ones"),
    Command("onion", ("o",), "onion skin: the neighbours' outlines"),
    Command("hull", ("h",), "start again from the hull"),
    Command("predict", ("m",), "start again from the occluder's prediction"),
)

_KEY_LABELS: Final = {"ArrowLeft": "←", "ArrowRight": "→", "Enter": "↵", "Ctrl+Z": "Ctrl+Shift+Z"}


def key_labels(command: Command) -> list[str]:
    """Return a command's keys as keyboards label them."""
    return [
        _KEY_LABELS.get(key) or "+".join(part.upper() if len(part) == 1 else part for part in key.split("+"))
        for key in command.keys
    ]


def keys_as_json() -> str:
    """Return the command of each key as JSON, for the page's script."""
    return json.dumps({key: command.name for command in COMMANDS for key in command.keys})


def as_markdown() -> str:
    """Return the table for the documentation."""
    rows = [f"| {' or '.join(f'`{key}`' for key in key_labels(one))} | {one.description} |" for one in COMMANDS]
    return "\n".join(["| key | |", "|---|---|", *rows])


CROPS: Final = "/painter/crop/"
"""Route of the faces' pictures, by their number."""
_NONE: Final = "<h2>No faces are open <small>choose a face set above, then Open</small></h2>"
_HERE: Final = Path(__file__).parent
_COMMANDS: Final = {one.name: one for one in COMMANDS}
_BUTTONS: Final = (
    ("previous", "keep", "next"),
    ("untouched", "interpolate", "undo", "redo", "hull", "predict"),
)
_SIZES: Final = (2, 120)
_SIZE: Final = 20  # px of the crop
_ONE_AT_A_TIME: Final[dict[str, Any]] = {"concurrency_id": "store", "concurrency_limit": 1, "api_visibility": "private"}
_MEANINGS: Final = {
    "painted": "by a person",
    "interpolated": "from its neighbours",
    "predicted": "by the occluder",
    "hull": "the landmarks' outline",
}


class Painter:
    """The session that the page shows, the same for every window; none until faces are opened."""

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def open(self, session: Session) -> None:
        """Show another session; the one before lets go of its masks."""
        self.close()
        self.session = session

    def close(self) -> None:
        """Let go of the masks."""
        if self.session is not None:
            self.session.store.close()
        self.session = None

    def crop(self, row: int) -> Path | None:
        """Return the file of a face, for the film strip; None where there is none."""
        store = self.session.store if self.session is not None else None
        return store.crop_path(row) if store is not None and 0 <= row < len(store) else None


class PainterParts(NamedTuple):
    """What outside of the painter shows a session: what `show` returns goes into `seen`."""

    show: Callable[[bool], list[Any]]
    onion: gr.Checkbox
    seen: list[Any]


def build_painter(painter: Painter) -> PainterParts:
    """Build the painter, within a page.

    Args:
        painter: Whose session it shows.
    """
    with gr.Column(elem_id="painter", elem_classes="dark"):
        heading = gr.HTML(_NONE, apply_default_css=False, elem_id="heading")
        with gr.Row(elem_id="table"):
            gr.HTML(_legend(), apply_default_css=False, elem_id="legend")
            with gr.Column(elem_id="middle"):
                editor = gr.ImageEditor(
                    type="numpy",
                    format="png",
                    sources=(),
                    transforms=(),
                    buttons=[],
                    layers=gr.LayerOptions(allow_additional_layers=False, layers=list(LAYERS)),
                    fixed_canvas=True,
                    canvas_size=(FaceSet.crop_size, FaceSet.crop_size),
                    **_tools(_SIZE),
                    show_label=False,
                    elem_id="editor",
                )
                status = gr.HTML(elem_id="status")
            with gr.Column(elem_id="side"):
                cut_out = gr.Image(
                    interactive=False, show_label=False, buttons=[], format="jpeg", container=False, elem_id="cut_out"
                )
                buttons: dict[str, gr.Button] = {}
                for group in _BUTTONS:
                    with gr.Row(elem_classes="buttons"):
                        buttons |= {name: _button(name) for name in group}
                size = gr.Slider(*_SIZES, value=_SIZE, step=1, label="brush, px", elem_id="size")
                onion = gr.Checkbox(label=_COMMANDS["onion"].description, elem_id="onion")
        strip = gr.HTML(
            _strip_value(0, [], ""),
            html_template=_STRIP,
            js_on_load=_read("strip.js"),
            apply_default_css=False,
            elem_id="strip",
        )
    seen = [editor, heading, strip, cut_out, status]
    quiet: dict[str, Any] = {"show_progress": "hidden", **_ONE_AT_A_TIME}

    def show(onion: bool) -> list[Any]:
        return _component_values(painter.session.show(onion)) if painter.session is not None else [gr.skip()] * 5

    def autosave(sent: EditorValue, onion: bool) -> list[Any]:
        return (
            _component_values(painter.session.autosave(sent, onion)) if painter.session is not None else [gr.skip()] * 5
        )

    def go_to(sent: EditorValue, onion: bool, row: int) -> list[Any]:
        session = painter.session
        return _component_values(session.go_to(sent, onion, row)) if session is not None else [gr.skip()] * 5

    def turn(sent: EditorValue, onion: bool, event: gr.EventData) -> list[Any]:
        return go_to(sent, onion, int(event.row))

    def again(sent: EditorValue, onion: bool) -> list[Any]:
        return go_to(sent, onion, painter.session.store.current if painter.session is not None else 0)

    for name, button in buttons.items():
        shown = "hidden" if name != "interpolate" else "minimal"
        press: dict[str, Any] = {"show_progress": shown, **_ONE_AT_A_TIME}
        gr.on([button.click], partial(_act, painter, name), [editor, onion], seen, **press)
    editor.input(autosave, [editor, onion], seen, **quiet)
    turned: Any = strip.turn
    turned(turn, [editor, onion], seen, **quiet)
    gr.on([onion.input], again, [editor, onion], seen, **quiet)
    size.change(lambda size: gr.ImageEditor(**_tools(size)), [size], [editor], **quiet)
    return PainterParts(show, onion, seen)


def page_css() -> str:
    """Return the page's style sheet."""
    return _read("page.css")


def page_scripts() -> str:
    """Return the page's script: its keys."""
    return f"const KEYS = {keys_as_json()};\n{_read('page.js')}"


def _act(
    painter: Painter,
    action: str,
    sent: EditorValue,
    onion: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> list[Any]:
    session = painter.session
    if session is None:
        return [gr.skip()] * 5
    return _component_values(session.act(sent, onion, action, lambda done, of: progress((done, of), unit="frames")))


def _component_values(view: View | None) -> list[Any]:
    """Return the values of the page's components: editor, heading, strip, cut-out, status."""
    if view is None:
        return [gr.skip()] * 5
    counts = "".join(
        f'<span class="count {state}">{count} {state}</span>' for state, count in view.counts.items() if count
    )
    state = STATES[view.states[view.row]]
    heading = (
        f"<h2>Frame {view.row + 1} <small>of {len(view.states)}</small></h2>"
        f'<b class="state {state}">{state}</b><code>{escape(view.name)}</code><div class="counts">{counts}</div>'
    )
    loading = "" if view.canvas is None else " loading"
    status = f'<div class="{"failed" if view.failed else "fine"}{loading}">{escape(view.message)}</div>'
    strip = _strip_value(view.row, view.states, view.key)
    return [gr.skip() if view.canvas is None else view.canvas, heading, strip, view.cut_out, status]


def _strip_value(row: int, states: list[int], key: str) -> dict[str, Any]:
    """Return all that the film strip is drawn from: what is outside of its value is lost where a tab is drawn late."""
    return {"at": row, "states": states, "set": key, "route": CROPS, "kinds": list(STATES)}


def _button(name: str) -> gr.Button:
    return gr.Button(f"{name} {key_labels(_COMMANDS[name])[0]}", elem_id=name, size="sm")


def _tools(size: int) -> dict[str, Any]:
    brush = gr.Brush(colors=[css_paint()], default_size=size, color_mode="fixed")
    return {"brush": brush, "eraser": gr.Eraser(default_size=size)}


def _legend() -> str:
    states = "".join(f'<li class="{state}"><b>{state}</b> {_MEANINGS[state]}</li>' for state in STATES)
    keys = "".join(
        f"<dt>{''.join(f'<kbd>{escape(key)}</kbd>' for key in key_labels(one))}</dt><dd>{escape(one.description)}</dd>"
        for one in COMMANDS
    )
    return f"<ul>{states}</ul><dl>{keys}</dl>"


_STRIP: Final = (
    "${value.states.map((state, row) => `<button class='frame ${value.kinds[state]}${row === value.at ? ' at' : ''}'"
    " data-row='${row}' title='${row + 1}: ${value.kinds[state]}'>"
    "<img loading='lazy' src='${value.route}${row}?set=${value.set}' alt=''>"
    "<b>${row + 1}</b></button>`).join('')}"
)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
