"""The painter's page: its commands and keys, and its layout."""

import json
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import gradio as gr

from facesmith.annotate.canvas import LAYERS, css_paint
from facesmith.annotate.masks import STATES
from facesmith.annotate.session import EditorValue, Session, View


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


def build_page(session: Session) -> gr.Blocks:
    """Build the page of a session."""
    store = session.store
    faces, side = store.faces, store.faces.crop_size
    with gr.Blocks(title=f"Masks of {faces.meta['name']}", analytics_enabled=False, fill_width=True) as page:
        heading = gr.HTML(apply_default_css=False, elem_id="heading")
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
                    canvas_size=(side, side),
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
                        buttons |= {name: _button(name, session) for name in group}
                size = gr.Slider(*_SIZES, value=_SIZE, step=1, label="brush, px", elem_id="size")
                onion = gr.Checkbox(label=_COMMANDS["onion"].description, elem_id="onion")
        strip = gr.HTML(
            {"at": 0, "states": []},
            html_template=_STRIP,
            js_on_load=_read("strip.js"),
            apply_default_css=False,
            elem_id="strip",
            thumbs=[f"/gradio_api/file={quote(store.crop_path(row).as_posix())}" for row in range(len(store))],
            kinds=list(STATES),
        )
        seen = [editor, heading, strip, cut_out, status]
        for name, button in buttons.items():
            gr.on(
                [button.click],
                partial(_act, session, name),
                [editor, onion],
                seen,
                show_progress="hidden" if name != "interpolate" else "minimal",
                **_ONE_AT_A_TIME,
            )
        editor.input(
            lambda sent, onion: _component_values(session.autosave(sent, onion)),
            [editor, onion],
            seen,
            show_progress="hidden",
            **_ONE_AT_A_TIME,
        )

        def turn(sent: EditorValue, onion: bool, event: gr.EventData) -> list[Any]:
            return _component_values(session.go_to(sent, onion, int(event.row)))

        turned: Any = strip.turn
        turned(turn, [editor, onion], seen, show_progress="hidden", **_ONE_AT_A_TIME)
        gr.on(
            [onion.input],
            lambda sent, onion: _component_values(session.go_to(sent, onion, session.store.current)),
            [editor, onion],
            seen,
            show_progress="hidden",
            **_ONE_AT_A_TIME,
        )
        size.change(
            lambda size: gr.ImageEditor(**_tools(size)), [size], [editor], show_progress="hidden", **_ONE_AT_A_TIME
        )
        page.load(
            lambda onion: _component_values(session.show(onion)),
            [onion],
            seen,
            show_progress="hidden",
            **_ONE_AT_A_TIME,
        )
    return page


def page_css() -> str:
    """Return the page's style sheet."""
    return _read("page.css")


def page_scripts() -> str:
    """Return the page's script: its keys."""
    return f"const KEYS = {keys_as_json()};\n{_read('page.js')}"


def _act(
    session: Session,
    action: str,
    sent: EditorValue,
    onion: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> list[Any]:
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
        f"<h1>Frame {view.row + 1} <small>of {len(view.states)}</small></h1>"
        f'<b class="state {state}">{state}</b><code>{escape(view.name)}</code><div class="counts">{counts}</div>'
    )
    loading = "" if view.canvas is None else " loading"
    status = f'<div class="{"failed" if view.failed else "fine"}{loading}">{escape(view.message)}</div>'
    strip = {"at": view.row, "states": view.states}
    return [gr.skip() if view.canvas is None else view.canvas, heading, strip, view.cut_out, status]


def _button(name: str, session: Session) -> gr.Button:
    possible = name != "predict" or session.store.initial_state == "predicted"
    return gr.Button(f"{name} {key_labels(_COMMANDS[name])[0]}", elem_id=name, size="sm", interactive=possible)


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
    "${value.states.map((state, row) => `<button class='frame ${kinds[state]}${row === value.at ? ' at' : ''}'"
    " data-row='${row}' title='${row + 1}: ${kinds[state]}'><img loading='lazy' src='${thumbs[row]}' alt=''>"
    "<b>${row + 1}</b></button>`).join('')}"
)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
